//! Paying ahead: what is ordered, what gateways tell of it, and who is believed.

use super::till::{CARD, LINK, PHONE, Till};
use crate::harness::{letter_event, owner_url, request};
use domain::charge::finding::{Finding, Outcome, Paid};
use domain::ids::PaymentId;
use domain::money::Money;
use iso_currency::Currency;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::mailbox::Faults;
use store::charge::books::Entered;
use stories::cast::{Lesson, owner};
use uuid::Uuid;

#[tokio::test]
async fn a_lesson_paid_ahead_by_card_keeps_what_it_costs_and_gives_the_rest_back() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(CARD, &lesson).await;
    assert_eq!(
        (begun.status, &begun.body["status"]),
        (201, &json!("open")),
        "{}",
        begun.body
    );
    let again = till.begin(CARD, &lesson).await;
    assert_eq!(
        (again.status, &again.body["url"]),
        (200, &begun.body["url"]),
        "pressed twice: the same page"
    );
    till.pays(&begun);
    till.hear(3).await;
    till.work().await;
    assert_eq!(till.status(&begun.body["id"]).await, "paid");
    assert_eq!(
        till.books().await,
        [-10_000, 0, 0, 10_000],
        "the client has a credit, we have the money"
    );
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");
    till.world.travel(21);
    till.no_show(session).await;
    till.work().await;
    till.hear(2).await;
    till.work().await;
    assert_eq!(
        till.at_stripe(),
        (vec![10_000], vec![5_000]),
        "half, and the card was not charged again"
    );
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
    assert_eq!(till.payment(&begun.body["id"]).await["refunded"]["amount"], 5_000);
    assert_eq!(till.told().await, ["refunded"]);
}

#[tokio::test]
async fn a_webhook_may_come_before_the_answer_and_instead_of_it() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(31);
    let jobs = till.settled_jobs().await;
    till.world.stripe.misbehave(Faults {
        answer_after_ms: 700,
        ..Faults::default()
    });
    let (failed, ()) = futures::future::join(till.capture.consume(&jobs), async {
        while till.at_stripe().0.is_empty() {
            tokio::task::yield_now().await;
        }
        till.hear(2).await;
    })
    .await;
    assert_eq!(failed, Vec::<String>::new());
    till.work().await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
}

#[tokio::test]
async fn mobile_money_is_asked_for_and_goes_back_to_the_phone() {
    let till = Till::open().await;
    let lesson = till.in_francs(0).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    assert_eq!(
        (begun.status, &begun.body["url"]),
        (201, &Value::Null),
        "{}",
        begun.body
    );
    let asked = till.world.fapshi.record("Collection");
    assert_eq!(
        (&asked[0]["amount"], &asked[0]["externalId"]),
        (&json!(5_000), &begun.body["id"])
    );
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(2).await;
    till.work().await;
    assert_eq!(till.books().await, [-5_000, 0, 0, 5_000]);
    till.world.travel(25);
    till.no_show(session).await;
    till.work().await;
    till.hear(2).await;
    let back: Vec<Value> = till.world.fapshi.record("Payout");
    assert_eq!(
        (back.len(), &back[0]["amount"]),
        (1, &json!(2_500)),
        "paid out once: {back:?}"
    );
    assert_eq!(till.books().await, [0, -2_250, -250, 2_500]);
    assert_eq!(till.told().await, ["refunded"]);
}

