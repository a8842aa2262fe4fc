//! Secrets and people: fetched safely, never told.

use crate::harness::{
    API_KEY, Aws, FAPSHI_KEY, FAPSHI_PAYOUT_KEY, FAPSHI_WEBHOOK_SECRET, LEGACY_SECRET, STRIPE_KEY,
    STRIPE_WEBHOOK_SECRET, WEBHOOK_SECRET, World, letter_event, record,
};
use jiff::SignedDuration;
use platform::config::Env;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use simulators::lessonspace::Faults;
use stories::cast::Lesson;
use uuid::Uuid;

#[tokio::test]
async fn a_secret_is_an_ssm_parameter_that_is_fetched_once() {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let ssm = aws_sdk_ssm::Client::new(&config);
    let name = format!("/firstbell/{}/key", Uuid::new_v4());
    let store = |value: &'static str| {
        let parameter = ssm.put_parameter().name(&name).value(value).overwrite(true);
        parameter
            .r#type(aws_sdk_ssm::types::ParameterType::SecureString)
            .send()
    };
    store("new-value, old-value").await.unwrap();
    let lookup = name.clone();
    let mut env = Env::from_lookup(move |variable| (variable == "API_KEY_PARAMETER").then(|| lookup.clone()));
    let secret = env.secret("API_KEY").unwrap();
    let all: Vec<String> = secret
        .all()
        .await
        .unwrap()
        .iter()
        .map(|value| value.expose_secret().into())
        .collect();
    assert_eq!(
        all,
        ["new-value", "old-value"],
        "during a rotation both are accepted"
    );
    store("changed").await.unwrap();
    assert_eq!(
        secret.first().await.unwrap().expose_secret(),
        "new-value",
        "fetched once within its lifetime"
    );
    let missing = Env::from_lookup(|variable| (variable == "X_PARAMETER").then(|| "/none".into()))
        .secret("X")
        .unwrap();
    let error = missing.get().await.unwrap_err().to_string();
    assert!(!error.contains("/none"), "{error}");
    drop(Aws::connect().await);
}

const CANARIES: [&str; 8] = [
    "ada.lee@example.org",
    "670000000",
    "Ada Parent",
    "Cleo Tutor",
    "Ben Student",
    "canary-in-a-body",
    "canary-in-a-header",
    "canary-in-a-path",
];

fn hostile(mut event: Value) -> Value {
    event["headers"]["x-canary"] = "canary-in-a-header".into();
    event["headers"]["cookie"] = "session=canary-in-a-header".into();
    event["body"] = r#"{"student_id":"canary-in-a-body","email":"ada.lee@example.org","content_type":"canary-in-a-body","content_length":1}"#.into();
    event
}

#[tokio::test]
async fn no_secret_token_name_address_or_body_appears_in_any_log() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let token = world.identity.token(world.cast.tutor);
    let mut logs = Vec::new();
    let routes = [
        ("launch", "launch/join.json"),
        ("get-booking", "get-booking/card.json"),
        ("assign-student", "assign-student/clear.json"),
        ("create-snapshot-upload", "create-snapshot-upload/png.json"),
        ("get-recording", "get-recording/recording.json"),
    ];
    for (name, sample) in routes {
        let function = world.function(name).await;
        let good = crate::harness::request(sample, &token, lesson.id);
        let mut lost = good.clone();
        lost["pathParameters"]["id"] = "canary-in-a-path".into();
        let mut forged = good.clone();
        forged["headers"]["authorization"] = format!("Bearer {token}x").into();
        world.lessonspace.misbehave(Faults {
            fail_next: u32::from(name == "launch"),
            ..Faults::default()
        });
        for event in [good.clone(), hostile(good), lost, forged] {
            function.call(event).await;
        }
        logs.extend(function.log());
    }
    let room = world.opened_room(&lesson).await;
    let door = world.function("webhook-lessonspace").await;
    let ended = lesson.starts_at + SignedDuration::from_mins(60);
    for event in world.held(&room, lesson.starts_at, ended) {
        door.call(hostile(event.clone())).await;
        door.call(event).await;
    }
    let apply = world.function("apply-event").await;
    let mut records = world.queued().await;
    records.push(record(
        "garbage",
        "canary-in-a-body ada.lee@example.org",
        "r",
        "arn:aws:sqs:us-east-1:0:q",
    ));
    apply.consume(&records).await;
    let broken = [(
        "DATABASE_URL",
        "postgres://user:canary-password@127.0.0.1:1/x?sslmode=disable",
    )];
    let homeless = world.function_with("apply-event", &broken).await;
    homeless.consume(&records).await;
    for function in [&door, &apply, &homeless] {
        logs.extend(function.log());
    }
    logs.extend(paying(&world).await);
    assert!(
        logs.len() > 20,
        "the functions said nothing: the story proves nothing"
    );
    let secrets = [
        API_KEY,
        LEGACY_SECRET,
        WEBHOOK_SECRET,
        STRIPE_KEY,
        STRIPE_WEBHOOK_SECRET,
        FAPSHI_KEY,
        FAPSHI_PAYOUT_KEY,
        FAPSHI_WEBHOOK_SECRET,
        "canary-password",
        "eyJ",
        &token,
    ];
    for line in &logs {
        for leak in CANARIES.iter().chain(&secrets) {
            assert!(!line.contains(leak), "{leak} leaked: {line}");
        }
    }
    every_line_is_an_object_with_a_timestamp(&logs);
}

