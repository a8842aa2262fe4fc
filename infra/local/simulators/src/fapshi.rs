//! Fapshi, as far as its public documentation describes it (see the provider's README): links and requests that
//! collect, less a fee; payouts by a service of their own, out of a balance of its own; payment-status; and a webhook
//! that is not signed, does not say which way the money went, and is sent once or not at all.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use crate::mailbox::{Break, Delivery, Faults, Letter, Mailbox, lost};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use platform::clock::Clock;
use rand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a service is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `apiuser`.
    pub user: String,
    /// `apikey`.
    pub key: String,
}

/// The simulated vendor.
#[derive(Clone)]
pub struct Fapshi(Arc<Vendor>);

struct Vendor {
    base: String,
    collections: Service,
    payouts: Service,
    webhook_secret: String,
    books: Mutex<Books>,
    mailbox: Mailbox,
}

/// What the service that pays out is filled with, until somebody says otherwise, in francs.
const FILLED_WITH: i64 = 10_000_000;

/// How long a link works.
const LINK_LIVES: SignedDuration = SignedDuration::from_hours(24);

struct Books {
    faults: Faults,
    clock: Clock,
    /// In the order in which they were begun.
    transactions: Vec<Value>,
    /// Where a transaction is, by its id.
    places: HashMap<String, usize>,
    /// Where the transactions of a user are.
    of_user: HashMap<String, Vec<usize>>,
    /// When each link was made.
    links: HashMap<String, Timestamp>,
    features: Features,
    /// What was put into the service that pays out.
    filled: i64,
    /// What was collected, less fees.
    collected: i64,
    /// What went out or is on its way.
    paid_out: i64,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            faults: Faults::default(),
            clock: Clock::system(),
            transactions: Vec::new(),
            places: HashMap::new(),
            of_user: HashMap::new(),
            links: HashMap::new(),
            features: Features::default(),
            filled: FILLED_WITH,
            collected: 0,
            paid_out: 0,
        }
    }
}

/// What the vendor's support has enabled for the account. In live both are off until somebody asks for them.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Features {
    /// Requests on phones.
    pub direct_pay: bool,
    /// Money that goes out.
    pub payouts: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            direct_pay: true,
            payouts: true,
        }
    }
}

impl Books {
    fn find(&self, id: &str) -> Option<&Value> {
        self.transactions.get(*self.places.get(id)?)
    }

    fn add(&mut self, transaction: Value) {
        let place = self.transactions.len();
        let of = |name: &str| transaction[name].as_str().unwrap_or_default().to_owned();
        self.places.insert(of("transId"), place);
        self.of_user.entry(of("userId")).or_default().push(place);
        self.transactions.push(transaction);
    }

    /// Ends a transaction that is open, as far as it may end so: a request on a phone never expires.
    fn end(&mut self, id: &str, status: &str) -> Option<Value> {
        let transaction = self.transactions.get_mut(*self.places.get(id)?)?;
        let may_end = match transaction["status"].as_str() {
            Some("CREATED") => true,
            Some("PENDING") => status != "EXPIRED",
            _ => false,
        };
        if !may_end {
            return None;
        }
        transaction["status"] = status.into();
        if status == "FAILED" {
            transaction["reason"] = "LOW_BALANCE_OR_PAYEE_LIMIT_REACHED_OR_NOT_ALLOWED".into();
        }
        let units = |name: &str| transaction[name].as_i64().unwrap_or(0);
        match (transaction["transType"].as_str(), status) {
            (Some("Collection"), "SUCCESSFUL") => self.collected += units("revenue"),
            (Some("Payout"), "FAILED" | "EXPIRED") => self.paid_out -= units("amount"),
            _ => {}
        }
        Some(transaction.clone())
    }
}

/// A transaction as the vendor tells of it: which way the money went is not among its documented fields.
fn told(transaction: &Value) -> Value {
    let mut told = transaction.clone();
    if let Some(fields) = told.as_object_mut() {
        fields.remove("transType");
    }
    told
}

type Answer = (StatusCode, Json<Value>);

fn refusal(status: StatusCode, text: &str) -> Answer {
    (status, Json(json!({ "message": text })))
}

fn bad(text: &str) -> Answer {
    refusal(StatusCode::BAD_REQUEST, text)
}

/// Eight characters, as the vendor's own SDK expects eight to ten.
fn transaction_id() -> String {
    let mut random = rand::rng();
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".as_bytes();
    let pick = |_| {
        letters
            .get(random.random_range(0..letters.len()))
            .copied()
            .unwrap_or(b'0')
    };
    (0..8).map(pick).map(char::from).collect()
}

