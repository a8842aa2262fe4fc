//! Sessions and their money: one outcome each, explained, in a ledger that balances.

use crate::harness::{CRON_SECRET, Function, Reply, World};
use futures::future::{join_all, join3};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stories::cast::Lesson;
use uuid::Uuid;

const CREATE: &str = "create-session/create.json";

/// A session for the lesson.
async fn session(world: &World, lesson: &Lesson) -> Uuid {
    let create = world.function("create-session").await;
    let made = world.call(&create, CREATE, world.cast.parent, lesson).await;
    assert!([200, 201].contains(&made.status), "{}", made.body);
    made.body["id"].as_str().unwrap().parse().unwrap()
}

async fn call(world: &World, function: &Function, sample: &str, person: Uuid, session: Uuid) -> Reply {
    function
        .call(crate::harness::request(
            sample,
            &world.identity.token(person),
            session,
        ))
        .await
}

async fn tick(world: &World) {
    world
        .function("process-charges")
        .await
        .invoke(json!({}))
        .await
        .unwrap();
}

async fn charge(world: &World, session: Uuid) -> Value {
    let explain = world.function("explain-charge").await;
    call(
        world,
        &explain,
        "explain-charge/charge.json",
        world.cast.parent,
        session,
    )
    .await
    .body
}

fn amounts(charge: &Value) -> Value {
    json!([
        charge["status"],
        charge["charge"]["amount"],
        charge["payout"]["amount"],
        charge["fee"]["amount"]
    ])
}

