//! Zoom, as far as its public documentation and integrations describe what a tutor's own connection can do (see the
//! provider's README): consent with PKCE, rotating refresh tokens, scheduled meetings, what is known of past ones,
//! recordings, and signed webhooks. It checks what it is sent as the vendor does, takes settings as plan and account
//! allow, and misbehaves in every way that somebody has seen ([`Quirk`], [`Faults`]).
//!
//! A test makes users ([`Zoom::add_user`]), signs one in ([`Zoom::sign_in`]), follows the product's way to
//! `/oauth/authorize`, and then lets people come and go ([`Zoom::enter`], [`Zoom::leave`]). Everything that happens in a
//! meeting returns the webhooks that tell of it; the test decides which of them arrive, when and how often.

mod api;
mod books;
mod control;
mod encoding;
mod events;
mod grants;
mod lists;
mod meetings;
mod oauth;
mod past;
mod people;
mod play;
mod quirks;
mod recordings;
mod rooms;
mod settings;
#[cfg(test)]
mod tests;
mod webhooks;

pub use api::Operation;
pub use oauth::{Consent, SCOPES};
pub use people::{Plan, Standing, Who, ZoomUser};
pub use quirks::{Faults, Quirk};
pub use webhooks::Webhook;

use api::{Answer, Call};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use books::Books;
use grants::Ended;
use jiff::Timestamp;
use people::User;
use platform::clock::Clock;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;

/// The simulated vendor, with one app.
#[derive(Clone)]
pub struct Zoom(Arc<Vendor>);

struct Vendor {
    base: Mutex<String>,
    client_id: String,
    client_secret: String,
    webhook_secret: String,
    clock: Clock,
    books: Mutex<Books>,
    http: reqwest::Client,
}

