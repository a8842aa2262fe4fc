//! Stripe, as far as its public API reference describes what we use (see the provider's README): Checkout,
//! charges off session, refunds, disputes, idempotency keys, signed events. Refuses unknown parameters, keys that
//! come again with other parameters, cards of other customers and refunds above what was paid.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use crate::mailbox::{Delivery, Faults, Letter, Mailbox};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hmac::{Hmac, KeyInit, Mac};
use platform::clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;
use uuid::Uuid;

/// The simulated vendor.
#[derive(Clone)]
pub struct Stripe(Arc<Vendor>);

struct Vendor {
    base: String,
    secret_key: String,
    webhook_secret: String,
    clock: Clock,
    books: Mutex<Books>,
    /// Held while a keyed request is carried out: the same key at the same time waits for its answer.
    one_at_a_time: Mutex<()>,
    mailbox: Mailbox,
}

#[derive(Default)]
struct Books {
    faults: Faults,
    /// Key to parameters and saved answer.
    keys: HashMap<String, (Form, StatusCode, Value)>,
    /// Customer to cards.
    customers: HashMap<String, Vec<String>>,
    /// In the order in which they were made.
    objects: Vec<Value>,
    /// Where an object is, by its id.
    places: HashMap<String, usize>,
    /// Charges by their customer, refunds by their charge.
    lists: HashMap<String, Vec<usize>>,
}

type Form = BTreeMap<String, String>;
type Answer = (StatusCode, Value);

fn refusal(status: StatusCode, kind: &str, code: &str, text: &str) -> Answer {
    (
        status,
        json!({"error": {"type": kind, "code": code, "message": text}}),
    )
}

fn invalid(code: &str, text: &str) -> Answer {
    refusal(StatusCode::BAD_REQUEST, "invalid_request_error", code, text)
}

fn id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

/// `metadata[name]=value` pairs as an object.
fn metadata(form: &Form) -> Value {
    let pairs = form.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
        Some((name.to_owned(), Value::from(value.clone())))
    });
    Value::Object(pairs.collect())
}

fn check_names(form: &Form, known: &[&str]) -> Result<(), Answer> {
    let unknown = form
        .keys()
        .find(|name| !known.contains(&name.as_str()) && !name.starts_with("metadata["));
    match unknown {
        Some(name) => Err(invalid(
            "parameter_unknown",
            &format!("Received unknown parameter: {name}"),
        )),
        None => Ok(()),
    }
}

fn wanted<'a>(form: &'a Form, name: &str) -> Result<&'a str, Answer> {
    let value = form
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty());
    value.ok_or_else(|| invalid("parameter_missing", &format!("Missing required param: {name}.")))
}

fn amount_of(form: &Form, name: &str) -> Result<i64, Answer> {
    let amount: i64 = wanted(form, name)?
        .parse()
        .map_err(|_| invalid("parameter_invalid_integer", "Invalid integer"))?;
    let is_enough = amount >= 50 || form.values().any(|value| value == "xaf") && amount > 0;
    let small = || invalid("amount_too_small", "Amount must convert to at least 50 cents.");
    is_enough.then_some(amount).ok_or_else(small)
}

impl Books {
    fn add(&mut self, object: Value) {
        let place = self.objects.len();
        let list = match object["object"].as_str() {
            Some("payment_intent") => object["customer"].as_str(),
            Some("refund") => object["payment_intent"].as_str(),
            _ => None,
        };
        if let Some(list) = list {
            self.lists.entry(list.to_owned()).or_default().push(place);
        }
        self.places
            .insert(object["id"].as_str().unwrap_or_default().to_owned(), place);
        self.objects.push(object);
    }

    fn find(&self, id: &str) -> Result<&Value, Answer> {
        let found = self.places.get(id).and_then(|place| self.objects.get(*place));
        let missing = || {
            let text = format!("No such object: '{id}'");
            refusal(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "resource_missing",
                &text,
            )
        };
        found.ok_or_else(missing)
    }

    fn change(&mut self, id: &str, changes: Value) -> Option<Value> {
        let object = self.objects.get_mut(*self.places.get(id)?)?;
        if let (Some(object), Value::Object(changes)) = (object.as_object_mut(), changes) {
            object.extend(changes);
        }
        Some(object.clone())
    }

