//! What we ask of Stripe.

use super::currencies::takes;
use super::objects::{
    CheckoutSession, DisputeObject, List, Listed, NewCheckout, PaymentIntent, RefundObject, Refusal,
};
use super::webhook::Subject;
use crate::address::below;
use crate::answer::Answer;
use domain::charge::finding::{Finding, Opened, Outcome, Refunded};
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use jiff::{SignedDuration, Timestamp};
use platform::config::Env;
use platform::outbound::VendorError;
use platform::secrets::Secret;
use platform::{invocation, outbound};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use url::Url;

/// The version of Stripe's API whose shapes [`super::objects`] reads.
const VERSION: &str = "2025-04-30.basil";

/// How far Stripe's clock and ours may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// How many pages of a hundred are read of a list. No client has more charges than that since one of theirs
/// was written down.
const MOST_PAGES: usize = 10;
/// A list that does not end.
const ENDLESS: VendorError = VendorError::Permanent { status: 200 };

/// How charges are captured: before Stripe answers, so that the answer tells the fee. By default the capture
/// would follow in the background.
const CAPTURE: &str = "automatic";

/// What has to be expanded in a payment intent so that it tells the fee of its charge.
const FEE: &str = "latest_charge.balance_transaction";

/// Where Stripe is called, and with which account's key.
pub struct StripeConfig {
    /// `https://api.stripe.com/`, or the simulator's.
    pub base_url: Url,
    /// The account's secret key.
    pub secret_key: Secret,
}

impl StripeConfig {
    /// Reads `STRIPE_API_URL` and the secret `STRIPE_SECRET_KEY`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
        let (base_url, secret_key) = (env.required("STRIPE_API_URL"), env.secret("STRIPE_SECRET_KEY"));
        Some(Self {
            base_url: base_url?,
            secret_key: secret_key?,
        })
    }
}

/// Stripe's API.
pub struct Stripe {
    config: StripeConfig,
}

/// A page to pay on, or to leave a card on.
pub struct Checkout<'a> {
    /// Our payment, by whose id the page's outcome finds it again.
    pub payment: PaymentId,
    /// What to pay. Zero only keeps a card and takes nothing.
    pub amount: Money,
    /// The client's customer record at Stripe; `None` makes a new one.
    pub customer: Option<&'a str>,
    /// Where the client goes after paying or giving up; the payment's id is added to it.
    pub return_to: &'a Url,
    /// Until when the page works: between half an hour and a day from now.
    pub expires_at: Timestamp,
}

/// A charge of a card on file, made without the client.
pub struct SavedCardCharge<'a> {
    /// The payment that collects the charge.
    pub payment: PaymentId,
    /// The number of the attempt. With the payment's id it makes the key by which Stripe knows a repetition.
    pub attempt: i32,
    /// How much the card is charged.
    pub amount: Money,
    /// The customer record at Stripe that the card belongs to.
    pub customer: &'a str,
    /// Stripe's id of the card.
    pub card: &'a str,
}

type Form<'a> = Vec<(&'a str, String)>;

impl Stripe {
    /// The API described by `config`; connects to nothing yet.
    pub fn new(config: StripeConfig) -> Self {
        Self { config }
    }

    /// Opens a page to pay on. Safe to repeat: the payment's id is the key.
    pub async fn open_checkout(&self, checkout: &Checkout<'_>) -> Result<Opened, VendorError> {
        let amount = checkout.amount;
        if !takes(amount.currency()) {
            // Stripe counts this currency in other units than we do, so it would charge another amount.
            return Err(VendorError::Permanent { status: 400 });
        }

        let mut back = checkout.return_to.clone();
        back.query_pairs_mut()
            .append_pair("payment", &checkout.payment.to_string());

        let code = amount.currency().code().to_ascii_lowercase();
        let mut form: Form<'_> = vec![
            ("success_url", back.to_string()),
            ("cancel_url", back.to_string()),
            ("expires_at", checkout.expires_at.as_second().to_string()),
            ("payment_method_types[0]", "card".into()),
            ("client_reference_id", checkout.payment.to_string()),
            ("metadata[firstbell_payment]", checkout.payment.to_string()),
            ("metadata[firstbell_currency]", code.clone()),
        ];

        form.push(match checkout.customer {
            Some(customer) => ("customer", customer.into()),
            None => ("customer_creation", "always".into()),
        });

        if amount.minor() == 0 {
            form.push(("mode", "setup".into()));
        } else {
            form.extend([
                ("mode", "payment".into()),
                ("payment_intent_data[setup_future_usage]", "off_session".into()),
                ("payment_intent_data[capture_method]", CAPTURE.into()),
                (
                    "payment_intent_data[metadata][firstbell_payment]",
                    checkout.payment.to_string(),
                ),
                ("line_items[0][quantity]", "1".into()),
                ("line_items[0][price_data][currency]", code),
                (
                    "line_items[0][price_data][unit_amount]",
                    amount.minor().to_string(),
                ),
                ("line_items[0][price_data][product_data][name]", "Lesson".into()),
            ]);
        }

