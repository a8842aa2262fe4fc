//! Fenced idempotency: once, replayed, and no zombie's result counts.

use crate::harness::{migrated_database, service_url};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use platform::clock::{Clock, ClockHand};
use platform::database::Database;
use platform::idempotency::{Claim, Held, Key, acquire, complete, release};
use serde_json::json;

const KEEP: SignedDuration = SignedDuration::from_hours(24);

async fn scene() -> (Database, Key, Clock, ClockHand) {
    let database = Database::at(&service_url(&migrated_database().await));
    let (clock, hand) = Clock::manual(Timestamp::now());
    (
        database,
        Key::new("create-session", "booking-7").unwrap(),
        clock,
        hand,
    )
}

#[tokio::test]
async fn the_first_runs_and_everybody_after_gets_its_answer() {
    let (database, key, clock, hand) = scene().await;
    let answer = json!({"session": 1});
    let Claim::Acquired(attempt) = acquire(&database, &key, b"x", &clock).await.unwrap() else {
        panic!("busy")
    };
    assert_eq!(acquire(&database, &key, b"x", &clock).await.unwrap(), Claim::Busy);
    assert_eq!(
        acquire(&database, &key, b"y", &clock).await.unwrap(),
        Claim::PayloadMismatch
    );
    assert_eq!(
        complete(&database, &key, attempt, &answer, KEEP, &clock)
            .await
            .unwrap(),
        Held::Yes
    );
    assert_eq!(
        acquire(&database, &key, b"x", &clock).await.unwrap(),
        Claim::Replay(answer)
    );
    assert_eq!(
        acquire(&database, &key, b"y", &clock).await.unwrap(),
        Claim::PayloadMismatch
    );
    hand.advance(KEEP);
    let expired = acquire(&database, &key, b"y", &clock).await.unwrap();
    assert_eq!(
        expired,
        Claim::Acquired(attempt + 1),
        "an expired answer makes room for new content"
    );
}

#[tokio::test]
async fn of_many_at_once_exactly_one_runs() {
    let (database, key, clock, _) = scene().await;
    let url = service_url(&migrated_database().await);
    let others: Vec<Database> = (0..8).map(|_| Database::at(&url)).collect();
    let claims = join_all(
        others
            .iter()
            .map(|database| acquire(database, &key, b"x", &clock)),
    )
    .await;
    let claims: Vec<Claim> = claims.into_iter().map(Result::unwrap).collect();
    let acquired = claims
        .iter()
        .filter(|claim| matches!(claim, Claim::Acquired(_)))
        .count();
    let busy = claims.iter().filter(|claim| **claim == Claim::Busy).count();
    assert_eq!((acquired, busy), (1, 7), "{claims:?}");
    drop(database);
}

#[tokio::test]
async fn a_zombie_discards_its_result() {
    let (database, key, clock, hand) = scene().await;
    let Claim::Acquired(zombie) = acquire(&database, &key, b"x", &clock).await.unwrap() else {
        panic!("busy")
    };
    hand.advance(SignedDuration::from_mins(1));
    let Claim::Acquired(successor) = acquire(&database, &key, b"x", &clock).await.unwrap() else {
        panic!("an abandoned key is taken over")
    };
    let late = complete(&database, &key, zombie, &json!("old"), KEEP, &clock)
        .await
        .unwrap();
    assert_eq!(late, Held::NoLonger);
    assert_eq!(
        release(&database, &key, zombie, &clock).await.unwrap(),
        Held::NoLonger
    );
    assert_eq!(
        complete(&database, &key, successor, &json!("new"), KEEP, &clock)
            .await
            .unwrap(),
        Held::Yes
    );
    assert_eq!(
        acquire(&database, &key, b"x", &clock).await.unwrap(),
        Claim::Replay(json!("new"))
    );
}

#[tokio::test]
async fn a_failure_gives_the_key_back_at_once_and_stays_fenced() {
    let (database, key, clock, _) = scene().await;
    let Claim::Acquired(failed) = acquire(&database, &key, b"x", &clock).await.unwrap() else {
        panic!("busy")
    };
    assert_eq!(release(&database, &key, failed, &clock).await.unwrap(), Held::Yes);
    assert_eq!(
        acquire(&database, &key, b"x", &clock).await.unwrap(),
        Claim::Acquired(failed + 1)
    );
    let late = complete(&database, &key, failed, &json!(1), KEEP, &clock)
        .await
        .unwrap();
    assert_eq!(late, Held::NoLonger, "the failed attempt came back from the dead");
}

#[test]
fn an_operation_without_a_key_does_not_run_unprotected() {
    assert_eq!(Key::new("create-session", ""), None);
    assert_eq!(Key::new("", "booking-7"), None);
}
