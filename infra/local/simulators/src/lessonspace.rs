//! Lessonspace, as far as its public documentation and integrations describe it (see the provider's README): rooms,
//! sessions, recordings, and webhooks signed with the room's own key. It checks what it is sent as the vendor does,
//! and misbehaves in every way that somebody has seen or the vendor does not exclude ([`Quirk`], [`Faults`]).

mod books;
mod control;
mod launch;
mod lists;
mod quirks;
mod webhooks;

pub use quirks::{Faults, Quirk};
pub use webhooks::Webhook;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, extract::State};
use books::Books;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Deliveries are tried so often, waiting twice as long each time. The vendor waits longer.
const DELIVERY_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A delivery that is not answered in this time has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The customer's number.
const ORGANISATION: &str = "20001";

/// The simulated vendor.
#[derive(Clone)]
pub struct Lessonspace(Arc<Vendor>);

struct Vendor {
    base: String,
    api_key: String,
    books: Mutex<Books>,
    http: reqwest::Client,
}

type Answer = (StatusCode, Json<Value>);

fn detail(status: StatusCode, text: &str) -> Answer {
    (status, Json(json!({ "detail": text })))
}

impl Lessonspace {
    /// A vendor reached at `base` (which ends in a slash), with one customer.
    pub fn new(base: &str, api_key: &str) -> Self {
        Self(Arc::new(Vendor {
            base: base.into(),
            api_key: api_key.into(),
            books: Mutex::default(),
            http: reqwest::Client::new(),
        }))
    }

    /// The vendor's API, the pages behind its links, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v2/hello/", get(hello))
            .route("/v2/my-organisation/", get(my_organisation))
            .route("/v2/spaces/launch/", post(launch::launch))
            .route("/v2/spaces/{room}/sessions/", get(lists::of_room))
            .route(
                "/v2/organisations/{organisation}/sessions/",
                get(lists::of_organisation),
            )
            .route("/v2/organisations/{organisation}/users/", get(lists::users))
            .route(
                "/v2/organisations/{organisation}/sessions/{session}/playback/",
                get(lists::playback),
            )
            .route(
                "/v2/organisations/{organisation}/sessions/{session}/transcript/",
                get(lists::transcript),
            )
            .route("/space/{room}", get(control::enter))
            .route("/recording/{session}", get(control::watch))
            .route("/_control/faults", post(control::faults))
            .route("/_control/quirks", post(control::quirks))
            .route("/_control/launches", get(control::launches))
            .route("/_control/session", post(control::session))
            .route("/_control/act", post(control::act))
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

    /// Whether it shows sessions that have ended without their end; other quirks stay.
    pub fn lag(&self, is_lagging: bool) {
        let quirks = &mut self.books().quirks;
        if is_lagging {
            quirks.insert(Quirk::Lags);
        } else {
            quirks.remove(&Quirk::Lags);
        }
    }

    // What it knows -----------------------------------------------------------------------------------------

    /// Every accepted launch, as it was asked for.
    pub fn launches(&self) -> Vec<Value> {
        self.books().launches.clone()
    }

    /// Forgets the rooms in which nothing has begun since `before`, and all launches. The vendor does not: this is for
    /// plays that are too long to keep everything.
    pub fn forget(&self, before: Timestamp) {
        self.books().forget(before);
    }

    /// The ids of all rooms that exist.
    pub fn rooms(&self) -> Vec<String> {
        self.books().rooms.values().map(|room| room.id.clone()).collect()
    }

    /// The vendor's numbers of everybody who was given a way into a room.
    pub fn visitors(&self, room: &str) -> Vec<String> {
        let books = self.books();
        let visitors = books.room(room).map(|room| room.visitors.clone());
        visitors
            .into_iter()
            .flatten()
            .map(|number| number.to_string())
            .collect()
    }

    /// The uuids of a room's sessions, in the order in which they began.
    pub fn sessions_of(&self, room: &str) -> Vec<String> {
        let books = self.books();
        let sessions = books.room(room).map(|room| room.sessions.as_slice());
        sessions
            .unwrap_or_default()
            .iter()
            .map(|session| session.uuid.clone())
            .collect()
    }

    // What happens in its rooms: each returns the webhooks that tell of it ------------------------------------

