//! Lessonspace, as far as its public documentation and integrations describe it (see the provider's
//! README): rooms, sessions, recordings, and webhooks signed with the room's own key.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// Deliveries are tried so often, waiting twice as long each time. The vendor waits longer.
const DELIVERY_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The simulated vendor.
#[derive(Clone)]
pub struct Lessonspace(Arc<Vendor>);

struct Vendor {
    base: String,
    api_key: String,
    books: Mutex<Books>,
    http: reqwest::Client,
}

#[derive(Default)]
struct Books {
    rooms: HashMap<String, Room>,
    launches: Vec<Value>,
    faults: Faults,
}

#[derive(Clone)]
struct Room {
    id: String,
    secret: String,
    webhooks: Value,
    sessions: Vec<Session>,
}

#[derive(Clone, Serialize)]
struct Session {
    uuid: String,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
}

/// How the vendor misbehaves.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every answer takes so long. Two first launches of one id that overlap in that time make two rooms:
    /// the vendor promises one room per id, not what happens in a race.
    pub delay_ms: u64,
    /// So many answers go well first.
    pub spare_next: u32,
    /// So many answers from then on fail.
    pub fail_next: u32,
    /// With this status; 503 if 0.
    pub fail_with: u16,
}

/// A webhook that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// `x-webhook-…` headers.
    pub headers: Vec<(&'static str, String)>,
    /// The signed body.
    pub body: String,
}

type Answer = (StatusCode, Json<Value>);

fn detail(status: StatusCode, text: &str) -> Answer {
    (status, Json(json!({ "detail": text })))
}

impl Lessonspace {
    /// A vendor reached at `base` (which ends in a slash), with one customer.
    pub fn new(base: &str, api_key: &str) -> Self {
        let books = Mutex::default();
        Self(Arc::new(Vendor {
            base: base.into(),
            api_key: api_key.into(),
            books,
            http: reqwest::Client::new(),
        }))
    }

    /// The vendor's API, the pages behind its links, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v2/hello/", get(hello))
            .route("/v2/spaces/launch/", post(launch))
            .route("/v2/organisations/{organisation}/sessions/", get(sessions))
            .route(
                "/v2/organisations/{organisation}/sessions/{session}/playback/",
                get(playback),
            )
            .route("/space/{room}", get(enter))
            .route("/recording/{session}", get(watch))
            .route("/_control/faults", post(control_faults))
            .route("/_control/launches", get(control_launches))
            .route("/_control/session", post(control_session))
            .with_state(self.clone())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// Every accepted launch, as it was asked for.
    pub fn launches(&self) -> Vec<Value> {
        self.books().launches.clone()
    }

    /// The ids of all rooms that exist.
    pub fn rooms(&self) -> Vec<String> {
        self.books().rooms.values().map(|room| room.id.clone()).collect()
    }

    /// A session is held in a room; returns the webhooks that tell of its start and its end.
    pub fn hold_session(&self, room: &str, start: Timestamp, end: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let Some(room) = books.rooms.values_mut().find(|other| other.id == room) else {
            return Vec::new();
        };
        let session = Session {
            uuid: Uuid::new_v4().to_string(),
            start_time: start,
            end_time: Some(end),
        };
        room.sessions.push(session.clone());
        [("start", start), ("end", end)]
            .into_iter()
            .filter_map(|(what, at)| room.webhook(what, at, &session))
            .collect()
    }

    /// Sends a webhook as the vendor does: again after a refusal, a few times. Returns the last status.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let mut status = 0;
        for attempt in 0..DELIVERY_TRIES {
            let mut request = self.0.http.post(webhook.url.clone()).body(webhook.body.clone());
            for (name, value) in &webhook.headers {
                request = request.header(*name, value);
            }
            let sent = request.header("content-type", "application/json").send().await;
            status = sent.map_or(0, |answer| answer.status().as_u16());
            if (200..300).contains(&status) {
                break;
            }
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
        }
        status
    }

    async fn fault(&self) -> Result<(), Answer> {
        let (delay, failure) = {
            let faults = &mut self.books().faults;
            let fails = faults.spare_next == 0 && faults.fail_next > 0;
            faults.fail_next -= u32::from(fails);
            faults.spare_next = faults.spare_next.saturating_sub(1);
            let status = StatusCode::from_u16(faults.fail_with).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            (Duration::from_millis(faults.delay_ms), fails.then_some(status))
        };
        tokio::time::sleep(delay).await;
        failure.map_or(Ok(()), |status| Err(detail(status, "Please try again later.")))
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

impl Room {
    fn new(webhooks: Value) -> Self {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self {
            id: Uuid::new_v4().to_string(),
            secret,
            webhooks,
            sessions: Vec::new(),
        }
    }

    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn webhook(&self, what: &str, at: Timestamp, session: &Session) -> Option<Webhook> {
        let url = self
            .webhooks
            .pointer(&format!("/session/{what}"))?
            .as_str()?
            .parse()
            .ok()?;
        let event = format!("session.{what}");
        let body =
            json!({"event": event, "room": {"id": self.id}, "session": {"id": session.uuid}}).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("a key");
        mac.update(body.as_bytes());
        let headers = vec![
            ("x-webhook-id", Uuid::new_v4().to_string()),
            ("x-webhook-event", event),
            ("x-webhook-timestamp", at.to_string()),
            ("x-webhook-signature", hex::encode(mac.finalize().into_bytes())),
        ];
        Some(Webhook { url, headers, body })
    }
}

async fn hello(State(vendor): State<Lessonspace>, headers: HeaderMap) -> Result<Answer, Answer> {
    vendor.fault().await?;
    vendor.authorise(&headers)?;
    Ok((StatusCode::OK, Json(json!({"response": "The sun is shining"}))))
}

/// What the vendor would find wrong with a launch.
fn check_launch(body: &Value) -> Result<String, Answer> {
    let wrong = |field: &str, text: &str| (StatusCode::BAD_REQUEST, Json(json!({ field: [text] })));
    let id = body
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| wrong("id", "This field is required."))?;
    if id.is_empty() || id.len() > 64 {
        return Err(wrong("id", "Ensure this field has no more than 64 characters."));
    }
    for (path, field) in [
        ("/timeouts/not_before", "not_before"),
        ("/timeouts/not_after", "not_after"),
    ] {
        let time = body
            .pointer(path)
            .map(|time| time.as_str().and_then(|time| time.parse::<Timestamp>().ok()));
        if time == Some(None) {
            return Err(wrong(field, "Datetime has wrong format."));
        }
    }
    if body
        .get("user")
        .is_some_and(|user| !user.get("name").is_some_and(Value::is_string))
    {
        return Err(wrong("user", "A user needs a name."));
    }
    for url in ["/webhooks/session/start", "/webhooks/session/end"] {
        let url = body.pointer(url).filter(|url| !url.is_null());
        if url.is_some_and(|url| url.as_str().is_none_or(|url| url.parse::<Url>().is_err())) {
            return Err(wrong("webhooks", "Enter a valid URL."));
        }
    }
    Ok(id.to_owned())
}

