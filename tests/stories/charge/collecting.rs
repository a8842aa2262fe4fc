//! Collecting: a charge is taken from the card on file, once, whatever gets lost.

use super::till::{CARD, LINK, Till};
use crate::harness::request;
use domain::charge::finding::{Finding, Outcome, Paid};
use domain::ids::{BookingId, PaymentId};
use domain::money::Money;
use futures::future::join_all;
use iso_currency::Currency;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulators::mailbox::Faults;
use stories::cast::Lesson;

#[tokio::test]
async fn a_card_on_file_is_charged_once_however_often_answers_get_lost() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-30).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(31);
    till.world.stripe.misbehave(Faults {
        lose_next: 1,
        ..Faults::default()
    });
    let jobs = till.settled_jobs().await;
    assert_eq!(jobs.len(), 1, "the settlement wrote its job");
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "the card was charged, the answer got lost"
    );
    assert_eq!(till.at_stripe().0, [10_000]);
    till.world.stripe.forget_keys();
    let workers = join_all((0..4).map(|_| till.world.function("step-tab"))).await;
    let results = join_all(workers.iter().map(|worker| worker.consume(&jobs))).await;
    assert!(
        results.iter().any(Vec::is_empty),
        "nobody finished the job: {results:?}"
    );
    till.hear(3).await;
    till.work().await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
    let explain = till.world.function("explain-charge").await;
    let why = |person| {
        request(
            "explain-charge/charge.json",
            &till.world.identity.token(person),
            session,
        )
    };
    let charge = explain.call(why(till.world.cast.parent)).await.body;
    assert_eq!(charge["payments"][0]["method"], "saved_card");
    assert_eq!(charge["payments"][0]["status"], "paid");
    let tutors = explain.call(why(till.world.cast.tutor)).await.body;
    assert_eq!(
        tutors["payments"],
        json!([]),
        "how a client pays is not the tutor's business"
    );
}

#[tokio::test]
async fn a_refused_card_is_tried_after_one_three_and_five_days_and_then_the_client_is_told() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-60).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.stripe.misbehave(Faults {
        decline_next: 4,
        ..Faults::default()
    });
    till.world.travel(1);
    till.settle().await;
    let mut minutes = 1;
    let mut tries = vec![till.world.stripe.record("payment_intent").len()];
    for hours in [24, 72, 120] {
        till.world.travel(minutes + hours * 60 - 1);
        till.work().await;
        assert_eq!(
            Some(&till.world.stripe.record("payment_intent").len()),
            tries.last(),
            "too early"
        );
        minutes += hours * 60 + 1;
        till.world.travel(minutes);
        assert_eq!(till.told().await, Vec::<String>::new());
        till.work().await;
        till.hear(2).await;
        tries.push(till.world.stripe.record("payment_intent").len());
    }
    assert_eq!(tries, [1, 2, 3, 4]);
    assert_eq!(till.told().await, ["payment_failed"]);
    till.world.travel(minutes + 30 * 24 * 60);
    till.work().await;
    assert_eq!(
        till.world.stripe.record("payment_intent").len(),
        4,
        "and then no more"
    );
    assert_eq!(
        till.books().await,
        [10_000, -9_000, -1_000, 0],
        "the client owes it"
    );
    // A new card is tried at once.
    till.card_kept(&lesson).await;
    till.work().await;
    assert_eq!(till.at_stripe().0, [10_000]);
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
    let explain = till.world.function("explain-charge").await;
    let token = till.world.identity.token(till.world.cast.parent);
    let charge = explain
        .call(request("explain-charge/charge.json", &token, session))
        .await
        .body;
    assert_eq!(
        charge["payments"].as_array().unwrap().len(),
        1,
        "five tries are one payment"
    );
}

#[tokio::test]
async fn without_a_card_or_with_a_hopeless_one_the_client_is_told_at_once_and_pays_what_is_missing() {
    let till = Till::open().await;
    let (bare, hopeless) = (till.world.lesson_in(-60).await, till.world.lesson_in(-60).await);
    till.session(&bare).await;
    till.world.travel(1);
    till.settle().await;
    assert_eq!(till.told().await, ["payment_failed"], "there is no card");
    let begun = till.begin(CARD, &bare).await;
    assert_eq!(begun.body["amount"]["amount"], 10_000);
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;
    assert_eq!(till.at_stripe().0, [10_000]);
    till.session(&hopeless).await;
    till.world.stripe.misbehave(Faults {
        decline_next: 1,
        decline_code: "authentication_required".into(),
        ..Faults::default()
    });
    till.settle().await;
    assert_eq!(till.told().await, ["payment_failed", "payment_failed"]);
    let begun = till.begin(CARD, &hopeless).await;
    till.pays(&begun);
    till.hear(2).await;
    till.work().await;
    assert_eq!(
        till.at_stripe(),
        (vec![10_000, 10_000], vec![]),
        "the new card is not charged again"
    );
    assert_eq!(till.books().await, [0, -18_000, -2_000, 20_000]);
}

