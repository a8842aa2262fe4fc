//! Stripe, as far as its public API reference describes what we use (see the provider's README): Checkout,
//! charges off session, refunds, disputes, idempotency keys, signed events, and a balance of which each movement and
//! each fee is told. Refuses unknown parameters, keys that come again with other parameters or at the same time, cards
//! of other customers, too little, and refunds above what was paid or of what is disputed.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

mod keys;
mod money;

use self::keys::Keys;
use self::money::{amount_of, charge_fee, dispute_fee};
use crate::mailbox::{Break, Delivery, Faults, Letter, Mailbox, lost};
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
use std::time::Duration;
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
    mailbox: Mailbox,
}

#[derive(Default)]
struct Books {
    faults: Faults,
    keys: Keys,
    /// Customer to cards.
    customers: HashMap<String, Vec<String>>,
    /// In the order in which they were made.
    objects: Vec<Value>,
    /// Where an object is, by its id.
    places: HashMap<String, usize>,
    /// Charges by their customer; refunds, disputes and pages by their charge.
    lists: HashMap<String, Vec<usize>>,
    /// What each page was asked for with.
    forms: HashMap<String, Form>,
    /// What moved in and out, less fees, by currency.
    balances: BTreeMap<String, i64>,
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

/// What marks the metadata of what is paid on a page.
const OF_PAGE: &str = "payment_intent_data[metadata]";

/// `<prefix>[name]=value` pairs as an object.
fn metadata(form: &Form, prefix: &str) -> Value {
    let pairs = form.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?;
        Some((name.to_owned(), Value::from(value.clone())))
    });
    Value::Object(pairs.collect())
}

