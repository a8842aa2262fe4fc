//! The gateways' clients against the gateways as they are simulated: what is told of fees, disputes and refunds, what
//! is found again after an answer was lost, and what a refusal means.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so and stops"
)]

use domain::charge::finding::{Dispute, Finding, Outcome, Paid, Refunded};
use domain::charge::gateway::Gateway;
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use iso_currency::Currency;
use jiff::SignedDuration;
use platform::clock::{Clock, ClockHand};
use platform::config::Env;
use platform::outbound::VendorError;
use providers::gateways::{Gateways, least_minor};
use providers::stripe::{Checkout, SavedCardCharge, Subject};
use providers::{fapshi, stripe};
use simulators::fapshi::{Features, Service};
use simulators::mailbox::Faults;
use uuid::Uuid;

const NOON: &str = "2026-03-01T12:00:00Z";

/// Both gateways, our clients of them, and the hand of their clock.
struct Market {
    stripe: simulators::stripe::Stripe,
    fapshi: simulators::fapshi::Fapshi,
    gateways: Gateways,
    clock: Clock,
    hand: ClockHand,
}

impl Market {
    async fn open() -> Self {
        let (clock, hand) = Clock::manual(NOON.parse().unwrap());
        let stripe = simulators::stripe::Stripe::new("http://cards.test/", "sk", "whsec", clock.clone());
        let service = |name: &str| Service {
            user: name.into(),
            key: name.into(),
        };
        let (collections, payouts) = (service("collections"), service("payouts"));
        let fapshi = simulators::fapshi::Fapshi::new("http://momo.test/", collections, payouts, "secret")
            .with_clock(clock.clone());
        let cards = simulators::serve(stripe.router()).await.unwrap();
        let momo = simulators::serve(fapshi.router()).await.unwrap();
        let mut env = Env::from_lookup(move |name| {
            let value = match name {
                "STRIPE_API_URL" => format!("http://{cards}/"),
                "STRIPE_SECRET_KEY" => "sk".into(),
                "FAPSHI_API_URL" => format!("http://{momo}/"),
                "FAPSHI_API_USER" | "FAPSHI_API_KEY" => "collections".into(),
                "FAPSHI_PAYOUT_USER" | "FAPSHI_PAYOUT_KEY" => "payouts".into(),
                _ => return None,
            };
            Some(value)
        });
        Self {
            stripe,
            fapshi,
            gateways: Gateways::from_env(&mut env).unwrap(),
            clock,
            hand,
        }
    }

    /// A page to pay 100 dollars of Trinidad on: its payment and its name.
    async fn page(&self) -> (PaymentId, String) {
        let payment = PaymentId(Uuid::new_v4());
        let checkout = Checkout {
            payment,
            amount: ttd(10_000),
            customer: None,
            return_to: &"https://app.test/".parse().unwrap(),
            expires_at: self.clock.now() + SignedDuration::from_hours(1),
        };
        let opened = self.gateways.stripe.open_checkout(&checkout).await.unwrap();
        (payment, opened.gateway_id)
    }

    async fn charge(
        &self,
        payment: PaymentId,
        (customer, card): &(String, String),
    ) -> Result<Outcome, VendorError> {
        let charge = SavedCardCharge {
            payment,
            attempt: 1,
            amount: ttd(10_000),
            customer,
            card,
        };
        self.gateways.stripe.charge(&charge).await
    }

    /// What each of Stripe's waiting events leads to.
    async fn hear(&self) -> Vec<Finding> {
        let mut heard = Vec::new();
        for letter in self.stripe.letters() {
            let notice = stripe::Delivery { body: letter.body }.notice().unwrap();
            heard.push(self.gateways.stripe.look_up(&notice.subject).await.unwrap());
        }
        heard
    }

    fn intent(&self) -> String {
        let intents = self.stripe.record("payment_intent");
        intents.last().unwrap()["id"].as_str().unwrap().into()
    }

