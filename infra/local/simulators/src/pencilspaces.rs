//! Pencil Spaces, as far as its public guide and other people's integrations describe it (see the provider's README):
//! users without accounts, spaces, magic links, sessions with analytics, recordings, and webhooks that carry a secret
//! and no signature. It checks what it is sent at least as strictly as the vendor, and misbehaves in every way that
//! somebody has seen or the vendor does not exclude ([`Quirk`], [`Faults`]).

mod analytics;
mod attendance;
mod books;
mod control;
mod doors;
mod faults;
mod fields;
mod gate;
mod lists;
mod members;
mod play;
mod quirks;
mod records;
mod shelf;
mod spaces;
mod users;
mod webhooks;

pub use attendance::Activity;
pub use books::Request;
pub use faults::Faults;
pub use quirks::Quirk;
pub use webhooks::Webhook;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, patch, post};
use books::Books;
use jiff::Timestamp;
use platform::clock::Clock;
use play::Seat;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// A delivery that is not taken is tried so often in all, waiting twice as long each time. What the vendor does is not
/// known.
const DELIVERY_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A delivery that is not answered in this time has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The simulated vendor.
#[derive(Clone)]
pub struct PencilSpaces(Arc<Vendor>);

struct Vendor {
    base: String,
    api_key: String,
    clock: Clock,
    books: Mutex<Books>,
    http: reqwest::Client,
}

impl PencilSpaces {
    /// A vendor reached at `base` (which ends in a slash), with one institution. Its API is below `public/api/`.
    pub fn new(base: &str, api_key: &str, webhook_secret: &str, clock: Clock) -> Self {
        Self(Arc::new(Vendor {
            base: base.into(),
            api_key: api_key.into(),
            clock,
            books: Mutex::new(Books::new(webhook_secret)),
            http: reqwest::Client::new(),
        }))
    }