    /// The charges of a customer, or the refunds of a charge, oldest first.
    fn listed<'a>(&'a self, list: &str) -> impl Iterator<Item = &'a Value> {
        let places = self.lists.get(list).into_iter().flatten();
        places.filter_map(|place| self.objects.get(*place))
    }

    fn of<'a>(&'a self, what: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["object"] == what)
    }

    /// A customer, new or known, with one more card.
    fn card_of(&mut self, customer: Option<&str>) -> (String, String) {
        let customer = customer.map_or_else(|| id("cus"), Into::into);
        let card = id("pm");
        self.customers
            .entry(customer.clone())
            .or_default()
            .push(card.clone());
        (customer, card)
    }
}

impl Stripe {
    /// A vendor reached at `base` (which ends in a slash), with one account.
    pub fn new(base: &str, secret_key: &str, webhook_secret: &str, clock: Clock) -> Self {
        Self(Arc::new(Vendor {
            base: base.into(),
            secret_key: secret_key.into(),
            webhook_secret: webhook_secret.into(),
            clock,
            books: Mutex::default(),
            one_at_a_time: Mutex::default(),
            mailbox: Mailbox::default(),
        }))
    }

    /// The vendor's API, its payment page, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/checkout/sessions", post(create_checkout))
            .route("/v1/checkout/sessions/{id}", get(retrieve_checkout))
            .route("/v1/payment_intents", post(create_intent).get(list_intents))
            .route("/v1/refunds", post(create_refund).get(list_refunds))
            .route("/v1/{kind}/{id}", get(retrieve))
            .route("/pay/{id}", get(pay_page))
            .route("/_control/faults", post(control_faults))
            .route("/_control/checkout", post(control_checkout))
            .route("/_control/deliver", post(control_deliver))
            .route("/_control/objects", get(control_objects))
            .with_state(self.clone())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// A day passes, and with it every idempotency key.
    pub fn forget_keys(&self) {
        self.books().keys.clear();
    }

    /// Webhooks that wait to be delivered.
    pub fn letters(&self) -> Vec<Letter> {
        self.0.mailbox.take(|body| self.letter(body))
    }

    /// A customer who has left a card: both names.
    pub fn leave_card(&self) -> (String, String) {
        self.books().card_of(None)
    }

    /// The vendor's own record of one kind of object: `payment_intent`, `refund`, …
    pub fn record(&self, what: &str) -> Vec<Value> {
        self.books().of(what).cloned().collect()
    }

    /// Leaves an event about `object` for delivery.
    fn tell(&self, kind: &str, object: &Value) {
        let body = json!({
            "id": id("evt"), "object": "event", "type": kind, "created": self.now(), "livemode": false,
            "data": {"object": object},
        });
        self.0.mailbox.post(body.to_string());
    }