    /// A request for 5,000 francs on a phone, answered by its owner.
    async fn collected(&self) -> PaymentId {
        let payment = PaymentId(Uuid::new_v4());
        let phone = "670000000".parse().unwrap();
        let opened = self
            .gateways
            .fapshi
            .request(payment, xaf(5_000), &phone)
            .await
            .unwrap();
        self.fapshi.end(&opened.gateway_id, "SUCCESSFUL").unwrap();
        payment
    }

    async fn pay_out(&self, refund: RefundId) -> Result<Refunded, VendorError> {
        self.gateways
            .fapshi
            .pay_out(refund, xaf(1_000), "670000000")
            .await
    }
}

fn ttd(minor: i64) -> Money {
    Money::new(minor, Currency::TTD)
}

fn xaf(minor: i64) -> Money {
    Money::new(minor, Currency::XAF)
}

fn paid(finding: &Finding) -> &Paid {
    match finding {
        Finding::Payment(_, Outcome::Paid(paid)) => paid,
        other => panic!("{other:?}"),
    }
}

fn disputed(finding: &Finding) -> &Dispute {
    match finding {
        Finding::Dispute(dispute) => dispute,
        other => panic!("{other:?}"),
    }
}

/// 2.9 % of 100 dollars of Trinidad, and thirty cents.
const FEE: i64 = 290 + 204;

#[tokio::test]
async fn the_fee_is_told_with_the_payment_or_after_it() {
    let market = Market::open().await;
    let (payment, page) = market.page().await;
    market.stripe.close_checkout(&page, true);
    let heard = market.hear().await;
    assert_eq!(heard.len(), 2, "the charge and the page");
    for finding in &heard {
        let paid = paid(finding);
        assert_eq!((paid.amount, paid.fee), (ttd(10_000), Some(ttd(FEE))));
        assert_eq!(paid.gateway_id, page, "both are about the page");
        assert!(paid.card.is_some());
        assert!(matches!(finding, Finding::Payment(id, _) if *id == payment));
    }

    market.stripe.misbehave(Faults {
        fees_wait: true,
        ..Faults::default()
    });
    let card = market.stripe.leave_card();
    let charged = market.charge(PaymentId(Uuid::new_v4()), &card).await.unwrap();
    assert!(matches!(charged, Outcome::Paid(paid) if paid.fee.is_none()));
    market.hear().await;
    market.stripe.tell_fees();
    let heard = market.hear().await;
    assert_eq!(paid(&heard[0]).fee, Some(ttd(FEE)));
    assert_eq!(market.stripe.balances()["ttd"], 2 * (10_000 - FEE));
}

#[tokio::test]
async fn a_charge_whose_answer_was_lost_is_found_by_the_customer_that_was_asked() {
    let market = Market::open().await;
    let (payment, card) = (PaymentId(Uuid::new_v4()), market.stripe.leave_card());
    let since = market.clock.now();
    market.stripe.misbehave(Faults {
        break_after_next: 1,
        ..Faults::default()
    });
    for _ in 0..2 {
        let broken = market.charge(payment, &card).await;
        assert!(
            matches!(
                broken,
                Err(VendorError::Transient {
                    status: Some(500),
                    ..
                })
            ),
            "kept and repeated: {broken:?}"
        );
    }
    let other_card = market.stripe.leave_card();
    let asked_otherwise = market.charge(payment, &other_card).await;
    assert!(
        matches!(asked_otherwise, Err(VendorError::Transient { status: None, .. })),
        "the key stands for the card that was asked: what became of that is looked up"
    );

    let stripe = &market.gateways.stripe;
    let found = stripe.find_charge(&card.0, payment, 1, since).await.unwrap();
    assert!(matches!(found, Some(Outcome::Paid(paid)) if paid.fee == Some(ttd(FEE))));
    let elsewhere = stripe
        .find_charge(&other_card.0, payment, 1, since)
        .await
        .unwrap();
    assert_eq!(
        elsewhere, None,
        "the list of the card that is on file by now is empty"
    );

    market.hand.advance(SignedDuration::from_hours(24));
    assert!(
        matches!(market.charge(payment, &other_card).await, Ok(Outcome::Paid(_))),
        "after a day the key is new, and only looking keeps from charging twice"
    );
}

