//! Stripe's objects, as far as we read them, and what they mean to us.

use crate::error::VendorError;
use domain::gateway::{Card, Declined, Dispute, Finding, Outcome, Paid, Refunded};
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use domain::payment::Advice;
use iso_currency::Currency;
use serde::Deserialize;

/// What we put on objects of ours, to know them again.
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

/// The page as its creation answers it: what it leads to is not expanded.
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
    #[serde(default)]
    pub(super) metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub(super) struct DisputeObject {
    id: String,
    amount: i64,
    currency: String,
    payment_intent: Option<String>,
    status: String,
    reason: Option<String>,
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

/// Codes after which the same card never works, by Stripe's table of decline codes.
const HOPELESS: [&str; 13] = [
    "authentication_required",
    "card_not_supported",
    "currency_not_supported",
    "do_not_try_again",
    "expired_card",
    "fraudulent",
    "incorrect_number",
    "invalid_account",
    "lost_card",
    "pickup_card",
    "restricted_card",
    "revocation_of_all_authorizations",
    "stolen_card",
];

fn money(minor: i64, code: &str) -> Option<Money> {
    let currency = Currency::from_code(&code.to_ascii_uppercase())?;
    Some(Money::new(minor, currency))
}

fn unreadable() -> VendorError {
    VendorError::Permanent { status: 200 }
}

impl CardError {
    /// Whether a key came again with other parameters.
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
        let code = self.currency.or(self.metadata.currency).ok_or_else(unreadable)?;
        let amount = money(self.amount_total.unwrap_or(0), &code).ok_or_else(unreadable)?;
        let intent = self.payment_intent.as_ref().map(|intent| intent.id.clone());
        let from_payment = self.payment_intent.and_then(|intent| intent.payment_method);
        let from_setup = self.setup_intent.and_then(|setup| setup.payment_method);
        Ok(Outcome::Paid(Paid {
            amount,
            gateway_id: self.id,
            intent,
            card: Option::zip(self.customer, from_payment.or(from_setup))
                .map(|(customer, card)| Card { customer, card }),
        }))
    }
}

impl PaymentIntent {
    /// Which try of ours it is; `None` for what is not a charge of ours.
    pub(super) fn attempt(&self) -> Option<(PaymentId, i32)> {
        let attempt = self.metadata.attempt.as_deref()?.parse().ok()?;
        Some((self.metadata.payment?, attempt))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
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
            })),
            ("requires_payment_method", Some(error)) => Ok(Outcome::Declined(error.declined(attempt))),
            // Without the client nobody will authenticate, and a cancelled one stays so.
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
        let gateway_id = self.id;
        match self.status.as_deref() {
            Some("succeeded") => Refunded::Done { gateway_id },
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
        let Some(intent) = self.payment_intent else {
            return Ok(Finding::NotOurs);
        };
        let amount = money(self.amount, &self.currency).ok_or_else(unreadable)?;
        let is_lost = self.status == "lost";
        Ok(Finding::Dispute(Dispute {
            gateway_id: self.id,
            intent,
            amount,
            status: self.status,
            reason: self.reason,
            is_lost,
        }))
    }
}