        let key = format!("payment/{}", checkout.payment);
        let made: NewCheckout = self.post("v1/checkout/sessions", &form, &key).await?.json()?;

        Ok(Opened {
            gateway_id: made.id,
            link: made.url,
        })
    }

    /// Charges a card on file. Safe to repeat with the same attempt, for as long as Stripe keeps keys (a day).
    pub async fn charge(&self, charge: &SavedCardCharge<'_>) -> Result<Outcome, VendorError> {
        if !takes(charge.amount.currency()) {
            return Err(VendorError::Permanent { status: 400 });
        }

        let form: Form<'_> = vec![
            ("amount", charge.amount.minor().to_string()),
            ("currency", charge.amount.currency().code().to_ascii_lowercase()),
            ("customer", charge.customer.into()),
            ("payment_method", charge.card.into()),
            ("payment_method_types[0]", "card".into()),
            ("off_session", "true".into()),
            ("confirm", "true".into()),
            ("capture_method", CAPTURE.into()),
            ("expand[0]", FEE.into()),
            ("metadata[firstbell_payment]", charge.payment.to_string()),
            ("metadata[firstbell_attempt]", charge.attempt.to_string()),
        ];

        let key = format!("charge/{}/{}", charge.payment, charge.attempt);
        let answer = self.post("v1/payment_intents", &form, &key).await?;

        if answer.status == StatusCode::PAYMENT_REQUIRED {
            let refusal: Refusal = answer.body()?;
            return Ok(Outcome::Declined(refusal.error.declined(charge.attempt)));
        }

        // The attempt was asked for before, with another card. What became of that has to be looked up.
        if answer
            .body::<Refusal>()
            .is_ok_and(|refusal| refusal.error.is_repetition())
        {
            return Err(VendorError::SILENT);
        }

        answer.json::<PaymentIntent>()?.outcome(charge.attempt)
    }

    /// What became of a charge that may have been asked for since `since`: the money if it came, or else the
    /// outcome of this attempt; `None` if Stripe knows of none. `asked_customer` is the customer record that was to be
    /// charged when it was asked: the one that is on file by now may be another, whose list is empty.
    pub async fn find_charge(
        &self,
        asked_customer: &str,
        payment: PaymentId,
        attempt: i32,
        since: Timestamp,
    ) -> Result<Option<Outcome>, VendorError> {
        // The times in a list are Stripe's.
        let since = since.saturating_sub(SKEW).unwrap_or(since);
        let since = since.as_second().to_string();
        let fee = format!("data.{FEE}");

        let filter = [
            ("customer", asked_customer),
            ("created[gte]", &since),
            ("expand[]", &fee),
        ];

        let mut ours: Vec<PaymentIntent> = self.all("v1/payment_intents", &filter).await?;
        ours.retain(|intent| intent.attempt().is_some_and(|(id, _)| id == payment));

        let is_this = |intent: &&PaymentIntent| intent.attempt() == Some((payment, attempt));
        // Money that came by any attempt counts before what became of this one.
        let paid = ours.iter().find(|intent| intent.is_paid());
        let best = paid.or_else(|| ours.iter().find(is_this));
        best.map(|intent| intent.outcome(attempt)).transpose()
    }

    /// Everything in a list, newest first; an error if that is more than [`MOST_PAGES`].
    async fn all<T: Listed + DeserializeOwned>(
        &self,
        path: &str,
        filter: &[(&str, &str)],
    ) -> Result<Vec<T>, VendorError> {
        let mut all: Vec<T> = Vec::new();
        for _ in 0..MOST_PAGES {
            let last = all.last().map(|last| last.id().to_owned());
            let mut query = [filter, &[("limit", "100")]].concat();
            if let Some(last) = &last {
                query.push(("starting_after", last));
            }

            let page: List<T> = self.get(path, &query).await?;
            all.extend(page.data);

            if !page.has_more {
                return Ok(all);
            }
        }

        // What may stand behind the last page must not be taken for what is not there, and asked for again.
        Err(ENDLESS)
    }

    /// Gives back part of what was paid. Safe to repeat, for as long as Stripe keeps keys.
    pub async fn refund(
        &self,
        refund: RefundId,
        intent: &str,
        amount: Money,
    ) -> Result<Refunded, VendorError> {
        let form: Form<'_> = vec![
            ("payment_intent", intent.into()),
            ("amount", amount.minor().to_string()),
            ("expand[0]", "balance_transaction".into()),
            ("metadata[firstbell_refund]", refund.to_string()),
        ];

        let answer = self
            .post("v1/refunds", &form, &format!("refund/{refund}"))
            .await?;

        Ok(answer.json::<RefundObject>()?.refunded())
    }

    /// What became of a refund that may have been asked for; `None` if Stripe knows of none.
    pub async fn find_refund(&self, refund: RefundId, intent: &str) -> Result<Option<Refunded>, VendorError> {
        let filter = [
            ("payment_intent", intent),
            ("expand[]", "data.balance_transaction"),
        ];
        let refunds: Vec<RefundObject> = self.all("v1/refunds", &filter).await?;
        let mut refunds = refunds.into_iter();
        let found = refunds.find(|other| other.metadata.refund == Some(refund));
        Ok(found.map(RefundObject::refunded))
    }

    /// What Stripe says now about what an event is about. Other software may use the same account: what is
    /// not ours carries no mark of ours, and is [`Finding::NotOurs`].
    pub async fn look_up(&self, subject: &Subject) -> Result<Finding, VendorError> {
        match subject {
            Subject::Checkout(id) => self.checkout(id).await,
            Subject::PaymentIntent(id) => self.payment_intent(id).await,
            Subject::Refund(id) => {
                let path = format!("v1/refunds/{id}");
                let expand = [("expand[]", "balance_transaction")];
                Ok(self.get::<RefundObject>(&path, &expand).await?.finding())
            }
            Subject::Dispute(id) => {
                let path = format!("v1/disputes/{id}");
                let expand = [("expand[]", "payment_intent")];
                self.get::<DisputeObject>(&path, &expand).await?.finding()
            }
            Subject::Other => Ok(Finding::NotOurs),
        }
    }

    /// What became of a payment intent: of a charge of ours, or of a page that it was paid on.
    async fn payment_intent(&self, id: &str) -> Result<Finding, VendorError> {
        let path = format!("v1/payment_intents/{id}");
        let intent: PaymentIntent = self.get(&path, &[("expand[]", FEE)]).await?;
        if !intent.is_of_a_page() {
            return intent.finding();
        }

        let filter = [("payment_intent", id), ("limit", "1")];
        let pages: List<NewCheckout> = self.get("v1/checkout/sessions", &filter).await?;

        match pages.data.first() {
            Some(page) => self.checkout(&page.id).await,
            None => Err(VendorError::NotFound),
        }
    }

    /// What became of a page: whether it was paid, left a card, expired or is still open.
    pub async fn checkout(&self, id: &str) -> Result<Finding, VendorError> {
        let fee = format!("payment_intent.{FEE}");
        let expand = [("expand[]", fee.as_str()), ("expand[]", "setup_intent")];
        let path = format!("v1/checkout/sessions/{id}");
        self.get::<CheckoutSession>(&path, &expand).await?.finding()
    }

    /// Closes a page, so that nobody can pay on it any more, and tells what became of it: it may have been paid
    /// before. Harmless if repeated.
    pub async fn expire(&self, id: &str) -> Result<Finding, VendorError> {
        let path = format!("v1/checkout/sessions/{id}/expire");
        let request = self.request(Method::POST, &path).await?;
        let answer = Answer::wait(invocation::phase("vendor_ms", request.send()).await).await?;
        match answer.json::<NewCheckout>() {
            // Stripe refuses to close a page that is not open any more. What it became instead is looked up.
            Ok(_) | Err(VendorError::Permanent { .. }) => self.checkout(id).await,
            Err(error) => Err(error),
        }
    }

    async fn post(&self, path: &str, form: &Form<'_>, key: &str) -> Result<Answer, VendorError> {
        let request = self.request(Method::POST, path).await?.form(form);
        let request = request.header("idempotency-key", key);
        let answer = Answer::wait(invocation::phase("vendor_ms", request.send()).await).await?;
        // With 409 Stripe says that it is working on the same key right now.
        if answer.status == StatusCode::CONFLICT {
            return Err(VendorError::SILENT);
        }
        Ok(answer)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, VendorError> {
        let request = self.request(Method::GET, path).await?.query(query);
        Answer::wait(invocation::phase("vendor_ms", request.send()).await)
            .await?
            .json()
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, VendorError> {
        let url = below(&self.config.base_url, path)?;

        let client = outbound::client().await.map_err(|_| VendorError::SILENT)?;
        let key = self
            .config
            .secret_key
            .get()
            .await
            .map_err(|_| VendorError::SILENT)?;

        Ok(client
            .request(method, url)
            .timeout(outbound::budget())
            .header("stripe-version", VERSION)
            .bearer_auth(key.expose_secret()))
    }
}
