//! The tutor's whiteboard: announced, uploaded, seen through the bucket, recorded.

use crate::harness::{World, record};
use aws_sdk_s3::primitives::ByteStream;
use domain::ids::BookingId;
use domain::prove::snapshot::{ImageType, SnapshotKey};
use serde_json::{Value, json};
use stories::cast::Lesson;
use uuid::Uuid;

const PNG: &[u8] = include_bytes!("../../../events/create-snapshot-upload/whiteboard.png");

async fn announce(
    world: &World,
    person: Uuid,
    lesson: &Lesson,
    content_type: &str,
    length: i64,
) -> (String, Value) {
    let function = world.function("create-snapshot-upload").await;
    let mut event = world.request("create-snapshot-upload/png.json", person, lesson);
    event["body"] = json!({"content_type": content_type, "content_length": length})
        .to_string()
        .into();
    let reply = function.call(event).await;
    (reply.verdict(), reply.body)
}

fn key(lesson: &Lesson, upload: u128, image: ImageType) -> SnapshotKey {
    SnapshotKey {
        booking: BookingId(lesson.id),
        upload: Uuid::from_u128(upload),
        image,
    }
}

/// Stores an object and returns the bucket's notification of it.
async fn stored(world: &World, key: &str, bytes: &'static [u8]) -> Value {
    let put = world
        .aws
        .s3
        .put_object()
        .bucket(&world.artifacts)
        .key(key)
        .body(ByteStream::from_static(bytes));
    put.send().await.unwrap();
    notification(key)
}

fn notification(key: &str) -> Value {
    let sample = crate::harness::request("record-snapshot/uploaded.json", "", Uuid::nil());
    let mut event: Value = serde_json::from_str(sample["Records"][0]["body"].as_str().unwrap()).unwrap();
    event["Records"][0]["s3"]["object"]["key"] = key.into();
    let arn = "arn:aws:sqs:us-east-1:000000000000:snapshot-uploads";
    record(&Uuid::new_v4().to_string(), &event.to_string(), "receipt", arn)
}

async fn recorded(world: &World, lesson: &Lesson) -> Value {
    world.booking(lesson).await["session_artifacts"]["whiteboard_snapshot_url"].clone()
}

#[tokio::test]
async fn only_the_tutor_announces_an_image_of_a_sane_size_once_the_lesson_has_started() {
    let world = World::new().await;
    let lesson = world.lesson_in(-30).await;
    let cast = world.cast;
    let answers = [
        (cast.tutor, "image/png", 1_000, "201"),
        (cast.tutor, "image/webp", 10 * 1024 * 1024, "201"),
        (
            cast.tutor,
            "image/png",
            10 * 1024 * 1024 + 1,
            "413 image-too-large",
        ),
        (cast.tutor, "image/png", 0, "400 empty-upload"),
        (cast.tutor, "image/svg+xml", 1_000, "415 not-an-image"),
        (cast.tutor, "text/html", 1_000, "415 not-an-image"),
        (cast.parent, "image/png", 1_000, "403 not-the-tutor"),
        (cast.student, "image/png", 1_000, "403 not-the-tutor"),
        (cast.stranger, "image/png", 1_000, "403 forbidden"),
    ];
    for (person, content_type, length, verdict) in answers {
        let (seen, body) = announce(&world, person, &lesson, content_type, length).await;
        assert_eq!(seen, verdict, "{content_type}, {length} bytes: {body}");
    }
    let tomorrow = world.lesson_in(24 * 60).await;
    assert_eq!(
        announce(&world, cast.tutor, &tomorrow, "image/png", 1_000)
            .await
            .0,
        "409 lesson-not-started"
    );
}

#[tokio::test]
async fn the_upload_link_takes_exactly_what_was_announced() {
    let world = World::new().await;
    let lesson = world.lesson_in(-30).await;
    let length = i64::try_from(PNG.len()).unwrap();
    let (_, upload) = announce(&world, world.cast.tutor, &lesson, "image/png", length).await;
    let headers = upload["headers"].as_object().unwrap();
    let signed: Vec<_> = headers.keys().map(String::as_str).collect();
    assert_eq!(
        signed,
        ["content-length", "content-type", "if-none-match"],
        "type, size and that it is the first are not part of the signature"
    );
    let url = upload["url"].as_str().unwrap();
    assert!(
        url.contains("X-Amz-Expires=600"),
        "the link is not short-lived: {url}"
    );
    let put = async |content_type: &str, first: Option<&str>, body: &'static [u8]| {
        let request = reqwest::Client::new()
            .put(url)
            .header("content-type", content_type);
        let request = first
            .into_iter()
            .fold(request, |request, first| request.header("if-none-match", first));
        request.body(body).send().await.unwrap().status().as_u16()
    };

    assert_eq!(
        put("text/html", Some("*"), b"<script>").await,
        403,
        "another type"
    );
    assert_eq!(put("image/png", Some("*"), b"short").await, 403, "another length");
    assert_eq!(
        put("image/png", None, PNG).await,
        403,
        "without saying that it is the first"
    );
    assert_eq!(put("image/png", Some("*"), PNG).await, 200);

    let garbage: &[u8] = vec![b'x'; PNG.len()].leak();
    assert_eq!(
        put("image/png", Some("*"), garbage).await,
        412,
        "what was uploaded is replaced by the same link"
    );
}