    /// A body as the vendor would sign it now.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "HMAC takes keys of any length"
    )]
    pub fn letter(&self, body: String) -> Letter {
        let time = self.now();
        let key = self.0.webhook_secret.as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
        mac.update(format!("{time}.{body}").as_bytes());
        let signature = format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()));
        Letter {
            headers: vec![("stripe-signature", signature)],
            body,
        }
    }

    fn now(&self) -> i64 {
        self.0.clock.now().as_second()
    }

    fn authorise(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let wanted = format!("Bearer {}", self.0.secret_key);
        if header("authorization") != Some(&wanted) {
            let text = "Invalid API Key provided";
            return Err(refusal(
                StatusCode::UNAUTHORIZED,
                "invalid_request_error",
                "",
                text,
            ));
        }
        if header("stripe-version").is_none() {
            return Err(invalid("", "This story wants the version pinned."));
        }
        Ok(())
    }

    /// A POST: authorised, and carried out once per key.
    async fn once(
        &self,
        headers: &HeaderMap,
        form: Form,
        work: impl FnOnce(&Self, &Form) -> Result<Value, Answer>,
    ) -> Response {
        if let Err((status, body)) = self.authorise(headers) {
            return (status, Json(body)).into_response();
        }
        if self.books().faults.fails() {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        let (status, body) = self.answer(key, form, work);
        let answering = self.books().faults.answering();
        answering.give((status, Json(body))).await
    }

    fn answer(
        &self,
        key: Option<&str>,
        form: Form,
        work: impl FnOnce(&Self, &Form) -> Result<Value, Answer>,
    ) -> Answer {
        let Some(key) = key else {
            return invalid("", "This story wants an idempotency key on every POST.");
        };
        let _alone = self
            .0
            .one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((earlier, status, body)) = self.books().keys.get(key) {
            if *earlier == form {
                return (*status, body.clone());
            }
            let text = "Keys for idempotent requests can only be used with the same parameters.";
            return refusal(StatusCode::BAD_REQUEST, "idempotency_error", "", text);
        }
        let (status, body) = match work(self, &form) {
            Ok(body) => (StatusCode::OK, body),
            // What fails validation is not remembered; a card that was refused is.
            Err((status, body)) if status != StatusCode::PAYMENT_REQUIRED => return (status, body),
            Err(declined) => declined,
        };
        let saved = (form, status, body.clone());
        self.books().keys.insert(key.to_owned(), saved);
        (status, body)
    }

    fn checkout(&self, form: &Form) -> Result<Value, Answer> {
        check_names(
            form,
            &[
                "mode",
                "success_url",
                "cancel_url",
                "client_reference_id",
                "customer",
                "customer_creation",
                "expires_at",
                "payment_method_types[0]",
                "payment_intent_data[setup_future_usage]",
                "line_items[0][quantity]",
                "line_items[0][price_data][currency]",
                "line_items[0][price_data][unit_amount]",
                "line_items[0][price_data][product_data][name]",
            ],
        )?;
        let mode = wanted(form, "mode")?;
        let url = wanted(form, "success_url")?;
        url.parse::<Url>()
            .map_err(|_| invalid("url_invalid", "Not a valid URL"))?;
        let lives: i64 = wanted(form, "expires_at")?.parse().unwrap_or(0) - self.now();
        if !(30 * 60..=24 * 3600).contains(&lives) {
            return Err(invalid(
                "",
                "The expires_at timestamp must be between 30 minutes and 24 hours from now.",
            ));
        }
        let customer = form.get("customer");
        if customer.is_some() && form.contains_key("customer_creation") {
            return Err(invalid(
                "",
                "You may only specify one of these parameters: customer, customer_creation.",
            ));
        }
        let (amount, currency) = match mode {
            "payment" => {
                wanted(form, "line_items[0][price_data][product_data][name]")?;
                let currency = wanted(form, "line_items[0][price_data][currency]")?;
                let amount = amount_of(form, "line_items[0][price_data][unit_amount]")?;
                (json!(amount), json!(currency))
            }
            "setup" if form.contains_key("payment_intent_data[setup_future_usage]") => {
                return Err(invalid(
                    "",
                    "You can not pass `payment_intent_data` in `setup` mode.",
                ));
            }
            "setup" => (Value::Null, Value::Null),
            _ => return Err(invalid("", "Invalid mode")),
        };
        let mut books = self.books();
        if let Some(customer) = customer.filter(|customer| !books.customers.contains_key(*customer)) {
            return Err(invalid(
                "resource_missing",
                &format!("No such customer: '{customer}'"),
            ));
        }
        let id = id("cs_test");
        let object = json!({
            "id": id, "object": "checkout.session", "mode": mode, "url": format!("{}pay/{id}", self.0.base),
            "status": "open", "payment_status": if mode == "setup" { "no_payment_required" } else { "unpaid" },
            "amount_total": amount, "currency": currency, "customer": customer, "payment_intent": null,
            "setup_intent": null, "client_reference_id": form.get("client_reference_id"),
            "metadata": metadata(form), "created": self.now(),
        });
        books.add(object.clone());
        Ok(object)
    }

    /// The client pays, leaves a card, or lets the page expire.
    pub fn close_checkout(&self, id: &str, is_paid: bool) -> Option<Value> {
        if !is_paid {
            let session = self
                .books()
                .change(id, json!({"status": "expired", "url": null}))?;
            self.tell("checkout.session.expired", &session);
            return Some(session);
        }
        let mut books = self.books();
        let session = books.find(id).ok()?.clone();
        if session["status"] != "open" {
            return None;
        }
        let (customer, card) = books.card_of(session["customer"].as_str());
        let mut changes = json!({"status": "complete", "customer": customer, "url": null});
        let mut told = None;
        if session["mode"] == "setup" {
            let setup = json!({"id": self::id("seti"), "object": "setup_intent", "status": "succeeded", "payment_method": card});
            changes["setup_intent"] = setup["id"].clone();
            books.add(setup);
        } else {
            let intent = json!({
                "id": self::id("pi"), "object": "payment_intent", "status": "succeeded",
                "amount": session["amount_total"], "amount_received": session["amount_total"],
                "currency": session["currency"], "customer": customer, "payment_method": card,
                "last_payment_error": null, "metadata": {}, "created": self.now(), "checkout": id,
            });
            changes["payment_intent"] = intent["id"].clone();
            changes["payment_status"] = "paid".into();
            books.add(intent.clone());
            told = Some(intent);
        }
        let session = books.change(id, changes)?;
        drop(books);
        if let Some(intent) = told {
            self.tell("payment_intent.succeeded", &intent);
        }
        self.tell("checkout.session.completed", &session);
        Some(session)
    }

    fn charge(&self, form: &Form) -> Result<Value, Answer> {
        check_names(
            form,
            &[
                "amount",
                "currency",
                "customer",
                "payment_method",
                "payment_method_types[0]",
                "off_session",
                "confirm",
            ],
        )?;
        let (amount, currency) = (amount_of(form, "amount")?, wanted(form, "currency")?);
        let (customer, card) = (wanted(form, "customer")?, wanted(form, "payment_method")?);
        let mut books = self.books();
        let cards = books.customers.get(customer);
        if cards.is_none_or(|cards| !cards.iter().any(|other| other == card)) {
            return Err(invalid(
                "resource_missing",
                "No such PaymentMethod for this customer.",
            ));
        }
        let declined = books.faults.declines();
        let error = declined.as_ref().map(|code| {
            let code_of_error = if code == "authentication_required" {
                code
            } else {
                "card_declined"
            };
            json!({"type": "card_error", "code": code_of_error, "decline_code": code})
        });
        let intent = json!({
            "id": id("pi"), "object": "payment_intent", "amount": amount, "currency": currency,
            "status": if error.is_some() { "requires_payment_method" } else { "succeeded" },
            "amount_received": if error.is_some() { 0 } else { amount }, "customer": customer,
            "payment_method": if error.is_some() { Value::Null } else { json!(card) },
            "last_payment_error": error, "metadata": metadata(form), "created": self.now(),
        });
        books.add(intent.clone());
        drop(books);
        match error {
            None => {
                self.tell("payment_intent.succeeded", &intent);
                Ok(intent)
            }
            Some(mut error) => {
                self.tell("payment_intent.payment_failed", &intent);
                error["payment_intent"] = intent;
                Err((StatusCode::PAYMENT_REQUIRED, json!({ "error": error })))
            }
        }
    }

    fn refund(&self, form: &Form) -> Result<Value, Answer> {
        check_names(form, &["payment_intent", "amount"])?;
        let intent = wanted(form, "payment_intent")?;
        let amount: i64 = wanted(form, "amount")?.parse().unwrap_or(0);
        let mut books = self.books();
        let paid = books.find(intent)?["amount_received"].as_i64().unwrap_or(0);
        let back: i64 = books
            .listed(intent)
            .filter(|refund| refund["status"] != "failed")
            .filter_map(|refund| refund["amount"].as_i64())
            .sum();
        if amount < 1 || back + amount > paid {
            return Err(invalid(
                "charge_already_refunded",
                "Refund amount is greater than unrefunded amount.",
            ));
        }
        let status = if books.faults.refunds_wait {
            "pending"
        } else {
            "succeeded"
        };
        let refund = json!({
            "id": id("re"), "object": "refund", "amount": amount, "payment_intent": intent, "status": status,
            "failure_reason": null, "metadata": metadata(form), "created": self.now(),
        });
        books.add(refund.clone());
        drop(books);
        self.tell("refund.created", &refund);
        Ok(refund)
    }

    /// A refund that waited comes to its end: `succeeded` or `failed`.
    pub fn end_refund(&self, id: &str, status: &str) {
        let reason = (status == "failed").then_some("expired_or_canceled_card");
        let changes = json!({"status": status, "failure_reason": reason});
        let refund = self.books().change(id, changes);
        if let Some(refund) = refund {
            self.tell(
                if status == "failed" {
                    "refund.failed"
                } else {
                    "refund.updated"
                },
                &refund,
            );
        }
    }

    /// The client's bank disputes a payment, or decides about it.
    pub fn dispute(&self, intent: &str, status: &str) {
        let known = self
            .books()
            .of("dispute")
            .find(|dispute| dispute["payment_intent"] == intent)
            .and_then(|dispute| dispute["id"].as_str().map(ToOwned::to_owned));
        let dispute = if let Some(known) = known {
            self.books().change(&known, json!({"status": status}))
        } else {
            let mut books = self.books();
            let paid = books.find(intent).cloned().unwrap_or_default();
            let dispute = json!({
                "id": id("du"), "object": "dispute", "amount": paid["amount"], "currency": paid["currency"],
                "payment_intent": intent, "status": status, "reason": "fraudulent",
            });
            books.add(dispute.clone());
            Some(dispute)
        };
        let kind = if status == "lost" || status == "won" {
            "closed"
        } else {
            "created"
        };
        if let Some(dispute) = dispute {
            self.tell(&format!("charge.dispute.{kind}"), &dispute);
        }
    }

    fn reading<T>(
        &self,
        headers: &HeaderMap,
        read: impl FnOnce(&Books) -> Result<T, Answer>,
    ) -> Result<T, Answer> {
        self.authorise(headers)?;
        let mut books = self.books();
        if books.faults.fails() {
            return Err((StatusCode::SERVICE_UNAVAILABLE, Value::Null));
        }
        read(&books)
    }
}