/// What a person was told of a lesson, with the outcomes that this named.
async fn told(world: &World, person: Uuid, lesson: &Lesson) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', kind, data ->> 'status') FROM notifications
               WHERE profile_id = $1 AND booking_id = $2 ORDER BY id";
    let rows = world.owner.query(sql, &[&person, &lesson.id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn ledger_sum(world: &World) -> i64 {
    let sql = "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries";
    world.owner.query_one(sql, &[]).await.unwrap().get(0)
}

async fn balance(world: &World, kind: &str) -> i64 {
    let sql = "SELECT coalesce(sum(e.amount_minor), 0)::bigint FROM ledger_entries e
               JOIN ledger_accounts a ON a.id = e.account_id WHERE a.kind = $1";
    world.owner.query_one(sql, &[&kind]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_confirmed_booking_becomes_one_session_and_nothing_else_does() {
    let world = World::new().await;
    let lesson = world.lesson_in(60).await;
    let functions = join_all((0..4).map(|_| world.function("create-session"))).await;
    let calls = functions
        .iter()
        .map(|create| world.call(create, CREATE, world.cast.parent, &lesson));
    let made = join_all(calls).await;
    let mut statuses: Vec<u16> = made.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    let is_sane = |status: &u16| [200, 201, 503].contains(status);
    assert!(
        statuses.iter().all(is_sane) && statuses.iter().filter(|status| **status == 201).count() == 1,
        "{statuses:?}"
    );
    assert_eq!(world.count("sessions").await, 1);
    let again = world.call(&functions[0], CREATE, world.cast.tutor, &lesson).await;
    assert_eq!(again.status, 200, "asked again by the tutor");
    let told = json!([
        again.body["no_show_wait_minutes"],
        again.body["min_payable_minutes"],
        again.body["price"]
    ]);
    assert_eq!(told, json!([20, 40, {"amount": 10_000, "currency": "TTD"}]));
    let stranger = world
        .call(&functions[0], CREATE, world.cast.stranger, &lesson)
        .await;
    assert_eq!(stranger.verdict(), "403 forbidden");
    let pending = Lesson {
        status: "pending",
        ..Lesson::starting(Timestamp::now())
    };
    let pending = pending.booked_by(&world.cast, &world.owner).await;
    let refused = world
        .call(&functions[0], CREATE, world.cast.parent, &pending)
        .await;
    assert_eq!(refused.verdict(), "409 booking-not-confirmed");
    let other = world.lesson_in(60).await;
    world
        .owner
        .execute(
            "UPDATE tutor_video_provider_connections SET connection_status = 'invalid'",
            &[],
        )
        .await
        .unwrap();
    let refused = world.call(&functions[0], CREATE, world.cast.parent, &other).await;
    assert_eq!(refused.verdict(), "409 tutor-not-connected");
}

#[tokio::test]
async fn a_lesson_costs_all_a_no_show_half_and_an_early_end_nothing() {
    let world = World::new().await;
    let lessons = [
        world.lesson_in(0).await,
        world.lesson_in(0).await,
        world.lesson_in(0).await,
    ];
    let [completed, absent, early] = [
        session(&world, &lessons[0]).await,
        session(&world, &lessons[1]).await,
        session(&world, &lessons[2]).await,
    ];
    let mark = world.function("mark-no-show").await;
    let marked = |person, session| call(&world, &mark, "mark-no-show/mark.json", person, session);
    assert_eq!(
        marked(world.cast.parent, absent).await.verdict(),
        "403 not-the-tutor"
    );
    assert_eq!(
        marked(world.cast.stranger, absent).await.verdict(),
        "403 forbidden"
    );
    assert_eq!(
        marked(world.cast.tutor, absent).await.verdict(),
        "409 no-show-too-early"
    );
    world.travel(21);
    let answer = marked(world.cast.tutor, absent).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("NO_SHOW_STUDENT"))
    );
    assert_eq!(
        marked(world.cast.tutor, absent).await.status,
        200,
        "a lost answer, asked for again"
    );
    let end = lessons[2].starts_at + SignedDuration::from_mins(57);
    world.room_ended(&lessons[2], end).await;
    tick(&world).await;
    assert_eq!(
        world.count("charges").await,
        0,
        "a mark costs nothing before the end"
    );
    let explain = world.function("explain-charge").await;
    let unsettled = call(
        &world,
        &explain,
        "explain-charge/charge.json",
        world.cast.parent,
        completed,
    )
    .await;
    assert_eq!(unsettled.verdict(), "404 not-settled", "before its time");
    world.travel(61);
    assert_eq!(
        marked(world.cast.tutor, completed).await.verdict(),
        "409 no-show-too-late"
    );
    tick(&world).await;
    assert_eq!(
        world.count("charges").await,
        2,
        "an early end waits for the room to close"
    );
    world.travel(76);
    tick(&world).await;
    tick(&world).await;
    let [completed, absent, early] = [
        charge(&world, completed).await,
        charge(&world, absent).await,
        charge(&world, early).await,
    ];
    assert_eq!(
        amounts(&completed),
        json!(["COMPLETED_ASSUMED", 10_000, 9_000, 1_000])
    );
    assert_eq!(amounts(&absent), json!(["NO_SHOW_STUDENT", 5_000, 4_500, 500]));
    assert_eq!(amounts(&early), json!(["EARLY_END_SHORT", 0, 0, 0]));
    assert_eq!(
        absent["explanation"]["arithmetic"],
        json!([
            "charge = 1/2 of 100.00 TTD = 50.00 TTD",
            "payout = 9/10 of 50.00 TTD = 45.00 TTD",
            "fee = 50.00 TTD - 45.00 TTD = 5.00 TTD"
        ])
    );
    let balances = [
        balance(&world, "receivable").await,
        balance(&world, "payable").await,
        balance(&world, "fees").await,
    ];
    assert_eq!(balances, [15_000, -13_500, -1_500]);
}

#[tokio::test]
async fn two_runs_and_a_no_show_at_the_same_instant_leave_one_outcome() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for _ in 0..12 {
        let lesson = world.lesson_in(-60).await;
        sessions.push(session(&world, &lesson).await);
    }
    // The planned end is this very instant: the last moment of a mark and the first of the settlement.
    world
        .owner
        .execute("UPDATE sessions SET due_at = now() - interval '1 minute'", &[])
        .await
        .unwrap();
    world.travel(0);
    let early = "UPDATE sessions SET scheduled_start_at = scheduled_start_at + interval '1 minute',
                 scheduled_end_at = scheduled_end_at + interval '1 minute'";
    world.owner.execute(early, &[]).await.unwrap();
    let (first, second) = (
        world.function("process-charges").await,
        world.function("process-charges").await,
    );
    let cron = world.function("process-charges-now").await;
    world.travel(2);
    let mark = world
        .function_with("mark-no-show", &[("CLOCK_OFFSET_FILE", "/nowhere")])
        .await;
    let marks = async {
        let mut accepted = Vec::new();
        for session in &sessions {
            let reply = call(
                &world,
                &mark,
                "mark-no-show/mark.json",
                world.cast.tutor,
                *session,
            )
            .await;
            assert!(
                ["200", "409 session-settled"].contains(&reply.verdict().as_str()),
                "{}",
                reply.body
            );
            accepted.push(reply.status == 200);
        }
        accepted
    };
    let by_cron = cron.call(crate::harness::request(
        "process-charges-now/cron.json",
        CRON_SECRET,
        Uuid::nil(),
    ));
    let ((one, two), by_cron, accepted) = join3(
        futures::future::join(first.invoke(json!({})), second.invoke(json!({}))),
        by_cron,
        marks,
    )
    .await;
    assert!(one.is_ok() && two.is_ok() && by_cron.status == 200);
    tick(&world).await;
    for (session, accepted) in sessions.iter().zip(accepted) {
        let charge = charge(&world, *session).await;
        let expected = if accepted {
            "NO_SHOW_STUDENT"
        } else {
            "COMPLETED_ASSUMED"
        };
        assert_eq!(charge["status"], expected, "the tutor was told otherwise");
        assert_eq!(charge["corrected"], json!([]), "two outcomes");
    }
    assert_eq!((world.count("charges").await, ledger_sum(&world).await), (12, 0));
}

#[tokio::test]
async fn late_news_is_corrected_by_reversing_and_never_by_editing() {
    let world = World::new().await;
    let lesson = world.lesson_in(-61).await;
    let session = session(&world, &lesson).await;
    tick(&world).await;
    assert_eq!(amounts(&charge(&world, session).await)[0], "COMPLETED_ASSUMED");
    world.travel(16);
    let end = lesson.starts_at + SignedDuration::from_mins(30);
    let sold =
        "UPDATE sessions SET policy = jsonb_set(policy, '{corrects_late_news}', to_jsonb($1::boolean))";
    world.owner.execute(sold, &[&false]).await.unwrap();
    world.room_ended(&lesson, end).await;
    tick(&world).await;
    assert_eq!(
        amounts(&charge(&world, session).await)[0],
        "COMPLETED_ASSUMED",
        "where the policy under which it was sold does not correct"
    );
    world.owner.execute(sold, &[&true]).await.unwrap();
    world.room_ended(&lesson, end).await;
    tick(&world).await;
    tick(&world).await;
    let charge = charge(&world, session).await;
    assert_eq!(amounts(&charge), json!(["EARLY_END_SHORT", 0, 0, 0]));
    assert_eq!(
        amounts(&charge["corrected"][0]),
        json!(["COMPLETED_ASSUMED", 10_000, 9_000, 1_000])
    );
    let entries = charge["corrected"][0]["ledger_entries"].as_array().unwrap();
    let written: Vec<&str> = entries
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    let expected = [["settlement"; 3], ["reversal"; 3]].concat();
    assert_eq!(
        written, expected,
        "what was written stands, and is taken back beside it"
    );
    assert_eq!(
        (
            balance(&world, "receivable").await,
            balance(&world, "payable").await
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_cancelled_session_costs_nothing_and_its_room_stays_shut() {
    let world = World::new().await;
    let (lesson, started) = (world.lesson_in(10).await, world.lesson_in(-1).await);
    let (id, late) = (session(&world, &lesson).await, session(&world, &started).await);
    let cancel = world.function("cancel-session").await;
    let cancelled = |person, session| call(&world, &cancel, "cancel-session/cancel.json", person, session);
    assert_eq!(
        cancelled(world.cast.stranger, id).await.verdict(),
        "403 forbidden"
    );
    assert_eq!(
        cancelled(world.cast.parent, late).await.verdict(),
        "409 session-started"
    );
    assert_eq!(cancelled(world.cast.parent, id).await.status, 200);
    assert_eq!(
        cancelled(world.cast.parent, id).await.status,
        200,
        "a lost answer, asked for again"
    );
    let launch = world.function("launch").await;
    let joined = world
        .call(&launch, "launch/join.json", world.cast.tutor, &lesson)
        .await;
    assert_eq!(joined.verdict(), "409 booking-cancelled");
    world.travel(90);
    tick(&world).await;
    assert_eq!(amounts(&charge(&world, id).await), json!(["CANCELLED", 0, 0, 0]));
    assert_eq!(
        world.count("ledger_entries").await,
        3,
        "the other session's, which was held"
    );
}

#[tokio::test]
async fn that_a_client_calls_a_lesson_off_is_told_to_its_tutor_once() {
    let world = World::new().await;
    let (called_off, held) = (world.lesson_in(10).await, world.lesson_in(-61).await);
    let id = session(&world, &called_off).await;
    session(&world, &held).await;
    let cancel = world.function("cancel-session").await;

    for _ in 0..2 {
        let sample = "cancel-session/cancel.json";
        let reply = call(&world, &cancel, sample, world.cast.parent, id).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    tick(&world).await;

    for (who, person) in [("the tutor", world.cast.tutor), ("the client", world.cast.parent)] {
        let told = told(&world, person, &called_off).await;
        assert_eq!(told, ["lesson_settled CANCELLED"], "{who}");
    }
    assert_eq!(
        told(&world, world.cast.parent, &held).await,
        ["lesson_settled COMPLETED_ASSUMED"]
    );
    assert_eq!(
        told(&world, world.cast.tutor, &held).await,
        Vec::<String>::new(),
        "what a client is charged is not the tutor's business"
    );
}

#[tokio::test]
async fn the_database_itself_keeps_the_ledger_honest() {
    let world = World::new().await;
    let lesson = world.lesson_in(-61).await;
    session(&world, &lesson).await;
    tick(&world).await;
    let attempts = [
        "INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at)
         SELECT id, 'fees/TTD', 'settlement', 100, 'TTD', now() FROM charges",
        "UPDATE ledger_entries SET amount_minor = 1",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
        "UPDATE charges SET charge_minor = 0",
        "DELETE FROM charges",
        "INSERT INTO charges SELECT gen_random_uuid(), session_id, 2, status, 100, 80, 10, currency, explanation, now() FROM charges",
    ];
    for attempt in attempts {
        assert!(
            world.owner.batch_execute(attempt).await.is_err(),
            "even the owner may: {attempt}"
        );
    }
    assert_eq!(
        (world.count("ledger_entries").await, ledger_sum(&world).await),
        (3, 0)
    );
}

#[tokio::test]
async fn the_cron_route_wants_its_secret() {
    let world = World::new().await;
    let cron = world
        .function_with(
            "process-charges-now",
            &[("CRON_SECRET", "new-secret,the-secret-of-the-platforms-cron")],
        )
        .await;
    for (token, verdict) in [
        (CRON_SECRET, "200"),
        ("new-secret", "200"),
        ("new-secret,", "401 unauthenticated"),
        ("", "401 unauthenticated"),
    ] {
        let reply = cron
            .call(crate::harness::request(
                "process-charges-now/cron.json",
                token,
                Uuid::nil(),
            ))
            .await;
        assert_eq!(reply.verdict(), verdict, "{token:?}");
    }
}