fn check(body: &Value, needs_phone: bool) -> Result<i64, Answer> {
    let amount = body.get("amount").ok_or_else(|| bad("amount required"))?;
    let amount = amount
        .as_i64()
        .ok_or_else(|| bad("amount must be of type integer"))?;
    if amount < 100 {
        return Err(bad("amount cannot be less than 100 XAF"));
    }
    let phone = body.get("phone").and_then(Value::as_str);
    let is_phone = phone.is_some_and(|phone| {
        phone.len() == 9 && phone.starts_with('6') && phone.chars().all(|c| c.is_ascii_digit())
    });
    if needs_phone && !is_phone {
        return Err(bad("invalid phone number"));
    }
    for name in ["userId", "externalId"] {
        let is_plain = |id: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            (1..=100).contains(&id.len()) && id.chars().all(plain)
        };
        if body
            .get(name)
            .is_some_and(|id| !id.as_str().is_some_and(is_plain))
        {
            return Err(bad(&format!("invalid {name}")));
        }
    }
    Ok(amount)
}

impl Fapshi {
    /// A vendor reached at `base` (which ends in a slash), with one service that collects and one that pays
    /// out.
    pub fn new(base: &str, collections: Service, payouts: Service, webhook_secret: &str) -> Self {
        Self(Arc::new(Vendor {
            base: base.into(),
            collections,
            payouts,
            webhook_secret: webhook_secret.into(),
            books: Mutex::default(),
            mailbox: Mailbox::default(),
        }))
    }

