//! Google, as far as its public documentation describes what we use (see the provider's README): consent and tokens,
//! events with Meet rooms in calendars, spaces and conference records, subscriptions to what happens in rooms, and the
//! push that brings it, signed as Google signs. It checks what it is sent as the vendor does, keeps a book of
//! complaints for what the vendor lets pass without a word, and misbehaves in every way that somebody has seen or the
//! vendor does not exclude ([`Quirk`], [`Faults`], [`Forgery`], [`Shape`]).

mod accounts;
mod answers;
mod artifacts;
mod books;
mod calendar;
mod consent;
mod control;
mod draft;
mod events;
mod filter;
mod guard;
mod hand;
mod ids;
mod keys;
mod meetings;
mod paging;
mod play;
mod push;
mod quirks;
mod records;
mod renewals;
mod rooms;
mod scopes;
mod spaces;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tokens;
mod views;
mod workspace;

pub use accounts::{Account, Consent};
pub use keys::Forgery;
pub use push::{PUSH_SUBSCRIPTION, Shape, Webhook};
pub use quirks::{Faults, Quirk};
pub use rooms::Who;
pub use subscriptions::Suspension;

use axum::routing::{get, post};
use axum::{Router, middleware};
use books::Books;
use platform::clock::Clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;

/// Who pushes, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushIdentity {
    /// The `aud` of its tokens.
    pub audience: String,
    /// The service account that its tokens are of.
    pub service_account_email: String,
}

/// The simulated vendor.
#[derive(Clone)]
pub struct Google(Arc<Vendor>);

struct Vendor {
    base: String,
    books: Mutex<Books>,
    http: reqwest::Client,
}

impl Google {
    /// A vendor reached at `base`, with one app. All of its services are below that one address: `/o/oauth2/v2/auth`,
    /// `/token`, `/revoke`, `/oauth2/v3/certs`, `/calendar/v3/`, `/meet/v2/`, `/workspaceevents/v1/`, `/drive/v3/`.
    pub fn new(base: &str, client_id: &str, client_secret: &str, push: PushIdentity, clock: Clock) -> Self {
        Self(Arc::new(Vendor {
            base: base.trim_end_matches('/').into(),
            books: Mutex::new(Books::new((client_id, client_secret), push, clock)),
            http: push::pusher(),
        }))
    }

    /// What the addresses of all its services begin with, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.0.base
    }

    /// The vendor's services, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(accounts_routes())
            .merge(calendar_routes())
            .merge(meet_routes())
            .merge(events_routes())
            .nest("/_control", control::routes())
            .layer(middleware::from_fn_with_state(self.clone(), guard::guard))
            .with_state(self.clone())
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

    /// Codes go to these addresses only, from now on. Without any, to every address that the vendor would register.
    pub fn register_redirects(&self, redirects: impl IntoIterator<Item = String>) {
        self.books().accounts.redirects = redirects.into_iter().collect();
    }

    /// Where pushes go.
    pub fn push_to(&self, url: Url) {
        self.books().subscriptions.pushes_to = Some(url);
    }

    /// The one topic that exists, as `projects/P/topics/T`. Without it every name of that form is one.
    pub fn make_topic(&self, name: &str) {
        self.books().subscriptions.topic = Some(name.into());
    }

    /// Whether Meet may write to the topic, from now on. If it may not, no subscription can be made or woken, and
    /// nothing is pushed.
    pub fn allow_publishing(&self, may_publish: bool) {
        self.books().subscriptions.may_publish = may_publish;
    }

    /// Signs with another key from now on. The one before is published until this is called again.
    pub fn rotate_keys(&self) {
        self.books().keys.rotate();
    }

    // How it answers ----------------------------------------------------------------------------------------

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn http(&self) -> &reqwest::Client {
        &self.0.http
    }
}

fn accounts_routes() -> Router<Google> {
    Router::new()
        .route("/o/oauth2/v2/auth", get(consent::open))
        .route("/token", post(tokens::token))
        .route("/revoke", post(tokens::revoke))
        .route("/oauth2/v3/certs", get(tokens::certs))
}

fn calendar_routes() -> Router<Google> {
    let events = get(calendar::list).post(calendar::insert);
    let event = get(calendar::get)
        .patch(calendar::patch)
        .put(calendar::update)
        .delete(calendar::delete);
    Router::new()
        .route("/calendar/v3/calendars/{calendar}/events", events)
        .route("/calendar/v3/calendars/{calendar}/events/{event}", event)
        .route(
            "/calendar/v3/users/me/calendarList/{calendar}",
            get(calendar::calendar_list),
        )
        .route("/drive/v3/files/{file}", get(artifacts::file))
}

fn meet_routes() -> Router<Google> {
    let space = get(spaces::get).patch(spaces::patch).post(spaces::act);
    let records = Router::new()
        .route("/", get(records::get))
        .route("/participants", get(records::participants))
        .route("/participants/{participant}", get(records::participant))
        .route(
            "/participants/{participant}/participantSessions",
            get(records::sessions),
        )
        .route(
            "/participants/{participant}/participantSessions/{session}",
            get(records::session),
        )
        .route("/recordings", get(artifacts::recordings))
        .route("/recordings/{artifact}", get(artifacts::recording))
        .route("/transcripts", get(artifacts::transcripts))
        .route("/transcripts/{artifact}", get(artifacts::transcript))
        .route("/transcripts/{artifact}/entries", get(artifacts::entries));
    Router::new()
        .route("/meet/v2/spaces", post(spaces::create))
        .route("/meet/v2/spaces/{space}", space)
        .route("/meet/v2/conferenceRecords", get(records::list))
        .nest("/meet/v2/conferenceRecords/{record}", records)
}

fn events_routes() -> Router<Google> {
    let subscription = get(workspace::get)
        .patch(renewals::patch)
        .delete(renewals::delete)
        .post(renewals::act);
    Router::new()
        .route(
            "/workspaceevents/v1/subscriptions",
            get(workspace::list).post(workspace::create),
        )
        .route("/workspaceevents/v1/subscriptions/{subscription}", subscription)
        .route(
            "/workspaceevents/v1/operations/{operation}",
            get(renewals::operation),
        )
}
