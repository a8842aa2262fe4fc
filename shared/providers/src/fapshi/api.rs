//! What we ask of Fapshi.

use super::webhook::Notice;
use crate::address::below;
use crate::answer::Answer;
use domain::charge::finding::{Finding, Opened, Outcome, Paid, Refunded};
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use iso_currency::Currency;
use platform::config::Env;
use platform::outbound::VendorError;
use platform::secrets::Secret;
use platform::{invocation, outbound};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// The least that can be collected or paid out at once, in francs (XAF has no smaller unit).
pub const LEAST_MINOR: i64 = 100;

/// Where Fapshi is called, and with which credentials.
pub struct FapshiConfig {
    /// `https://live.fapshi.com/`, the sandbox's, or the simulator's.
    pub base_url: Url,
    collections: Credentials,
    /// Paying out needs credentials of its own, because a service of Fapshi that pays out cannot collect.
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
        // Read before any `?`, so that one failed start names everything that is missing.
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

/// The text is not the number of a phone with a mobile-money account.
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

/// Fapshi's API. It has no idempotency keys, so each method says whether it is safe to repeat.
pub struct Fapshi {
    config: FapshiConfig,
}

#[derive(Deserialize)]
struct Begun {
    #[serde(rename = "transId")]
    transaction: String,
    link: Option<String>,
}

/// What the body of every refusal has, beside its status.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

impl Refusal {
    /// What a refusal means to us. Fapshi tells its refusals apart in words only and lists them nowhere, so
    /// these are the words that others have met.
    fn meaning(&self, otherwise: VendorError, status: u16) -> VendorError {
        let words = self.message.to_ascii_lowercase();
        let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
        if says(&["not enabled", "disabled", "not activated", "deactivated"]) {
            VendorError::NotEnabled { status }
        } else if says(&["insufficient", "low balance", "not enough"]) {
            VendorError::Insufficient { status }
        } else {
            otherwise
        }
    }
}

/// The JSON of a success, or what the refusal means to us.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, VendorError> {
    answer.json().map_err(|error| match error {
        VendorError::Permanent { status } | VendorError::Barred { status } => {
            let refusal = answer.body::<Refusal>();
            refusal.map_or(error, |refusal| refusal.meaning(error, status))
        }
        other => other,
    })
}

/// The service that a transaction belongs to: collections bring money in, payouts give it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Collections,
    Payouts,
}

/// A transaction, as payment-status answers it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Fapshi's own id of the transaction.
    #[serde(rename = "transId")]
    pub id: String,
    status: String,
    #[serde(default)]
    amount: i64,
    /// What is left of the amount after Fapshi's fee.
    revenue: Option<i64>,
    /// The id of our payment or refund, as we gave it; `None` if the transaction is not ours.
    #[serde(rename = "externalId")]
    pub external_id: Option<String>,
    reason: Option<String>,
}

/// An answer about one transaction, which some editions of the vendor's pages show in a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum One {
    Plain(Transaction),
    Listed([Transaction; 1]),
}

/// A transaction, with the service that knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The transaction as payment-status answered it.
    pub transaction: Transaction,
    service: Service,
}

impl Found {
    /// Whether Fapshi has not decided about it yet.
    pub fn is_open(&self) -> bool {
        self.transaction.outcome() == Outcome::Open
    }

    /// What the transaction means to the books: money that goes out is a refund, money that comes in is a
    /// payment.
    pub fn finding(&self) -> Finding {
        let transaction = &self.transaction;
        match (transaction.ours(), self.service) {
            (None, _) => Finding::NotOurs,
            (Some(id), Service::Payouts) => Finding::Refund(RefundId(id), transaction.refunded()),
            (Some(id), Service::Collections) => Finding::Payment(PaymentId(id), transaction.outcome()),
        }
    }
}

impl Transaction {
    fn ours(&self) -> Option<uuid::Uuid> {
        self.external_id.as_deref()?.parse().ok()
    }

    fn outcome(&self) -> Outcome {
        match self.status.as_str() {
            "SUCCESSFUL" => Outcome::Paid(Paid {
                amount: Money::new(self.amount, Currency::XAF),
                gateway_id: self.id.clone(),
                intent: None,
                card: None,
                fee: self.fee(),
            }),
            "EXPIRED" => Outcome::Expired,
            "FAILED" => Outcome::Failed(self.reason.clone().unwrap_or_else(|| "failed".into())),
            _ => Outcome::Open,
        }
    }