    /// The same vendor by another clock, by which its links lapse.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.books().clock = clock;
        self
    }

    /// The vendor's API, the page behind its links, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/initiate-pay", post(initiate_pay))
            .route("/direct-pay", post(direct_pay))
            .route("/payout", post(payout))
            .route("/payment-status/{id}", get(status))
            .route("/transaction/{user}", get(by_user))
            .route("/expire-pay", post(expire_pay))
            .route("/balance", get(balance))
            .route("/pay/{id}", get(pay_page))
            .route("/_control/faults", post(control_faults))
            .route("/_control/end", post(control_end))
            .route("/_control/features", post(control_features))
            .route("/_control/fill", post(control_fill))
            .route("/_control/balance", get(control_balance))
            .route("/_control/deliver", post(control_deliver))
            .route("/_control/transactions", get(control_transactions))
            .with_state(self.clone())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// Webhooks that wait to be delivered.
    pub fn letters(&self) -> Vec<Letter> {
        self.0.mailbox.take(|body| self.seal(body))
    }

    /// The vendor's own record: `Collection` or `Payout`.
    pub fn record(&self, kind: &str) -> Vec<Value> {
        let books = self.books();
        let all = books.transactions.iter();
        all.filter(|transaction| transaction["transType"] == kind)
            .cloned()
            .collect()
    }

    /// Enables or disables what the vendor's support does.
    pub fn enable(&self, features: Features) {
        self.books().features = features;
    }

    /// The service that pays out has been filled with so many francs altogether; what went out is taken off that.
    pub fn fill(&self, francs: i64) {
        self.books().filled = francs;
    }

    /// What is in both services by what moved: collected less fees, less what went out or is on its way. What the
    /// service that pays out was filled with is not part of it.
    pub fn balance(&self) -> i64 {
        let books = self.books();
        books.collected - books.paid_out
    }

    /// A transaction comes to its end; `None` if there is none, it has one, or it cannot end so.
    pub fn end(&self, id: &str, status: &str) -> Option<Value> {
        let ended = self.books().end(id, status)?;
        self.tell(&ended);
        Some(ended)
    }

    /// Leaves the one webhook about a transaction for delivery.
    fn tell(&self, transaction: &Value) {
        if !self.books().faults.is_silent {
            self.0.mailbox.post(told(transaction).to_string());
        }
    }

    /// Links whose time has come expire.
    fn lapse(&self) {
        let over: Vec<String> = {
            let mut books = self.books();
            let now = books.clock.now();
            let is_over = |since: &Timestamp| now.duration_since(*since) >= LINK_LIVES;
            books
                .links
                .extract_if(|_, since| is_over(since))
                .map(|(id, _)| id)
                .collect()
        };
        for id in over {
            self.end(&id, "EXPIRED");
        }
    }

    /// The webhook that tells of a transaction as `body` has it.
    pub fn letter(&self, body: &Value) -> Letter {
        self.seal(body.to_string())
    }

    fn seal(&self, body: String) -> Letter {
        Letter {
            headers: vec![("x-wh-secret", self.0.webhook_secret.clone())],
            body,
        }
    }

    fn authorise(&self, headers: &HeaderMap, service: &Service) -> Result<(), Answer> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_known = header("apiuser") == Some(&service.user) && header("apikey") == Some(&service.key);
        if !is_known {
            return Err(refusal(StatusCode::FORBIDDEN, "Invalid credentials or service"));
        }
        if self.books().faults.fails() {
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "Please try again"));
        }
        self.lapse();
        Ok(())
    }

    /// Either service may look, at its own.
    fn looking(&self, headers: &HeaderMap) -> Result<&'static str, Answer> {
        let is = |service: &Service| {
            headers
                .get("apiuser")
                .is_some_and(|user| user == service.user.as_str())
        };
        if is(&self.0.payouts) {
            self.authorise(headers, &self.0.payouts).map(|()| "Payout")
        } else {
            self.authorise(headers, &self.0.collections)
                .map(|()| "Collection")
        }
    }

    fn begin(&self, body: &Value, kind: &str, status: &str, amount: i64) -> String {
        let id = transaction_id();
        let of = |name: &str| body.get(name).cloned().unwrap_or_default();
        let mut books = self.books();
        let now = books.clock.now();
        let revenue = if kind == "Payout" {
            amount
        } else {
            amount - fee(amount)
        };
        if status == "CREATED" {
            books.links.insert(id.clone(), now);
        }
        books.add(json!({
            "transId": id, "status": status, "medium": "mobile money", "serviceName": "lessons", "transType": kind,
            "amount": amount, "revenue": revenue, "payerName": "Ada Parent", "email": null,
            "redirectUrl": of("redirectUrl"), "externalId": of("externalId"), "userId": of("userId"),
            "webhook": null, "reason": null, "financialTransId": null, "dateInitiated": now.to_string(),
        }));
        id
    }

    /// A request that does something, if it arrives, and its answer, if that does.
    async fn carry_out(&self, work: impl FnOnce(&Self) -> Result<Value, Answer>) -> Response {
        let (vanishes, breaks, answering) = {
            let faults = &mut self.books().faults;
            (faults.vanishes(), faults.breaks(), faults.answering())
        };
        let broken = || refusal(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong").into_response();
        if vanishes {
            return lost();
        }
        if breaks == Some(Break::Before) {
            return broken();
        }
        match work(self) {
            Err(refused) => refused.into_response(),
            Ok(_) if breaks == Some(Break::After) => broken(),
            Ok(body) => answering.give(Json(body)).await,
        }
    }

    /// Money goes out, if the service may and has it.
    fn pay_out(&self, body: &Value) -> Result<Value, Answer> {
        let amount = check(body, true)?;
        {
            let mut books = self.books();
            if !books.features.payouts {
                return Err(refusal(
                    StatusCode::FORBIDDEN,
                    "Payouts are not enabled for this service",
                ));
            }
            if books.filled - books.paid_out < amount {
                return Err(bad("Insufficient balance"));
            }
            books.paid_out += amount;
        }
        let id = self.begin(body, "Payout", "PENDING", amount);
        let (waits, fails) = {
            let faults = &mut self.books().faults;
            (faults.refunds_wait, faults.fails_refund())
        };
        if fails {
            self.end(&id, "FAILED");
        } else if !waits {
            self.end(&id, "SUCCESSFUL");
        }
        Ok(json!({"message": "Accepted", "transId": id}))
    }

    /// Nobody can pay by this link any more.
    fn expire(&self, body: &Value) -> Result<Value, Answer> {
        let id = body["transId"].as_str().ok_or_else(|| bad("transId required"))?;
        let status = self
            .books()
            .find(id)
            .map(|found| found["status"].clone())
            .ok_or_else(|| refusal(StatusCode::NOT_FOUND, "transaction not found"))?;
        match status.as_str() {
            Some("CREATED") => Ok(told(&self.end(id, "EXPIRED").unwrap_or_default())),
            Some("EXPIRED") => Err(bad("Link already expired")),
            _ => Err(bad("This transaction cannot be expired")),
        }
    }
}

/// What the vendor keeps of what it collects.
fn fee(amount: i64) -> i64 {
    amount / 33
}

