//! Fapshi, as far as its public documentation describes it (see the provider's README): links and requests that
//! collect, payouts by a service of their own, payment-status, and a webhook that is not signed and sent once.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use crate::mailbox::{Delivery, Faults, Letter, Mailbox};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};
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

#[derive(Default)]
struct Books {
    faults: Faults,
    transactions: Vec<Value>,
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

    /// The vendor's API, the page behind its links, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/initiate-pay", post(initiate_pay))
            .route("/direct-pay", post(direct_pay))
            .route("/payout", post(payout))
            .route("/payment-status/{id}", get(status))
            .route("/transaction/{user}", get(by_user))
            .route("/pay/{id}", get(pay_page))
            .route("/_control/faults", post(control_faults))
            .route("/_control/end", post(control_end))
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

    /// A transaction comes to its end; `None` if there is none or it has one.
    pub fn end(&self, id: &str, status: &str) -> Option<Value> {
        let mut books = self.books();
        let transaction = books
            .transactions
            .iter_mut()
            .find(|other| other["transId"] == id)?;
        if !matches!(transaction["status"].as_str(), Some("CREATED" | "PENDING")) {
            return None;
        }
        transaction["status"] = status.into();
        if status == "FAILED" {
            transaction["reason"] = "LOW_BALANCE_OR_PAYEE_LIMIT_REACHED_OR_NOT_ALLOWED".into();
        }
        let ended = transaction.clone();
        drop(books);
        self.0.mailbox.post(ended.to_string());
        Some(ended)
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
        self.books().transactions.push(json!({
            "transId": id, "status": status, "medium": "mobile money", "serviceName": "lessons", "transType": kind,
            "amount": amount, "revenue": amount - amount / 33, "payerName": "Ada Parent", "email": null,
            "redirectUrl": of("redirectUrl"), "externalId": of("externalId"), "userId": of("userId"),
            "webhook": null, "reason": null, "financialTransId": null,
        }));
        id
    }

    async fn answer(&self, result: Result<Value, Answer>) -> Response {
        match result {
            Err(refusal) => refusal.into_response(),
            Ok(body) => {
                let answering = self.books().faults.answering();
                answering.give(Json(body)).await
            }
        }
    }
}

async fn initiate_pay(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let made = vendor.authorise(&headers, &vendor.0.collections).and_then(|()| {
        let id = vendor.begin(&body, "Collection", "CREATED", check(&body, false)?);
        let link = format!("{}pay/{id}", vendor.0.base);
        Ok(json!({"message": "Request successful", "link": link, "transId": id}))
    });
    vendor.answer(made).await
}

async fn direct_pay(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let made = vendor.authorise(&headers, &vendor.0.collections).and_then(|()| {
        let id = vendor.begin(&body, "Collection", "PENDING", check(&body, true)?);
        Ok(json!({"message": "Accepted", "transId": id}))
    });
    vendor.answer(made).await
}

async fn payout(State(vendor): State<Fapshi>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let made = vendor.authorise(&headers, &vendor.0.payouts).and_then(|()| {
        let id = vendor.begin(&body, "Payout", "PENDING", check(&body, true)?);
        Ok(json!({"message": "Accepted", "transId": id}))
    });
    if let Ok(made) = &made
        && !vendor.books().faults.refunds_wait
    {
        vendor.end(made["transId"].as_str().unwrap_or_default(), "SUCCESSFUL");
    }
    vendor.answer(made).await
}

async fn status(State(vendor): State<Fapshi>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let found = vendor.looking(&headers).and_then(|kind| {
        let books = vendor.books();
        let mut all = books.transactions.iter();
        let found = all.find(|other| other["transId"] == id && other["transType"] == kind);
        found
            .cloned()
            .ok_or_else(|| refusal(StatusCode::NOT_FOUND, "transaction not found"))
    });
    found.map(Json).into_response()
}

async fn by_user(State(vendor): State<Fapshi>, headers: HeaderMap, Path(user): Path<String>) -> Response {
    let found = vendor.looking(&headers).map(|kind| {
        let books = vendor.books();
        let all = books.transactions.iter();
        let theirs = all.filter(|other| other["userId"] == user && other["transType"] == kind);
        json!(theirs.collect::<Vec<_>>())
    });
    found.map(Json).into_response()
}

async fn pay_page(State(vendor): State<Fapshi>, Path(id): Path<String>) -> Response {
    let is_known = vendor
        .books()
        .transactions
        .iter()
        .any(|other| other["transId"] == id);
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

async fn control_deliver(State(vendor): State<Fapshi>, Json(delivery): Json<Delivery>) -> Json<Value> {
    Json(json!({ "statuses": vendor.0.mailbox.deliver(&delivery, |body| vendor.seal(body)).await }))
}

async fn control_transactions(State(vendor): State<Fapshi>) -> Json<Vec<Value>> {
    Json(vendor.books().transactions.clone())
}
