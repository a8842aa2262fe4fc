//! How often each handler talks to the database on its happy path, counted on the wire: at most twice.
//! ARCHITECTURE.md has the table; this story holds it to it.

use crate::harness::{Function, Told, World};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use stories::cast::Lesson;
use stories::stack::root;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Between function and server, counting how often the function speaks after the server has spoken.
#[derive(Clone, Default)]
struct Wire(Arc<Flights>);

#[derive(Default)]
struct Flights {
    count: AtomicUsize,
    server_spoke: AtomicBool,
}

impl Wire {
    /// Listens, and returns `url` with the wire in between.
    async fn tap(&self, url: &str) -> String {
        let parsed: url::Url = url.parse().unwrap();
        let server = format!("{}:{}", parsed.host_str().unwrap(), parsed.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tapped = url.replace(&server, &listener.local_addr().unwrap().to_string());
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(wire.clone().carry(from_client, to_server, true));
                tokio::spawn(wire.clone().carry(from_server, to_client, false));
            }
        });
        tapped
    }

    async fn carry(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_client: bool) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let server_had_spoken = self.0.server_spoke.swap(!is_client, Ordering::SeqCst);
            if is_client && server_had_spoken {
                self.0.count.fetch_add(1, Ordering::SeqCst);
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    }

    /// Counts the flights while `work` runs.
    async fn during<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        let before = self.0.count.load(Ordering::SeqCst);
        let result = work.await;
        (self.0.count.load(Ordering::SeqCst) - before, result)
    }
}

async fn tapped(world: &World, name: &str) -> (Wire, Function) {
    let wire = Wire::default();
    let url = wire.tap(&world.environment["DATABASE_URL"]).await;
    (wire, world.function_with(name, &[("DATABASE_URL", &url)]).await)
}

/// The second call's count: the first opens the connection.
async fn route(world: &World, name: &str, calls: [Value; 2]) -> usize {
    let (wire, function) = tapped(world, name).await;
    let [first, second] = calls;
    assert!(
        function.call(first).await.status < 300,
        "{name}: not the happy path"
    );
    let (flights, reply) = wire.during(function.call(second)).await;
    assert!(reply.status < 300, "{name}: not the happy path: {}", reply.body);
    flights
}

async fn consumer(world: &World, name: &str, records: [Value; 2]) -> usize {
    let (wire, function) = tapped(world, name).await;
    let [first, second] = records;
    assert_eq!(function.consume(&[first]).await, Vec::<String>::new());
    let (flights, failed) = wire.during(function.consume(&[second])).await;
    assert_eq!(failed, Vec::<String>::new(), "{name}: not the happy path");
    flights
}

