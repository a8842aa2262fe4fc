//! What Lessonspace reports: verified, recorded once, applied once, in any order.

use crate::harness::{Function, World, record, set_query, webhook_event};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use simulators::lessonspace::Faults;
use std::collections::BTreeMap;
use stories::cast::Lesson;

async fn through_the_door(door: &Function, events: &[Value]) {
    for event in events {
        let reply = door.call(event.clone()).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
}

async fn proof(world: &World, lesson: &Lesson) -> Value {
    let booking = world.booking(lesson).await;
    json!([
        booking["duration_actual"],
        booking["recording_url"].is_string(),
        booking["meeting_ended_at"].is_string()
    ])
}

#[tokio::test]
async fn any_order_and_any_number_of_deliveries_end_in_the_same_state() {
    let world = World::new().await;
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    let mut random = StdRng::seed_from_u64(7);
    let mut ends = Vec::new();
    for _ in 0..6 {
        let lesson = world.lesson_in(0).await;
        let room = world.opened_room(&lesson).await;
        let at = |minute| lesson.starts_at + SignedDuration::from_mins(minute);
        let mut events = [
            world.held(&room, at(0), at(20)),
            world.held(&room, at(25), at(60)),
        ]
        .concat();
        events.extend_from_within(..);
        events.shuffle(&mut random);
        through_the_door(&door, &events).await;
        let mut records = world.queued().await;
        records.shuffle(&mut random);
        for chunk in records.chunks(3) {
            assert_eq!(apply.consume(chunk).await, Vec::<String>::new());
        }
        let booking = world.booking(&lesson).await;
        let state =
            ["duration_actual", "meeting_started_at", "meeting_ended_at"].map(|name| booking[name].clone());
        assert_eq!(state[0], 55 * 60, "twenty minutes, a break, thirty-five minutes");
        ends.push(state[1].is_string() && state[2].is_string());
    }
    assert!(ends.iter().all(|complete| *complete));
    assert_eq!(
        world.count("provider_events").await,
        6 * 4,
        "each event is recorded once"
    );
    let recalculations = world.count("caas_recalculation_queue").await;
    assert_eq!(
        recalculations, 6,
        "each lesson's end asks once for the tutor's score"
    );
}

#[tokio::test]
async fn an_event_that_comes_before_its_room_is_kept_and_applied_later() {
    let world = World::new().await;
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    let relay = world.function("relay-outbox").await;
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    // The launch has been answered by the vendor, and its saving is still under way.
    let (id, hide) = (
        &lesson.id,
        "UPDATE bookings SET meeting_provider_id = NULL WHERE id = $1",
    );
    world.owner.execute(hide, &[id]).await.unwrap();
    let events = world.held(&room, lesson.starts_at, lesson.ends_at());
    through_the_door(&door, &events).await;
    assert_eq!(
        apply.consume(&world.queued().await).await,
        Vec::<String>::new(),
        "kept, not failed"
    );
    assert_eq!(proof(&world, &lesson).await, json!([null, false, false]));
    let show = "UPDATE bookings SET meeting_provider_id = $2 WHERE id = $1";
    world.owner.execute(show, &[id, &room]).await.unwrap();
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(world.queued().await.len(), 0, "not due yet");
    world.travel(2);
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());
    assert_eq!(proof(&world, &lesson).await, json!([3600, true, true]));
}

#[tokio::test]
async fn an_event_that_never_matches_is_parked_and_can_be_replayed() {
    let world = World::new().await;
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    let relay = world.function("relay-outbox").await;
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    world
        .owner
        .execute("UPDATE bookings SET meeting_provider_id = NULL", &[])
        .await
        .unwrap();
    let [_, end] = &world.held(&room, lesson.starts_at, lesson.ends_at())[..] else {
        panic!("two webhooks")
    };
    through_the_door(&door, std::slice::from_ref(end)).await;
    let mut rounds = 0;
    loop {
        let records = world.queued().await;
        if records.is_empty() {
            break;
        }
        assert_eq!(apply.consume(&records).await, Vec::<String>::new());
        rounds += 1;
        world.travel(rounds * 24 * 60);
        relay.invoke(json!({})).await.unwrap();
    }
    assert_eq!(rounds, 10, "tried once and nine times more");
    let status = "SELECT status FROM provider_events";
    assert_eq!(
        world
            .owner
            .query_one(status, &[])
            .await
            .unwrap()
            .get::<_, &str>(0),
        "parked"
    );
    world
        .owner
        .execute("UPDATE bookings SET meeting_provider_id = $1", &[&room])
        .await
        .unwrap();
    let database = platform::database::Database::at(&world.environment["DATABASE_URL"]);
    let sent = store::prove::inbox::replay(
        &database,
        "lessonspace",
        None,
        "classroom-events",
        Timestamp::now(),
    )
    .await;
    assert_eq!(sent.unwrap(), 1);
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());
    assert_eq!(proof(&world, &lesson).await, json!([3600, true, true]));
}

