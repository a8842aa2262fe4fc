//! LiveKit: what its door lets in, what is made of webhooks that are lost, and whom a way in lets in.

use super::presence::{COMPLETED, NO_STUDENT, NOBODY, School, decided};
use crate::harness::{Told, World, sealed_event};
use domain::launch::classroom::Classroom;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::livekit::{Faults, Quirk, Webhook};
use stories::cast::Lesson;

const JOIN: &str = "launch/join.json";
const SAMPLE: &str = "webhook-livekit/participant-left.json";

/// A lesson at LiveKit that begins now.
async fn lesson_at_livekit(world: &World) -> Lesson {
    let lesson = Lesson {
        classroom: Some("livekit"),
        ..Lesson::starting(Timestamp::now())
    };
    lesson.booked_by(&world.cast, &world.owner).await
}

/// The token in a way in.
fn token_of(url: &Value) -> String {
    let page: url::Url = url.as_str().unwrap().parse().unwrap();
    let token = page.query_pairs().find(|(name, _)| name == "token");
    token.expect("a token").1.into_owned()
}

/// What a token says, whoever signed it.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let body = token.split('.').nth(1).unwrap();
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body);
    serde_json::from_slice(&body.unwrap()).unwrap()
}

// The door --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_webhook_is_taken_only_if_our_key_has_sealed_its_very_bytes() {
    let world = World::new().await;
    let (launch, door) = (
        world.function("launch").await,
        world.function("webhook-livekit").await,
    );
    let lesson = lesson_at_livekit(&world).await;
    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    let token = token_of(&joined.body["url"]);
    let now = Timestamp::now();

    let cases = [
        (vec![], "202"),
        // The vendor's clock may be a minute behind or ahead of ours.
        (vec![Quirk::SignedLate], "202"),
        (vec![Quirk::SignedEarly], "202"),
        (vec![Quirk::SignedTooLate], "401 webhook-not-authentic"),
        (vec![Quirk::SignedTooEarly], "401 webhook-not-authentic"),
        (vec![Quirk::SignedForever], "401 webhook-not-authentic"),
        (vec![Quirk::SignedWithAnotherSecret], "401 webhook-not-authentic"),
        (vec![Quirk::SignedByAnotherKey], "401 webhook-not-authentic"),
        (vec![Quirk::SignedByNone], "401 webhook-not-authentic"),
        (vec![Quirk::SignedByHs512], "401 webhook-not-authentic"),
        (vec![Quirk::SignedWithoutHash], "401 webhook-not-authentic"),
        (vec![Quirk::SignedInHex], "401 webhook-not-authentic"),
        (vec![Quirk::SignedAnotherBody], "401 webhook-not-authentic"),
        // Somebody's way into a room is signed by the same key, and seals nothing.
        (vec![Quirk::SignedByJoinToken], "401 webhook-not-authentic"),
        (vec![Quirk::SignedByBearer], "401 webhook-not-authentic"),
        (vec![Quirk::Unsigned], "401 webhook-not-authentic"),
        // What the vendor adds one day must not cost us what it says today.
        (vec![Quirk::UnknownFields, Quirk::UnknownEnums], "202"),
        (vec![Quirk::HugeBodies], "413 body-too-large"),
    ];
    for (quirks, verdict) in cases {
        world.livekit.behave(quirks.clone());
        let told = world.livekit.join(&token, now).unwrap();
        let last: &Webhook = told.last().unwrap();

        let event = sealed_event(SAMPLE, &last.headers, &last.body);
        assert_eq!(door.call(event).await.verdict(), verdict, "{quirks:?}");
    }

    world.livekit.behave([]);
    let told = world.livekit.join(&token, now).unwrap();
    let mut event = sealed_event(SAMPLE, &told[0].headers, &told[0].body);
    event["isBase64Encoded"] = true.into();
    event["body"] = told[0].body_in_base64().into();
    assert_eq!(
        door.call(event).await.status,
        202,
        "a gateway in between may hand the bytes over in another form"
    );

    let genuine = world.queued().await;
    let bodies: Vec<&str> = genuine
        .iter()
        .map(|record| record["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies.len(), 5, "what was refused is not in the queue");
    assert!(
        bodies.iter().all(|body| !body.contains("Cleo")),
        "a name is kept: {bodies:#?}"
    );
}

// Who gets in -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_way_in_opens_one_room_to_one_person_until_the_room_closes() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = lesson_at_livekit(&world).await;
    let closes_at = lesson.ends_at() + SignedDuration::from_mins(15);

    let mut tokens = Vec::new();
    for person in [world.cast.tutor, world.cast.student] {
        let joined = world.call(&launch, JOIN, person, &lesson).await;
        assert_eq!(joined.body["provider"], "livekit", "{}", joined.body);

        let token = token_of(&joined.body["url"]);
        let said = claims(&token);
        let may = json!({"roomJoin": true, "room": lesson.id.to_string()});
        assert_eq!(said["video"], may, "and nothing else");
        assert_eq!(said["sub"], person.to_string());
        assert_eq!(said["exp"], closes_at.as_second());
        tokens.push(token);
    }

    let now = Timestamp::now();
    world.livekit.join(&tokens[0], now).unwrap();
    world.livekit.join(&tokens[1], now).unwrap();
    assert_eq!(world.livekit.participants(&lesson.id.to_string()).len(), 2);
    assert_eq!(world.livekit.rooms().len(), 1);

    let too_late = closes_at + SignedDuration::from_mins(2);
    assert!(
        world.livekit.join(&tokens[1], too_late).is_err(),
        "a way in still works when the room has closed"
    );
    let stored = world.booking(&lesson).await;
    assert_eq!(stored["meeting_url"], "https://app.story/room");
}