    /// The vendor's API, the pages behind its links, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .nest("/public/api", self.api())
            .route("/open/{token}", get(doors::open))
            .route("/spaces/{id}", get(doors::space))
            .nest("/_control", control::routes())
            .with_state(self.clone())
    }

    fn api(&self) -> Router<Self> {
        Router::new()
            .route("/users", get(users::list))
            .route("/users/createAPIUser", post(users::create))
            .route("/users/{id}/authorize", get(users::authorize))
            .route("/sites", get(spaces::sites))
            .route("/spaces", get(spaces::list))
            .route("/spaces/create", post(spaces::create))
            .route(
                "/spaces/{id}",
                get(spaces::show).patch(spaces::change).delete(spaces::delete),
            )
            .route("/spaces/{id}/updateUsers", patch(members::update))
            .route("/spaces/{id}/settings/", patch(spaces::change_settings))
            .route(
                "/spaces/{id}/endOngoingSession",
                post(spaces::end_ongoing_session),
            )
            .route("/spaces/recordings/{space}", get(analytics::recordings))
            .route("/analytics/sessions", get(analytics::list))
            .route(
                "/analytics/sessions/{id}",
                get(analytics::show).delete(analytics::delete),
            )
            .fallback(gate::no_route)
            .method_not_allowed_fallback(gate::no_route)
            .layer(from_fn_with_state(self.clone(), gate::gate))
    }

    // What it is like ---------------------------------------------------------------------------------------

    /// Fails from now on as `faults` say, and no longer as it was told before.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// Has these quirks from now on, and no others.
    pub fn behave(&self, quirks: impl IntoIterator<Item = Quirk>) {
        self.books().quirks = quirks.into_iter().collect();
    }

    /// Where webhooks go that tell of what happens from now on. There is one address for all spaces.
    pub fn report_to(&self, url: &Url) {
        self.books().webhook_url = Some(url.clone());
    }

    // What it knows -----------------------------------------------------------------------------------------

    /// Every user, the admin first: `{userId, name, email, userRole, externalId?}`.
    pub fn users(&self) -> Vec<Value> {
        self.books().user_records()
    }

    /// Every space, deleted ones too: as the API shows it, with `siteId`, `isArchived`, `isDeleted`, `sessionIds` and
    /// `recordingIds`.
    pub fn spaces(&self) -> Vec<Value> {
        self.books().space_records(self.base())
    }

    /// Every session, whatever the API says of it: `{sessionId, spaceId, start, end, isAnalysed, isDeleted, stays}`, of
    /// which each stay is `{userId, userTabId, from, until, hasCrashed}`.
    pub fn sessions(&self) -> Vec<Value> {
        self.books().session_records()
    }

    /// The ids of a space's sessions, in the order in which they began.
    pub fn sessions_of(&self, space: &str) -> Vec<String> {
        let books = self.books();
        let space = books.space_named(space).or_else(|| books.spaces.get(space));
        let sessions = space.map_or_else(Vec::new, |space| space.sessions.clone());
        let is_kept = |id: &String| books.sessions.get(id).is_some();
        sessions.into_iter().filter(is_kept).collect()
    }

    /// Every recording: `{recordingId, spaceId, sessionId, from, until, isReady}`.
    pub fn recordings(&self) -> Vec<Value> {
        self.books().recording_records()
    }

    /// Every magic link: `{token, userId, redirectUrl, made, used}`; `used` is null until somebody was let in by it.
    pub fn links(&self) -> Vec<Value> {
        self.books().link_records()
    }

    /// The ids of everybody to whom the vendor has written an invitation.
    pub fn invited(&self) -> Vec<String> {
        self.books().invited.clone()
    }

    /// Every request that was carried out, whether or not its answer arrived.
    pub fn requests(&self) -> Vec<Request> {
        self.books().requests.clone()
    }

    /// Forgets sessions, recordings, links and requests from before `before`, and all invitations. The vendor does not:
    /// this is for plays that are too long to keep everything.
    pub fn forget(&self, before: Timestamp) {
        self.books().forget(before);
    }

    // What happens in its spaces: each returns the webhooks that tell of it -----------------------------------
    // `space` is the vendor's id or our external id of it, and so is `user`. `tab` is any name of one tab of theirs.

    /// Somebody enters with a tab. If nobody is there yet, a session begins. Nothing happens if they may not enter, or
    /// must wait to be admitted.
    pub fn enter(&self, space: &str, user: &str, tab: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| books.enter(seat, false, at))
    }

    /// Somebody enters whom a host has admitted from the waiting room.
    pub fn admit(&self, space: &str, user: &str, tab: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| books.enter(seat, true, at))
    }

    /// A tab leaves, or is put out because nobody moved in it for five minutes: the vendor tells both alike. After the
    /// last tab the session ends.
    pub fn leave(&self, space: &str, user: &str, tab: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| books.leave(seat, at))
    }

    /// A tab goes into the background.
    pub fn hide(&self, space: &str, user: &str, tab: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| books.hide(seat, at))
    }

    /// A tab comes back from the background.
    pub fn unhide(&self, space: &str, user: &str, tab: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| books.unhide(seat, at))
    }

    /// A tab is gone without a word. Nobody is ever told, but analytics know, and after the last tab the session ends.
    pub fn crash(&self, space: &str, user: &str, tab: &str, at: Timestamp) {
        self.seated(space, user, tab, |books, seat| {
            books.crash(seat, at);
            Vec::new()
        });
    }

    /// A tab that is in the space enters a room inside it, which is told as entering is.
    pub fn enter_room(&self, space: &str, user: &str, tab: &str, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| {
            books.visit(seat, room, "joinSpace", at)
        })
    }

    /// A tab leaves a room inside the space and stays in the space, which is told as leaving is.
    pub fn leave_room(&self, space: &str, user: &str, tab: &str, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.seated(space, user, tab, |books, seat| {
            books.visit(seat, room, "leaveSpace", at)
        })
    }

    /// Everybody is put out, and the session ends.
    pub fn end_session(&self, space: &str, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let space = books.space_named(space).map(|space| space.id.clone());
        space.map_or_else(Vec::new, |space| books.end_session(&space, at))
    }

    /// The analytics of a session that has ended are ready, which is told as its end. Nothing happens if it still runs.
    pub fn analyse(&self, session: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().analyse(session, at)
    }

    /// Somebody has spoken for so many seconds in the session that runs, or else in the latest.
    pub fn speak(&self, space: &str, user: &str, seconds: u32) {
        let activity = Activity {
            speaking_seconds: seconds,
            ..Activity::default()
        };
        self.engage(space, user, activity);
    }

    /// Somebody has done all this, in the session that runs or else in the latest.
    pub fn engage(&self, space: &str, user: &str, activity: Activity) {
        self.seated(space, user, "", |books, seat| {
            books.engage(seat, activity);
            Vec::new()
        });
    }

    /// Something is recorded, which is neither told nor listed before it is ready. Returns the recording's id, if there
    /// was any session.
    pub fn record(&self, space: &str, from: Timestamp, to: Timestamp) -> Option<String> {
        let mut books = self.books();
        let space = books.space_named(space)?.id.clone();
        books.record(&space, from, to)
    }

    /// A recording is ready.
    pub fn recording_ready(&self, recording: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().ready(recording, play::RECORDING_AVAILABLE, at)
    }

    /// The transcript of a recording is ready, and with it the recording.
    pub fn transcript_ready(&self, recording: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().ready(recording, play::TRANSCRIPT_AVAILABLE, at)
    }

    /// A webhook with any body: of an unknown space, say.
    pub fn say(&self, body: &Value) -> Vec<Webhook> {
        self.books().say(body).into_iter().collect()
    }

    /// The webhooks that tell of what requests did: of those whom `endOngoingSession` or a deletion put out. Each is
    /// given once.
    pub fn take_untold(&self) -> Vec<Webhook> {
        std::mem::take(&mut self.books().untold)
    }

    /// Sends a webhook: again after a refusal, a few times, unless [`Quirk::DeliversOnce`]. Returns the last status; 0
    /// if there was none, or nowhere to send it.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let Some(url) = &webhook.url else {
            return 0;
        };
        let tries = if self.is(Quirk::DeliversOnce) {
            1
        } else {
            DELIVERY_TRIES
        };

        let mut status = 0;
        for attempt in 0..tries {
            if attempt > 0 {
                tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt - 1)).await;
            }
            status = self.send(url, webhook).await;
            if (200..300).contains(&status) {
                break;
            }
        }
        status
    }

    async fn send(&self, url: &Url, webhook: &Webhook) -> u16 {
        let mut request = self.0.http.post(url.clone()).timeout(PATIENCE);
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        let sent = request
            .header("content-type", "application/json")
            .body(webhook.body.clone())
            .send()
            .await;
        sent.map_or(0, |answer| answer.status().as_u16())
    }

    fn seated(
        &self,
        space: &str,
        user: &str,
        tab: &str,
        deed: impl FnOnce(&mut Books, &Seat) -> Vec<Webhook>,
    ) -> Vec<Webhook> {
        let mut books = self.books();
        let seat = books.seat(space, user, tab);
        seat.map_or_else(Vec::new, |seat| deed(&mut books, &seat))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self) -> &str {
        &self.0.base
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn is(&self, quirk: Quirk) -> bool {
        self.books().is(quirk)
    }
}

#[cfg(test)]
mod tests;
