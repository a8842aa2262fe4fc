//! Giving back: once, and what could not be given back is still owed.

use super::till::{CARD, LINK, PHONE, Till};
use crate::harness::request;
use domain::charge::finding::{Finding, Refunded};
use domain::ids::RefundId;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::mailbox::Faults;
use store::charge::books::Entered;
use store::keep::overdue::Reconciled;
use stories::cast::Lesson;
use uuid::Uuid;

#[tokio::test]
async fn a_refund_happens_once_though_its_answer_is_lost_or_late_or_a_failure() {
    let till = Till::open().await;
    let lessons = [till.world.lesson_in(30).await, till.world.lesson_in(30).await];
    let cancel = till.world.function("cancel-session").await;
    let mut sessions = Vec::new();
    for lesson in &lessons {
        sessions.push(till.session(lesson).await);
        let begun = till.begin(CARD, lesson).await;
        till.pays(&begun);
        till.hear(1).await;
        till.work().await;
    }
    for session in sessions {
        let token = till.world.identity.token(till.world.cast.parent);
        let cancelled = cancel
            .call(request("cancel-session/cancel.json", &token, session))
            .await;
        assert_eq!(cancelled.status, 200);
    }
    till.relay.invoke(json!({})).await.unwrap();
    till.capture
        .consume(&till.world.queued_in(&till.world.payments).await)
        .await;
    till.relay.invoke(json!({})).await.unwrap();
    let refunds = till.world.queued_in(&till.world.refunds).await;
    assert_eq!(refunds.len(), 2);
    till.world.stripe.misbehave(Faults {
        lose_next: 2,
        refunds_wait: true,
        ..Faults::default()
    });
    assert_eq!(
        till.refund.consume(&refunds).await.len(),
        2,
        "both answers got lost"
    );
    // More than a day passes, and with it the keys: only a look at what became of them keeps them from being made again.
    till.world.stripe.forget_keys();
    till.world.travel(26 * 60);
    assert_eq!(till.refund.consume(&refunds).await, Vec::<String>::new());
    let made = till.world.stripe.record("refund");
    assert_eq!(made.len(), 2);
    assert_eq!(
        till.books().await,
        [-20_000, 0, 0, 20_000],
        "nothing went back yet"
    );
    till.world
        .stripe
        .end_refund(made[0]["id"].as_str().unwrap(), "succeeded");
    till.world
        .stripe
        .end_refund(made[1]["id"].as_str().unwrap(), "failed");
    till.hear(3).await;
    till.work().await;
    assert_eq!(
        till.books().await,
        [-10_000, 0, 0, 10_000],
        "one client still has a credit"
    );
    assert_eq!(till.told().await, ["refunded", "refund_failed"]);
    assert_eq!(
        till.world.stripe.record("refund").len(),
        2,
        "a failure waits for a person"
    );
    // The client's bank sends back what had arrived.
    till.world
        .stripe
        .end_refund(made[0]["id"].as_str().unwrap(), "failed");
    till.hear(2).await;
    assert_eq!(till.books().await, [-20_000, 0, 0, 20_000]);
    assert_eq!(till.told().await.len(), 3);
}