fn respond(answer: Result<Value, Answer>) -> Response {
    let (status, body) = answer.map_or_else(|refusal| refusal, |body| (StatusCode::OK, body));
    (status, Json(body)).into_response()
}

async fn create_checkout(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Form>,
) -> Response {
    vendor.once(&headers, form, Stripe::checkout).await
}

async fn create_intent(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Form>,
) -> Response {
    vendor.once(&headers, form, Stripe::charge).await
}

async fn create_refund(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Form>,
) -> Response {
    vendor.once(&headers, form, Stripe::refund).await
}

type Pairs = Query<Vec<(String, String)>>;

fn filter<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    let found = pairs.0.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str())
}

async fn retrieve_checkout(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    Path(id): Path<String>,
    query: Pairs,
) -> Response {
    let session = vendor.reading(&headers, |books| {
        let mut session = books.find(&id)?.clone();
        for (_, field) in query.0.iter().filter(|(name, _)| name == "expand[]") {
            if let Some(id) = session[field.as_str()].as_str() {
                session[field.as_str()] = books.find(id)?.clone();
            }
        }
        Ok(session)
    });
    respond(session)
}

async fn retrieve(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    let object = vendor.reading(&headers, |books| {
        let object = books.find(&id)?;
        let is_there = format!("{}s", object["object"].as_str().unwrap_or_default()) == kind;
        let missing = || {
            refusal(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "resource_missing",
                "No such path",
            )
        };
        is_there.then(|| object.clone()).ok_or_else(missing)
    });
    respond(object)
}