#[tokio::test]
async fn only_a_lesson_that_was_agreed_has_a_snapshot() {
    let world = World::new().await;
    let lesson = world.lesson_in(-30).await;
    let verdicts = [
        ("pending", "409 booking-not-confirmed"),
        ("cancelled", "409 booking-cancelled"),
        ("unknown", "409 booking-status-unknown"),
        ("completed", "201"),
    ];
    for (status, verdict) in verdicts {
        let change = "UPDATE bookings SET status = $2 WHERE id = $1";
        world.owner.execute(change, &[&lesson.id, &status]).await.unwrap();
        let (seen, body) = announce(&world, world.cast.tutor, &lesson, "image/png", 1_000).await;
        assert_eq!(seen, verdict, "{status}: {body}");
    }
}

#[tokio::test]
async fn the_latest_upload_is_the_snapshot_in_whatever_order_the_bucket_tells() {
    let world = World::new().await;
    let function = world.function("record-snapshot").await;
    let lesson = world.lesson_in(-30).await;
    let (first, second) = (
        key(&lesson, 1, ImageType::Png).object_key(),
        key(&lesson, 2, ImageType::Png).object_key(),
    );
    let (told_first, told_second) = (
        stored(&world, &first, PNG).await,
        stored(&world, &second, PNG).await,
    );
    let failed = function
        .consume(&[told_second.clone(), told_first, told_second])
        .await;
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(
        recorded(&world, &lesson).await,
        format!("s3://{}/{second}", world.artifacts)
    );
}

#[tokio::test]
async fn what_is_not_the_announced_image_is_removed_and_not_recorded() {
    let world = World::new().await;
    let function = world.function("record-snapshot").await;
    let lesson = world.lesson_in(-30).await;
    let script = key(&lesson, 1, ImageType::Png).object_key();
    let disguised = key(&lesson, 2, ImageType::Jpeg).object_key();
    let told = [
        stored(&world, &script, b"<script>alert(1)</script>").await,
        stored(&world, &disguised, PNG).await,
    ];
    // The bucket may tell of an upload again after it was removed.
    for _ in 0..2 {
        assert_eq!(function.consume(&told).await, Vec::<String>::new());
    }
    assert_eq!(recorded(&world, &lesson).await, Value::Null);
    let rung = world.aws.drain(&world.dead_letters).await;
    assert!(
        rung.is_empty(),
        "what was removed already is nobody's business: {rung:?}"
    );
    for removed in [script, disguised] {
        let head = world
            .aws
            .s3
            .head_object()
            .bucket(&world.artifacts)
            .key(&removed)
            .send()
            .await;
        assert!(head.is_err(), "{removed} is still there");
    }
}

#[tokio::test]
async fn a_notification_that_makes_no_sense_is_set_aside_alone() {
    let world = World::new().await;
    let function = world.function("record-snapshot").await;
    let lesson = world.lesson_in(-30).await;
    let good = key(&lesson, 7, ImageType::Png).object_key();
    let nobodys = SnapshotKey {
        booking: BookingId(Uuid::new_v4()),
        ..key(&lesson, 3, ImageType::Png)
    }
    .object_key();
    let arn = "arn:aws:sqs:us-east-1:000000000000:snapshot-uploads";
    let told = [
        record(
            "test-event",
            r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#,
            "r",
            arn,
        ),
        record("garbage", "not json", "r", arn),
        notification("somebody/elses/key.txt"),
        notification(&key(&lesson, 2, ImageType::Png).object_key()),
        stored(&world, &nobodys, PNG).await,
        stored(&world, &good, PNG).await,
    ];
    assert_eq!(
        function.consume(&told).await,
        Vec::<String>::new(),
        "nothing of this gets better by repetition"
    );
    assert_eq!(
        world.aws.drain(&world.dead_letters).await.len(),
        3,
        "set aside: garbage, a foreign key, an image of a booking that is not there"
    );
    assert_eq!(
        recorded(&world, &lesson).await,
        format!("s3://{}/{good}", world.artifacts)
    );
}