#[tokio::test]
async fn a_room_whose_answer_was_lost_is_the_room_all_the_same() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = lesson_at_livekit(&world).await;
    world.livekit.misbehave(Faults {
        lose_next: 1,
        ..Faults::default()
    });

    let lost = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(lost.verdict(), "503 provider-unavailable");

    let joined = world.call(&launch, JOIN, world.cast.student, &lesson).await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    assert_eq!(world.livekit.rooms().len(), 1);
}

// What nobody told ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_vendor_that_tells_nothing_is_asked_who_is_there() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await.held_in(Classroom::LiveKit).await;
    let lines = ["T 0 - 61; L 3 - 61", "T 0 - 61", "", "T 0 - 59.5; L 0 - 59.5"];
    let mut plays = school.plays(&lines).await;

    for minute in -5..=80 {
        school.happen_untold(&mut plays, minute).await;
        school.tick().await;
    }

    let expected = [
        decided(COMPLETED, 60),
        decided(NO_STUDENT, 75),
        decided(NOBODY, 75),
        // Both had pressed Join. When they left nobody can say, so they are waited for.
        decided(COMPLETED, 75),
    ];
    for (play, expected) in plays.iter().zip(expected) {
        assert_eq!(school.decisions(&play.lesson).await, [expected]);
    }
}

#[tokio::test]
async fn a_departure_that_was_never_told_is_seen_when_the_vendor_is_asked() {
    let world = World::proving().await;
    world.livekit.behave([Quirk::LosesLefts]);
    let mut school = School::open(&world, 60).await.held_in(Classroom::LiveKit).await;
    let mut plays = school.plays(&["T 0 - 61; L 0 - 30", "T 0 - 40; L 0 - 61"]).await;

    for minute in -5..=80 {
        school.pass(&mut plays, minute).await;
    }

    for play in &plays {
        assert_eq!(school.decisions(&play.lesson).await.len(), 1);
        let stored = world.booking(&play.lesson).await;
        let marks = stored["evidence"]["marks"].as_array().unwrap();
        let gone = marks.iter().filter(|mark| mark[2] == "gone").count();
        assert!(gone > 0, "{marks:#?}");
    }
}

#[tokio::test]
async fn a_lesson_whose_session_is_made_when_it_has_begun_is_asked_about_while_it_goes_on() {
    let world = World::proving().await;
    let (launch, reconcile) = (world.function("launch").await, world.function("reconcile").await);
    let lesson = lesson_at_livekit(&world).await;
    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(joined.status, 200, "{}", joined.body);

    reconcile.invoke(json!({})).await.unwrap();

    let sql =
        "SELECT ask_at < scheduled_start_at + interval '15 minutes' FROM sessions WHERE booking_id = $1";
    let row = world.owner.query_one(sql, &[&lesson.id]).await.unwrap();
    assert!(row.get::<_, bool>(0), "it is asked about only when it is over");
}

// Who is somebody -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_program_that_speaks_in_a_room_is_nobody_there() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await.held_in(Classroom::LiveKit).await;
    let mut plays = school.plays(&["T 0 - 61"]).await;
    let room = plays[0].lesson.id.to_string();

    for minute in -5..=80 {
        school.pass(&mut plays, minute).await;
        if minute == 1 {
            // Of whose track it is the vendor says no more than this.
            let whose = json!({"participant": {"sid": "PA_program", "identity": "agent-7"}});
            let at = plays[0].lesson.starts_at + SignedDuration::from_mins(1);
            let told = world.livekit.say("track_published", &room, at, &whose);
            assert!(!told.is_empty(), "nothing was said");
            let told: Vec<Told> = told.into_iter().map(Told::LiveKit).collect();
            school.hear(&told).await;
        }
    }

    assert_eq!(
        school.decisions(&plays[0].lesson).await,
        [decided(NO_STUDENT, 75)]
    );
}

#[tokio::test]
async fn whoever_opens_their_link_twice_in_a_moment_and_leaves_has_left() {
    let world = World::proving().await;
    let launch = world.function("launch").await;
    let mut school = School::open(&world, 60).await.held_in(Classroom::LiveKit).await;
    let mut plays = school.plays(&["T 0 - 61"]).await;
    let lesson = plays[0].lesson;
    let (room, student) = (lesson.id.to_string(), world.cast.student);
    let before = |milliseconds| lesson.starts_at - SignedDuration::from_millis(milliseconds);

    school.happen(&mut plays, -3).await;
    let joined = world.call(&launch, JOIN, student, &lesson).await;
    let token = token_of(&joined.body["url"]);
    let mut told = world.livekit.join(&token, before(179_900)).unwrap();
    told.extend(world.livekit.join(&token, before(179_300)).unwrap());
    told.extend(world.livekit.leave(&room, &student.to_string(), before(120_000)));
    let told: Vec<Told> = told.into_iter().map(Told::LiveKit).collect();
    school.hear(&told).await;

    for minute in -2..=80 {
        school.pass(&mut plays, minute).await;
    }
    assert_eq!(school.decisions(&lesson).await, [decided(NO_STUDENT, 75)]);
}
