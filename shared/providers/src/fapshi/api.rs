//! What we ask of Fapshi.

use super::webhook::Notice;
use crate::address::below;
use crate::error::{VendorError, read};
use domain::gateway::{Finding, Opened, Outcome, Paid, Refunded};
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use iso_currency::Currency;
use platform::config::Env;
use platform::secrets::Secret;
use platform::{invocation, outbound};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// The least that can be collected or paid out, in francs.
pub const LEAST_MINOR: i64 = 100;

/// Where and as whom Fapshi is called.
pub struct FapshiConfig {
    /// `https://live.fapshi.com/`, the sandbox's, or the simulator's.
    pub base_url: Url,
    collections: Credentials,
    /// A service that pays out cannot collect, so it is another one.
    payouts: Credentials,
}

struct Credentials {
    user: String,
    key: Secret,
}

impl FapshiConfig {
    /// Reads `FAPSHI_API_URL`, `FAPSHI_API_USER`, `FAPSHI_PAYOUT_USER`, and the secrets `FAPSHI_API_KEY` and
    /// `FAPSHI_PAYOUT_KEY`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let base_url = env.required("FAPSHI_API_URL");
        let (user, key) = (
            env.or("FAPSHI_API_USER", String::new()),
            env.secret("FAPSHI_API_KEY"),
        );
        let (payout_user, payout_key) = (
            env.or("FAPSHI_PAYOUT_USER", String::new()),
            env.secret("FAPSHI_PAYOUT_KEY"),
        );
        Some(Self {
            base_url: base_url?,
            collections: Credentials {
                user: user?,
                key: key?,
            },
            payouts: Credentials {
                user: payout_user?,
                key: payout_key?,
            },
        })
    }
}

/// A phone with a mobile-money account: nine digits, the first a 6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone(String);

/// Not such a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a phone is nine digits that begin with 6")]
pub struct NotAPhone;

impl FromStr for Phone {
    type Err = NotAPhone;

    /// Takes `6xxxxxxxx`, with or without the country's 237, and with spaces.
    fn from_str(text: &str) -> Result<Self, NotAPhone> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let national = digits.trim_start_matches('+');
        let national = if national.len() == 12 {
            national.strip_prefix("237").ok_or(NotAPhone)?
        } else {
            national
        };
        let is_phone =
            national.len() == 9 && national.starts_with('6') && national.chars().all(|c| c.is_ascii_digit());
        is_phone.then(|| Self(national.into())).ok_or(NotAPhone)
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The vendor's API.
pub struct Fapshi {
    config: FapshiConfig,
}

#[derive(Deserialize)]
struct Begun {
    #[serde(rename = "transId")]
    transaction: String,
    link: Option<String>,
}

/// A transaction, as payment-status answers it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Fapshi's name for it.
    #[serde(rename = "transId")]
    pub id: String,
    status: String,
    #[serde(default)]
    amount: i64,
    /// Our payment or refund.
    #[serde(rename = "externalId")]
    pub external_id: Option<String>,
    reason: Option<String>,
}

impl Transaction {
    fn ours(&self) -> Option<uuid::Uuid> {
        self.external_id.as_deref()?.parse().ok()
    }

    /// Whether nothing is decided about it yet.
    pub fn is_open(&self) -> bool {
        self.outcome() == Outcome::Open
    }

    /// What it means, looked up for `notice`: money that goes out is a refund, anything else a payment.
    pub fn finding(&self, notice: &Notice) -> Finding {
        match self.ours() {
            None => Finding::NotOurs,
            Some(id) if notice.is_payout() => Finding::Refund(RefundId(id), self.refunded()),
            Some(id) => Finding::Payment(PaymentId(id), self.outcome()),
        }
    }

    fn outcome(&self) -> Outcome {
        match self.status.as_str() {
            "SUCCESSFUL" => Outcome::Paid(Paid {
                amount: Money::new(self.amount, Currency::XAF),
                gateway_id: self.id.clone(),
                intent: None,
                card: None,
            }),
            "EXPIRED" => Outcome::Expired,
            "FAILED" => Outcome::Failed(self.reason.clone().unwrap_or_else(|| "failed".into())),
            _ => Outcome::Open,
        }
    }

    fn refunded(&self) -> Refunded {
        let gateway_id = self.id.clone();
        match self.status.as_str() {
            "SUCCESSFUL" => Refunded::Done { gateway_id },
            "FAILED" | "EXPIRED" => Refunded::Failed {
                gateway_id: Some(gateway_id),
                reason: self.reason.clone().unwrap_or_else(|| "failed".into()),
            },
            _ => Refunded::Pending { gateway_id },
        }
    }
}

impl Fapshi {
    /// The API described by `config`; connects to nothing yet.
    pub fn new(config: FapshiConfig) -> Self {
        Self { config }
    }

