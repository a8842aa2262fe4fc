//! Secrets and people: fetched safely, never told.

use crate::harness::{
    API_KEY, Aws, FAPSHI_KEY, FAPSHI_PAYOUT_KEY, FAPSHI_WEBHOOK_SECRET, LEGACY_SECRET, LIVEKIT_SECRET,
    PENCIL_KEY, PENCIL_WEBHOOK_SECRET, STRIPE_KEY, STRIPE_WEBHOOK_SECRET, Told, WEBHOOK_SECRET, World,
    letter_event, record,
};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::HeaderMap;
use jiff::SignedDuration;
use platform::config::Env;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use simulators::lessonspace::Faults;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
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

/// Parameter Store at its JSON protocol. Notes which names each call asks for; can fall silent.
#[derive(Clone, Default)]
struct ParameterStore(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    values: HashMap<String, String>,
    asked: Vec<Vec<String>>,
    is_silent: bool,
}

/// What SSM gives at most by one call.
const MOST_NAMES: usize = 10;

impl ParameterStore {
    async fn answer(State(store): State<Self>, headers: HeaderMap, body: String) -> String {
        let call: Value = serde_json::from_str(&body).unwrap();
        let names: Vec<String> = serde_json::from_value(call["Names"].clone()).unwrap();
        assert_eq!(headers["x-amz-target"], "AmazonSSM.GetParameters");
        assert!(names.len() <= MOST_NAMES, "SSM refuses {names:?}");
        assert_eq!(call["WithDecryption"], true, "SSM gives ciphertext without it");

        let (found, missing, is_silent) = {
            let mut shelf = store.0.lock().unwrap();
            shelf.asked.push(names.clone());
            let (found, missing): (Vec<_>, Vec<_>) = names
                .into_iter()
                .partition(|name| shelf.values.contains_key(name));
            let found: Vec<Value> = found
                .into_iter()
                .map(|name| json!({"Value": shelf.values[&name], "Name": name, "Type": "SecureString", "Version": 1}))
                .collect();
            (found, missing, shelf.is_silent)
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
        json!({"Parameters": found, "InvalidParameters": missing}).to_string()
    }

    /// Takes these settings of the world into the store; the settings under which a function finds them there.
    async fn instead_of(&self, settings: &[&str], world: &World) -> Vec<(String, String)> {
        let router = Router::new()
            .route("/", post(Self::answer))
            .with_state(self.clone());
        let address = simulators::serve(router).await.unwrap();
        let mut changes = vec![("AWS_ENDPOINT_URL_SSM".to_owned(), format!("http://{address}"))];
        for setting in settings {
            let name = format!("/firstbell/story/{setting}");
            let value = world.environment[*setting].clone();
            self.0.lock().unwrap().values.insert(name.clone(), value);
            changes.push(((*setting).to_owned(), String::new()));
            changes.push((format!("{setting}_PARAMETER"), name));
        }
        changes
    }

    fn fall_silent(&self) {
        self.0.lock().unwrap().is_silent = true;
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

#[tokio::test]
async fn a_start_fetches_all_its_secrets_by_one_call_and_goes_on_with_them_while_ssm_is_silent() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let store = ParameterStore::default();
    let secrets = ["DATABASE_URL", "LESSONSPACE_API_KEY", "JWT_LEGACY_SECRET"];
    let changes = store.instead_of(&secrets, &world).await;
    let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (&**name, &**value)).collect();

    let launch = world.function_with("launch", &changes).await;
    let joins = async || {
        let tutor = world.cast.tutor;
        let reply = world.call(&launch, "launch/join.json", tutor, &lesson).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    for _ in 0..3 {
        joins().await;
    }
    let asked = store.0.lock().unwrap().asked.clone();
    let all: Vec<String> = ["DATABASE_URL", "JWT_LEGACY_SECRET", "LESSONSPACE_API_KEY"]
        .map(|secret| format!("/firstbell/story/{secret}"))
        .into();
    assert_eq!(asked, [all], "one call for all, and none while they are fresh");

    world.travel(11);
    joins().await;
    assert_eq!(store.calls(), 2, "a rotation takes effect after ten minutes");

    store.fall_silent();
    world.travel(22);
    for _ in 0..3 {
        joins().await;
    }
    assert_eq!(
        store.calls(),
        3,
        "a refresh that fails is not tried again at each call"
    );
    world.travel(23);
    joins().await;
    assert_eq!(store.calls(), 4, "but after a while");

    let cold = world.function_with("launch", &changes).await;
    let reply = world
        .call(&cold, "launch/join.json", world.cast.tutor, &lesson)
        .await;
    assert_eq!(reply.status, 503, "without any secret: {}", reply.body);
}

#[tokio::test]
async fn a_parameter_that_is_missing_is_missed_by_whoever_needs_it() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let store = ParameterStore::default();
    let mut changes = store.instead_of(&["DATABASE_URL"], &world).await;
    changes.extend([
        ("LESSONSPACE_API_KEY".to_owned(), String::new()),
        (
            "LESSONSPACE_API_KEY_PARAMETER".to_owned(),
            "/not-made-yet".to_owned(),
        ),
    ]);
    let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (tutor, card) = (
        world.cast.tutor,
        world.function_with("get-booking", &changes).await,
    );
    let seen = world.call(&card, "get-booking/card.json", tutor, &lesson).await;
    assert_eq!(seen.status, 200, "{}", seen.body);

    let launch = world.function_with("launch", &changes).await;
    let refused = world.call(&launch, "launch/join.json", tutor, &lesson).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(!launch.log().join("\n").contains("/not-made-yet"));
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
        ("get-insights", "get-insights/insights.json"),
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
    let livekit = world.function("webhook-livekit").await;
    for webhook in livekit_tells(&world).await {
        livekit.call(hostile(webhook.clone())).await;
        livekit.call(webhook).await;
    }
    let pencil = world.function("webhook-pencilspaces").await;
    for webhook in pencil_tells(&world).await {
        pencil.call(hostile(webhook.clone())).await;
        pencil.call(webhook).await;
    }
    let apply = world.function("apply-classroom-event").await;
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
    let homeless = world.function_with("apply-classroom-event", &broken).await;
    homeless.consume(&records).await;
    for function in [&door, &livekit, &pencil, &apply, &homeless] {
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
        LIVEKIT_SECRET,
        PENCIL_KEY,
        PENCIL_WEBHOOK_SECRET,
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

/// Somebody joins a lesson at LiveKit, which tells of them by their name.
async fn livekit_tells(world: &World) -> Vec<Value> {
    let lesson = Lesson {
        classroom: Some("livekit"),
        ..Lesson::starting(jiff::Timestamp::now())
    };
    let lesson = lesson.booked_by(&world.cast, &world.owner).await;
    let launch = world.function("launch").await;
    let joined = world
        .call(&launch, "launch/join.json", world.cast.tutor, &lesson)
        .await;

    let page: url::Url = joined.body["url"].as_str().unwrap().parse().unwrap();
    let token = page.query_pairs().find(|(name, _)| name == "token").unwrap().1;
    let told = world.livekit.join(&token, jiff::Timestamp::now()).unwrap();
    let told = told.into_iter().map(Told::LiveKit);
    told.map(|told| told.event(world)).collect()
}

/// Somebody enters a space.
async fn pencil_tells(world: &World) -> Vec<Value> {
    let lesson = Lesson {
        classroom: Some("pencilspaces"),
        ..Lesson::starting(jiff::Timestamp::now())
    };
    let lesson = lesson.booked_by(&world.cast, &world.owner).await;
    let space = world.opened_room(&lesson).await;
    let (tutor, now) = (world.cast.tutor.to_string(), jiff::Timestamp::now());
    let told = world.pencilspaces.enter(&space, &tutor, "tab", now).into_iter();
    told.map(|webhook| Told::PencilSpaces(webhook).event(world))
        .collect()
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
        world.function("apply-gateway-event").await,
        world.function("relay-outbox").await,
    );
    apply.consume(&world.queued_in(&world.gateway_events).await).await;
    // Too much was paid, so something goes back.
    world
        .owner
        .batch_execute("UPDATE bookings SET price_minor = 4000")
        .await
        .unwrap();
    relay.invoke(json!({})).await.unwrap();
    let (capture, refund) = (
        world.function("step-tab").await,
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
    let stage = [("METRICS_NAMESPACE", "Firstbell/stories")];
    let launch = world.function_with("launch", &stage).await;
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
        let metrics = &line["_aws"]["CloudWatchMetrics"];
        assert_eq!(metrics[0]["Namespace"], "Firstbell/stories");
        assert_eq!(metrics[0]["Dimensions"], json!([["function", "outcome"]]));
        // What tells the alarm on panics, whichever function it was.
        assert_eq!(metrics[1]["Namespace"], "Firstbell/stories");
        assert_eq!(metrics[1]["Dimensions"], json!([["outcome"]]));
        assert_eq!(metrics[1]["Metrics"][0]["Name"], "duration_ms");
        assert_eq!(line["function"], "launch");
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
