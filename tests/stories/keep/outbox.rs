//! The outbox: nothing that was written is ever not sent, whoever dies when.

use crate::harness::{World, migrated_database, owner_url, service_url};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use platform::clock::Clock;
use platform::config::Env;
use platform::database::Database;
use platform::outbox::{Routes, sweep};
use serde_json::json;
use std::collections::BTreeSet;
use stories::cast::owner;
use tokio_postgres::Client;
use uuid::Uuid;

async fn write(owner: &Client, count: i32, queue: &str, due_at: Timestamp) {
    let insert = "INSERT INTO outbox (id, queue, envelope, due_at)
                  SELECT gen_random_uuid(), $1, jsonb_build_object('n', n), $2 FROM generate_series(1, $3::int) n";
    owner.execute(insert, &[&queue, &due_at, &count]).await.unwrap();
}

async fn unsent(owner: &Client) -> i64 {
    owner
        .query_one("SELECT count(*) FROM outbox WHERE sent_at IS NULL", &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn many_sweepers_at_once_send_everything_that_is_due_once() {
    let world = World::new().await;
    write(&world.owner, 250, "classroom-events", Timestamp::now()).await;
    write(
        &world.owner,
        3,
        "classroom-events",
        Timestamp::now() + SignedDuration::from_hours(1),
    )
    .await;
    let sweepers = join_all((0..3).map(|_| world.function("relay-outbox"))).await;
    for run in join_all(sweepers.iter().map(|sweeper| sweeper.invoke(json!({})))).await {
        run.unwrap();
    }
    let sent: Vec<String> = world
        .queued()
        .await
        .iter()
        .map(|message| message["body"].as_str().unwrap().into())
        .collect();
    let distinct: BTreeSet<_> = sent.iter().collect();
    assert_eq!((sent.len(), distinct.len()), (250, 250));
    assert_eq!(unsent(&world.owner).await, 3, "what is not due yet stays");
}

#[tokio::test]
async fn a_sweeper_that_died_after_claiming_loses_nothing() {
    let world = World::new().await;
    write(&world.owner, 5, "classroom-events", Timestamp::now()).await;
    let claim = "UPDATE outbox SET locked_until = now() + interval '60 seconds', attempts = 1";
    world.owner.execute(claim, &[]).await.unwrap();
    let relay = world.function("relay-outbox").await;
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(
        world.queued().await.len(),
        0,
        "claimed by somebody who may still be at it"
    );
    world.travel(2);
    relay.invoke(json!({})).await.unwrap();
    assert_eq!((world.queued().await.len(), unsent(&world.owner).await), (5, 0));
}

#[tokio::test]
async fn a_queue_that_takes_nothing_leaves_everything_in_the_outbox() {
    let database = migrated_database().await;
    let owner = owner(&owner_url(&database)).await;
    let now = Timestamp::now();
    write(&owner, 2, "gone", now).await;
    write(&owner, 2, "unknown", now).await;
    let routes: Routes = format!("gone=http://127.0.0.1/000000000000/{}", Uuid::new_v4())
        .parse()
        .unwrap();
    let database = Database::at(&service_url(&database));
    for seconds in [0, 59] {
        let (clock, _) = Clock::manual(now + SignedDuration::from_secs(seconds));
        let swept = sweep(&database, &routes, &clock).await.unwrap();
        assert_eq!(
            (swept.sent, swept.left),
            (0, 4),
            "counted in each minute: {seconds}"
        );
    }
    assert_eq!(unsent(&owner).await, 4);
}

/// Settles one lesson that was held, over queues as `changes` has them; the job is in the outbox then.
async fn settle(world: &World, changes: &[(&str, &str)]) {
    let lesson = world.lesson_in(-30).await;
    let create = world.function("create-session").await;
    let made = world
        .call(&create, "create-session/create.json", world.cast.parent, &lesson)
        .await;
    world
        .session_is_over(made.body["id"].as_str().unwrap().parse().unwrap())
        .await;

    let tick = world.function_with("process-charges", changes).await;
    tick.invoke(json!({})).await.unwrap();
    assert_eq!(unsent(&world.owner).await, 1, "what is sent is still to arrive");
}

#[tokio::test]
async fn what_a_function_has_written_is_sent_without_the_sweeper_and_marked_by_whoever_receives_it() {
    let world = World::new().await;
    settle(&world, &[]).await;

    let relay = world.function("relay-outbox").await;
    relay.invoke(json!({})).await.unwrap();
    let jobs = world.queued_in(&world.payments).await;
    assert_eq!(jobs.len(), 1, "sent by its writer, and not once more");

    let capture = world.function("step-tab").await;
    assert_eq!(capture.consume(&jobs).await, Vec::<String>::new());
    assert_eq!(unsent(&world.owner).await, 0, "it has arrived");
    world.travel(2);
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(world.queued_in(&world.payments).await.len(), 0);
}

#[tokio::test]
async fn what_its_writer_could_not_send_is_sent_by_the_sweeper_a_minute_later() {
    let world = World::new().await;
    let nowhere = format!("payments=http://127.0.0.1/000000000000/{}", Uuid::new_v4());
    settle(&world, &[("QUEUES", &nowhere)]).await;
    assert_eq!(world.queued_in(&world.payments).await.len(), 0);

    let relay = world.function("relay-outbox").await;
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(
        world.queued_in(&world.payments).await.len(),
        0,
        "its writer may still be at it"
    );
    world.travel(2);
    relay.invoke(json!({})).await.unwrap();
    assert_eq!(world.queued_in(&world.payments).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_of_what_is_not_committed() {
    let world = World::new().await;
    let settings = world.environment.clone();
    let mut env = Env::from_lookup(move |name| settings.get(name).cloned());
    let database = Database::from_env(&mut env).unwrap();
    let write = "SELECT jsonb_build_array(as_posted(gen_random_uuid(), 'payments', '{}')) AS posted";

    let (transaction, _) = database.begin(write, &[]).await.unwrap();
    drop(transaction);
    assert_eq!(world.queued_in(&world.payments).await.len(), 0, "rolled back");

    let (transaction, _) = database.begin(write, &[]).await.unwrap();
    assert_eq!(world.queued_in(&world.payments).await.len(), 0, "not yet");
    transaction.commit("SELECT 1 AS one", &[]).await.unwrap();
    assert_eq!(world.queued_in(&world.payments).await.len(), 1);
}

/// Everything that is tidied, once at each age that matters; named by its age in days. `$1` stands for now: several
/// statements at once take no parameters.
const AGED: &str = "
    INSERT INTO outbox (id, queue, envelope, due_at, sent_at)
    SELECT gen_random_uuid(), 'gone', to_jsonb(age), now(), sent_at
    FROM unnest(ARRAY[13, 15, 400]) AS age, LATERAL (VALUES ($1 - make_interval(days => age)), (NULL)) AS sent (sent_at);

    INSERT INTO provider_events (provider, event_id, kind, received_at, envelope, status, settled_at)
    SELECT 'stripe', format('%s/%s', status, age), 'kind', now(), '{\"payer\": \"Ada Parent\"}', status, $1 - make_interval(days => age)
    FROM unnest(ARRAY[29, 31, 179, 181]) AS age, unnest(ARRAY['applied', 'waiting', 'parked']) AS status;

    INSERT INTO notifications (profile_id, kind, source, created_at, read_at)
    SELECT gen_random_uuid(), 'refunded', format('%s/%s', age, read_at IS NULL), $1 - interval '3 years', read_at
    FROM unnest(ARRAY[364, 367]) AS age, LATERAL (VALUES ($1 - make_interval(days => age)), (NULL)) AS read (read_at)";

#[tokio::test]
async fn what_was_of_use_long_enough_is_removed_and_nothing_else() {
    let world = World::new().await;
    // The instant at which the world's clock will stand.
    let now = Timestamp::now() + SignedDuration::from_hours(24 * 365);
    let aged = AGED.replace("$1", &format!("timestamptz '{now}'"));
    world.owner.batch_execute(&aged).await.unwrap();
    let unsent = "UPDATE outbox SET due_at = now() + interval '9 years' WHERE sent_at IS NULL";
    world.owner.execute(unsent, &[]).await.unwrap();
    let list = async |sql: &str| {
        let rows = world.owner.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    let whole = list("SELECT event_id FROM provider_events WHERE envelope IS NOT NULL")
        .await
        .len();
    assert_eq!(whole, 12);

    world.travel(60 * 24 * 365);
    let relay = world.function("relay-outbox").await;
    relay.invoke(json!({})).await.unwrap();

    let sent = list("SELECT envelope::text FROM outbox WHERE sent_at IS NOT NULL ORDER BY 1").await;
    assert_eq!(sent, ["13"]);
    assert_eq!(
        world.count("outbox").await,
        4,
        "what is not sent stays, however old"
    );
    let known = list("SELECT event_id FROM provider_events WHERE status = 'applied' ORDER BY 1").await;
    assert_eq!(known, ["applied/179", "applied/29", "applied/31"]);
    let full = "SELECT event_id FROM provider_events WHERE envelope IS NOT NULL AND status = 'applied'";
    assert_eq!(list(full).await, ["applied/29"]);
    assert_eq!(
        world.count("provider_events").await,
        11,
        "what waits for a person or a room stays"
    );
    assert_eq!(
        list("SELECT source FROM notifications ORDER BY 1").await,
        ["364/f", "364/t", "367/t"]
    );
}
