//! `LiveKit`, as far as its own code and public reports describe it (see the provider's README): rooms, people who join
//! with tokens, recordings that are uploaded to S3, and webhooks signed by an API key. It checks what it is sent as the
//! vendor does, and misbehaves in every way that somebody has seen or the vendor does not exclude ([`Quirk`],
//! [`Faults`], [`Ending`]).

mod acts;
mod admission;
mod base64;
mod books;
mod control;
mod delivery;
mod egress;
mod endings;
mod outputs;
mod proto;
mod quirks;
mod recordings;
mod refusals;
mod room_service;
mod rooms;
mod schema;
#[cfg(test)]
mod stage;
mod storage;
mod tokens;
mod twirp;
mod uploads;
mod webhooks;

pub use admission::Refusal;
pub use endings::Ending;
pub use quirks::{Faults, Quirk};
pub use storage::S3Target;
pub use webhooks::Webhook;

use admission::admit;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use books::Books;
use jiff::Timestamp;
use platform::clock::Clock;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokens::Claims;
use url::Url;
use webhooks::{Event, Seal};

/// A request's body may have so many bytes.
const LARGEST_REQUEST: usize = 10 * 1024 * 1024;

/// The simulated vendor.
#[derive(Clone)]
pub struct LiveKit(Arc<Vendor>);

struct Vendor {
    base: String,
    api_key: String,
    api_secret: String,
    clock: Clock,
    books: Mutex<Books>,
    http: reqwest::Client,
}

impl LiveKit {
    /// A server reached at `base` (which ends in a slash), with one API key.
    pub fn new(base: &str, api_key: &str, api_secret: &str, clock: Clock) -> Self {
        Self(Arc::new(Vendor {
            base: base.into(),
            api_key: api_key.into(),
            api_secret: api_secret.into(),
            clock,
            books: Mutex::default(),
            http: reqwest::Client::new(),
        }))
    }