#[tokio::test]
async fn a_payout_happens_once_though_its_answer_is_lost_spoilt_or_never_came_to_be() {
    let till = Till::open().await;
    let none = Faults::default();
    let faults = [
        (
            Faults {
                lose_next: 1,
                is_silent: true,
                ..none.clone()
            },
            1,
        ),
        (
            Faults {
                break_after_next: 1,
                is_silent: true,
                ..none.clone()
            },
            1,
        ),
        (
            Faults {
                vanish_next: 1,
                is_silent: true,
                ..none
            },
            0,
        ),
    ];
    let mut minutes = 0;
    for (n, (fault, made)) in faults.into_iter().enumerate() {
        till.world.fapshi.misbehave(Faults::default());
        let lesson = till.in_francs(60).await;
        let session = till.session(&lesson).await;
        let begun = till.begin(PHONE, &lesson).await;
        till.ends(&begun.body["id"], "SUCCESSFUL");
        till.hear(1).await;
        till.cancelled(session).await;
        till.relay.invoke(json!({})).await.unwrap();
        let jobs = till.world.queued_in(&till.world.payments).await;
        till.capture.consume(&jobs).await;
        till.relay.invoke(json!({})).await.unwrap();
        let refunds = till.world.queued_in(&till.world.refunds).await;

        // Fapshi knows no keys, and tells nobody: only a look at what became of it says that it was made.
        till.world.fapshi.misbehave(fault);
        assert_eq!(
            till.refund.consume(&refunds).await.len(),
            1,
            "its answer got lost"
        );
        let payouts = || till.world.fapshi.record("Payout").len();
        assert_eq!(payouts(), n + made);
        minutes += 3;
        till.world.travel(minutes);
        till.refund.consume(&refunds).await;
        // What was taken a moment ago is looked up by the schedule.
        minutes += 11;
        till.world.travel(minutes);
        till.reconcile().await;
        till.work().await;

        assert_eq!(payouts(), n + 1);
        assert_eq!(till.refunds().await, vec!["done"; n + 1]);
    }
    assert_eq!(till.world.count("notifications WHERE kind = 'refunded'").await, 3);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn too_little_for_a_payout_is_left_to_a_person() {
    let till = Till::open().await;
    let lesson = Lesson {
        price: 150,
        currency: "XAF",
        ..Lesson::starting(Timestamp::now())
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.world.travel(25);
    till.no_show(session).await;
    till.work().await;
    assert_eq!(till.world.fapshi.record("Payout"), Vec::<Value>::new());
    assert_eq!(till.told().await, ["refund_failed"]);
    let sql = "SELECT status || ' ' || reason FROM refunds";
    let row: String = till.world.owner.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(row, "failed below_minimum");
    assert_eq!(
        till.books().await,
        [-75, -67, -8, 150],
        "the client has a credit of half"
    );
}

/// Half of a lesson that was paid ahead by card should go back, and its bank refuses it.
async fn half_could_not_go_back(till: &Till) -> (Lesson, Uuid) {
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.paid_by_card(&lesson).await;
    till.world.stripe.misbehave(Faults {
        refunds_wait: true,
        ..Faults::default()
    });
    till.world.travel(21);
    till.no_show(session).await;
    till.work().await;
    let made = till.world.stripe.record("refund");
    till.world
        .stripe
        .end_refund(made[0]["id"].as_str().unwrap(), "failed");
    till.hear(1).await;
    till.work().await;
    assert_eq!(till.told().await, ["refund_failed"]);
    assert_eq!(till.overview().await.failed_refunds, 1);
    till.world.stripe.misbehave(Faults::default());
    (lesson, session)
}

#[tokio::test]
async fn a_refund_that_failed_is_no_money_given_back_and_nobody_pays_twice() {
    let till = Till::open().await;
    let (lesson, session) = half_could_not_go_back(&till).await;

    till.corrected_to_full(session).await;
    till.look_at_everything().await;

    assert_eq!(till.at_stripe().0, [10_000], "the card was charged again");
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");
    // Nor does it go back any more, for it is not owed.
    assert_eq!(till.operator("retry_refund").await.unwrap(), 1);
    till.work().await;
    assert_eq!(till.world.stripe.record("refund").len(), 1);
    assert_eq!(till.overview().await.failed_refunds, 0);
}

#[tokio::test]
async fn a_refund_that_failed_is_tried_again_or_settled_by_an_operator_whose_name_and_reason_stay() {
    let till = Till::open().await;
    half_could_not_go_back(&till).await;

    assert_eq!(till.operator("retry_refund").await.unwrap(), 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![5_000]));
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
    assert_eq!(till.told().await, ["refund_failed", "refunded"]);
    assert_eq!(till.operator("retry_refund").await.unwrap(), 0, "nothing waits");

    let other = Till::open().await;
    half_could_not_go_back(&other).await;
    assert_eq!(other.operator("settle_refund").await.unwrap(), 1);
    other.work().await;
    assert_eq!(other.refunds().await, ["done by_hand"]);
    assert_eq!(other.at_stripe().1, Vec::<i64>::new());
    assert_eq!(other.books().await, [0, -4_500, -500, 5_000]);
    assert_eq!(other.told().await, ["refund_failed", "refunded"]);
    let record = "SELECT concat_ws(' ', what, by, reason) FROM operator_actions";
    let record: String = other.world.owner.query_one(record, &[]).await.unwrap().get(0);
    assert_eq!(record, "settle-refund Olu the client called");
    assert!(
        other
            .world
            .owner
            .execute("DELETE FROM operator_actions", &[])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn whose_refund_failed_was_made_after_all_and_came_back_was_last_told_that_it_failed() {
    let till = Till::open().await;
    half_could_not_go_back(&till).await;
    let refund = "SELECT id, gateway_id FROM refunds";
    let refund = till.world.owner.query_one(refund, &[]).await.unwrap();
    let (id, gateway_id) = (RefundId(refund.get(0)), refund.get::<_, String>(1));

    let done = Refunded::Done {
        gateway_id: gateway_id.clone(),
        fee: None,
    };
    let came_back = Refunded::Failed {
        gateway_id: Some(gateway_id),
        reason: "expired_or_canceled_card".into(),
    };
    let (database, look, now) = till.hands();
    for found in [done, came_back] {
        let finding = Finding::Refund(id, found);
        let entered = store::charge::books::enter(&database, &finding, &look, now).await;
        assert_eq!(entered.unwrap(), Entered::Yes, "{finding:?}");
    }

    assert_eq!(till.refunds().await, ["failed expired_or_canceled_card"]);
    assert_eq!(till.told().await, ["refund_failed", "refunded", "refund_failed"]);
}

#[tokio::test]
async fn what_a_correction_has_made_due_again_is_not_settled_by_hand() {
    let till = Till::open().await;
    let (_, session) = half_could_not_go_back(&till).await;
    let books = till.books().await;

    till.corrected_to_full(session).await;
    let refused = till.operator("settle_refund").await.unwrap_err();

    let why = refused.as_db_error().map(tokio_postgres::error::DbError::message);
    assert_eq!(
        why,
        Some("the lesson costs that money by now: nothing is to be given back")
    );
    assert_eq!(
        till.overview().await.failed_refunds,
        1,
        "it still waits for a person"
    );
    assert_eq!(till.books().await, books);
    assert_eq!(till.world.count("operator_actions").await, 0);
}

#[tokio::test]
async fn after_a_refund_was_settled_by_hand_its_tab_is_looked_at() {
    let till = Till::open().await;
    let (lesson, _) = half_could_not_go_back(&till).await;

    assert_eq!(till.operator("settle_refund").await.unwrap(), 1);

    till.relay.invoke(json!({})).await.unwrap();
    let jobs = till.world.queued_in(&till.world.payments).await;
    assert_eq!(jobs.len(), 1, "nobody looks whether it is still right: {jobs:?}");
    let job: Value = serde_json::from_str(jobs[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&job["type"], &job["payload"]["booking_id"]),
        (&json!("look_at_tab"), &json!(lesson.id))
    );
}

#[tokio::test]
async fn an_adjustment_balances_and_needs_a_name_and_a_reason() {
    let till = Till::open().await;
    let adjust = async |from: &str, to: &str, minor: i64, by: &str| {
        let sql = "SELECT adjust($1, $2, $3, $4, 'the monthly invoice')";
        till.world.owner.execute(sql, &[&from, &to, &minor, &by]).await
    };
    let (cash, fees) = ("cash/stripe/TTD", "gateway_fees/stripe/TTD");
    adjust(cash, fees, 250, "Olu").await.unwrap();
    assert_eq!(
        [till.balance("cash").await, till.balance("gateway_fees").await],
        [-250, 250]
    );
    for (from, to, minor, by) in [
        (cash, fees, 250, ""),
        (cash, fees, -1, "Olu"),
        (cash, cash, 1, "Olu"),
        (cash, "gateway_fees/stripe/EUR", 1, "Olu"),
        (cash, "petty cash", 1, "Olu"),
    ] {
        assert!(
            adjust(from, to, minor, by).await.is_err(),
            "{from} {to} {minor} {by}"
        );
    }
    assert_eq!(till.world.count("operator_actions").await, 1);
}

#[tokio::test]
async fn of_many_workers_at_one_payout_only_one_asks_for_it() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.cancelled(session).await;
    till.relay.invoke(json!({})).await.unwrap();
    let jobs = till.world.queued_in(&till.world.payments).await;
    till.capture.consume(&jobs).await;
    till.relay.invoke(json!({})).await.unwrap();
    let refunds = till.world.queued_in(&till.world.refunds).await;
    till.world.fapshi.misbehave(Faults {
        answer_after_ms: 300,
        ..Faults::default()
    });

    let workers = join_all((0..6).map(|_| till.world.function("refund-payment"))).await;
    join_all(workers.iter().map(|worker| worker.consume(&refunds))).await;

    assert_eq!(till.world.fapshi.record("Payout").len(), 1);
}

#[tokio::test]
async fn a_refund_that_is_not_due_any_more_is_withdrawn_before_it_is_asked_for() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.paid_by_card(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    till.relay.invoke(json!({})).await.unwrap();
    let jobs = till.world.queued_in(&till.world.payments).await;
    till.capture.consume(&jobs).await;
    assert_eq!(till.refunds().await, ["opening"]);

    till.corrected_to_full(session).await;
    till.work().await;

    assert_eq!(till.refunds().await, ["closed not_due"]);
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
}

#[tokio::test]
async fn a_payout_that_is_refused_is_tried_again_before_a_person_is_asked() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    let phone = async |number: &str| {
        let sql = "UPDATE payments SET payer_phone = $1";
        till.world.owner.execute(sql, &[&number]).await.unwrap();
    };
    phone("1").await;
    till.cancelled(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["opening refused"]);
    assert_eq!(till.told().await, Vec::<String>::new());

    let mut minutes = 0;
    for gap in [11, 61, 361] {
        minutes += gap;
        till.world.travel(minutes);
        till.work().await;
    }
    assert_eq!(till.refunds().await, ["opening refused"]);
    phone("670000000").await;
    till.world.travel(minutes + 24 * 60 + 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.refunds().await, ["done"]);
    assert_eq!(till.world.fapshi.record("Payout").len(), 1);
}

#[tokio::test]
async fn a_refund_that_waits_for_its_next_try_is_no_money_given_back_and_nobody_pays_twice() {
    let till = Till::open().await;
    let lesson = till.in_francs(0).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    let wrong = "UPDATE payments SET payer_phone = '1' WHERE method = 'mobile_money'";
    till.world.owner.execute(wrong, &[]).await.unwrap();
    till.world.travel(25);
    till.no_show(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["opening refused"]);

    till.corrected_to_full(session).await;
    till.look_at_everything().await;

    assert_eq!(till.refunds().await, ["closed not_due"]);
    assert_eq!(
        till.at_stripe().0,
        Vec::<i64>::new(),
        "half is collected again that never went back"
    );
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");

    // When its next try would have been, nothing goes back either.
    till.world.travel(25 + 11);
    till.work().await;
    assert_eq!(till.world.fapshi.record("Payout"), Vec::<Value>::new());
}

#[tokio::test]
async fn much_money_for_a_phone_that_may_not_be_the_payers_waits_for_an_operator() {
    let mut till = Till::open().await;
    till.capture = till
        .world
        .function_with("step-tab", &[("REFUND_REVIEW_ABOVE", "4999")])
        .await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(LINK, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.cancelled(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["held"]);
    assert_eq!(till.world.fapshi.record("Payout"), Vec::<Value>::new());

    assert_eq!(till.operator("retry_refund").await.unwrap(), 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.refunds().await, ["done"]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn money_for_a_lesson_to_which_nobody_ever_agreed_goes_back_by_itself() {
    let till = Till::open().await;
    let lesson = Lesson {
        status: "pending",
        ..Lesson::starting(Timestamp::now() + SignedDuration::from_mins(60))
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    till.paid_by_card(&lesson).await;
    assert_eq!(till.books().await, [-10_000, 0, 0, 10_000]);

    till.world.travel(121);
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 booking-closed");
    till.reconcile().await;
    till.work().await;
    assert_eq!(
        till.at_stripe().1,
        Vec::<i64>::new(),
        "somebody may still say yes"
    );

    till.world.travel(120 + 24 * 60 + 2);
    assert_eq!(till.reconcile().await.asked, 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.at_stripe().1, [10_000]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
    till.world.travel(120 + 48 * 60 + 10);
    assert_eq!(till.reconcile().await, Reconciled::default(), "that was all");
}

#[tokio::test]
async fn money_goes_back_for_a_lesson_that_was_to_be_confirmed_anew_and_never_was() {
    let till = Till::open().await;
    let write = async |lesson: &Lesson, set: &str| {
        let sql = format!("UPDATE public.bookings SET {set} WHERE id = $1");
        till.world.owner.execute(&sql, &[&lesson.id]).await.unwrap();
    };
    let starts_at = Timestamp::now() + SignedDuration::from_mins(60);

    // One was confirmed before it had a time, and gets one as a proposal; the other was paid while it was confirmed.
    let without_time = Lesson::starting(starts_at)
        .booked_by(&till.world.cast, &till.world.owner)
        .await;
    write(&without_time, "session_start_time = NULL").await;
    write(&without_time, "status = 'confirmed'").await;
    write(
        &without_time,
        &format!("status = 'pending', session_start_time = '{starts_at}'"),
    )
    .await;
    till.paid_by_card(&without_time).await;
    let confirmed = till.world.lesson_in(60).await;
    till.paid_by_card(&confirmed).await;
    write(&confirmed, "status = 'pending'").await;

    till.world.travel(120 + 24 * 60 + 2);
    till.reconcile().await;
    till.work().await;
    till.hear(1).await;

    assert_eq!(till.at_stripe().1, [10_000, 10_000]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_was_given_back_by_hand_is_not_undone_or_given_back_again_by_what_the_gateway_says() {
    let till = Till::open().await;
    half_could_not_go_back(&till).await;
    assert_eq!(till.operator("settle_refund").await.unwrap(), 1);
    till.work().await;
    let books = till.books().await;

    let id = "SELECT id FROM refunds WHERE reason = 'by_hand'";
    let id = RefundId(till.world.owner.query_one(id, &[]).await.unwrap().get(0));
    let (database, look, now) = till.hands();
    let enter = async |refunded| {
        store::charge::books::enter(&database, &Finding::Refund(id, refunded), &look, now)
            .await
            .unwrap()
    };
    let failed = Refunded::Failed {
        gateway_id: None,
        reason: "expired_or_canceled_card".into(),
    };
    assert_eq!(enter(failed).await, Entered::Yes, "told twice by the gateway");
    let done = Refunded::Done {
        gateway_id: "re_after_all".into(),
        fee: None,
    };
    assert_eq!(
        enter(done).await,
        Entered::Disagrees,
        "for a person: it went back twice"
    );
    assert_eq!(till.refunds().await, ["done by_hand"]);
    assert_eq!(till.books().await, books);
}