/// What the functions that move money say while they do, and while their gateway refuses or is silent.
async fn paying(world: &World) -> Vec<String> {
    let lesson = Lesson {
        price: 5_000,
        currency: "XAF",
        ..Lesson::starting(jiff::Timestamp::now())
    };
    let lesson = lesson.booked_by(&world.cast, &world.owner).await;
    let (start, get) = (
        world.function("start-payment").await,
        world.function("get-payment").await,
    );
    let begun = world
        .call(
            &start,
            "start-payment/mobile-money.json",
            world.cast.parent,
            &lesson,
        )
        .await;
    let good = world.request("start-payment/card.json", world.cast.parent, &lesson);
    world.stripe.misbehave(simulators::mailbox::Faults {
        fail_next: 1,
        ..Default::default()
    });
    for event in [good.clone(), hostile(good)] {
        start.call(event).await;
    }
    let id = begun.body["id"].as_str().unwrap().parse().unwrap();
    let token = world.identity.token(world.cast.parent);
    get.call(crate::harness::request("get-payment/payment.json", &token, id))
        .await;
    let transaction = world.fapshi.record("Collection")[0]["transId"].clone();
    world.fapshi.end(transaction.as_str().unwrap(), "SUCCESSFUL");
    let door = world.function("webhook-fapshi").await;
    for letter in world.fapshi.letters() {
        let event = letter_event("webhook-fapshi/successful.json", &letter);
        door.call(hostile(event.clone())).await;
        door.call(event).await;
    }
    let stripes_door = world.function("webhook-stripe").await;
    let forged = crate::harness::request("webhook-stripe/checkout-completed.json", "", Uuid::nil());
    stripes_door.call(hostile(forged)).await;
    let (apply, relay) = (
        world.function("apply-event").await,
        world.function("relay-outbox").await,
    );
    apply.consume(&world.queued().await).await;
    // Too much was paid, so something goes back.
    world
        .owner
        .batch_execute("UPDATE bookings SET price_minor = 4000")
        .await
        .unwrap();
    relay.invoke(json!({})).await.unwrap();
    let (capture, refund) = (
        world.function("capture-payment").await,
        world.function("refund-payment").await,
    );
    capture.consume(&world.queued_in(&world.payments).await).await;
    relay.invoke(json!({})).await.unwrap();
    refund.consume(&world.queued_in(&world.refunds).await).await;
    assert_eq!(world.fapshi.record("Payout").len(), 1, "nothing went back");
    let all = [
        &start,
        &get,
        &door,
        &stripes_door,
        &apply,
        &relay,
        &capture,
        &refund,
    ];
    all.iter().flat_map(|function| function.log()).collect()
}

fn every_line_is_an_object_with_a_timestamp(logs: &[String]) {
    for line in logs {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let stamp = line["timestamp"]
            .as_str()
            .and_then(|stamp| stamp.parse::<jiff::Timestamp>().ok());
        assert!(stamp.is_some() && line["level"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn each_invocation_ends_in_one_summary_line_that_is_also_its_metrics() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let launch = world.function("launch").await;
    for person in [world.cast.tutor, world.cast.stranger] {
        world.call(&launch, "launch/join.json", person, &lesson).await;
    }
    let lines = launch.log();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summaries: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "invocation")
        .collect();
    let told: Vec<Value> = summaries
        .iter()
        .map(|line| json!([line["outcome"], line["cold"], line["status"], line["booking_id"]]))
        .collect();
    let id = lesson.id.to_string();
    assert_eq!(
        told,
        [
            json!(["ok", true, "200", id]),
            json!(["refused", false, "403", id])
        ]
    );
    for line in summaries {
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(metrics["Dimensions"], json!([["function", "outcome"]]));
        assert!(
            line["duration_ms"].is_number() && line["requestId"].is_string() && line["db_ms"].is_number()
        );
    }
}

#[tokio::test]
async fn a_function_without_its_configuration_says_everything_it_lacks() {
    let world = World::new().await;
    let bare = crate::harness::Function::start("launch", &std::collections::HashMap::new()).await;
    for _ in 0..1_000 {
        if !bare.log().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let said = bare.log().join("\n");
    for name in [
        "DATABASE_URL",
        "JWT_ISSUER",
        "JWKS_URL",
        "LESSONSPACE_API_KEY",
        "LESSONSPACE_SECRET",
        "PUBLIC_BASE_URL",
    ] {
        assert!(said.contains(name), "{name} is not reported: {said}");
    }
    drop(world);
}