/// A page of a list, newest first.
fn page(books: &Books, list: &str, query: &Pairs) -> Value {
    let since: i64 = filter(query, "created[gte]")
        .and_then(|since| since.parse().ok())
        .unwrap_or(0);
    let is_recent = |object: &&Value| object["created"].as_i64().unwrap_or(0) >= since;
    let mut rest: Vec<&Value> = books.listed(list).filter(is_recent).collect();
    rest.reverse();
    let after = filter(query, "starting_after");
    if let Some(last) = after.and_then(|after| rest.iter().position(|object| object["id"] == after)) {
        rest.drain(..=last);
    }
    let limit = filter(query, "limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(10);
    let has_more = rest.len() > limit;
    rest.truncate(limit);
    json!({"object": "list", "data": rest, "has_more": has_more})
}

async fn list_intents(State(vendor): State<Stripe>, headers: HeaderMap, query: Pairs) -> Response {
    let customer = filter(&query, "customer").unwrap_or_default();
    respond(vendor.reading(&headers, |books| Ok(page(books, customer, &query))))
}

async fn list_refunds(State(vendor): State<Stripe>, headers: HeaderMap, query: Pairs) -> Response {
    let intent = filter(&query, "payment_intent").unwrap_or_default();
    respond(vendor.reading(&headers, |books| Ok(page(books, intent, &query))))
}

async fn pay_page(State(vendor): State<Stripe>, Path(id): Path<String>) -> Response {
    match vendor.books().find(&id) {
        Ok(session) if session["status"] == "open" => {
            Html("<!doctype html><title>Checkout, simulated</title><p>Pay here.</p>").into_response()
        }
        Ok(_) => StatusCode::GONE.into_response(),
        Err((status, _)) => status.into_response(),
    }
}

async fn control_faults(State(vendor): State<Stripe>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    id: String,
    is_paid: bool,
}

async fn control_checkout(State(vendor): State<Stripe>, Json(close): Json<Close>) -> Json<Value> {
    Json(json!(vendor.close_checkout(&close.id, close.is_paid)))
}

async fn control_deliver(State(vendor): State<Stripe>, Json(delivery): Json<Delivery>) -> Json<Value> {
    Json(json!({ "statuses": vendor.0.mailbox.deliver(&delivery, |body| vendor.letter(body)).await }))
}

async fn control_objects(State(vendor): State<Stripe>) -> Json<Vec<Value>> {
    Json(vendor.books().objects.clone())
}