#[tokio::test]
async fn an_unsigned_webhook_is_not_believed_before_the_gateway_confirms_it() {
    let till = Till::open().await;
    let (lesson, other) = (till.in_francs(60).await, till.in_francs(60).await);
    let (begun, others) = (till.begin(LINK, &lesson).await, till.begin(LINK, &other).await);
    let transaction = |id: &Value| {
        let mut all = till.world.fapshi.record("Collection").into_iter();
        all.find(|other| other["externalId"] == *id).unwrap()
    };
    let (mine, theirs) = (transaction(&begun.body["id"]), transaction(&others.body["id"]));
    let mut lie = mine.clone();
    lie["status"] = "SUCCESSFUL".into();
    let sample = "webhook-fapshi/successful.json";
    till.knock(&till.fapshi_door, sample, &[till.world.fapshi.letter(&lie)])
        .await;
    let queued = till.world.queued_in(&till.world.gateway_events).await;
    assert_eq!(
        till.apply.consume(&queued).await.len(),
        1,
        "the gateway does not say so (yet)"
    );
    assert_eq!(till.status(&begun.body["id"]).await, "open");
    // Somebody pays for one lesson and names another.
    till.ends(&others.body["id"], "SUCCESSFUL");
    till.world.fapshi.letters();
    let mut swapped = theirs.clone();
    swapped["externalId"] = mine["externalId"].clone();
    till.knock(&till.fapshi_door, sample, &[till.world.fapshi.letter(&swapped)])
        .await;
    assert_eq!(
        till.apply
            .consume(&till.world.queued_in(&till.world.gateway_events).await)
            .await,
        Vec::<String>::new()
    );
    assert_eq!(till.status(&begun.body["id"]).await, "open");
    // The gateway took another amount than was asked for.
    let shrink = "UPDATE payments SET amount_minor = 4999 WHERE id = $1";
    let id: Uuid = others.body["id"].as_str().unwrap().parse().unwrap();
    till.world.owner.execute(shrink, &[&id]).await.unwrap();
    let mut honest = theirs.clone();
    honest["status"] = "EXPIRED".into();
    till.knock(&till.fapshi_door, sample, &[till.world.fapshi.letter(&honest)])
        .await;
    assert_eq!(
        till.apply
            .consume(&till.world.queued_in(&till.world.gateway_events).await)
            .await,
        Vec::<String>::new()
    );
    assert_eq!(till.status(&others.body["id"]).await, "open");
    let parked = "SELECT array_agg(reason ORDER BY reason) FROM provider_events WHERE status = 'parked'";
    let reasons: Vec<String> = till.world.owner.query_one(parked, &[]).await.unwrap().get(0);
    assert_eq!(
        reasons,
        [
            "another amount or currency than was asked for",
            "the gateway names another payment"
        ]
    );
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_link_expires_and_a_request_fails_and_both_can_be_started_again() {
    let till = Till::open().await;
    let lesson = till.in_francs(60 * 48).await;
    let link = till.begin(LINK, &lesson).await;
    let phone = till.begin(PHONE, &lesson).await;
    till.ends(&link.body["id"], "EXPIRED");
    till.ends(&phone.body["id"], "FAILED");
    till.hear(2).await;
    let seen = [
        till.payment(&link.body["id"]).await,
        till.payment(&phone.body["id"]).await,
    ];
    assert_eq!(
        json!([seen[0]["status"], seen[0]["reason"], seen[0]["url"]]),
        json!(["closed", "expired", null])
    );
    assert_eq!(seen[1]["status"], "failed");
    assert_eq!(till.told().await, ["payment_failed"]);
    let again = till.begin(LINK, &lesson).await;
    assert_eq!(again.status, 201);
    assert_ne!(again.body["url"], link.body["url"]);
    till.ends(&again.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    assert_eq!(till.status(&again.body["id"]).await, "paid");
}

#[tokio::test]
async fn money_that_comes_after_everybody_gave_it_up_is_entered_and_given_back_if_it_is_too_much() {
    let till = Till::open().await;
    let lesson = till.in_francs(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    // The request reaches the phone, its answer does not reach us.
    till.world.fapshi.misbehave(Faults {
        lose_next: 1,
        ..Faults::default()
    });
    assert_eq!(
        till.begin(PHONE, &lesson).await.verdict(),
        "503 provider-unavailable"
    );
    assert_eq!(
        till.begin(PHONE, &lesson).await.verdict(),
        "503 payment-being-started"
    );
    till.world.travel(31);
    till.settle().await;
    assert_eq!(
        till.at_stripe().0,
        [5_000],
        "nobody had paid, so the card was charged"
    );
    let asked = till.world.fapshi.record("Collection");
    till.ends(&asked[0]["externalId"], "SUCCESSFUL");
    till.hear(2).await;
    till.work().await;
    till.hear(2).await;
    assert_eq!(till.status(&asked[0]["externalId"]).await, "paid");
    let back: i64 = till
        .world
        .fapshi
        .record("Payout")
        .iter()
        .map(|out| out["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(back, 5_000, "paid twice, so once went back");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn only_the_client_pays_and_only_what_can_be_paid() {
    let till = Till::open().await;
    let (world, cast) = (&till.world, till.world.cast);
    let lesson = world.lesson_in(60).await;
    for (who, person, verdict) in [
        ("the tutor", cast.tutor, "403 not-the-client"),
        ("the student", cast.student, "403 not-the-client"),
        ("a stranger", cast.stranger, "403 forbidden"),
    ] {
        assert_eq!(
            world.call(&till.start, CARD, person, &lesson).await.verdict(),
            verdict,
            "{who}"
        );
    }
    assert_eq!(
        till.begin(PHONE, &lesson).await.verdict(),
        "409 currency-not-supported"
    );
    let price = |minor: &'static str, currency: &'static str| {
        let sql = format!("UPDATE bookings SET price_minor = {minor}, price_currency = {currency}");
        async move { world.owner.batch_execute(&sql).await.unwrap() }
    };
    price("99", "'XAF'").await;
    assert_eq!(till.begin(LINK, &lesson).await.verdict(), "409 amount-too-small");
    price("0", "'XAF'").await;
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");
    price("NULL", "NULL").await;
    assert_eq!(
        till.begin(CARD, &lesson).await.verdict(),
        "409 booking-without-price"
    );
    price("5000", "'XAF'").await;
    let timed = |start: &'static str| {
        let sql = format!("UPDATE bookings SET session_start_time = {start}");
        async move { world.owner.batch_execute(&sql).await.unwrap() }
    };
    timed("NULL").await;
    assert_eq!(
        till.begin(CARD, &lesson).await.verdict(),
        "409 booking-without-time"
    );
    timed("now() + interval '1 hour'").await;
    price("100000", "'UGX'").await;
    assert_eq!(
        till.begin(CARD, &lesson).await.verdict(),
        "409 payment-refused",
        "Stripe counts it in hundredths"
    );
    price("5000", "'XAF'").await;
    let mut wrong = world.request(PHONE, cast.parent, &lesson);
    for (body, verdict) in [
        (
            r#"{"method": "mobile_money", "phone": "12"}"#,
            "400 malformed-phone",
        ),
        (r#"{"method": "mobile_money"}"#, "400 malformed-body"),
        (r#"{"method": "card", "amount": 1}"#, "400 malformed-body"),
        (
            r#"{"method": "saved_card", "card": "pm_1"}"#,
            "400 malformed-body",
        ),
        (r#"{"method": "saved_card"}"#, "409 no-card-on-file"),
        (r#"{"method": "cash"}"#, "400 malformed-body"),
    ] {
        wrong["body"] = body.into();
        assert_eq!(till.start.call(wrong.clone()).await.verdict(), verdict, "{body}");
    }
    let cards_only = world
        .function_with("start-payment", &[("PAYMENT_METHODS", "card, card_on_file")])
        .await;
    let refused = world.call(&cards_only, PHONE, cast.parent, &lesson).await;
    assert_eq!(refused.verdict(), "409 method-not-offered");
    let begun = till.begin(PHONE, &lesson).await;
    let id = begun.body["id"].as_str().unwrap().parse().unwrap();
    let others = request("get-payment/payment.json", &world.identity.token(cast.tutor), id);
    assert_eq!(till.get.call(others).await.verdict(), "403 forbidden");
    world
        .owner
        .batch_execute("UPDATE bookings SET status = 'cancelled'")
        .await
        .unwrap();
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 booking-cancelled");
}

#[tokio::test]
async fn forged_altered_and_old_webhooks_are_refused_at_the_door() {
    let till = Till::open().await;
    let body = r#"{"id":"evt_1","type":"checkout.session.completed","data":{"object":{"id":"cs_1","object":"checkout.session"}}}"#;
    let stripe = "webhook-stripe/checkout-completed.json";
    let good = letter_event(stripe, &till.world.stripe.letter(body.into()));
    let mut altered = good.clone();
    altered["body"] = body.replace("cs_1", "cs_2").into();
    let mut unsigned = good.clone();
    unsigned["headers"]
        .as_object_mut()
        .unwrap()
        .remove("stripe-signature");
    let mut huge = good.clone();
    huge["body"] = "x".repeat(256 * 1024 + 1).into();
    let garbage = letter_event(stripe, &till.world.stripe.letter("{}".into()));
    for (event, verdict) in [
        (altered, "401 webhook-not-authentic"),
        (unsigned, "401 webhook-not-authentic"),
        (request(stripe, "", Uuid::nil()), "401 webhook-not-authentic"),
        (huge, "413 body-too-large"),
        (garbage, "400 malformed-body"),
    ] {
        assert_eq!(till.stripe_door.call(event).await.verdict(), verdict);
    }
    till.world.travel(6);
    let late = till.stripe_door.call(good).await;
    assert_eq!(
        late.verdict(),
        "401 webhook-not-authentic",
        "replayed after six minutes"
    );
    let fapshi = "webhook-fapshi/successful.json";
    let secret = crate::harness::FAPSHI_WEBHOOK_SECRET;
    let mut without = request(fapshi, secret, Uuid::nil());
    without["headers"].as_object_mut().unwrap().remove("x-wh-secret");
    let mut outside = request(fapshi, secret, Uuid::nil());
    outside["body"] = r#"{"transId":"../balance","status":"SUCCESSFUL"}"#.into();
    for (event, verdict) in [
        (without, "401 webhook-not-authentic"),
        (request(fapshi, "guess", Uuid::nil()), "401 webhook-not-authentic"),
        (
            request(fapshi, &format!("{secret}, {secret}"), Uuid::nil()),
            "401 webhook-not-authentic",
        ),
        (outside, "400 malformed-body"),
    ] {
        assert_eq!(till.fapshi_door.call(event).await.verdict(), verdict);
    }
    assert_eq!(
        till.world.queued_in(&till.world.gateway_events).await,
        Vec::<Value>::new(),
        "something was queued"
    );
}

#[tokio::test]
async fn the_database_itself_refuses_money_that_does_not_add_up() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    let begun = till.begin(CARD, &lesson).await;
    till.pays(&begun);
    till.hear(1).await;
    let refund =
        "INSERT INTO refunds (id, booking_id, ordinal, payment_id, amount_minor, currency, created_at)
                  SELECT gen_random_uuid(), booking_id, 1, id";
    let attempts = [
        format!("{refund}, 10001, currency, now() FROM payments"),
        format!("{refund}, 100, 'USD', now() FROM payments"),
        "INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
         SELECT id, 'cash/stripe/TTD', 'dispute', 100, 'TTD', now() FROM payments".into(),
        "INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
         SELECT payment_id, account_id, kind, amount_minor, currency, now() FROM ledger_entries".into(),
        "INSERT INTO ledger_entries (account_id, kind, amount_minor, currency, created_at)
         VALUES ('cash/stripe/TTD', 'payment', 1, 'TTD', now()), ('cash/stripe/TTD', 'payment', -1, 'TTD', now())".into(),
        "UPDATE payments SET status = 'open'".into(),
    ];
    for attempt in attempts {
        assert!(
            till.world.owner.batch_execute(&attempt).await.is_err(),
            "even the owner may: {attempt}"
        );
    }
    assert_eq!(till.books().await, [-10_000, 0, 0, 10_000]);
}

#[tokio::test]
async fn who_asks_where_a_payment_stands_or_for_another_is_told_what_its_gateway_says() {
    let till = Till::open().await;
    let (first, second, third) = (
        till.in_francs(60).await,
        till.in_francs(60).await,
        till.in_francs(60).await,
    );
    let seen = till.paid_in_silence(LINK, &first).await;
    let ordered = till.paid_in_silence(LINK, &second).await;
    let failed = till.begin(PHONE, &third).await;
    till.ends(&failed.body["id"], "FAILED");
    till.world.fapshi.letters();

    till.world.travel(1);
    till.world.fapshi.misbehave(Faults {
        fail_next: 1,
        ..Faults::default()
    });
    assert_eq!(till.status(&seen).await, "open", "all that is known here");
    till.world.travel(2);
    assert_eq!(till.status(&seen).await, "paid");

    let again = till.begin(LINK, &second).await;
    assert_eq!(
        json!([
            again.status,
            again.body["id"],
            again.body["status"],
            again.body["url"]
        ]),
        json!([200, ordered, "paid", null])
    );
    assert_eq!(till.begin(LINK, &second).await.verdict(), "409 nothing-to-pay");

    assert_eq!(
        till.begin(PHONE, &third).await.verdict(),
        "503 payment-being-started"
    );
    assert_eq!(till.begin(PHONE, &third).await.status, 201);
    assert_eq!(till.books().await, [-10_000, 0, 0, 10_000]);
}

#[tokio::test]
async fn another_phone_gets_a_link_and_a_request_of_its_own() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    for sample in [LINK, PHONE] {
        let first = till.begin(sample, &lesson).await;
        let mut event = till.world.request(sample, till.world.cast.parent, &lesson);
        let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
        body["phone"] = "699999999".into();
        event["body"] = body.to_string().into();
        let second = till.start.call(event).await;
        assert_eq!(second.status, 201, "{}", second.body);
        assert_ne!(second.body["id"], first.body["id"]);
    }
}

#[tokio::test]
async fn who_waits_while_the_price_changes_is_asked_for_the_new_one() {
    let till = Till::open().await;
    let lesson = Lesson {
        status: "pending",
        ..Lesson::starting(Timestamp::now() + SignedDuration::from_mins(60))
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    let name = "SELECT current_database()::text";
    let name: String = till.world.owner.query_one(name, &[]).await.unwrap().get(0);
    let platform = owner(&owner_url(&name)).await;
    let dearer = format!(
        "BEGIN; UPDATE public.bookings SET price_minor = 12000 WHERE id = '{}'",
        lesson.id
    );
    platform.batch_execute(&dearer).await.unwrap();

    let (begun, ()) = futures::future::join(till.begin(CARD, &lesson), async {
        till.until_somebody_waits().await;
        platform.batch_execute("COMMIT").await.unwrap();
    })
    .await;

    assert_eq!(
        (begun.status, &begun.body["amount"]["amount"]),
        (201, &json!(12_000)),
        "{}",
        begun.body
    );
    let page = till.world.stripe.record("checkout.session");
    assert_eq!(page[0]["amount_total"], 12_000, "the page says otherwise");
}

#[tokio::test]
async fn other_money_under_a_payment_that_is_paid_is_left_to_a_person() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    let begun = till.begin(CARD, &lesson).await;
    till.pays(&begun);
    till.hear(1).await;
    let payment = PaymentId(begun.body["id"].as_str().unwrap().parse().unwrap());
    let known = "SELECT gateway_id, intent_id FROM payments WHERE status = 'paid'";
    let known = till.world.owner.query_one(known, &[]).await.unwrap();
    let (gateway_id, intent): (String, String) = (known.get(0), known.get(1));

    let (database, look, now) = till.hands();
    let told = |gateway_id: &str, intent: &str| {
        let paid = Paid {
            amount: Money::new(10_000, Currency::TTD),
            gateway_id: gateway_id.into(),
            intent: Some(intent.into()),
            card: None,
            fee: None,
        };
        Finding::Payment(payment, Outcome::Paid(paid))
    };
    let enter = async |finding| {
        store::charge::books::enter(&database, &finding, &look, now)
            .await
            .unwrap()
    };

    assert_eq!(
        enter(told(&gateway_id, &intent)).await,
        Entered::Yes,
        "the same, told again"
    );
    assert_eq!(
        enter(told(&intent, &intent)).await,
        Entered::Yes,
        "by its charge's name"
    );
    assert_eq!(enter(told("pi_other", "pi_other")).await, Entered::Disagrees);
    let entries = "ledger_entries WHERE kind = 'payment'";
    assert_eq!(till.world.count(entries).await, 2);
}