#[tokio::test]
async fn a_wrong_key_of_ours_is_an_operators_business_and_costs_nobody_anything() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-60).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(1);
    let jobs = till.settled_jobs().await;
    let wrong = [("STRIPE_SECRET_KEY", "sk_test_of-yesterday")];
    let barred = till.world.function_with("step-tab", &wrong).await;
    assert_eq!(barred.consume(&jobs).await.len(), 1, "the job must survive");
    assert_eq!(till.told().await, Vec::<String>::new());
    assert_eq!(till.capture.consume(&jobs).await, Vec::<String>::new());
    assert_eq!(till.at_stripe().0, [10_000]);
    let start = till.world.function_with("start-payment", &wrong).await;
    let other = till.world.lesson_in(60).await;
    let begun = till
        .world
        .call(&start, CARD, till.world.cast.parent, &other)
        .await;
    assert_eq!(begun.verdict(), "503 provider-unavailable");
}

#[tokio::test]
async fn a_payment_whose_webhook_was_lost_is_looked_up_before_a_card_is_charged() {
    let till = Till::open().await;
    let lesson = till.in_francs(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    let begun = till.begin(LINK, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.world.fapshi.letters();
    till.world.travel(31);
    till.settle().await;
    assert_eq!(
        till.at_stripe().0,
        Vec::<i64>::new(),
        "it was paid, only nobody had said so"
    );
    assert_eq!(till.status(&begun.body["id"]).await, "paid");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn a_correction_gives_back_what_was_collected_and_collects_nothing_that_it_overtook() {
    let till = Till::open().await;
    let (collected, overtaken) = (till.world.lesson_in(-75).await, till.world.lesson_in(-75).await);
    till.session(&collected).await;
    till.session(&overtaken).await;
    till.card_kept(&collected).await;
    till.world.travel(1);
    let correct = |lesson: &Lesson| {
        let end = lesson.starts_at + SignedDuration::from_mins(30);
        let (world, lesson) = (&till.world, *lesson);
        async move { world.room_ended(&lesson, end).await }
    };
    let tick = till.world.function("process-charges").await;
    tick.invoke(json!({})).await.unwrap();
    correct(&overtaken).await;
    tick.invoke(json!({})).await.unwrap();
    till.work().await;
    assert_eq!(
        till.at_stripe().0,
        [10_000],
        "the other was corrected before its card was charged"
    );
    correct(&collected).await;
    tick.invoke(json!({})).await.unwrap();
    till.work().await;
    till.hear(2).await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![10_000]));
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn too_little_for_any_card_stays_on_the_account_and_nobody_is_asked_for_it() {
    let till = Till::open().await;
    let lesson = Lesson {
        price: 60,
        ..Lesson::starting(Timestamp::now())
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    till.work().await;
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());
    assert_eq!(till.told().await, Vec::<String>::new());
    assert_eq!(till.balance("receivable").await, 30);
    let closed = "payments WHERE status = 'closed' AND reason = 'amount_too_small'";
    assert_eq!(till.world.count(closed).await, 1);
}

#[tokio::test]
async fn a_charge_is_told_to_whose_card_it_was_and_a_fee_that_is_told_late_enters_once() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(31);
    till.settle().await;
    till.hear(2).await;
    assert_eq!(till.world.count("notifications WHERE kind = 'charged'").await, 1);

    let other = till.in_francs(60).await;
    let begun = till.begin(LINK, &other).await;
    let id: PaymentId = begun.body["id"].as_str().unwrap().parse().unwrap();
    let before = till.balance("gateway_fees").await;
    let (database, look, now) = till.hands();
    for fee in [None, Some(150), Some(150), Some(151)] {
        let paid = Paid {
            amount: Money::new(5_000, Currency::XAF),
            gateway_id: "told-by-hand".into(),
            intent: None,
            card: None,
            fee: fee.map(|minor| Money::new(minor, Currency::XAF)),
        };
        let finding = Finding::Payment(id, Outcome::Paid(paid));
        store::charge::books::enter(&database, &finding, &look, now)
            .await
            .unwrap();
    }
    assert_eq!(till.balance("gateway_fees").await - before, 150);
}

#[tokio::test]
async fn a_card_is_charged_only_what_is_missing_though_the_rest_comes_to_light_while_it_is_about_to_be() {
    let till = Till::open().await;
    let (_, link) = till.held_with_part_paid_in_silence().await;

    // How much is missing is known only once the look has found the link paid.
    till.settle().await;

    assert_eq!(till.status(&link).await, "paid");
    assert_eq!(till.at_stripe().0, [3_000], "as it was asked for");
    let written = "SELECT concat_ws(' ', status, amount_minor) FROM payments WHERE method = 'saved_card'";
    let written: String = till.world.owner.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(written, "paid 3000", "as it is written down");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn a_card_is_charged_only_what_is_missing_though_a_worker_died_before_it_knew_how_much_that_is() {
    let till = Till::open().await;
    let (lesson, link) = till.held_with_part_paid_in_silence().await;
    till.tick().await;

    // It has looked, and asked no gateway of anything.
    let (database, _, now) = till.hands();
    let look = store::charge::tab::look_at_tab(&database, BookingId(lesson.id), uuid::Uuid::nil(), now).await;
    assert!(look.unwrap().is_some_and(|open| open.collection().is_some()));

    till.work().await;

    assert_eq!(till.status(&link).await, "paid");
    assert_eq!(till.at_stripe(), (vec![3_000], vec![]), "of 5,000");
    assert_eq!(till.refunds().await, Vec::<String>::new(), "what was too much");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn nothing_is_charged_beside_a_collection_that_was_overtaken_while_that_may_be_under_way() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    let jobs = till.settled_jobs().await;
    till.world.stripe.misbehave(Faults {
        vanish_next: 1,
        ..Faults::default()
    });
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "nobody knows whether half was charged"
    );

    till.corrected_to_full(session).await;

    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "the whole is charged beside a half that may be on its way"
    );
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());

    // By then the request has arrived or never will.
    till.world.travel(27);
    assert_eq!(till.capture.consume(&jobs).await, Vec::<String>::new());
    till.work().await;
    assert_eq!(till.at_stripe().0, [10_000]);
    let overtaken = "payments WHERE method = 'saved_card' AND status = 'closed' AND reason = 'not_needed'";
    assert_eq!(till.world.count(overtaken).await, 1);
}