#[tokio::test]
async fn only_what_the_vendor_itself_says_is_believed() {
    let world = World::new().await;
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    let [_, end] = &world.held(&room, lesson.starts_at, lesson.ends_at())[..] else {
        panic!("two webhooks")
    };
    let mut boastful = end.clone();
    let body = json!({"event": "session.end", "room": {"id": room}, "duration": 999_999, "recording_url": "https://evil.example"});
    boastful["body"] = body.to_string().into();
    // It only wakes us up: whatever it says, and whoever signed it, the vendor is asked.
    through_the_door(&door, &[boastful]).await;
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());
    assert_eq!(proof(&world, &lesson).await, json!([3600, true, true]));
    let told = "SELECT envelope::text LIKE '%evil%' FROM provider_events";
    let is_kept: bool = world.owner.query_one(told, &[]).await.unwrap().get(0);
    assert!(!is_kept, "only what is used of a body is kept");

    through_the_door(&door, std::slice::from_ref(end)).await;
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());
    assert_eq!(proof(&world, &lesson).await, json!([3600, true, true]));
}

#[tokio::test]
async fn an_event_waits_for_a_vendor_that_is_down_or_behind() {
    let world = World::new().await;
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    let events = world.held(&room, lesson.starts_at, lesson.ends_at());
    through_the_door(&door, &events[1..]).await;
    let records = world.queued().await;
    world.lessonspace.misbehave(Faults {
        fail_next: 1,
        fail_with: 429,
        ..Faults::default()
    });
    assert_eq!(apply.consume(&records).await.len(), 1, "delivered again later");
    assert_eq!(world.count("provider_events").await, 0, "nothing half done");
    assert_eq!(apply.consume(&records).await, Vec::<String>::new());
    assert_eq!(proof(&world, &lesson).await, json!([3600, true, true]));
}

#[tokio::test]
async fn a_webhook_is_taken_while_the_database_is_away() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    let events = world.held(&room, lesson.starts_at, lesson.ends_at());
    let nowhere = [(
        "DATABASE_URL",
        "postgres://nobody@127.0.0.1:1/none?sslmode=disable",
    )];
    let door = world.function_with("webhook-lessonspace", &nowhere).await;
    through_the_door(&door, &events).await;
    let records = world.queued().await;
    let homeless = world.function_with("apply-classroom-event", &nowhere).await;
    assert_eq!(homeless.consume(&records).await.len(), 2, "both come back");
    let apply = world.function("apply-classroom-event").await;
    assert_eq!(apply.consume(&records).await, Vec::<String>::new());
    assert_eq!(proof(&world, &lesson).await, json!([3600, true, true]));
}

/// Where only the vendor's own word is believed, these are refused at the door: it is not our address.
const NOT_OUR_ADDRESS: [&str; 3] = ["token", "booking", "no query"];