#[tokio::test]
async fn a_try_is_found_behind_a_page_of_others_and_is_not_taken_for_another_try() {
    let market = Market::open().await;
    let since = market.clock.now();
    let (payment, card) = (PaymentId(Uuid::new_v4()), market.stripe.leave_card());
    market.stripe.misbehave(Faults {
        decline_next: 1,
        ..Faults::default()
    });
    let declined = market.charge(payment, &card).await.unwrap();
    assert!(matches!(declined, Outcome::Declined(_)), "{declined:?}");

    for _ in 0..100 {
        market.charge(PaymentId(Uuid::new_v4()), &card).await.unwrap();
    }

    let find = |attempt| {
        market
            .gateways
            .stripe
            .find_charge(&card.0, payment, attempt, since)
    };
    assert_eq!(find(1).await, Ok(Some(declined)));
    assert_eq!(find(2).await, Ok(None), "nobody asked for the second try");
}

#[tokio::test]
async fn a_key_that_is_in_use_is_asked_about_later() {
    let market = Market::open().await;
    let (payment, card) = (PaymentId(Uuid::new_v4()), market.stripe.leave_card());
    market.stripe.misbehave(Faults {
        answer_after_ms: 300,
        ..Faults::default()
    });
    let (one, other) = tokio::join!(market.charge(payment, &card), market.charge(payment, &card));
    let came = [&one, &other]
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Outcome::Paid(_))))
        .count();
    assert_eq!(came, 1, "{one:?} {other:?}");
    assert_eq!(market.stripe.record("payment_intent").len(), 1);
}

#[tokio::test]
async fn an_open_page_is_closed_and_a_paid_one_says_so() {
    let market = Market::open().await;
    let (payment, page) = market.page().await;
    for _ in 0..2 {
        let closed = market
            .gateways
            .expire(Gateway::Stripe, payment, Some(&page))
            .await;
        assert_eq!(closed, Ok(Some(Outcome::Expired)));
    }
    assert_eq!(market.stripe.close_checkout(&page, true), None);

    let (payment, page) = market.page().await;
    market.stripe.close_checkout(&page, true);
    let closed = market
        .gateways
        .expire(Gateway::Stripe, payment, Some(&page))
        .await;
    assert!(matches!(closed, Ok(Some(Outcome::Paid(_)))), "{closed:?}");
    assert_eq!(
        market.gateways.expire(Gateway::Stripe, payment, None).await,
        Ok(None)
    );

    let (_, forgotten) = market.page().await;
    market.hand.advance(SignedDuration::from_hours(1));
    assert_eq!(
        market.stripe.close_checkout(&forgotten, true),
        None,
        "its hour is over"
    );
}

