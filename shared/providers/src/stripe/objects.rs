//! Stripe's objects, as far as we read them, and what they mean to us.

use domain::charge::finding::{Card, Declined, Dispute, Finding, Outcome, Paid, Refunded};
use domain::charge::retry::Advice;
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use iso_currency::Currency;
use platform::outbound::VendorError;
use serde::Deserialize;

/// The marks that we put on objects at Stripe, to know them again.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    #[serde(rename = "firstbell_payment")]
    pub(super) payment: Option<PaymentId>,
    #[serde(rename = "firstbell_refund")]
    pub(super) refund: Option<RefundId>,
    #[serde(rename = "firstbell_attempt")]
    attempt: Option<String>,
    #[serde(rename = "firstbell_currency")]
    currency: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// An object that stands in a list. The next page begins after its id.
pub(super) trait Listed {
    fn id(&self) -> &str;
}

impl Listed for PaymentIntent {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for RefundObject {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A reference to another object: the whole of it where we asked Stripe to expand it, otherwise only its id.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expandable<T> {
    Whole(T),
    #[allow(dead_code, reason = "says that there is one")]
    Id(String),
}

impl<T> Expandable<T> {
    fn whole(&self) -> Option<&T> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Id(_) => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Charge {
    /// Missing while the capture goes on in the background.
    balance_transaction: Option<Expandable<BalanceTransaction>>,
}

/// A movement of our balance at Stripe, in the currency in which it settles with us.
#[derive(Debug, Deserialize)]
struct BalanceTransaction {
    /// In the currency's smallest unit, before the fee; less than zero for what leaves us.
    amount: i64,
    fee: i64,
    currency: String,
}

impl BalanceTransaction {
    fn fee(&self) -> Option<Money> {
        money(self.fee, &self.currency)
    }
}

fn fee_of(movement: Option<&Expandable<BalanceTransaction>>) -> Option<Money> {
    movement?.whole()?.fee()
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckoutSession {
    id: String,
    status: Option<String>,
    payment_status: Option<String>,
    amount_total: Option<i64>,
    currency: Option<String>,
    customer: Option<String>,
    payment_intent: Option<PaymentIntent>,
    setup_intent: Option<SetupIntent>,
    #[serde(default)]
    metadata: Metadata,
}

/// A page as its creation answers it. The intents that it leads to are not expanded there.
#[derive(Debug, Deserialize)]
pub(super) struct NewCheckout {
    pub(super) id: String,
    pub(super) url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PaymentIntent {
    id: String,
    status: String,
    #[serde(default)]
    amount_received: i64,
    currency: String,
    payment_method: Option<String>,
    last_payment_error: Option<CardError>,
    latest_charge: Option<Expandable<Charge>>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct SetupIntent {
    status: String,
    payment_method: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RefundObject {
    id: String,
    status: Option<String>,
    failure_reason: Option<String>,
    balance_transaction: Option<Expandable<BalanceTransaction>>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub(super) struct DisputeObject {
    id: String,
    amount: i64,
    currency: String,
    payment_intent: Option<Expandable<PaymentIntent>>,
    status: String,
    reason: Option<String>,
    /// The movements of the money: none while the bank only asks, one when it was taken, two when it came
    /// back.
    #[serde(default)]
    balance_transactions: Vec<BalanceTransaction>,
}

/// The body of every refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: CardError,
}

/// Why a request or a card was refused.
#[derive(Debug, Deserialize)]
pub(super) struct CardError {
    #[serde(rename = "type", default)]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    advice_code: Option<String>,
}

/// Codes after which the same card never works without its owner, by Stripe's table of decline codes. After some of
/// them (a card that is gone, a revoked authorisation) card networks fine whoever tries again.
const HOPELESS: [&str; 20] = [
    "authentication_required",
    "card_not_supported",
    "currency_not_supported",
    "do_not_try_again",
    "expired_card",
    "fraudulent",
    "incorrect_number",
    "invalid_account",
    "invalid_number",
    "lost_card",
    "merchant_blacklist",
    "not_permitted",
    "pickup_card",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "service_not_allowed",
    "stolen_card",
    "stop_payment_order",
    "transaction_not_allowed",
];

fn money(minor: i64, code: &str) -> Option<Money> {
    let currency = Currency::from_code(&code.to_ascii_uppercase())?;
    Some(Money::new(minor, currency))
}

fn unreadable() -> VendorError {
    VendorError::Permanent { status: 200 }
}

impl CardError {
    /// Whether the same idempotency key came again with other parameters.
    pub(super) fn is_repetition(&self) -> bool {
        self.kind == "idempotency_error"
    }

    pub(super) fn declined(&self, attempt: i32) -> Declined {
        let reason = self.decline_code.as_ref().or(self.code.as_ref());
        let reason = reason.map_or("card_declined", String::as_str);

        let is_hopeless = HOPELESS.contains(&reason)
            || matches!(
                self.advice_code.as_deref(),
                Some("do_not_try_again" | "confirm_card_data")
            );

        let advice = if is_hopeless {
            Advice::AskClient
        } else {
            Advice::TryLater
        };

        Declined {
            attempt,
            reason: reason.into(),
            advice,
        }
    }
}

impl CheckoutSession {
    pub(super) fn finding(self) -> Result<Finding, VendorError> {
        let Some(payment) = self.metadata.payment else {
            return Ok(Finding::NotOurs);
        };
        Ok(Finding::Payment(payment, self.outcome()?))
    }

    fn outcome(self) -> Result<Outcome, VendorError> {
        let is_saved = self
            .setup_intent
            .as_ref()
            .is_some_and(|setup| setup.status == "succeeded");

        match (self.status.as_deref(), self.payment_status.as_deref()) {
            (Some("complete"), Some("paid")) => self.paid(),
            (Some("complete"), _) if is_saved => self.paid(),
            (Some("expired"), _) => Ok(Outcome::Expired),
            _ => Ok(Outcome::Open),
        }
    }

    fn paid(self) -> Result<Outcome, VendorError> {
        // A page that only leaves a card has no currency, so the one that we noted on it counts.
        let code = self.currency.or(self.metadata.currency).ok_or_else(unreadable)?;
        let amount = money(self.amount_total.unwrap_or(0), &code).ok_or_else(unreadable)?;

        let intent = self.payment_intent.as_ref().map(|intent| intent.id.clone());
        let fee = self.payment_intent.as_ref().and_then(PaymentIntent::fee);

        let from_payment = self.payment_intent.and_then(|intent| intent.payment_method);
        let from_setup = self.setup_intent.and_then(|setup| setup.payment_method);

        Ok(Outcome::Paid(Paid {
            amount,
            gateway_id: self.id,
            intent,
            card: Option::zip(self.customer, from_payment.or(from_setup))
                .map(|(customer, card)| Card { customer, card }),
            fee,
        }))
    }
}

impl PaymentIntent {
    /// Which attempt at which payment this intent is; `None` if it is not a charge of ours.
    pub(super) fn attempt(&self) -> Option<(PaymentId, i32)> {
        let attempt = self.metadata.attempt.as_deref()?.parse().ok()?;
        Some((self.metadata.payment?, attempt))
    }

    /// Whether a page of ours made this intent. Then the page tells more: it has the card.
    pub(super) fn is_of_a_page(&self) -> bool {
        self.metadata.payment.is_some() && self.metadata.attempt.is_none()
    }

    /// What Stripe kept for itself; `None` until Stripe says so.
    fn fee(&self) -> Option<Money> {
        let charge = self.latest_charge.as_ref()?.whole()?;
        fee_of(charge.balance_transaction.as_ref())
    }

    pub(super) fn is_paid(&self) -> bool {
        self.status == "succeeded"
    }

    pub(super) fn finding(&self) -> Result<Finding, VendorError> {
        match self.attempt() {
            Some((payment, attempt)) => Ok(Finding::Payment(payment, self.outcome(attempt)?)),
            None => Ok(Finding::NotOurs),
        }
    }

    pub(super) fn outcome(&self, attempt: i32) -> Result<Outcome, VendorError> {
        match (self.status.as_str(), &self.last_payment_error) {
            ("succeeded", _) => Ok(Outcome::Paid(Paid {
                amount: money(self.amount_received, &self.currency).ok_or_else(unreadable)?,
                gateway_id: self.id.clone(),
                intent: Some(self.id.clone()),
                card: None,
                fee: self.fee(),
            })),
            ("requires_payment_method", Some(error)) => Ok(Outcome::Declined(error.declined(attempt))),
            // Nobody authenticates a charge that the client does not see, and a cancelled intent stays
            // cancelled.
            ("requires_action" | "canceled", _) => Ok(Outcome::Declined(Declined {
                attempt,
                reason: "authentication_required".into(),
                advice: Advice::AskClient,
            })),
            _ => Ok(Outcome::Open),
        }
    }
}

impl RefundObject {
    pub(super) fn finding(self) -> Finding {
        let ours = self.metadata.refund;
        ours.map_or(Finding::NotOurs, |refund| {
            Finding::Refund(refund, self.refunded())
        })
    }

    pub(super) fn refunded(self) -> Refunded {
        let fee = fee_of(self.balance_transaction.as_ref());
        let gateway_id = self.id;
        match self.status.as_deref() {
            Some("succeeded") => Refunded::Done { gateway_id, fee },
            Some("failed" | "canceled") => Refunded::Failed {
                gateway_id: Some(gateway_id),
                reason: self.failure_reason.unwrap_or_else(|| "failed".into()),
            },
            _ => Refunded::Pending { gateway_id },
        }
    }
}

impl DisputeObject {
    pub(super) fn finding(self) -> Result<Finding, VendorError> {
        let intent = self.payment_intent.as_ref().and_then(Expandable::whole);
        let Some((intent, payment)) = intent.and_then(|intent| Some((intent, intent.metadata.payment?)))
        else {
            return Ok(Finding::NotOurs);
        };

        let amount = money(self.amount, &self.currency).ok_or_else(unreadable)?;

        Ok(Finding::Dispute(Dispute {
            payment,
            intent: intent.id.clone(),
            amount,
            is_lost: self.status == "lost",
            withdrawn: self.moved(amount, |moved| moved < 0),
            reinstated: self.moved(amount, |moved| moved > 0),
            fee: self.fee(),
            gateway_id: self.id,
            status: self.status,
            reason: self.reason,
        }))
    }

    /// How much money moved in one direction, in the dispute's currency. A movement in another currency was
    /// converted; it then counts as the whole amount, because Stripe makes one movement for each direction.
    fn moved(&self, amount: Money, is_counted: impl Fn(i64) -> bool) -> Money {
        let mut moved = Money::zero(amount.currency());
        for movement in self
            .balance_transactions
            .iter()
            .filter(|one| is_counted(one.amount))
        {
            moved = match money(movement.amount.saturating_abs(), &movement.currency) {
                Some(here) if here.currency() == amount.currency() => moved.plus(here).unwrap_or(amount),
                _ => amount,
            };
        }

        moved
    }

    /// The sum of the fees, some of which may be given back (less than zero). `None` if there were none or
    /// their currencies differ.
    fn fee(&self) -> Option<Money> {
        let fees = self.balance_transactions.iter().map(BalanceTransaction::fee);
        fees.reduce(|sum, fee| sum?.plus(fee?).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const PAYMENT: &str = "018f2f6e-0000-7000-8000-000000000001";

    fn payment() -> PaymentId {
        PaymentId(PAYMENT.parse().unwrap())
    }

    fn ttd(minor: i64) -> Money {
        Money::new(minor, Currency::TTD)
    }

    fn intent(charge: &Value) -> PaymentIntent {
        let intent = json!({
            "id": "pi_1", "status": "succeeded", "amount_received": 10_000, "currency": "ttd",
            "latest_charge": charge, "metadata": {"firstbell_payment": PAYMENT, "firstbell_attempt": "2"},
        });
        serde_json::from_value(intent).unwrap()
    }

    fn fee_told(charge: &Value) -> Option<Money> {
        match intent(charge).outcome(2).unwrap() {
            Outcome::Paid(paid) => paid.fee,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fee_is_told_in_the_currency_of_settlement_or_not_yet() {
        let movement = json!({"id": "txn_1", "amount": 1_480, "fee": 73, "net": 1_407, "currency": "usd"});
        let usd = Money::new(73, Currency::USD);

        assert_eq!(
            fee_told(&json!({"id": "ch_1", "balance_transaction": movement})),
            Some(usd)
        );

        for silent in [
            json!({"id": "ch_1", "balance_transaction": null}),
            json!({"id": "ch_1", "balance_transaction": "txn_1"}),
            json!("ch_1"),
            json!(null),
        ] {
            assert_eq!(fee_told(&silent), None, "{silent}");
        }
    }

    #[test]
    fn a_refund_may_cost_something_too() {
        let refund = json!({
            "id": "re_1", "status": "succeeded",
            "balance_transaction": {"amount": -5_000, "fee": 0, "currency": "ttd"},
        });
        let refund: RefundObject = serde_json::from_value(refund).unwrap();

        let done = Refunded::Done {
            gateway_id: "re_1".into(),
            fee: Some(ttd(0)),
        };
        assert_eq!(refund.refunded(), done);
    }

    fn dispute(status: &str, movements: &Value) -> DisputeObject {
        let dispute = json!({
            "id": "du_1", "amount": 10_000, "currency": "ttd", "status": status, "reason": "fraudulent",
            "payment_intent": {
                "id": "pi_1", "status": "succeeded", "amount_received": 10_000, "currency": "ttd",
                "metadata": {"firstbell_payment": PAYMENT},
            },
            "balance_transactions": movements,
        });
        serde_json::from_value(dispute).unwrap()
    }

    fn found(dispute: DisputeObject) -> Dispute {
        match dispute.finding().unwrap() {
            Finding::Dispute(dispute) => dispute,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_dispute_takes_the_money_when_it_opens_and_returns_it_when_it_is_won() {
        let taken = json!({"amount": -10_000, "fee": 1_500, "currency": "ttd"});
        let back = json!({"amount": 10_000, "fee": -1_500, "currency": "ttd"});
        let cases = [
            ("warning_needs_response", json!([]), (0, 0, None)),
            ("needs_response", json!([taken]), (10_000, 0, Some(1_500))),
            ("lost", json!([taken]), (10_000, 0, Some(1_500))),
            ("won", json!([taken, back]), (10_000, 10_000, Some(0))),
        ];
        for (status, movements, (withdrawn, reinstated, fee)) in cases {
            let dispute = found(dispute(status, &movements));

            assert_eq!(dispute.payment, payment());
            assert_eq!(
                (dispute.withdrawn, dispute.reinstated),
                (ttd(withdrawn), ttd(reinstated)),
                "{status}"
            );
            assert_eq!(dispute.fee, fee.map(ttd), "{status}");
            assert_eq!(dispute.is_lost, status == "lost");
        }
    }

    #[test]
    fn a_dispute_that_is_settled_in_another_currency_moves_what_is_disputed() {
        let taken = json!([{"amount": -1_480, "fee": 1_500, "currency": "usd"}]);
        let dispute = found(dispute("needs_response", &taken));
        assert_eq!(dispute.withdrawn, ttd(10_000));
        assert_eq!(dispute.fee, Some(Money::new(1_500, Currency::USD)));
    }

    #[test]
    fn what_carries_no_mark_of_ours_is_somebody_elses() {
        let bare = |intent: Value| -> Finding {
            let dispute = json!({"id": "du_1", "amount": 1, "currency": "usd", "status": "lost", "payment_intent": intent});
            serde_json::from_value::<DisputeObject>(dispute)
                .unwrap()
                .finding()
                .unwrap()
        };

        let theirs =
            json!({"id": "pi_1", "status": "succeeded", "currency": "usd", "metadata": {"order": "7"}});
        assert_eq!(bare(theirs), Finding::NotOurs);
        assert_eq!(bare(json!(null)), Finding::NotOurs, "a charge without an intent");
    }

    #[test]
    fn a_card_that_is_gone_is_never_tried_again() {
        let advice = |error: Value| {
            serde_json::from_value::<CardError>(error)
                .unwrap()
                .declined(1)
                .advice
        };

        for code in HOPELESS {
            let error = json!({"type": "card_error", "code": "card_declined", "decline_code": code});
            assert_eq!(advice(error), Advice::AskClient, "{code}");
        }

        let poor =
            json!({"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"});
        assert_eq!(advice(poor), Advice::TryLater);

        let told = json!({"code": "card_declined", "decline_code": "generic_decline", "advice_code": "do_not_try_again"});
        assert_eq!(advice(told), Advice::AskClient);
    }
}