async fn launch(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Answer, Answer> {
    vendor.authorise(&headers)?;
    let id = check_launch(&body)?;
    let found = vendor.books().rooms.get(&id).cloned();
    // Whoever asks for the same new id while this one is slow makes a second room.
    vendor.fault().await?;
    let webhooks = body.get("webhooks").cloned();
    let (status, room) = match found {
        Some(room) => (StatusCode::OK, room),
        None => (StatusCode::CREATED, Room::new(Value::Null)),
    };
    let mut books = vendor.books();
    books.launches.push(body);
    let key = if books.rooms.get(&id).is_some_and(|other| other.id != room.id) {
        room.id.clone()
    } else {
        id
    };
    let room = books.rooms.entry(key).or_insert(room);
    if let Some(webhooks) = webhooks {
        room.webhooks = webhooks;
    }
    let client_url = format!(
        "{}space/{}?token={}",
        vendor.0.base,
        room.id,
        Uuid::new_v4().simple()
    );
    let answer = json!({
        "client_url": client_url, "room_id": room.id, "secret": room.secret,
        "session_id": Uuid::new_v4(), "api_base": format!("{}v2/", vendor.0.base),
    });
    Ok((status, Json(answer)))
}

async fn sessions(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Query(filter): Query<HashMap<String, String>>,
) -> Result<Answer, Answer> {
    vendor.fault().await?;
    vendor.authorise(&headers)?;
    let books = vendor.books();
    let rooms = books
        .rooms
        .values()
        .filter(|room| filter.get("space").is_none_or(|space| *space == room.id));
    let results: Vec<_> = rooms.flat_map(|room| room.sessions.clone()).collect();
    Ok((
        StatusCode::OK,
        Json(json!({"count": results.len(), "next": null, "results": results})),
    ))
}

async fn playback(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Path((_, session)): Path<(String, String)>,
) -> Result<Answer, Answer> {
    vendor.fault().await?;
    vendor.authorise(&headers)?;
    let books = vendor.books();
    let mut all = books.rooms.values().flat_map(|room| &room.sessions);
    let known = all.any(|other| other.uuid == session && other.end_time.is_some());
    let missing = || detail(StatusCode::NOT_FOUND, "Not found.");
    known.then_some(()).ok_or_else(missing)?;
    let link = format!(
        "{}recording/{session}?token={}",
        vendor.0.base,
        Uuid::new_v4().simple()
    );
    Ok((StatusCode::OK, Json(json!({ "recording_url": link }))))
}

#[derive(Deserialize)]
struct Access {
    token: Option<String>,
}

fn page(access: &Access, text: &str) -> Response {
    if access.token.is_none() {
        return StatusCode::FORBIDDEN.into_response();
    }
    Html(format!(
        "<!doctype html><title>Lessonspace, simulated</title><p>{text}</p>"
    ))
    .into_response()
}

async fn enter(Query(access): Query<Access>) -> Response {
    page(&access, "You are in the room.")
}

async fn watch(Query(access): Query<Access>) -> Response {
    page(&access, "The recording plays.")
}

async fn control_faults(State(vendor): State<Lessonspace>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

async fn control_launches(State(vendor): State<Lessonspace>) -> Json<Vec<Value>> {
    Json(vendor.launches())
}

/// A session to hold, and how its webhooks arrive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    room_id: String,
    started_at: Timestamp,
    ended_at: Timestamp,
    /// How often each webhook is delivered.
    times: usize,
    /// Whether the end is told before the start.
    reversed: bool,
}

async fn control_session(State(vendor): State<Lessonspace>, Json(play): Json<Play>) -> Json<Value> {
    let mut webhooks = vendor.hold_session(&play.room_id, play.started_at, play.ended_at);
    if play.reversed {
        webhooks.reverse();
    }
    let mut statuses = Vec::new();
    for webhook in webhooks.iter().cycle().take(webhooks.len() * play.times) {
        statuses.push(vendor.deliver(webhook).await);
    }
    Json(json!({ "statuses": statuses }))
}
