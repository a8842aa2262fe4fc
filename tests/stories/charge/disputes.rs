//! Disputes: money that a bank has taken back.

use super::till::{CARD, Till};
use serde_json::json;

#[tokio::test]
async fn disputed_money_leaves_the_books_at_once_and_comes_back_if_it_is_won() {
    let till = Till::open().await;
    let (lost, won) = (till.world.lesson_in(60).await, till.world.lesson_in(60).await);
    let ids = [till.paid_by_card(&lost).await, till.paid_by_card(&won).await];
    let intents: Vec<String> = till
        .world
        .stripe
        .record("payment_intent")
        .iter()
        .map(|intent| intent["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(till.balance("receivable").await, -20_000);

    for intent in &intents {
        till.world.stripe.dispute(intent, "needs_response");
    }
    till.hear(2).await;
    assert_eq!(
        till.balance("receivable").await,
        0,
        "the banks have taken it back"
    );
    assert_eq!(till.payment(&ids[0]).await["is_disputed"], true);
    assert_eq!(
        till.begin(CARD, &lost).await.verdict(),
        "409 nothing-to-pay",
        "nothing is decided yet"
    );

    till.world.stripe.dispute(&intents[0], "lost");
    till.world.stripe.dispute(&intents[1], "won");
    till.hear(2).await;
    till.work().await;
    assert_eq!(till.balance("receivable").await, -10_000, "one is back");
    assert_eq!(till.at_stripe().0.len(), 2, "no card was charged for it");
    let again = till.begin(CARD, &lost).await;
    assert_eq!(
        (again.status, &again.body["amount"]["amount"]),
        (201, &json!(10_000)),
        "the other is owed again"
    );
    assert_eq!(till.begin(CARD, &won).await.verdict(), "409 nothing-to-pay");
}

#[tokio::test]
async fn the_client_alone_is_told_once_that_a_dispute_was_lost() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    till.paid_by_card(&lesson).await;
    let paid = till.world.stripe.record("payment_intent");
    let intent = paid[0]["id"].as_str().unwrap();
    till.world.stripe.dispute(intent, "needs_response");
    till.hear(2).await;
    assert_eq!(
        till.told().await,
        Vec::<String>::new(),
        "their bank is still to decide"
    );

    // Each event comes twice, and there are two of them.
    for _ in 0..2 {
        till.world.stripe.dispute(intent, "lost");
        till.hear(2).await;
    }

    assert_eq!(till.told().await, ["dispute_lost"]);
    let told = "notifications WHERE kind = 'dispute_lost'";
    assert_eq!(till.world.count(told).await, 1, "somebody else was told, too");
}

#[tokio::test]
async fn what_other_software_on_the_account_does_is_forgotten() {
    let till = Till::open().await;
    till.world.stripe.dispute("pi_of-other-software", "lost");
    till.hear(2).await;
    assert_eq!(till.world.count("disputes").await, 0);
    assert_eq!(
        till.world
            .count("provider_events WHERE status <> 'applied'")
            .await,
        0
    );
}