/// What LiveKit tells is taken although there is no database at all.
async fn livekits_door(world: &World) -> usize {
    let door = world
        .function_with("webhook-livekit", &[("DATABASE_URL", "")])
        .await;
    let lesson = Lesson {
        classroom: Some("livekit"),
        ..Lesson::starting(jiff::Timestamp::now())
    };
    let lesson = lesson.booked_by(&world.cast, &world.owner).await;
    world.opened_room(&lesson).await;

    let told = world.livekit.take_webhooks();
    assert!(!told.is_empty(), "nothing was told");
    for webhook in told {
        let reply = door.call(Told::LiveKit(webhook).event(world)).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
    drop(world.queued().await);
    0
}

/// The same of Pencil Spaces.
async fn pencils_door(world: &World) -> usize {
    let door = world
        .function_with("webhook-pencilspaces", &[("DATABASE_URL", "")])
        .await;
    let lesson = Lesson {
        classroom: Some("pencilspaces"),
        ..Lesson::starting(jiff::Timestamp::now())
    };
    let lesson = lesson.booked_by(&world.cast, &world.owner).await;
    let space = world.opened_room(&lesson).await;

    let (tutor, now) = (world.cast.tutor.to_string(), jiff::Timestamp::now());
    let told = world.pencilspaces.enter(&space, &tutor, "tab", now);
    assert!(!told.is_empty(), "nothing was told");
    for webhook in told {
        let reply = door.call(Told::PencilSpaces(webhook).event(world)).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
    drop(world.queued().await);
    0
}

#[tokio::test]
async fn no_handler_needs_more_than_two_round_trips() {
    let world = World::new().await;
    let cast = world.cast;
    let (lesson, other) = (world.lesson_in(0).await, world.lesson_in(0).await);
    let join = |lesson| world.request("launch/join.json", cast.tutor, lesson);
    let mut counted = vec![
        (
            "launch, first join",
            route(&world, "launch", [join(&lesson), join(&other)]).await,
        ),
        (
            "launch, rejoin",
            route(&world, "launch", [join(&lesson), join(&other)]).await,
        ),
    ];
    let card = world.request("get-booking/card.json", cast.parent, &lesson);
    counted.push((
        "get-booking",
        route(&world, "get-booking", [card.clone(), card]).await,
    ));
    let later = world.lesson_in(60).await;
    let clear = world.request("assign-student/clear.json", cast.parent, &later);
    counted.push((
        "assign-student",
        route(&world, "assign-student", [clear.clone(), clear]).await,
    ));
    let upload = world.request("create-snapshot-upload/png.json", cast.tutor, &lesson);
    counted.push((
        "create-snapshot-upload",
        route(&world, "create-snapshot-upload", [upload.clone(), upload]).await,
    ));

    let room = world.booking(&lesson).await["meeting_provider_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let end = lesson.starts_at + SignedDuration::from_mins(60);
    let door = world
        .function_with("webhook-lessonspace", &[("DATABASE_URL", "")])
        .await;
    for event in world.held(&room, lesson.starts_at, end) {
        assert_eq!(
            door.call(event).await.status,
            202,
            "the door has no database at all"
        );
    }
    counted.push(("webhook-lessonspace", 0));
    let records: [Value; 2] = world.queued().await.try_into().unwrap();
    counted.push(("webhook-livekit", livekits_door(&world).await));
    counted.push(("webhook-pencilspaces", pencils_door(&world).await));
    counted.push((
        "apply-classroom-event, a record",
        consumer(&world, "apply-classroom-event", records).await,
    ));
    let recording = world.request("get-recording/recording.json", cast.parent, &lesson);
    counted.push((
        "get-recording",
        route(&world, "get-recording", [recording.clone(), recording]).await,
    ));
    counted.push((
        "record-snapshot, a record",
        consumer(&world, "record-snapshot", uploads(&world, &lesson).await).await,
    ));
    let (wire, relay) = tapped(&world, "relay-outbox").await;
    relay.invoke(json!({})).await.unwrap();
    counted.push((
        "relay-outbox, nothing due",
        wire.during(relay.invoke(json!({}))).await.0,
    ));

    let (wire, follow) = tapped(&world, "follow-bookings").await;
    follow.invoke(json!({})).await.unwrap();
    counted.push(("follow-bookings", wire.during(follow.invoke(json!({}))).await.0));

    counted.extend(sessions(&world).await);
    counted.extend(paying(&world).await);

    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (handler, flights) in counted {
        assert!(flights <= 2, "{handler} takes {flights} round trips");
        let row = format!("| {handler} | {flights} |");
        assert!(architecture.contains(&row), "ARCHITECTURE.md should say: {row}");
    }
}

async fn uploads(world: &World, lesson: &stories::cast::Lesson) -> [Value; 2] {
    let png: &[u8] = include_bytes!("../../../events/create-snapshot-upload/whiteboard.png");
    let mut records = Vec::new();
    for n in 1..=2 {
        let key = format!(
            "{}/snapshots/00000000-0000-0000-0000-00000000000{n}.png",
            lesson.id
        );
        world
            .aws
            .s3
            .put_object()
            .bucket(&world.artifacts)
            .key(&key)
            .body(png.to_vec().into())
            .send()
            .await
            .unwrap();
        let sample = crate::harness::request("record-snapshot/uploaded.json", "", lesson.id);
        let mut record = sample["Records"][0].clone();
        let mut body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        body["Records"][0]["s3"]["object"]["key"] = key.into();
        record["body"] = body.to_string().into();
        records.push(record);
    }
    records.try_into().unwrap()
}

/// Every step of paying, by two lessons that are paid ahead and then cost half, and two that are paid by card.
async fn paying(world: &World) -> Vec<(&'static str, usize)> {
    world
        .owner
        .batch_execute("UPDATE outbox SET sent_at = now()")
        .await
        .unwrap();
    let cast = world.cast;
    let lessons = [world.lesson_in(-30).await, world.lesson_in(-30).await];
    let order = |sample: &str, lesson: &Lesson| world.request(sample, cast.parent, lesson);
    let orders = [0, 1].map(|n| order("start-payment/card.json", &lessons[n]));
    let mut counted = vec![("start-payment", route(world, "start-payment", orders).await)];
    let pages = world.stripe.record("checkout.session");
    for page in &pages {
        world
            .stripe
            .close_checkout(page["id"].as_str().unwrap(), true)
            .unwrap();
    }
    let look = pages.iter().map(|page| {
        let id = page["metadata"]["firstbell_payment"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let token = world.identity.token(cast.parent);
        crate::harness::request("get-payment/payment.json", &token, id)
    });
    let looks: [Value; 2] = look.collect::<Vec<Value>>().try_into().unwrap();
    // Long enough for their gateway to be asked, which has been paid meanwhile.
    world.travel(1);
    counted.push((
        "get-payment, open",
        route(world, "get-payment", looks.clone()).await,
    ));
    counted.push(("get-payment", route(world, "get-payment", looks).await));
    world.travel(0);
    let door = world
        .function_with("webhook-stripe", &[("DATABASE_URL", "")])
        .await;
    let completed = "checkout.session.completed";
    for letter in world
        .stripe
        .letters()
        .iter()
        .filter(|letter| letter.body.contains(completed))
    {
        let event = crate::harness::letter_event("webhook-stripe/checkout-completed.json", letter);
        assert_eq!(
            door.call(event).await.status,
            202,
            "the door has no database at all"
        );
    }
    counted.push(("webhook-stripe, webhook-fapshi", 0));
    let events: [Value; 2] = world.queued_in(&world.gateway_events).await.try_into().unwrap();
    counted.push((
        "apply-gateway-event, a record",
        consumer(world, "apply-gateway-event", events).await,
    ));
    let relay = world.function("relay-outbox").await;
    relay.invoke(json!({})).await.unwrap();
    world.queued_in(&world.payments).await;
    settle_at_half(world, &lessons).await;
    relay.invoke(json!({})).await.unwrap();
    let jobs: [Value; 2] = world.queued_in(&world.payments).await.try_into().unwrap();
    counted.push(("step-tab, paid ahead", consumer(world, "step-tab", jobs).await));
    relay.invoke(json!({})).await.unwrap();
    let jobs: [Value; 2] = world.queued_in(&world.refunds).await.try_into().unwrap();
    counted.push((
        "refund-payment, a record",
        consumer(world, "refund-payment", jobs).await,
    ));
    world.queued_in(&world.payments).await;
    let lessons = [world.lesson_in(-30).await, world.lesson_in(-30).await];
    settle_at_half(world, &lessons).await;
    relay.invoke(json!({})).await.unwrap();
    let jobs: [Value; 2] = world.queued_in(&world.payments).await.try_into().unwrap();
    counted.push(("step-tab, card on file", consumer(world, "step-tab", jobs).await));
    counted
}

async fn settle_at_half(world: &World, lessons: &[Lesson; 2]) {
    let (create, mark) = (
        world.function("create-session").await,
        world.function("mark-no-show").await,
    );
    for lesson in lessons {
        let made = world
            .call(&create, "create-session/create.json", world.cast.parent, lesson)
            .await;
        let id = made.body["id"].as_str().unwrap().parse().unwrap();
        let token = world.identity.token(world.cast.tutor);
        let marked = mark
            .call(crate::harness::request("mark-no-show/mark.json", &token, id))
            .await;
        assert_eq!(marked.status, 200, "{}", marked.body);
        world.session_passes(id).await;
    }
}

async fn sessions(world: &World) -> Vec<(&'static str, usize)> {
    let cast = world.cast;
    let lessons = [world.lesson_in(-30).await, world.lesson_in(-30).await];
    let orders = lessons.map(|lesson| world.request("create-session/create.json", cast.parent, &lesson));
    let mut counted = vec![("create-session", route(world, "create-session", orders).await)];
    let ids = "SELECT id FROM sessions WHERE status = 'SCHEDULED'";
    let ids: Vec<uuid::Uuid> = world
        .owner
        .query(ids, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let of = |sample: &str, person, id| crate::harness::request(sample, &world.identity.token(person), id);
    let marks = [ids[0], ids[1]].map(|id| of("mark-no-show/mark.json", cast.tutor, id));
    counted.push(("mark-no-show", route(world, "mark-no-show", marks).await));
    let withdrawals = [ids[0], ids[1]].map(|id| of("withdraw-no-show/withdraw.json", cast.tutor, id));
    counted.push((
        "withdraw-no-show",
        route(world, "withdraw-no-show", withdrawals).await,
    ));
    let mut sessions = world
        .owner
        .query("SELECT booking_id FROM sessions LIMIT 1", &[])
        .await
        .unwrap();
    let booking: uuid::Uuid = sessions.remove(0).get(0);
    let insights = of("get-insights/insights.json", cast.parent, booking);
    counted.push((
        "get-insights",
        route(world, "get-insights", [insights.clone(), insights]).await,
    ));
    for id in [ids[0], ids[1]] {
        world.session_passes(id).await;
    }
    let planned = [world.lesson_in(30).await, world.lesson_in(30).await];
    let create = world.function("create-session").await;
    let mut calls = Vec::new();
    for lesson in planned {
        let made = world
            .call(&create, "create-session/create.json", cast.parent, &lesson)
            .await;
        let id = made.body["id"].as_str().unwrap().parse().unwrap();
        calls.push(of("cancel-session/cancel.json", cast.parent, id));
    }
    counted.push((
        "cancel-session",
        route(world, "cancel-session", calls.try_into().unwrap()).await,
    ));
    let charges = [ids[0], ids[1]].map(|id| of("explain-charge/charge.json", cast.parent, id));
    counted.push(("explain-charge", route(world, "explain-charge", charges).await));
    let (wire, tick) = tapped(world, "process-charges").await;
    tick.invoke(json!({})).await.unwrap();
    // Its last statement fills the driver's buffer, so that COMMIT is a packet of its own. On a busy machine the server may
    // speak between the two, which looks like another trip: the least of a few counts.
    let mut least = usize::MAX;
    for _ in 0..5 {
        least = least.min(wire.during(tick.invoke(json!({}))).await.0);
    }
    counted.push(("process-charges, up to 2000 sessions", least));
    counted
}