async fn initiate_pay(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Err(refused) = vendor.authorise(&headers, &vendor.0.collections) {
        return refused.into_response();
    }
    let work = |vendor: &Fapshi| {
        let id = vendor.begin(&body, "Collection", "CREATED", check(&body, false)?);
        let link = format!("{}pay/{id}", vendor.0.base);
        Ok(json!({"message": "Request successful", "link": link, "transId": id}))
    };
    vendor.carry_out(work).await
}

async fn direct_pay(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Err(refused) = vendor.authorise(&headers, &vendor.0.collections) {
        return refused.into_response();
    }
    let work = |vendor: &Fapshi| {
        if !vendor.books().features.direct_pay {
            return Err(refusal(
                StatusCode::FORBIDDEN,
                "Direct pay is not enabled for this service",
            ));
        }
        let id = vendor.begin(&body, "Collection", "PENDING", check(&body, true)?);
        Ok(json!({"message": "Accepted", "transId": id}))
    };
    vendor.carry_out(work).await
}

async fn payout(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Err(refused) = vendor.authorise(&headers, &vendor.0.payouts) {
        return refused.into_response();
    }
    vendor.carry_out(|vendor| vendor.pay_out(&body)).await
}

async fn expire_pay(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Err(refused) = vendor.authorise(&headers, &vendor.0.collections) {
        return refused.into_response();
    }
    vendor.carry_out(|vendor| vendor.expire(&body)).await
}

async fn status(State(vendor): State<Fapshi>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let found = vendor.looking(&headers).and_then(|kind| {
        let books = vendor.books();
        let found = books.find(&id).filter(|other| other["transType"] == kind);
        found
            .map(told)
            .ok_or_else(|| refusal(StatusCode::NOT_FOUND, "transaction not found"))
    });
    found.map(Json).into_response()
}

async fn by_user(State(vendor): State<Fapshi>, headers: HeaderMap, Path(user): Path<String>) -> Response {
    let found = vendor.looking(&headers).map(|kind| {
        let books = vendor.books();
        let places = books.of_user.get(&user).into_iter().flatten();
        let all = places.filter_map(|place| books.transactions.get(*place));
        let theirs = all.filter(|other| other["transType"] == kind);
        json!(theirs.map(told).collect::<Vec<_>>())
    });
    found.map(Json).into_response()
}

async fn balance(State(vendor): State<Fapshi>, headers: HeaderMap) -> Response {
    let found = vendor.looking(&headers).map(|kind| {
        let books = vendor.books();
        let (service, balance) = if kind == "Payout" {
            ("payouts", books.filled - books.paid_out)
        } else {
            ("lessons", books.collected)
        };
        json!({"service": service, "balance": balance, "currency": "XAF"})
    });
    found.map(Json).into_response()
}

async fn pay_page(State(vendor): State<Fapshi>, Path(id): Path<String>) -> Response {
    vendor.lapse();
    let is_known = vendor.books().find(&id).is_some();
    if is_known {
        Html("<!doctype html><title>Fapshi, simulated</title><p>Pay here.</p>").into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn control_faults(State(vendor): State<Fapshi>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// Our payment or refund.
    external_id: String,
    status: String,
}

async fn control_end(State(vendor): State<Fapshi>, Json(end): Json<End>) -> Json<Value> {
    let open = |other: &&Value| other["externalId"] == end.external_id.as_str();
    let id = vendor
        .books()
        .transactions
        .iter()
        .rev()
        .find(open)
        .map(|found| found["transId"].clone());
    let id = id.as_ref().and_then(Value::as_str).unwrap_or_default();
    Json(json!(vendor.end(id, &end.status)))
}

async fn control_features(State(vendor): State<Fapshi>, Json(features): Json<Features>) -> StatusCode {
    vendor.enable(features);
    StatusCode::NO_CONTENT
}

async fn control_fill(State(vendor): State<Fapshi>, Json(francs): Json<i64>) -> StatusCode {
    vendor.fill(francs);
    StatusCode::NO_CONTENT
}

/// In francs, as [`Fapshi::balance`] counts them.
async fn control_balance(State(vendor): State<Fapshi>) -> Json<Value> {
    Json(json!({ "xaf": vendor.balance() }))
}

async fn control_deliver(State(vendor): State<Fapshi>, Json(delivery): Json<Delivery>) -> Json<Value> {
    Json(json!({ "statuses": vendor.0.mailbox.deliver(&delivery, |body| vendor.seal(body)).await }))
}

async fn control_transactions(State(vendor): State<Fapshi>) -> Json<Vec<Value>> {
    Json(vendor.books().transactions.clone())
}