    /// Makes a link to pay by, which lives for a day. **Not** safe to repeat: look with [`Self::find`] first.
    pub async fn open_link(
        &self,
        payment: PaymentId,
        amount: Money,
        return_to: &Url,
    ) -> Result<Opened, VendorError> {
        let mut back = return_to.clone();
        back.query_pairs_mut()
            .append_pair("payment", &payment.to_string());
        let body = json!({
            "amount": amount.minor(), "redirectUrl": back, "userId": payment, "externalId": payment, "message": "Lesson",
        });
        self.begin("initiate-pay", &body).await
    }

    /// Asks a phone to pay. **Not** safe to repeat.
    pub async fn request(
        &self,
        payment: PaymentId,
        amount: Money,
        phone: &Phone,
    ) -> Result<Opened, VendorError> {
        let body = json!({
            "amount": amount.minor(), "phone": phone.0, "userId": payment, "externalId": payment, "message": "Lesson",
        });
        self.begin("direct-pay", &body).await
    }

    async fn begin(&self, path: &str, body: &Value) -> Result<Opened, VendorError> {
        let request = self
            .request_to(&self.config.collections, Method::POST, path)
            .await?;
        let begun: Begun = read(invocation::phase("vendor_ms", request.json(body).send()).await).await?;
        Ok(Opened {
            gateway_id: begun.transaction,
            link: begun.link,
        })
    }

    /// Pays money back to a phone. **Not** safe to repeat: look with [`Self::find_refund`] first.
    pub async fn pay_out(
        &self,
        refund: RefundId,
        amount: Money,
        phone: &str,
    ) -> Result<Refunded, VendorError> {
        let body = json!({
            "amount": amount.minor(), "phone": phone, "userId": refund, "externalId": refund, "message": "Refund of a lesson",
        });
        let request = self
            .request_to(&self.config.payouts, Method::POST, "payout")
            .await?;
        let begun: Begun = read(invocation::phase("vendor_ms", request.json(&body).send()).await).await?;
        Ok(Refunded::Pending {
            gateway_id: begun.transaction,
        })
    }

    /// What payment-status says now of what a webhook is about.
    pub async fn look_up(&self, notice: &Notice) -> Result<Transaction, VendorError> {
        let service = if notice.is_payout() {
            &self.config.payouts
        } else {
            &self.config.collections
        };
        self.get(service, &format!("payment-status/{}", notice.transaction))
            .await
    }

    /// What became of a payment that may have been begun: the money if it came by any of its transactions.
    pub async fn find(&self, payment: PaymentId) -> Result<Option<Outcome>, VendorError> {
        let found = self.transactions(&self.config.collections, payment.0).await?;
        let outcomes: Vec<Outcome> = found.iter().map(Transaction::outcome).collect();
        let is_paid = |outcome: &&Outcome| matches!(outcome, Outcome::Paid(_));
        Ok(outcomes.iter().find(is_paid).or(outcomes.first()).cloned())
    }

    /// What became of a payout that may have been begun.
    pub async fn find_refund(&self, refund: RefundId) -> Result<Option<Refunded>, VendorError> {
        let found = self.transactions(&self.config.payouts, refund.0).await?;
        Ok(found.first().map(Transaction::refunded))
    }

    /// Every transaction begun for one payment or refund, which is what we give as the user.
    async fn transactions(
        &self,
        credentials: &Credentials,
        id: uuid::Uuid,
    ) -> Result<Vec<Transaction>, VendorError> {
        match self.get(credentials, &format!("transaction/{id}")).await {
            Err(VendorError::NotFound) => Ok(Vec::new()),
            found => found,
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        credentials: &Credentials,
        path: &str,
    ) -> Result<T, VendorError> {
        let request = self.request_to(credentials, Method::GET, path).await?;
        read(invocation::phase("vendor_ms", request.send()).await).await
    }

    async fn request_to(
        &self,
        credentials: &Credentials,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, VendorError> {
        let url = below(&self.config.base_url, path)?;
        let client = outbound::client().await.map_err(|_| VendorError::SILENT)?;
        let key = credentials.key.get().await.map_err(|_| VendorError::SILENT)?;
        Ok(client
            .request(method, url)
            .timeout(outbound::budget())
            .header("apiuser", &credentials.user)
            .header("apikey", key.expose_secret()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_nine_digits_with_or_without_the_country() {
        for good in ["670000000", "+237670000000", "237 670 00 00 00", "6 70 00 00 00"] {
            assert_eq!(good.parse::<Phone>().unwrap().to_string(), "670000000", "{good}");
        }
        for wrong in [
            "",
            "770000000",
            "67000000",
            "6700000000",
            "+23770000000",
            "67000000a",
        ] {
            assert_eq!(wrong.parse::<Phone>(), Err(NotAPhone), "{wrong}");
        }
    }
}