#[tokio::test]
async fn what_became_of_a_payment_is_found_at_its_own_gateway_under_its_own_name() {
    let market = Market::open().await;
    let find = |gateway, payment, name| market.gateways.find(gateway, payment, name);
    let end = |gateway, payment, name| market.gateways.end_in_time(gateway, payment, name);
    let is_paid = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Paid(_)));

    let (payment, page) = market.page().await;
    let (other, _) = market.page().await;
    assert_eq!(
        find(Gateway::Stripe, payment, Some(&page)).await,
        Ok(Some(Outcome::Open))
    );
    assert_eq!(
        end(Gateway::Stripe, payment, Some(&page)).await,
        None,
        "it has no end yet"
    );
    market.stripe.close_checkout(&page, true);
    let found = find(Gateway::Stripe, payment, Some(&page)).await.unwrap();
    assert!(is_paid(&found), "{found:?}");
    assert!(is_paid(&end(Gateway::Stripe, payment, Some(&page)).await));
    for (whose, name) in [
        (other, Some(&*page)),
        (payment, None),
        (payment, Some("cs_nobodys")),
    ] {
        assert_eq!(find(Gateway::Stripe, whose, name).await, Ok(None), "{name:?}");
    }
    assert_eq!(
        market.gateways.expire(Gateway::Stripe, other, Some(&page)).await,
        Ok(None)
    );

    // A phone has no page, so no name is needed.
    let collected = market.collected().await;
    let found = find(Gateway::Fapshi, collected, None).await.unwrap();
    assert!(is_paid(&found), "{found:?}");
    let refused = PaymentId(Uuid::new_v4());
    let phone = "670000000".parse().unwrap();
    let opened = market
        .gateways
        .fapshi
        .request(refused, xaf(5_000), &phone)
        .await
        .unwrap();
    market.fapshi.end(&opened.gateway_id, "FAILED").unwrap();
    let found = find(Gateway::Fapshi, refused, None).await.unwrap();
    assert!(matches!(found, Some(Outcome::Failed(_))), "{found:?}");

    let fails = Faults {
        fail_next: 1,
        ..Faults::default()
    };
    market.stripe.misbehave(fails);
    assert_eq!(
        end(Gateway::Stripe, payment, Some(&page)).await,
        None,
        "nobody waits for a reason"
    );
}

#[test]
fn each_gateway_has_its_own_least() {
    assert_eq!(least_minor(Gateway::Fapshi, Currency::XAF), 100);
    let dollars = least_minor(Gateway::Stripe, Currency::USD);
    assert_eq!(dollars, stripe::least_minor(Currency::USD));
    assert!(
        (50..100).contains(&dollars),
        "half a dollar, or what that is in the account's own money"
    );
}