#[tokio::test]
async fn a_lesson_that_was_called_off_and_is_planned_again_costs_its_price_again() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    till.session(&lesson).await;
    till.platform_writes(&lesson, "status = 'cancelled'").await;
    till.settle().await;
    let costs_nothing = "charges WHERE status = 'CANCELLED' AND charge_minor = 0";
    assert_eq!(till.world.count(costs_nothing).await, 1);
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 booking-cancelled");

    till.platform_writes(
        &lesson,
        "status = 'confirmed', session_start_time = now() + interval '2 days'",
    )
    .await;
    till.operator_accepts(&lesson, "status").await;

    let begun = till.begin(CARD, &lesson).await;
    assert_eq!(
        (begun.status, &begun.body["amount"]["amount"]),
        (201, &json!(10_000)),
        "{}",
        begun.body
    );
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]), "it went back");
}

#[tokio::test]
async fn a_charge_that_its_gateway_has_not_decided_is_neither_given_up_nor_made_beside() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    let jobs = till.settled_jobs().await;
    till.world.stripe.misbehave(Faults {
        charges_wait: true,
        is_silent: true,
        ..Faults::default()
    });
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "half is being charged"
    );

    // A correction wants the whole; the bank still has not said a word about the half, which nobody is asking for any more.
    till.corrected_to_full(session).await;
    till.world.travel(27);
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "half may still be taken"
    );
    assert_eq!(
        till.world.stripe.record("payment_intent").len(),
        1,
        "and nothing is asked for beside it"
    );

    // It was taken, and nobody told.
    till.world.stripe.end_charges();
    till.world.stripe.misbehave(Faults::default());
    assert_eq!(till.capture.consume(&jobs).await, Vec::<String>::new());
    till.work().await;

    assert_eq!(till.at_stripe(), (vec![5_000, 5_000], vec![]));
    let paid = "payments WHERE method = 'saved_card' AND status = 'paid'";
    assert_eq!(till.world.count(paid).await, 2);
}

#[tokio::test]
async fn a_charge_is_looked_up_under_the_record_of_the_card_that_was_asked() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(61);
    till.tick().await;

    // One worker has seen this card, and is not sure yet how much is missing; another sees the client's next one by now.
    let (database, _, now) = till.hands();
    let first =
        store::charge::tab::look_at_tab(&database, BookingId(lesson.id), uuid::Uuid::nil(), now).await;
    let first = first.unwrap().unwrap();
    let second = "UPDATE payments SET asked_at = NULL, customer_id = 'cus_next' WHERE method = 'saved_card'";
    till.world.owner.batch_execute(second).await.unwrap();

    let (_, line) = first.collection().unwrap();
    let line = store::charge::tab::GatewayPayment {
        asked_since: None,
        ..line.clone()
    };
    let card = first.card.as_ref().unwrap();
    let may_ask = store::charge::tab::ask_for(&database, &line, card, line.amount, now).await;
    assert!(may_ask.unwrap());

    let written = "SELECT customer_id FROM payments WHERE method = 'saved_card'";
    let written: String = till.world.owner.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(written, card.customer);
}

#[tokio::test]
async fn who_agrees_again_keeps_what_they_had_agreed_to() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    till.card_kept(&lesson).await;
    let agreed = "SELECT agreed_at::text || ' ' || up_to_minor FROM card_agreements";
    let before: String = till.world.owner.query_one(agreed, &[]).await.unwrap().get(0);

    // A part of the price by card, later: it agrees to that part, and to what was agreed to before.
    till.world.travel(5);
    till.card_kept(&lesson).await;
    till.world
        .owner
        .batch_execute("UPDATE card_agreements SET up_to_minor = up_to_minor + 1")
        .await
        .unwrap();
    till.world.travel(5);
    till.card_kept(&lesson).await;

    let after: String = till.world.owner.query_one(agreed, &[]).await.unwrap().get(0);
    let before = before.replace(" 10000", " 10001");
    assert_eq!(after, before, "since when, and up to how much");
}