    /// A session is held from `start` to `end`, with everybody in it who was given a way in. Tells of its start and its
    /// end only.
    pub fn hold_session(&self, room: &str, start: Timestamp, end: Timestamp) -> Vec<Webhook> {
        self.books().hold(room, start, end)
    }

    /// A session begins that nobody is in yet.
    pub fn begin(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().begin(room, at)
    }

    /// Somebody enters, with another tab if they are in it already: `who` is the vendor's number, our id of whoever
    /// launched, or `guest:` and a socket. If no session runs, or the one that does has been empty for more than half
    /// a minute, another one begins.
    pub fn enter(&self, room: &str, who: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().enter(room, who, at)
    }

    /// Somebody leaves, or closes one of several tabs. The session runs on, even if it is empty.
    pub fn leave(&self, room: &str, who: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().leave(room, who, at)
    }

    /// Somebody has not moved for five minutes.
    pub fn idle(&self, room: &str, who: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().idle(room, who, at)
    }

    /// Whoever is in it leaves, and the session ends.
    pub fn end(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().end(room, at)
    }

    /// The session ends over the heads of those in it, because nobody moved. Nobody is logged as leaving.
    pub fn idle_out(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().idle_out(room, at)
    }

    /// A delivery about anything, `("knock", "request")` say, sent where the ends of the room's sessions go.
    pub fn say(&self, room: &str, event: (&str, &str), at: Timestamp, body: &Value) -> Option<Webhook> {
        self.books().say(room, event, at, body)
    }

    /// The recording of a session is deleted.
    pub fn delete_recording(&self, session: &str) {
        self.books().delete_recording(session);
    }

    /// Sends a webhook as the vendor does: again after a refusal, a few times. Returns the last status, or 0.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let mut status = 0;
        for attempt in 0..DELIVERY_TRIES {
            let mut request = self.0.http.post(webhook.url.clone()).timeout(PATIENCE);
            for (name, value) in &webhook.headers {
                request = request.header(*name, value);
            }
            let sent = request
                .header("content-type", "application/json")
                .body(webhook.body.clone())
                .send()
                .await;
            status = sent.map_or(0, |answer| answer.status().as_u16());
            if (200..300).contains(&status) {
                break;
            }
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
        }
        status
    }

    // How it answers ----------------------------------------------------------------------------------------

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self) -> &str {
        &self.0.base
    }

    fn is(&self, quirk: Quirk) -> bool {
        self.books().is(quirk)
    }

    /// Waits and fails as it was told to.
    async fn fault(&self) -> Result<(), Response> {
        let (faults, fails) = {
            let faults = &mut self.books().faults;
            let fails = faults.spare_next == 0 && faults.fail_next > 0;
            if fails && faults.fail_next != u32::MAX {
                faults.fail_next -= 1;
            }
            faults.spare_next = faults.spare_next.saturating_sub(1);
            (*faults, fails)
        };
        tokio::time::sleep(Duration::from_millis(faults.delay_ms)).await;
        if fails { Err(failure(faults)) } else { Ok(()) }
    }

    fn authorise(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let wanted = format!("Organisation {}", self.0.api_key);
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        let refusal = || {
            detail(
                StatusCode::UNAUTHORIZED,
                "Authentication credentials were not provided or are wrong.",
            )
        };
        (given == Some(&wanted)).then_some(()).ok_or_else(refusal)
    }
}

fn failure(faults: Faults) -> Response {
    let status = StatusCode::from_u16(faults.fail_with).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = if faults.html {
        (status, Html("<h1>Bad gateway</h1>")).into_response()
    } else {
        detail(status, "Please try again later.").into_response()
    };
    if faults.retry_after_seconds > 0 {
        response
            .headers_mut()
            .insert("retry-after", faults.retry_after_seconds.into());
    }
    response
}

async fn hello(State(vendor): State<Lessonspace>, headers: HeaderMap) -> Result<Answer, Response> {
    vendor.fault().await?;
    vendor.authorise(&headers).map_err(IntoResponse::into_response)?;
    Ok((StatusCode::OK, Json(json!({"response": "The sun is shining"}))))
}

async fn my_organisation(State(vendor): State<Lessonspace>, headers: HeaderMap) -> Result<Answer, Response> {
    vendor.fault().await?;
    vendor.authorise(&headers).map_err(IntoResponse::into_response)?;
    Ok((StatusCode::OK, Json(control::organisation())))
}