fn check_names(form: &Form, known: &[&str]) -> Result<(), Answer> {
    let is_open = |name: &str| {
        let mut prefixes = ["metadata[", "expand["].into_iter();
        prefixes.any(|prefix| name.starts_with(prefix))
    };
    let unknown = form
        .keys()
        .find(|name| !known.contains(&name.as_str()) && !is_open(name));
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

/// The list of the disputes of a charge, and that of the pages that it was paid on.
fn disputes_of(intent: &str) -> String {
    format!("dispute/{intent}")
}

fn pages_of(intent: &str) -> String {
    format!("page/{intent}")
}

impl Books {
    fn add(&mut self, object: Value) {
        let place = self.objects.len();
        let list = match object["object"].as_str() {
            Some("payment_intent") => object["customer"].as_str().map(ToOwned::to_owned),
            Some("refund") => object["payment_intent"].as_str().map(ToOwned::to_owned),
            Some("dispute") => object["payment_intent"].as_str().map(disputes_of),
            _ => None,
        };
        if let Some(list) = list {
            self.lists.entry(list).or_default().push(place);
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

    /// An object with what `path` names in it instead of its id, at most four deep.
    fn expand(&self, object: &mut Value, path: &str) -> Result<(), Answer> {
        if path.split('.').count() > 4 {
            return Err(invalid("", "You cannot expand more than 4 levels of a property."));
        }
        let (field, rest) = path
            .split_once('.')
            .map_or((path, None), |(field, rest)| (field, Some(rest)));
        let found = object.get_mut(field).ok_or_else(|| {
            let text = format!("This property cannot be expanded ({field}).");
            invalid("", &text)
        })?;
        if let Some(id) = found.as_str() {
            *found = self.find(id)?.clone();
        }
        match (rest, found) {
            (Some(rest), Value::Array(items)) => {
                items.iter_mut().try_for_each(|item| self.expand(item, rest))
            }
            (Some(rest), found) if found.is_object() => self.expand(found, rest),
            _ => Ok(()),
        }
    }

    fn expanded<'a>(&self, mut object: Value, paths: impl Iterator<Item = &'a str>) -> Result<Value, Answer> {
        for path in paths {
            self.expand(&mut object, path)?;
        }
        Ok(object)
    }

    /// Money moves: in if above zero. Tells the movement.
    fn moves(&mut self, kind: &str, source: &str, amount: i64, fee: i64, currency: &str) -> Value {
        let movement = json!({
            "id": id("txn"), "object": "balance_transaction", "type": kind, "source": source, "amount": amount,
            "fee": fee, "net": amount - fee, "currency": currency, "exchange_rate": null,
        });
        *self.balances.entry(currency.to_owned()).or_default() += amount - fee;
        self.add(movement.clone());
        movement
    }

    /// What came by a charge, and what it cost.
    fn capture(&mut self, intent: &str, amount: i64, currency: &str, is_told: bool) -> String {
        let charge = id("ch");
        let fee = charge_fee(amount, currency);
        let movement = self.moves("charge", &charge, amount, fee, currency);
        self.add(json!({
            "id": charge, "object": "charge", "amount": amount, "currency": currency, "payment_intent": intent,
            "status": "succeeded", "balance_transaction": is_told.then(|| movement["id"].clone()),
            "movement": movement["id"],
        }));
        charge
    }

    fn open_dispute(&mut self, intent: &str) -> Value {
        let paid = self.find(intent).cloned().unwrap_or_default();
        let dispute = json!({
            "id": id("du"), "object": "dispute", "amount": paid["amount"], "currency": paid["currency"],
            "charge": paid["latest_charge"], "payment_intent": intent, "status": "needs_response",
            "reason": "fraudulent", "balance_transactions": [],
        });
        self.add(dispute.clone());
        dispute
    }

    /// The dispute as it is in its new status, and what its money did.
    fn decide(&mut self, dispute: &Value, status: &str) -> (Option<Value>, Option<&'static str>) {
        let id = dispute["id"].as_str().unwrap_or_default();
        let currency = dispute["currency"].as_str().unwrap_or_default();
        let amount = dispute["amount"].as_i64().unwrap_or(0);
        let mut movements = dispute["balance_transactions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut moved = None;
        if movements.is_empty() && !status.starts_with("warning") {
            movements.push(self.moves("adjustment", id, -amount, dispute_fee(currency), currency));
            moved = Some("funds_withdrawn");
        }
        if movements.len() == 1 && status == "won" {
            movements.push(self.moves("adjustment", id, amount, 0, currency));
            moved = Some("funds_reinstated");
        }
        let changes = json!({"status": status, "balance_transactions": movements});
        (self.change(id, changes), moved)
    }

    /// Whether the money of a charge is in dispute, or lost in one.
    fn is_disputed(&self, intent: &str) -> bool {
        let disputes = disputes_of(intent);
        let mut statuses = self.listed(&disputes).map(|dispute| &dispute["status"]);
        statuses.any(|status| matches!(status.as_str(), Some("needs_response" | "under_review" | "lost")))
    }

    fn of<'a>(&'a self, what: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["object"] == what)
    }

    /// Whether a charge that is captured so has its fee in the answer.
    fn tells_fees(&self, capture_method: Option<&str>) -> bool {
        capture_method == Some("automatic") && !self.faults.fees_wait
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
            mailbox: Mailbox::default(),
        }))
    }

    /// The vendor's API, its payment page, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/checkout/sessions", post(create_checkout).get(list_checkouts))
            .route("/v1/checkout/sessions/{id}", get(retrieve_checkout))
            .route("/v1/checkout/sessions/{id}/expire", post(expire_checkout))
            .route("/v1/balance", get(retrieve_balance))
            .route("/v1/payment_intents", post(create_intent).get(list_intents))
            .route("/v1/refunds", post(create_refund).get(list_refunds))
            .route("/v1/{kind}/{id}", get(retrieve))
            .route("/pay/{id}", get(pay_page))
            .route("/_control/faults", post(control_faults))
            .route("/_control/checkout", post(control_checkout))
            .route("/_control/refund", post(control_refund))
            .route("/_control/dispute", post(control_dispute))
            .route("/_control/balance", get(control_balance))
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
        self.books().keys.forget();
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

    /// What is in the account: every movement there was, less every fee, in minor units by currency.
    pub fn balances(&self) -> BTreeMap<String, i64> {
        self.books().balances.clone()
    }

    /// Leaves an event about `object` for delivery.
    fn tell(&self, kind: &str, object: &Value) {
        if self.books().faults.is_silent {
            return;
        }
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
        let (fails, vanishes) = {
            let mut books = self.books();
            (books.faults.fails(), books.faults.vanishes())
        };
        if fails {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        if vanishes {
            return lost();
        }
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        let answering = self.books().faults.answering();
        let (status, body) = match key {
            Some(key) => self.answer(key, &form, answering.takes(), work),
            None => invalid("", "This story wants an idempotency key on every POST."),
        };
        answering.give((status, Json(body))).await
    }

    fn answer(
        &self,
        key: &str,
        form: &Form,
        takes: Duration,
        work: impl FnOnce(&Self, &Form) -> Result<Value, Answer>,
    ) -> Answer {
        let now = self.now();
        if let Some(earlier) = self.books().keys.take(key, form, now) {
            return earlier;
        }
        let answer = match self.carry_out(form, work) {
            // What fails validation is not remembered; a card that was refused is, and so is a failure of Stripe's own.
            Err((status, body)) if status.is_client_error() && status != StatusCode::PAYMENT_REQUIRED => {
                self.books().keys.release(key);
                return (status, body);
            }
            Err(refused) => refused,
            Ok(body) => (StatusCode::OK, body),
        };
        self.books().keys.keep(key, answer.clone(), takes);
        answer
    }

    fn carry_out(
        &self,
        form: &Form,
        work: impl FnOnce(&Self, &Form) -> Result<Value, Answer>,
    ) -> Result<Value, Answer> {
        let broken = || {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            refusal(status, "api_error", "", "An unexpected error occurred.")
        };
        let breaks = self.books().faults.breaks();
        if breaks == Some(Break::Before) {
            return Err(broken());
        }
        let made = work(self, form)?;
        if breaks == Some(Break::After) {
            return Err(broken());
        }
        let paths = form
            .iter()
            .filter(|(name, _)| name.starts_with("expand["))
            .map(|(_, path)| path.as_str());
        self.books().expanded(made, paths)
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
                "payment_intent_data[capture_method]",
                "payment_intent_data[metadata][firstbell_payment]",
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
        let expires_at: i64 = wanted(form, "expires_at")?.parse().unwrap_or(0);
        let lives = expires_at - self.now();
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
                let amount = amount_of(form, "line_items[0][price_data][unit_amount]", currency)?;
                (json!(amount), json!(currency))
            }
            "setup" if form.keys().any(|name| name.starts_with("payment_intent_data")) => {
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
            "metadata": metadata(form, "metadata"), "created": self.now(), "expires_at": expires_at,
        });
        books.forms.insert(id, form.clone());
        books.add(object.clone());
        Ok(object)
    }

    /// The page ends if its time has come.
    fn lapse(&self, id: &str) {
        let now = self.now();
        let is_over = self.books().find(id).is_ok_and(|session| {
            session["status"] == "open" && session["expires_at"].as_i64().is_some_and(|at| at <= now)
        });
        if is_over {
            self.end_page(id);
        }
    }

    fn end_page(&self, id: &str) -> Option<Value> {
        let changes = json!({"status": "expired", "url": null});
        let session = self.books().change(id, changes)?;
        self.tell("checkout.session.expired", &session);
        Some(session)
    }

    /// Whoever made the page closes it.
    fn expire(&self, id: &str) -> Result<Value, Answer> {
        self.lapse(id);
        let is_open = self.books().find(id)?["status"] == "open";
        let closed = is_open.then(|| self.end_page(id)).flatten();
        closed.ok_or_else(|| {
            let text = "Only Checkout Sessions with a status in [\"open\"] can be expired.";
            invalid("", text)
        })
    }

    /// The client pays, leaves a card, or lets the page expire. `None` if the page is closed.
    pub fn close_checkout(&self, id: &str, is_paid: bool) -> Option<Value> {
        self.lapse(id);
        let session = self.books().find(id).ok()?.clone();
        if session["status"] != "open" {
            return None;
        }
        if !is_paid {
            return self.end_page(id);
        }
        let mut books = self.books();
        let (customer, card) = books.card_of(session["customer"].as_str());
        let mut changes = json!({"status": "complete", "customer": customer, "url": null});
        let mut told = None;
        if session["mode"] == "setup" {
            let setup = json!({"id": self::id("seti"), "object": "setup_intent", "status": "succeeded", "payment_method": card});
            changes["setup_intent"] = setup["id"].clone();
            books.add(setup);
        } else {
            let intent = self.paid_on_page(&mut books, &session, &customer, &card);
            changes["payment_intent"] = intent["id"].clone();
            changes["payment_status"] = "paid".into();
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

    fn paid_on_page(&self, books: &mut Books, session: &Value, customer: &str, card: &str) -> Value {
        let (page, intent) = (session["id"].as_str().unwrap_or_default(), id("pi"));
        let form = books.forms.get(page).cloned().unwrap_or_default();
        let capture = form
            .get("payment_intent_data[capture_method]")
            .map(String::as_str);
        let is_told = books.tells_fees(capture);
        let amount = session["amount_total"].as_i64().unwrap_or(0);
        let charge = books.capture(
            &intent,
            amount,
            session["currency"].as_str().unwrap_or_default(),
            is_told,
        );
        let object = json!({
            "id": intent, "object": "payment_intent", "status": "succeeded", "amount": amount,
            "amount_received": amount, "currency": session["currency"], "customer": customer,
            "payment_method": card, "latest_charge": charge, "last_payment_error": null,
            "metadata": metadata(&form, OF_PAGE), "created": self.now(), "checkout": page,
        });
        books.add(object.clone());
        let place = books.places.get(page).copied();
        books.lists.entry(pages_of(&intent)).or_default().extend(place);
        object
    }

    /// The banks have decided: every charge that waited has succeeded.
    pub fn end_charges(&self) {
        let waiting: Vec<Value> = {
            let books = self.books();
            let intents = books.of("payment_intent");
            intents
                .filter(|intent| intent["status"] == "processing")
                .cloned()
                .collect()
        };
        for intent in waiting {
            let (name, currency) = (intent["id"].as_str(), intent["currency"].as_str());
            let (name, currency) = (name.unwrap_or_default(), currency.unwrap_or_default());
            let amount = intent["amount"].as_i64().unwrap_or_default();
            let changed = {
                let mut books = self.books();
                let charge = books.capture(name, amount, currency, true);
                let changes =
                    json!({"status": "succeeded", "latest_charge": charge, "amount_received": amount});
                books.change(name, changes)
            };
            if let Some(changed) = changed {
                self.tell("payment_intent.succeeded", &changed);
            }
        }
    }

    /// What each charge cost is told by now, of which it was not told at once.
    pub fn tell_fees(&self) {
        let silent: Vec<Value> = {
            let books = self.books();
            let charges = books.of("charge");
            charges
                .filter(|charge| charge["balance_transaction"].is_null())
                .cloned()
                .collect()
        };
        for charge in silent {
            let changes = json!({"balance_transaction": charge["movement"]});
            let told = self
                .books()
                .change(charge["id"].as_str().unwrap_or_default(), changes);
            if let Some(told) = told {
                self.tell("charge.updated", &told);
            }
        }
    }

    /// Other software on the same account takes a payment, with marks of its own.
    pub fn others_charge(&self, amount: i64, currency: &str) -> Value {
        let intent = self.others_intent(&id("pi"), amount, currency);
        self.tell("payment_intent.succeeded", &intent);
        intent
    }

    fn others_intent(&self, id: &str, amount: i64, currency: &str) -> Value {
        let mut books = self.books();
        let (customer, card) = books.card_of(None);
        let charge = books.capture(id, amount, currency, true);
        let intent = json!({
            "id": id, "object": "payment_intent", "status": "succeeded", "amount": amount,
            "amount_received": amount, "currency": currency, "customer": customer, "payment_method": card,
            "latest_charge": charge, "last_payment_error": null, "metadata": {"order": "1"},
            "created": self.now(),
        });
        books.add(intent.clone());
        intent
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
                "capture_method",
            ],
        )?;
        let currency = wanted(form, "currency")?;
        let amount = amount_of(form, "amount", currency)?;
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
        let intent = id("pi");
        let is_told = books.tells_fees(form.get("capture_method").map(String::as_str));
        let status = match &error {
            Some(_) => "requires_payment_method",
            None if books.faults.charges_wait => "processing",
            None => "succeeded",
        };
        let has_succeeded = status == "succeeded";
        let charge = has_succeeded.then(|| books.capture(&intent, amount, currency, is_told));
        let intent = json!({
            "id": intent, "object": "payment_intent", "amount": amount, "currency": currency,
            "latest_charge": charge, "status": status,
            "amount_received": if has_succeeded { amount } else { 0 }, "customer": customer,
            "payment_method": if error.is_some() { Value::Null } else { json!(card) },
            "last_payment_error": error, "metadata": metadata(form, "metadata"), "created": self.now(),
        });
        books.add(intent.clone());
        drop(books);
        match error {
            None => {
                let kind = if has_succeeded { "succeeded" } else { "processing" };
                self.tell(&format!("payment_intent.{kind}"), &intent);
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
        let charge = books.find(intent)?.clone();
        let paid = charge["amount_received"].as_i64().unwrap_or(0);
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
        if books.is_disputed(intent) {
            return Err(invalid(
                "charge_disputed",
                "The charge has been charged back; cannot issue a refund.",
            ));
        }
        let status = if books.faults.refunds_wait {
            "pending"
        } else {
            "succeeded"
        };
        let currency = charge["currency"].as_str().unwrap_or_default();
        let id = id("re");
        let movement = books.moves("refund", &id, -amount, 0, currency);
        let refund = json!({
            "id": id, "object": "refund", "amount": amount, "currency": currency, "payment_intent": intent,
            "status": status, "failure_reason": null, "balance_transaction": movement["id"],
            "failure_balance_transaction": null, "metadata": metadata(form, "metadata"), "created": self.now(),
        });
        books.add(refund.clone());
        let fails = books.faults.fails_refund();
        drop(books);
        self.tell("refund.created", &refund);
        if fails {
            self.end_refund(&id, "failed");
        }
        Ok(refund)
    }

    /// Somebody gives money back on the dashboard.
    pub fn refund_by_hand(&self, intent: &str, amount: i64) -> Option<Value> {
        let form = [
            ("payment_intent", intent.to_owned()),
            ("amount", amount.to_string()),
        ];
        let form = form.map(|(name, value)| (name.to_owned(), value)).into();
        self.refund(&form).ok()
    }

    /// A refund that waited comes to its end, or one that was done comes back: `succeeded` or `failed`.
    pub fn end_refund(&self, id: &str, status: &str) {
        let mut books = self.books();
        let Ok(refund) = books.find(id).cloned() else {
            return;
        };
        if refund["status"] == "failed" {
            return;
        }
        let mut changes = json!({ "status": status });
        if status == "failed" {
            let amount = refund["amount"].as_i64().unwrap_or(0);
            let currency = refund["currency"].as_str().unwrap_or_default();
            let movement = books.moves("refund_failure", id, amount, 0, currency);
            changes["failure_balance_transaction"] = movement["id"].clone();
            changes["failure_reason"] = "expired_or_canceled_card".into();
        }
        let refund = books.change(id, changes);
        drop(books);
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

    /// The client's bank disputes a payment, or decides about it. A payment that is not known here is one of other
    /// software's. The money and a fee leave with the dispute, unless the bank only asks (`warning_…`); the money comes
    /// back if it is `won`, the fee does not.
    pub fn dispute(&self, intent: &str, status: &str) {
        if self.books().find(intent).is_err() {
            self.others_intent(intent, 1_000, "usd");
        }
        let mut books = self.books();
        let known = books.listed(&disputes_of(intent)).next().cloned();
        let (dispute, is_new) = match known {
            Some(known) => (known, false),
            None => (books.open_dispute(intent), true),
        };
        let (changed, moved) = books.decide(&dispute, status);
        drop(books);
        let Some(changed) = changed else { return };
        let kind = match status {
            "won" | "lost" | "warning_closed" => "closed",
            _ if is_new => "created",
            _ => "updated",
        };
        self.tell(&format!("charge.dispute.{kind}"), &changed);
        if let Some(moved) = moved {
            self.tell(&format!("charge.dispute.{moved}"), &changed);
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

/// What a query wants expanded.
fn wishes(query: &Pairs) -> impl Iterator<Item = &str> {
    let wishes = query.0.iter().filter(|(name, _)| name == "expand[]");
    wishes.map(|(_, path)| path.as_str())
}

async fn retrieve_checkout(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    Path(id): Path<String>,
    query: Pairs,
) -> Response {
    vendor.lapse(&id);
    let session = vendor.reading(&headers, |books| {
        books.expanded(books.find(&id)?.clone(), wishes(&query))
    });
    respond(session)
}

/// Closing a page twice changes nothing, so it needs no key.
async fn expire_checkout(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    if let Err(refused) = vendor.reading(&headers, |_| Ok(())) {
        return respond(Err(refused));
    }
    let (vanishes, answering) = {
        let mut books = vendor.books();
        (books.faults.vanishes(), books.faults.answering())
    };
    if vanishes {
        return lost();
    }
    answering.give(respond(vendor.expire(&id))).await
}

async fn retrieve_balance(State(vendor): State<Stripe>, headers: HeaderMap) -> Response {
    respond(vendor.reading(&headers, |books| {
        let sums = books.balances.iter();
        let available: Vec<Value> = sums
            .map(|(currency, amount)| json!({"currency": currency, "amount": amount}))
            .collect();
        Ok(json!({"object": "balance", "available": available, "pending": []}))
    }))
}

async fn retrieve(
    State(vendor): State<Stripe>,
    headers: HeaderMap,
    Path((kind, id)): Path<(String, String)>,
    query: Pairs,
) -> Response {
    let object = vendor.reading(&headers, |books| {
        let object = books.find(&id)?;
        let is_there = format!("{}s", object["object"].as_str().unwrap_or_default()) == kind;
        if is_there {
            return books.expanded(object.clone(), wishes(&query));
        }
        Err(refusal(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "resource_missing",
            "No such path",
        ))
    });
    respond(object)
}

/// A page of a list, newest first.
fn page(books: &Books, list: &str, query: &Pairs) -> Result<Value, Answer> {
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
    if !(1..=100).contains(&limit) {
        return Err(invalid("parameter_invalid_integer", "Invalid limit"));
    }
    let has_more = rest.len() > limit;
    rest.truncate(limit);
    let list = json!({"object": "list", "data": rest, "has_more": has_more});
    books.expanded(list, wishes(query))
}

async fn list_intents(State(vendor): State<Stripe>, headers: HeaderMap, query: Pairs) -> Response {
    let customer = filter(&query, "customer").unwrap_or_default();
    respond(vendor.reading(&headers, |books| page(books, customer, &query)))
}

async fn list_refunds(State(vendor): State<Stripe>, headers: HeaderMap, query: Pairs) -> Response {
    let intent = filter(&query, "payment_intent").unwrap_or_default();
    respond(vendor.reading(&headers, |books| page(books, intent, &query)))
}

async fn list_checkouts(State(vendor): State<Stripe>, headers: HeaderMap, query: Pairs) -> Response {
    let pages = pages_of(filter(&query, "payment_intent").unwrap_or_default());
    respond(vendor.reading(&headers, |books| page(books, &pages, &query)))
}

async fn pay_page(State(vendor): State<Stripe>, Path(id): Path<String>) -> Response {
    vendor.lapse(&id);
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    /// A refund, or a payment that is disputed.
    id: String,
    status: String,
}

async fn control_refund(State(vendor): State<Stripe>, Json(end): Json<Decision>) -> StatusCode {
    vendor.end_refund(&end.id, &end.status);
    StatusCode::NO_CONTENT
}

async fn control_dispute(State(vendor): State<Stripe>, Json(dispute): Json<Decision>) -> StatusCode {
    vendor.dispute(&dispute.id, &dispute.status);
    StatusCode::NO_CONTENT
}

/// In minor units, by currency.
async fn control_balance(State(vendor): State<Stripe>) -> Json<BTreeMap<String, i64>> {
    Json(vendor.balances())
}

async fn control_deliver(State(vendor): State<Stripe>, Json(delivery): Json<Delivery>) -> Json<Value> {
    Json(json!({ "statuses": vendor.0.mailbox.deliver(&delivery, |body| vendor.letter(body)).await }))
}

async fn control_objects(State(vendor): State<Stripe>) -> Json<Vec<Value>> {
    Json(vendor.books().objects.clone())
}