impl Zoom {
    /// A vendor reached at `base` (which ends in a slash), with nobody in its books.
    pub fn new(
        base: &str,
        client_id: &str,
        client_secret: &str,
        webhook_secret_token: &str,
        clock: Clock,
    ) -> Self {
        // The vendor follows no redirection.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self(Arc::new(Vendor {
            base: Mutex::new(base.into()),
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            webhook_secret: webhook_secret_token.into(),
            clock,
            books: Mutex::default(),
            http: http.build().unwrap_or_default(),
        }))
    }

    /// Consent, tokens, API, files and links of the vendor, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        let meeting = get(meetings::read)
            .patch(meetings::update)
            .delete(meetings::delete);
        Router::new()
            .route("/oauth/authorize", get(oauth::authorize))
            .route("/oauth/token", post(oauth::token))
            .route("/oauth/revoke", post(oauth::revoke))
            .route("/v2/users/{user}", get(meetings::read_user))
            .route(
                "/v2/users/{user}/meetings",
                get(meetings::list).post(meetings::create),
            )
            .route("/v2/meetings/{id}", meeting)
            .route("/v2/meetings/{id}/status", put(meetings::put_status))
            .route("/v2/meetings/{id}/recordings", get(recordings::list))
            .route("/v2/past_meetings/{id}", get(past::read))
            .route("/v2/past_meetings/{id}/instances", get(past::instances))
            .route("/v2/past_meetings/{id}/participants", get(past::participants))
            .route("/v2/report/{*rest}", get(report))
            .route("/rec/download/{link}", get(recordings::download))
            .route("/j/{id}", get(control::join_page))
            .route("/s/{id}", get(control::start_page))
            .merge(control::router())
            .fallback(not_recognized)
            .method_not_allowed_fallback(not_recognized)
            .with_state(self.clone())
    }

    /// From now on it is reached at `base` (which ends in a slash): its links and files lead there. For tests, which know
    /// the address only when it is served.
    pub fn reached_at(&self, base: &str) {
        let mut known = self.0.base.lock().unwrap_or_else(PoisonError::into_inner);
        base.clone_into(&mut known);
    }

    // What it is like ---------------------------------------------------------------------------------------

    /// Misbehaves from now on.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// Has these quirks from now on, and no others.
    pub fn behave(&self, quirks: impl IntoIterator<Item = Quirk>) {
        self.books().quirks = quirks.into_iter().collect();
    }

    /// The app's scopes as set in the Marketplace, [`SCOPES`] until then.
    pub fn configure_scopes(&self, scopes: &[&str]) {
        self.books().scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    }

    /// One more address to which people may be sent back, compared letter by letter.
    pub fn allow_redirect(&self, uri: &str) {
        self.books().redirects.insert(uri.to_owned());
    }

    /// Where webhooks go, nowhere until then. Failures of an earlier address are forgotten.
    pub fn report_to(&self, url: Url) {
        let mut books = self.books();
        books.hook = Some(url);
        books.failures = 0;
    }

    /// Whether webhooks go anywhere: not before an address is set, nor after six validations in a row failed.
    pub fn is_reporting(&self) -> bool {
        self.books().hook.is_some()
    }

    // Its users ---------------------------------------------------------------------------------------------

    /// A new user; their id, which is `host_id` elsewhere.
    pub fn add_user(&self, user: ZoomUser) -> String {
        let user = User::new(user);
        let id = user.id.clone();
        self.books().users.insert(id.clone(), user);
        id
    }

    /// Signs this user in, whose browser is then the one that comes to `/oauth/authorize`.
    pub fn sign_in(&self, user: &str) {
        self.books().signed_in = Some(user.to_owned());
    }

    /// Nobody is signed in.
    pub fn sign_out(&self) {
        self.books().signed_in = None;
    }

    /// What people do who are asked for consent, until it is changed.
    pub fn consent(&self, consent: Consent) {
        self.books().consent = consent;
    }

    /// What a user may do at the vendor from now on.
    pub fn stand(&self, user: &str, standing: Standing) {
        if let Some(user) = self.books().users.get_mut(user) {
            user.standing = standing;
        }
    }

    /// A user pays for something else from now on. Settings of meetings that exist stay.
    pub fn subscribe(&self, user: &str, plan: Plan) {
        if let Some(user) = self.books().users.get_mut(user) {
            user.plan = plan;
        }
    }

    /// The account of a user locks a setting (`waiting_room`, say) for all meetings that are made or changed later.
    pub fn lock_setting(&self, user: &str, name: &str, value: Value) {
        let mut books = self.books();
        let account = books.users.get(user).map(|user| user.account.clone());
        if let Some(account) = account {
            books
                .locks
                .entry(account)
                .or_default()
                .insert(name.to_owned(), value);
        }
    }

    /// Access tokens of a user end early; the refresh token stays good.
    pub fn expire_access(&self, user: &str) {
        self.books().grants.expire_access(user);
    }

    /// Somebody else uses the user's refresh token first: whoever comes with it is refused with `Invalid Token!`.
    pub fn steal_refresh(&self, user: &str) {
        let now = self.now();
        self.books().grants.steal(user, now);
    }

    /// An admin takes a scope from a user's grants; tokens that are out lack it at once.
    pub fn remove_scope(&self, user: &str, scope: &str) {
        self.books().grants.remove_scope(user, scope);
    }

    /// A user takes the app off their account: the grant ends, nothing of them is told any more but this.
    pub fn app_deauthorized(&self, user: &str) -> Vec<Webhook> {
        let now = self.now();
        let mut books = self.books();
        let Some(found) = books.users.get(user).cloned() else {
            return Vec::new();
        };
        let says_retention = books.is(Quirk::TellsRetention);
        let told = events::Told::deauthorized(&found, &self.0.client_id, says_retention, now);
        let webhooks = self.0.seal(&books, vec![told], now);
        books.grants.end(user, Ended::Deauthorized);
        webhooks
    }

    // What it knows -----------------------------------------------------------------------------------------

    /// Everybody: id, account, plan, e-mail, name, standing.
    pub fn users(&self) -> Vec<Value> {
        self.books().users.values().map(User::view).collect()
    }

    /// Every grant in order: user, scopes, whether it lives, why it ended, how often it was refreshed. No credentials.
    pub fn grants(&self) -> Vec<Value> {
        self.books().grants.views()
    }

    /// Every credential that was ever given out: codes, tokens, passwords, links. For proofs that nobody keeps them.
    pub fn credentials(&self) -> Vec<String> {
        self.books().grants.given_out.clone()
    }

    /// The meetings that exist now, by their number.
    pub fn meetings(&self) -> Vec<Value> {
        let now = self.now();
        let books = self.books();
        let living = books.meetings.values();
        living
            .filter(|meeting| books.living(meeting.id, now).is_some())
            .map(books::Meeting::view)
            .collect()
    }

    /// Every meeting that was ever made, with when it was deleted.
    pub fn meetings_made(&self) -> Vec<Value> {
        self.books().meetings.values().map(books::Meeting::view).collect()
    }

    /// The numbers of a user's meetings that exist now, in the order of their start.
    pub fn meetings_of(&self, user: &str) -> Vec<u64> {
        let now = self.now();
        let books = self.books();
        let mut living: Vec<&books::Meeting> = books
            .meetings
            .values()
            .filter(|meeting| meeting.host == user && books.living(meeting.id, now).is_some())
            .collect();
        living.sort_by_key(|meeting| meeting.draft.start);
        living.into_iter().map(|meeting| meeting.id).collect()
    }

    /// The uuids of what took place in a meeting, in order; the last may be running.
    pub fn instances(&self, meeting: u64) -> Vec<String> {
        let books = self.books();
        let instances = books.meetings.get(&meeting).map(|meeting| &meeting.instances);
        let instances = instances.into_iter().flatten();
        instances.map(|instance| instance.uuid.clone()).collect()
    }

    /// Every request that was carried out, in order: `{operation, method, path, query, body, user_id, has_bearer, status,
    /// at}`. Of requests for tokens only the kind of grant is kept, and nothing of what was asked on the page of consent.
    pub fn requests(&self) -> Vec<Value> {
        self.logged(|status| (200..400).contains(&status))
    }

    /// Every request that was refused, likewise; status 0 if it was lost on the way.
    pub fn refusals(&self) -> Vec<Value> {
        self.logged(|status| !(200..400).contains(&status))
    }

    fn logged(&self, is_wanted: impl Fn(i64) -> bool) -> Vec<Value> {
        let books = self.books();
        let status = |entry: &Value| entry.get("status").and_then(Value::as_i64);
        let log = books.log.iter();
        log.filter(|entry| status(entry).is_some_and(&is_wanted))
            .cloned()
            .collect()
    }

    /// Webhooks about what the API was asked to do (a meeting ended by `PUT …/status`, say) since they were last
    /// fetched.
    pub fn untold(&self) -> Vec<Webhook> {
        std::mem::take(&mut self.books().untold)
    }

    /// Forgets the meetings that were last used before then, and what was asked. The vendor does not: this is for plays
    /// that are too long to keep everything.
    pub fn forget(&self, before: Timestamp) {
        self.books().forget(before);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn vendor(&self) -> &Vendor {
        &self.0
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl Vendor {
    fn base(&self) -> String {
        let known = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }
}

/// Reports are for admins: no tutor's own connection has their scopes.
async fn report(State(zoom): State<Zoom>, call: Call) -> Response {
    let refusal = |_: &mut api::Desk<'_>, _: &Call| Err(Answer::refusal(400, 200, "Only for admins."));
    zoom.serve(Operation::Report, call, refusal).await
}

async fn not_recognized() -> Response {
    let body = json!({"code": 2300, "message": "This API endpoint is not recognized."});
    Answer::json(404, body).into_response()
}