    /// The vendor's API, the check of a token that clients ask for before they connect, and `/_control/` for whoever
    /// directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/twirp/{service}/{method}", any(twirp::call))
            .route("/rtc/validate", get(control::validate))
            .route("/_control/act", post(control::act))
            .route("/_control/report_to", post(control::report_to))
            .route("/_control/storage", post(control::storage))
            .route("/_control/quirks", post(control::quirks))
            .route("/_control/faults", post(control::faults))
            .route("/_control/books", get(control::books))
            .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
            .with_state(self.clone())
    }

    /// Where it is reached.
    pub fn base(&self) -> &str {
        &self.0.base
    }

    // What it is like -------------------------------------------------------------------------------------------

    /// Misbehaves from now on.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// Has these quirks from now on, and no others.
    pub fn behave(&self, quirks: impl IntoIterator<Item = Quirk>) {
        self.books().quirks = quirks.into_iter().collect();
    }

    /// Webhooks go there from now on.
    pub fn report_to(&self, url: Url) {
        self.books().setup.url = Some(url);
    }

    /// Whether what API calls bring about is told at once, in the background. Else it waits for
    /// [`Self::take_webhooks`].
    pub fn tell_at_once(&self, does: bool) {
        self.books().setup.tells_at_once = does;
    }

    /// Whether joining makes rooms: it does, until this says otherwise.
    pub fn auto_create(&self, does: bool) {
        self.books().setup.creates_rooms = does;
    }

    /// Where recordings go whose request names no storage: the server's own.
    pub fn store_at(&self, target: S3Target) {
        self.books().setup.storage = Some(target);
    }

    /// Where recordings go that cannot go where they should.
    pub fn back_up_at(&self, target: S3Target) {
        self.books().setup.backup = Some(target);
    }

    /// Where Amazon's S3 is found by uploads whose target names no endpoint; the bucket then stands in the path.
    pub fn amazon_at(&self, endpoint: Url) {
        self.books().setup.amazon = Some(endpoint);
    }

    // What it knows: rows are as the API answers them ----------------------------------------------------------------

    /// The rooms that live.
    pub fn rooms(&self) -> Vec<Value> {
        self.books().live_rooms()
    }

    /// `{sid, name, ended_at}` of the rooms that have ended, in that order.
    pub fn ended_rooms(&self) -> Vec<Value> {
        self.books().past_rooms()
    }

    /// Everybody in a room that lives, recorders too.
    pub fn participants(&self, room: &str) -> Vec<Value> {
        self.books().people_of(room)
    }

    /// All egresses that ever were, oldest first.
    pub fn egresses(&self) -> Vec<Value> {
        self.books().recordings()
    }

    /// `{at, method, request}` of every request that was carried out; secrets are masked.
    pub fn requests(&self) -> Vec<Value> {
        self.books().requests.clone()
    }

    /// `{method, status, text}` of every request, and of every join, that was refused.
    pub fn refused(&self) -> Vec<Value> {
        self.books().refused.clone()
    }

    /// `{at, room, room_sid, identity, name, metadata, attributes}` of everybody who was let in.
    pub fn joins(&self) -> Vec<Value> {
        self.books().joins.clone()
    }

    /// `{at, event, room, room_sid, identity, participant_sid, egress_id, status, reason}` of everything that happened,
    /// told or not.
    pub fn history(&self) -> Vec<Value> {
        self.books().history.clone()
    }

    // What happens in its rooms: each returns the webhooks that tell of it -----------------------------------------------

    /// Somebody joins with their token, which is checked as the server does, with `at` as its now. The room is made if
    /// there is none. Whoever is in it under the same identity is thrown out.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn join(&self, token: &str, at: Timestamp) -> Result<Vec<Webhook>, Refusal> {
        self.join_picking(token, "", at)
    }

    /// The same, with a client that asks for a room by itself: it gets it if the token names none.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn join_picking(&self, token: &str, room: &str, at: Timestamp) -> Result<Vec<Webhook>, Refusal> {
        self.try_act((token, room, at), |books, admission| books.join(admission, at))
    }

    /// Somebody is let in, and no media ever flows: they neither joined nor left.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn abort_connection(&self, token: &str, at: Timestamp) -> Result<Vec<Webhook>, Refusal> {
        self.try_act((token, "", at), |books, admission| {
            books.abort_connection(admission, at)
        })
    }

    /// Somebody leaves properly.
    pub fn leave(&self, room: &str, identity: &str, at: Timestamp) -> Vec<Webhook> {
        self.act(|books| books.leave(room, identity, at))
    }

    /// Somebody's machine dies. The server notices 20 seconds later, when somebody lets the time pass, and shows them
    /// as being there until then.
    pub fn crash(&self, room: &str, identity: &str, at: Timestamp) -> Vec<Webhook> {
        self.act(|books| books.crash(room, identity, at))
    }

    /// Somebody switches on camera and microphone, as far as their token lets them.
    pub fn publish(&self, room: &str, identity: &str, at: Timestamp) -> Vec<Webhook> {
        self.act(|books| books.publish(room, identity, at))
    }

    /// The time comes to `at`: rooms close whose time-out has run out, and who crashed is noticed. Every other act, and
    /// every API call by the clock, does the same first.
    pub fn pass_time(&self, at: Timestamp) -> Vec<Webhook> {
        self.act(|books| books.settle(at))
    }

    /// Anything about a room that lives, `("room_blessed", …)` say. `more` are fields of the event in snake case.
    pub fn say(&self, event: &str, room: &str, at: Timestamp, more: &Value) -> Vec<Webhook> {
        self.act(|books| books.say(event, room, at, more))
    }

    /// The file of an egress that is ending is uploaded to where its request says, and its end is told. Nothing happens
    /// to one that is not ending.
    pub async fn finish_egress(&self, id: &str, file: &[u8], at: Timestamp) -> Vec<Webhook> {
        self.end_egress(id, Ending::Complete, file, at).await
    }

    /// An egress ends in one of all the ways there are. Nothing happens to one that cannot end like that any more, or
    /// not yet.
    pub async fn end_egress(&self, id: &str, ending: Ending, file: &[u8], at: Timestamp) -> Vec<Webhook> {
        let events = self.end(id, ending, file, at).await;
        self.act(|_| events)
    }

    // How it tells of it ----------------------------------------------------------------------------------------

    /// What API calls have brought about, signed now. It is handed out once.
    pub fn take_webhooks(&self) -> Vec<Webhook> {
        let mut books = self.books();
        let events = std::mem::take(&mut books.waiting);
        self.seal(&books, &events)
    }

    /// The same event with the same body, signed now: what the vendor would send if it told of it a second time.
    pub fn sign_again(&self, webhook: &Webhook) -> Webhook {
        let books = self.books();
        self.pen(&books).renew(webhook)
    }

    // What its parts need ----------------------------------------------------------------------------------------

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    fn verify(&self, token: &str, at: Timestamp) -> Result<Claims, String> {
        tokens::verify(token, &self.0.api_key, &self.0.api_secret, at)
    }

    fn admit(&self, token: &str, room: &str, at: Timestamp) -> Result<admission::Admission, Refusal> {
        admit(token, room, (&self.0.api_key, &self.0.api_secret), at)
    }

    fn act(&self, happen: impl FnOnce(&mut Books) -> Vec<Event>) -> Vec<Webhook> {
        let mut books = self.books();
        let events = happen(&mut books);
        books.note(&events);
        self.seal(&books, &events)
    }

    /// Lets a bearer of `token` do something, and writes it down if they are refused.
    fn try_act(
        &self,
        (token, room, at): (&str, &str, Timestamp),
        happen: impl FnOnce(&mut Books, &admission::Admission) -> Result<Vec<Event>, Refusal>,
    ) -> Result<Vec<Webhook>, Refusal> {
        let admission = self.admit(token, room, at);
        let mut books = self.books();
        let happened = admission.and_then(|admission| happen(&mut books, &admission));
        let events = happened.inspect_err(|refusal| {
            let row = json!({"method": "join", "status": refusal.status, "text": refusal.text});
            books.refused.push(row);
        })?;
        books.note(&events);
        Ok(self.seal(&books, &events))
    }

    fn seal(&self, books: &Books, events: &[Event]) -> Vec<Webhook> {
        let (pen, url) = (self.pen(books), books.setup.url.as_ref());
        events.iter().flat_map(|event| pen.put_on(event, url)).collect()
    }

    fn pen<'a>(&'a self, books: &'a Books) -> Seal<'a> {
        Seal {
            key: &self.0.api_key,
            secret: &self.0.api_secret,
            now: self.now(),
            quirks: &books.quirks,
        }
    }
}
