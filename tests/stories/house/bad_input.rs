//! Bad input: a clear problem, and never a 500.

use crate::harness::World;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const ROUTES: [(&str, &str); 8] = [
    ("launch", "launch/join.json"),
    ("get-booking", "get-booking/card.json"),
    ("assign-student", "assign-student/clear.json"),
    ("create-snapshot-upload", "create-snapshot-upload/png.json"),
    ("get-recording", "get-recording/recording.json"),
    ("get-insights", "get-insights/insights.json"),
    ("start-payment", "start-payment/mobile-money.json"),
    ("get-payment", "get-payment/payment.json"),
];

#[tokio::test]
async fn every_problem_has_a_stable_type_and_leaks_nothing() {
    let world = World::new().await;
    let lesson = world.lesson_in(60).await;
    for (name, sample) in ROUTES {
        let function = world.function(name).await;
        let mut nobody = world.request(sample, world.cast.tutor, &lesson);
        nobody["headers"].as_object_mut().unwrap().remove("authorization");
        let reply = function.call(nobody).await;
        assert_eq!(reply.verdict(), "401 unauthenticated", "{name}");
        assert_eq!(
            reply.headers["content-type"], "application/problem+json",
            "{name}"
        );
        let mut members: Vec<_> = reply.body.as_object().unwrap().keys().cloned().collect();
        members.sort();
        assert_eq!(
            members,
            ["detail", "request_id", "status", "title", "type"],
            "{name}"
        );
        let mut lost = world.request(sample, world.cast.tutor, &lesson);
        lost["pathParameters"]["id"] = "1 OR 1=1".into();
        assert_eq!(function.call(lost).await.verdict(), "403 forbidden", "{name}");
    }
}

#[tokio::test]
async fn unknown_fields_of_users_are_refused() {
    let world = World::new().await;
    let lesson = world.lesson_in(60).await;
    let cases = [
        (
            "assign-student",
            "assign-student/clear.json",
            json!({"student_id": null, "role": "admin"}),
        ),
        ("assign-student", "assign-student/clear.json", json!({})),
        (
            "create-snapshot-upload",
            "create-snapshot-upload/png.json",
            json!({"content_type": "image/png", "content_length": 1, "key": "../x"}),
        ),
    ];
    for (name, sample, body) in cases {
        let function = world.function(name).await;
        let mut event = world.request(sample, world.cast.parent, &lesson);
        event["body"] = body.to_string().into();
        assert_eq!(
            function.call(event).await.verdict(),
            "400 malformed-body",
            "{name} takes {body}"
        );
    }
}

fn mangle(event: &Value, random: &mut StdRng) -> Value {
    let mut mangled = event.clone();
    let junk: String = (0..random.random_range(0..40))
        .map(|_| random.random::<char>())
        .collect();
    let bodies = [
        "",
        "null",
        "[]",
        "{",
        "1e999",
        "\"x\"",
        "{\"student_id\":1}",
        "{\"content_length\":-1e400}",
        "{\"content_type\":[]}",
    ];
    match random.random_range(0..6) {
        0 => mangled["body"] = junk.into(),
        1 => mangled["body"] = (*bodies.choose(random).unwrap()).into(),
        2 => {
            mangled["isBase64Encoded"] = true.into();
            mangled["body"] = "/////w==".into();
        }
        3 => mangled["pathParameters"]["id"] = junk.into(),
        4 => mangled["headers"]["authorization"] = format!("Bearer {}", junk.escape_default()).into(),
        _ => mangled["body"] = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000)).into(),
    }
    mangled
}

#[tokio::test]
async fn whatever_is_sent_it_is_never_our_fault() {
    let world = World::new().await;
    let lesson = world.lesson_in(60).await;
    let mut random = StdRng::seed_from_u64(9457);
    for (name, sample) in ROUTES {
        let function = world.function(name).await;
        let event = world.request(sample, world.cast.tutor, &lesson);
        for _ in 0..100 {
            let mangled = mangle(&event, &mut random);
            let reply = function.call(mangled.clone()).await;
            assert!(reply.status < 500, "{name} answers {} to {mangled}", reply.status);
        }
    }
}