#[tokio::test]
async fn a_dispute_tells_whose_it_is_and_what_it_moves() {
    let market = Market::open().await;
    let (payment, page) = market.page().await;
    market.stripe.close_checkout(&page, true);
    market.hear().await;
    let intent = market.intent();

    let cases = [
        ("warning_needs_response", 0, 0, None),
        ("needs_response", 10_000, 0, Some(ttd(15 * 679))),
        ("won", 10_000, 10_000, Some(ttd(15 * 679))),
    ];
    for (status, withdrawn, reinstated, fee) in cases {
        market.stripe.dispute(&intent, status);
        for finding in market.hear().await {
            let dispute = disputed(&finding);
            assert_eq!((dispute.payment, dispute.intent.as_str()), (payment, &*intent));
            assert_eq!(
                (dispute.withdrawn, dispute.reinstated),
                (ttd(withdrawn), ttd(reinstated)),
                "{status}"
            );
            assert_eq!(dispute.fee, fee, "{status}");
        }
    }
    assert_eq!(market.stripe.balances()["ttd"], 10_000 - FEE - 15 * 679);

    market.stripe.others_charge(1_000, "usd");
    market.stripe.dispute("pi_of-other-software", "lost");
    let heard = market.hear().await;
    assert_eq!(heard.len(), 3);
    assert!(
        heard.iter().all(|finding| *finding == Finding::NotOurs),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_refund_may_fail_after_it_was_done_and_a_disputed_payment_is_not_refunded() {
    let market = Market::open().await;
    let (_, page) = market.page().await;
    market.stripe.close_checkout(&page, true);
    let (intent, refund) = (market.intent(), RefundId(Uuid::new_v4()));
    let stripe = &market.gateways.stripe;
    market.stripe.misbehave(Faults {
        fail_refunds_next: 1,
        ..Faults::default()
    });
    let done = stripe.refund(refund, &intent, ttd(4_000)).await.unwrap();
    assert!(matches!(done, Refunded::Done { fee: Some(fee), .. } if fee == ttd(0)));
    let found = stripe.find_refund(refund, &intent).await.unwrap();
    assert!(matches!(found, Some(Refunded::Failed { .. })), "{found:?}");
    assert_eq!(market.stripe.balances()["ttd"], 10_000 - FEE);

    market.stripe.dispute(&intent, "needs_response");
    let refused = stripe.refund(RefundId(Uuid::new_v4()), &intent, ttd(4_000)).await;
    assert_eq!(refused, Err(VendorError::Permanent { status: 400 }));

    let by_hand = market.stripe.refund_by_hand(&intent, 1_000);
    assert_eq!(by_hand, None, "not by hand either");
}

#[tokio::test]
async fn too_little_is_refused_and_our_least_never_is() {
    let market = Market::open().await;
    let card = market.stripe.leave_card();
    for currency in [Currency::USD, Currency::TTD, Currency::XAF, Currency::GBP] {
        let charge = |minor: i64| {
            let amount = Money::new(minor, currency);
            let payment = PaymentId(Uuid::new_v4());
            let (customer, card) = (card.0.clone(), card.1.clone());
            let stripe = &market.gateways.stripe;
            async move {
                let charge = SavedCardCharge {
                    payment,
                    attempt: 1,
                    amount,
                    customer: &customer,
                    card: &card,
                };
                stripe.charge(&charge).await
            }
        };
        let least = stripe::least_minor(currency);
        assert!(charge(least).await.is_ok(), "{currency}");
        assert_eq!(
            charge(least / 2).await,
            Err(VendorError::Permanent { status: 400 }),
            "{currency}"
        );
    }
}

#[tokio::test]
async fn mobile_money_tells_its_fee_and_which_service_knows_it() {
    let market = Market::open().await;
    let (payment, refund) = (market.collected().await, RefundId(Uuid::new_v4()));
    let fee = 5_000 / 33;
    let found = market.gateways.fapshi.find(payment).await.unwrap().unwrap();
    assert!(matches!(found, Outcome::Paid(paid) if paid.fee == Some(xaf(fee))));
    market.pay_out(refund).await.unwrap();
    assert_eq!(market.fapshi.balance(), 5_000 - fee - 1_000);

    let letters = market.fapshi.letters();
    assert_eq!(letters.len(), 2);
    let mut heard = Vec::new();
    for letter in letters {
        assert!(!letter.body.contains("transType"));
        let notice = fapshi::Delivery { body: letter.body }.notice().unwrap();
        let found = market.gateways.fapshi.look_up(&notice).await.unwrap();
        assert!(!found.is_open(), "{found:?}");
        heard.push(found.finding());
    }
    assert!(matches!(heard[0], Finding::Payment(id, Outcome::Paid(_)) if id == payment));
    assert!(matches!(heard[1], Finding::Refund(id, Refunded::Done { .. }) if id == refund));
}

#[tokio::test]
async fn a_card_that_is_left_on_a_page_is_an_outcome_once_it_was_left() {
    let market = Market::open().await;
    let payment = PaymentId(Uuid::new_v4());
    let checkout = Checkout {
        payment,
        amount: ttd(0),
        customer: None,
        return_to: &"https://app.test/".parse().unwrap(),
        expires_at: market.clock.now() + SignedDuration::from_hours(1),
    };
    let opened = market.gateways.stripe.open_checkout(&checkout).await.unwrap();
    let find = || {
        market
            .gateways
            .find(Gateway::Stripe, payment, Some(&opened.gateway_id))
    };
    assert_eq!(find().await, Ok(Some(Outcome::Open)));

    market.stripe.close_checkout(&opened.gateway_id, true);

    let left = find().await.unwrap();
    let has_card = |paid: &Paid| paid.card.is_some() && paid.amount == ttd(0);
    assert!(
        matches!(&left, Some(Outcome::Paid(paid)) if has_card(paid)),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_payout_is_found_if_it_went_out_and_its_refusals_are_told_apart() {
    let market = Market::open().await;
    let fapshi = &market.gateways.fapshi;
    let misbehave = |faults: Faults| market.fapshi.misbehave(faults);
    let (lost, vanished) = (RefundId(Uuid::new_v4()), RefundId(Uuid::new_v4()));

    misbehave(Faults {
        lose_next: 1,
        ..Faults::default()
    });
    assert!(matches!(
        market.pay_out(lost).await,
        Err(VendorError::Transient { .. })
    ));
    let found = fapshi.find_refund(lost).await.unwrap();
    assert!(matches!(found, Some(Refunded::Done { .. })), "{found:?}");

    misbehave(Faults {
        vanish_next: 1,
        ..Faults::default()
    });
    assert!(matches!(
        market.pay_out(vanished).await,
        Err(VendorError::Transient { .. })
    ));
    assert_eq!(fapshi.find_refund(vanished).await, Ok(None));

    misbehave(Faults {
        fail_refunds_next: 1,
        ..Faults::default()
    });
    market.pay_out(vanished).await.unwrap();
    let found = fapshi.find_refund(vanished).await.unwrap();
    assert!(matches!(found, Some(Refunded::Failed { .. })), "{found:?}");
    market.pay_out(vanished).await.unwrap();
    let found = fapshi.find_refund(vanished).await.unwrap();
    assert!(
        matches!(found, Some(Refunded::Done { .. })),
        "the second went out: {found:?}"
    );

    market.fapshi.fill(2_500);
    let dry = market.pay_out(RefundId(Uuid::new_v4())).await;
    assert_eq!(dry, Err(VendorError::Insufficient { status: 400 }));
    let wrong = fapshi.pay_out(RefundId(Uuid::new_v4()), xaf(1_000), "12").await;
    assert_eq!(wrong, Err(VendorError::Permanent { status: 400 }));

    market.fapshi.enable(Features {
        direct_pay: false,
        payouts: false,
    });
    let off = market.pay_out(RefundId(Uuid::new_v4())).await;
    assert_eq!(off, Err(VendorError::NotEnabled { status: 403 }));
    let phone = "670000000".parse().unwrap();
    let off = fapshi
        .request(PaymentId(Uuid::new_v4()), xaf(5_000), &phone)
        .await;
    assert_eq!(off, Err(VendorError::NotEnabled { status: 403 }));
}

#[tokio::test]
async fn links_are_closed_and_a_request_on_a_phone_stays_its_owners() {
    let market = Market::open().await;
    let fapshi = &market.gateways.fapshi;
    let back = "https://app.test/".parse().unwrap();
    let close = |payment| market.gateways.expire(Gateway::Fapshi, payment, None);

    let link = PaymentId(Uuid::new_v4());
    assert_eq!(close(link).await, Ok(None), "nothing was begun");
    let opened = fapshi.open_link(link, xaf(5_000), &back).await.unwrap();
    for _ in 0..2 {
        assert_eq!(close(link).await, Ok(Some(Outcome::Expired)));
    }
    assert_eq!(market.fapshi.end(&opened.gateway_id, "SUCCESSFUL"), None);

    let phone = "670000000".parse().unwrap();
    let request = PaymentId(Uuid::new_v4());
    fapshi.request(request, xaf(5_000), &phone).await.unwrap();
    assert_eq!(close(request).await, Ok(Some(Outcome::Open)));
    let paid = market.collected().await;
    assert!(matches!(close(paid).await, Ok(Some(Outcome::Paid(_)))));

    let forgotten = PaymentId(Uuid::new_v4());
    fapshi.open_link(forgotten, xaf(5_000), &back).await.unwrap();
    market.hand.advance(SignedDuration::from_hours(24));
    assert_eq!(fapshi.find(forgotten).await, Ok(Some(Outcome::Expired)));
}

#[tokio::test]
async fn what_is_not_followed_is_not_ours() {
    let market = Market::open().await;
    let other = market.gateways.stripe.look_up(&Subject::Other).await;
    assert_eq!(other, Ok(Finding::NotOurs));
    let nobodys = Subject::Dispute("du_nobodys".into());
    assert_eq!(
        market.gateways.stripe.look_up(&nobodys).await,
        Err(VendorError::NotFound)
    );
}