    /// What Fapshi kept of what it collected. `None` if it does not tell, or if revenue and amount make no
    /// sense together.
    fn fee(&self) -> Option<Money> {
        let revenue = self
            .revenue
            .filter(|revenue| (1..=self.amount).contains(revenue))?;
        Some(Money::new(self.amount - revenue, Currency::XAF))
    }

    fn refunded(&self) -> Refunded {
        let gateway_id = self.id.clone();
        match self.status.as_str() {
            // What `revenue` means for money that goes out is written nowhere.
            "SUCCESSFUL" => Refunded::Done {
                gateway_id,
                fee: None,
            },
            "FAILED" | "EXPIRED" => Refunded::Failed {
                gateway_id: Some(gateway_id),
                reason: self.reason.clone().unwrap_or_else(|| "failed".into()),
            },
            _ => Refunded::Pending { gateway_id },
        }
    }

    /// How much this transaction says about a payment or refund that has several. Money that moved says most,
    /// then money that may still move.
    fn rank(&self) -> u8 {
        match self.status.as_str() {
            "SUCCESSFUL" => 2,
            "EXPIRED" | "FAILED" => 0,
            _ => 1,
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

    /// Asks a phone to pay. **Not** safe to repeat. Off by default in live: [`VendorError::NotEnabled`] then.
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
        let request = self.request_to(Service::Collections, Method::POST, path).await?;
        let begun: Begun = read(&sent(request.json(body)).await?)?;
        Ok(Opened {
            gateway_id: begun.transaction,
            link: begun.link,
        })
    }

    /// Pays money back to a phone. **Not** safe to repeat: look with [`Self::find_refund`] first. Off by default in live,
    /// and paid out of a balance of its own, which an operator fills: [`VendorError::NotEnabled`] and
    /// [`VendorError::Insufficient`] say that nothing went out and that it is worth asking again later.
    pub async fn pay_out(
        &self,
        refund: RefundId,
        amount: Money,
        phone: &str,
    ) -> Result<Refunded, VendorError> {
        let body = json!({
            "amount": amount.minor(), "phone": phone, "userId": refund, "externalId": refund, "message": "Refund of a lesson",
        });
        let request = self.request_to(Service::Payouts, Method::POST, "payout").await?;
        let begun: Begun = read(&sent(request.json(&body)).await?)?;
        Ok(Refunded::Pending {
            gateway_id: begun.transaction,
        })
    }

    /// What payment-status says now of what a webhook is about. Each service knows its own transactions only, and a
    /// webhook need not say which it was.
    pub async fn look_up(&self, notice: &Notice) -> Result<Found, VendorError> {
        let services = if notice.is_payout() {
            [Service::Payouts, Service::Collections]
        } else {
            [Service::Collections, Service::Payouts]
        };

        for service in services {
            match self.status(service, &notice.transaction).await {
                Ok(transaction) => return Ok(Found { transaction, service }),
                Err(VendorError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }

        Err(VendorError::NotFound)
    }

    /// What became of a payment that may have been begun. It counts as paid if the money came by any of its
    /// transactions; `None` if Fapshi knows of none.
    pub async fn find(&self, payment: PaymentId) -> Result<Option<Outcome>, VendorError> {
        let found = self.best(Service::Collections, payment.0).await?;
        Ok(found.map(|transaction| transaction.outcome()))
    }

    /// What became of a payout that may have been begun; `None` if Fapshi knows of none.
    pub async fn find_refund(&self, refund: RefundId) -> Result<Option<Refunded>, VendorError> {
        let found = self.best(Service::Payouts, refund.0).await?;
        Ok(found.map(|transaction| transaction.refunded()))
    }

    /// Closes the links of a payment, so that nobody can pay by them any more, and tells what became of it: it may have
    /// been paid before, and a request on a phone cannot be taken back. Harmless if repeated.
    pub async fn expire(&self, payment: PaymentId) -> Result<Option<Outcome>, VendorError> {
        let begun = self.transactions(Service::Collections, payment.0).await?;
        for transaction in begun.iter().filter(|other| other.outcome() == Outcome::Open) {
            self.close(&transaction.id).await?;
        }
        self.find(payment).await
    }

    async fn close(&self, transaction: &str) -> Result<(), VendorError> {
        let request = self
            .request_to(Service::Collections, Method::POST, "expire-pay")
            .await?;
        let body = json!({ "transId": transaction });
        match read::<IgnoredAny>(&sent(request.json(&body)).await?) {
            // Fapshi refuses to close what cannot be closed any more. What it became instead is looked up
            // afterwards.
            Ok(_) | Err(VendorError::Permanent { .. } | VendorError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn status(&self, service: Service, transaction: &str) -> Result<Transaction, VendorError> {
        let path = format!("payment-status/{transaction}");
        let (One::Plain(found) | One::Listed([found])) = self.get(service, &path).await?;
        Ok(found)
    }

    async fn best(&self, service: Service, id: uuid::Uuid) -> Result<Option<Transaction>, VendorError> {
        let found = self.transactions(service, id).await?;
        Ok(found.into_iter().max_by_key(Transaction::rank))
    }

    /// Every transaction that was begun for one payment or refund. We give its id as the `userId`, by which
    /// Fapshi lists them. The list has no pages.
    async fn transactions(&self, service: Service, id: uuid::Uuid) -> Result<Vec<Transaction>, VendorError> {
        let mut found: Vec<Transaction> = match self.get(service, &format!("transaction/{id}")).await {
            Err(VendorError::NotFound) => return Ok(Vec::new()),
            found => found?,
        };
        // The list is of a user. What stands in it for another `externalId` is not believed.
        found.retain(|transaction| transaction.ours() == Some(id));
        Ok(found)
    }

    async fn get<T: DeserializeOwned>(&self, service: Service, path: &str) -> Result<T, VendorError> {
        let request = self.request_to(service, Method::GET, path).await?;
        read(&sent(request).await?)
    }

    async fn request_to(
        &self,
        service: Service,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, VendorError> {
        let credentials = match service {
            Service::Collections => &self.config.collections,
            Service::Payouts => &self.config.payouts,
        };

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

async fn sent(request: RequestBuilder) -> Result<Answer, VendorError> {
    Answer::wait(invocation::phase("vendor_ms", request.send()).await).await
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

    const ID: &str = "018f2f6e-0000-7000-8000-000000000001";

    fn transaction(status: &str, revenue: &Value) -> Transaction {
        let answer = json!({
            "transId": "aB12cD34", "status": status, "amount": 5_000, "revenue": revenue, "externalId": ID,
        });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn the_fee_is_what_is_missing_from_the_revenue_where_that_makes_sense() {
        let fee = |revenue: Value| transaction("SUCCESSFUL", &revenue).fee().map(Money::minor);
        assert_eq!(fee(json!(4_850)), Some(150));
        assert_eq!(fee(json!(5_000)), Some(0));
        for senseless in [json!(null), json!(0), json!(-1), json!(5_001)] {
            assert_eq!(fee(senseless.clone()), None, "{senseless}");
        }
    }

    #[test]
    fn money_that_moved_says_more_than_money_that_may_and_a_failure_least() {
        let best = |statuses: &[&str]| {
            let all = statuses.iter().map(|status| transaction(status, &Value::Null));
            all.max_by_key(Transaction::rank).unwrap().status
        };
        assert_eq!(best(&["FAILED", "SUCCESSFUL", "PENDING"]), "SUCCESSFUL");
        assert_eq!(best(&["SUCCESSFUL", "FAILED"]), "SUCCESSFUL");
        assert_eq!(best(&["CREATED", "EXPIRED"]), "CREATED");
        assert_eq!(best(&["PENDING", "FAILED", "FAILED"]), "PENDING");
    }

    #[test]
    fn the_service_that_knows_a_transaction_says_which_way_the_money_goes() {
        let id: uuid::Uuid = ID.parse().unwrap();
        let found = |service| {
            let transaction = transaction("FAILED", &Value::Null);
            Found { transaction, service }.finding()
        };
        assert!(matches!(found(Service::Payouts), Finding::Refund(RefundId(refund), _) if refund == id));
        assert!(
            matches!(found(Service::Collections), Finding::Payment(PaymentId(payment), _) if payment == id)
        );
    }

    #[test]
    fn an_answer_about_one_transaction_may_be_listed() {
        let plain = json!({"transId": "aB12cD34", "status": "CREATED"});
        for answer in [plain.clone(), json!([plain])] {
            let (One::Plain(found) | One::Listed([found])) = serde_json::from_value(answer).unwrap();
            assert_eq!(found.id, "aB12cD34");
        }
    }

    #[test]
    fn refusals_that_pass_are_told_from_those_that_do_not() {
        let refused = VendorError::Permanent { status: 400 };
        let means = |message: &str| {
            let message = message.into();
            Refusal { message }.meaning(refused, 400)
        };

        assert_eq!(
            means("Direct pay is not enabled for this service"),
            VendorError::NotEnabled { status: 400 }
        );
        assert_eq!(
            means("Insufficient balance"),
            VendorError::Insufficient { status: 400 }
        );

        for other in ["invalid phone number", "amount cannot be less than 100 XAF", ""] {
            assert_eq!(means(other), refused, "{other}");
        }
    }
}
