//! What nobody told of is looked up until it has an end.

use super::till::{LINK, PHONE, Till};
use serde_json::json;
use simulators::mailbox::Faults;

#[tokio::test]
async fn a_payment_whose_webhook_was_lost_comes_to_light_though_nothing_is_missing() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let id = till.paid_in_silence(LINK, &lesson).await;

    till.cancelled(session).await;
    till.work().await;
    till.hear(1).await;

    assert_eq!(till.status(&id).await, "paid");
    assert_eq!(till.world.fapshi.record("Payout").len(), 1, "it went back");
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_is_open_is_looked_at_again_with_growing_gaps_until_it_has_an_end() {
    let till = Till::open().await;
    let (paid, unpaid) = (till.in_francs(600).await, till.in_francs(600).await);
    let id = till.paid_in_silence(LINK, &paid).await;
    till.begin(LINK, &unpaid).await;
    let asked = async |minutes| {
        till.world.travel(minutes);
        let reconciled = till.reconcile().await;
        assert_eq!(reconciled.given_up, 0);
        reconciled.asked
    };

    assert_eq!(asked(9).await, 0, "too early");
    assert_eq!(asked(11).await, 2);
    assert_eq!(asked(11).await, 0, "they were claimed");
    till.work().await;
    assert_eq!(till.status(&id).await, "paid");
    assert_eq!(till.books().await, [-5_000, 0, 0, 5_000]);

    assert_eq!(asked(30).await, 0, "the next look is twenty minutes later");
    assert_eq!(asked(32).await, 1, "what has its end is not looked at again");
    assert_eq!(asked(70).await, 0, "and then forty");
    assert_eq!(asked(73).await, 1);
    let overview = till.overview().await;
    assert!(
        (72 * 60..=75 * 60).contains(&overview.open_payment_seconds),
        "{overview:?}"
    );
}

#[tokio::test]
async fn a_refund_of_which_nobody_tells_is_looked_up_and_never_asked_for_twice() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.world.fapshi.misbehave(Faults {
        refunds_wait: true,
        ..Faults::default()
    });
    till.cancelled(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["pending"]);

    // It goes out, and its webhook is lost.
    let out = till.world.fapshi.record("Payout");
    till.world
        .fapshi
        .end(out[0]["transId"].as_str().unwrap(), "SUCCESSFUL");
    till.world.fapshi.letters();
    till.world.travel(11);
    assert_eq!(till.reconcile().await.asked, 1);
    till.work().await;

    assert_eq!(till.refunds().await, ["done"]);
    assert_eq!(till.world.fapshi.record("Payout").len(), 1);
    assert_eq!(till.told().await, ["refunded"]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_gateway_never_tells_is_given_up_after_a_month_and_entered_if_it_comes_all_the_same() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let begun = till.begin(LINK, &lesson).await;
    let mut given_up = Vec::new();
    for day in 1..=40 {
        till.world.travel(day * 24 * 60);
        if till.reconcile().await.given_up > 0 {
            given_up.push(day);
        }
    }

    assert_eq!(given_up.len(), 1, "once: {given_up:?}");
    assert!((30..=32).contains(&given_up[0]), "after a month: {given_up:?}");
    let seen = till.payment(&begun.body["id"]).await;
    assert_eq!(
        json!([seen["status"], seen["reason"]]),
        json!(["failed", "gateway_silent"])
    );
    assert_eq!(till.told().await, ["payment_failed"]);

    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    assert_eq!(till.status(&begun.body["id"]).await, "paid");
}