/// One change to a genuine delivery that makes it not genuine.
fn mutate(event: &Value, random: &mut StdRng) -> (&'static str, Value) {
    let mut mutant = event.clone();
    let body = event["body"].as_str().unwrap().to_owned();
    let kinds = [
        "flip",
        "cut",
        "grow",
        "binary",
        "signature",
        "no signature",
        "token",
        "booking",
        "no query",
        "nesting",
        "huge",
    ];
    let kind = *kinds.choose(random).unwrap();
    let at = random.random_range(0..body.len());
    match kind {
        "flip" => {
            let mut bytes = body.into_bytes();
            bytes[at] = (bytes[at] ^ random.random_range(1..=127)) & 0x7f;
            mutant["body"] = String::from_utf8(bytes).unwrap().into();
        }
        "cut" => mutant["body"] = body[..at].into(),
        "grow" => mutant["body"] = format!("{}{}", body, random.random::<char>()).into(),
        "binary" => {
            mutant["isBase64Encoded"] = true.into();
            mutant["body"] = "/////w==".into();
        }
        "signature" => {
            let length = random.random_range(0..80);
            let forged: String = (0..length)
                .map(|_| *b"0123456789abcdefg".choose(random).unwrap() as char)
                .collect();
            mutant["headers"]["x-webhook-signature"] = forged.into();
        }
        "no signature" => drop(
            mutant["headers"]
                .as_object_mut()
                .unwrap()
                .remove("x-webhook-signature"),
        ),
        "token" | "booking" => {
            let url = format!("https://api.story/?{}", event["rawQueryString"].as_str().unwrap());
            let mut url: url::Url = url.parse().unwrap();
            let pairs: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
            let mut changed = pairs.clone();
            let value = changed.get_mut(kind).unwrap();
            let other = if value.pop() == Some('0') { '1' } else { '0' };
            value.push(other);
            url.query_pairs_mut().clear().extend_pairs(changed);
            set_query(&mut mutant, &url);
        }
        "no query" => set_query(&mut mutant, &"https://api.story/".parse().unwrap()),
        "nesting" => mutant["body"] = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)).into(),
        _ => mutant["body"] = format!("{{\"room\":{{\"id\":\"{}\"}}}}", "x".repeat(300_000)).into(),
    }
    (kind, mutant)
}

#[tokio::test]
async fn of_a_thousand_mutated_webhooks_none_is_believed_and_none_breaks_anything() {
    let world = World::new().await;
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    let webhooks = world
        .lessonspace
        .hold_session(&room, lesson.starts_at, lesson.ends_at());
    let genuine = webhook_event(&webhooks[1]);
    let mut random = StdRng::seed_from_u64(2026);
    let mut at_the_door = BTreeMap::<String, u32>::new();
    for _ in 0..1_000 {
        let (kind, mutant) = mutate(&genuine, &mut random);
        let reply = door.call(mutant.clone()).await;
        let is_refused = (400..500).contains(&reply.status);
        let may_be_taken = !NOT_OUR_ADDRESS.contains(&kind) && reply.status == 202;
        assert!(
            is_refused || may_be_taken,
            "{kind} gives {}: {mutant}",
            reply.status
        );
        *at_the_door
            .entry(format!("{kind}: {}", reply.status))
            .or_default() += 1;
    }
    for records in world.queued().await.chunks(10) {
        assert_eq!(
            apply.consume(records).await,
            Vec::<String>::new(),
            "{at_the_door:?}"
        );
    }
    assert_eq!(
        proof(&world, &lesson).await,
        json!([3600, true, true]),
        "what the vendor's list says, and nothing else"
    );
    let panics = door.log().iter().any(|line| line.contains("panic\""));
    assert!(!panics, "a mutant made the door panic");
    through_the_door(&door, &[genuine]).await;
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());
    assert_eq!(
        proof(&world, &lesson).await,
        json!([3600, true, true]),
        "and the genuine one is accepted"
    );
}

#[tokio::test]
async fn a_message_that_is_no_event_is_set_aside() {
    let world = World::new().await;
    let apply = world.function("apply-classroom-event").await;
    let arn = "arn:aws:sqs:us-east-1:000000000000:classroom-events";
    let sample = crate::harness::request("apply-classroom-event/session-end.json", "", uuid::Uuid::new_v4());
    let future = sample["Records"][0]["body"]
        .as_str()
        .unwrap()
        .replacen("\"v\": 1", "\"v\": 2", 1);
    let records = [
        record("garbage", "{", "r", arn),
        record("future", &future, "r", arn),
    ];
    assert_eq!(apply.consume(&records).await, Vec::<String>::new());
    assert_eq!(world.aws.drain(&world.dead_letters).await.len(), 2);
}
