//! `/_control/`, for whoever directs the play, and the pages behind the vendor's links.

use super::Zoom;
use super::api::{Answer, Call};
use super::books::Opens;
use super::oauth::Consent;
use super::people::{Plan, Standing, Who, ZoomUser};
use super::quirks::{Faults, Quirk};
use super::webhooks::Webhook;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub(super) fn router() -> Router<Zoom> {
    Router::new()
        .route("/_control/faults", post(faults))
        .route("/_control/quirks", post(quirks))
        .route("/_control/redirects", post(redirect))
        .route("/_control/report-to", post(report_to))
        .route("/_control/scopes", post(scopes))
        .route("/_control/users", post(add_user))
        .route("/_control/user", post(sign_in))
        .route("/_control/consent", post(consent))
        .route("/_control/change", post(change))
        .route("/_control/books", get(books))
        .route("/_control/act", post(act))
        .route("/_control/recording", post(recording))
        .route("/_control/tell", post(tell))
        .route("/_control/deauthorize", post(deauthorize))
        .route("/_control/validate", post(validate))
}

async fn faults(State(zoom): State<Zoom>, Json(faults): Json<Faults>) -> StatusCode {
    zoom.misbehave(faults);
    StatusCode::NO_CONTENT
}

async fn quirks(State(zoom): State<Zoom>, Json(quirks): Json<Vec<Quirk>>) -> StatusCode {
    zoom.behave(quirks);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redirect {
    uri: String,
}

async fn redirect(State(zoom): State<Zoom>, Json(redirect): Json<Redirect>) -> StatusCode {
    zoom.allow_redirect(&redirect.uri);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    url: Url,
}

async fn report_to(State(zoom): State<Zoom>, Json(report): Json<Report>) -> StatusCode {
    zoom.report_to(report.url);
    StatusCode::NO_CONTENT
}

async fn scopes(State(zoom): State<Zoom>, Json(scopes): Json<Vec<String>>) -> StatusCode {
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    zoom.configure_scopes(&scopes);
    StatusCode::NO_CONTENT
}

async fn add_user(State(zoom): State<Zoom>, Json(user): Json<ZoomUser>) -> Json<Value> {
    Json(json!({"user_id": zoom.add_user(user)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Someone {
    user_id: Option<String>,
}

async fn sign_in(State(zoom): State<Zoom>, Json(someone): Json<Someone>) -> StatusCode {
    match someone.user_id {
        Some(user) => zoom.sign_in(&user),
        None => zoom.sign_out(),
    }
    StatusCode::NO_CONTENT
}

async fn consent(State(zoom): State<Zoom>, Json(consent): Json<Consent>) -> StatusCode {
    zoom.consent(consent);
    StatusCode::NO_CONTENT
}

/// Something that changes with a user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    user_id: String,
    what: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Standing(Standing),
    Plan(Plan),
    LockSetting { name: String, value: Value },
    RemoveScope(String),
    ExpireAccess,
    StealRefresh,
}

async fn change(State(zoom): State<Zoom>, Json(changed): Json<Changed>) -> StatusCode {
    let user = changed.user_id.as_str();
    match changed.what {
        Change::Standing(standing) => zoom.stand(user, standing),
        Change::Plan(plan) => zoom.subscribe(user, plan),
        Change::LockSetting { name, value } => zoom.lock_setting(user, &name, value),
        Change::RemoveScope(scope) => zoom.remove_scope(user, &scope),
        Change::ExpireAccess => zoom.expire_access(user),
        Change::StealRefresh => zoom.steal_refresh(user),
    }
    StatusCode::NO_CONTENT
}

async fn books(State(zoom): State<Zoom>) -> Json<Value> {
    Json(json!({
        "users": zoom.users(), "grants": zoom.grants(), "meetings": zoom.meetings(),
        "meetings_made": zoom.meetings_made(), "requests": zoom.requests(), "refusals": zoom.refusals(),
        "is_reporting": zoom.is_reporting(),
    }))
}

/// Something that happens in a meeting, and is told at once, `times` often each, the last first if `reversed`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    #[serde(default)]
    meeting_id: u64,
    what: What,
    /// `host`, `member:<user id>` or `guest:<display name>`.
    #[serde(default = "host")]
    who: Who,
    at: Timestamp,
    #[serde(default = "once")]
    times: usize,
    #[serde(default)]
    reversed: bool,
}

fn host() -> Who {
    Who::Host
}

fn once() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Start,
    Enter,
    Admit,
    Leave,
    DropOut,
    End,
    PassTime,
}

async fn act(State(zoom): State<Zoom>, Json(act): Json<Act>) -> Json<Value> {
    let (meeting, who, at) = (act.meeting_id, &act.who, act.at);
    let mut webhooks = match act.what {
        What::Start => zoom.start(meeting, at),
        What::Enter => zoom.enter(meeting, who, at),
        What::Admit => zoom.admit(meeting, who, at),
        What::Leave => zoom.leave(meeting, who, at),
        What::DropOut => zoom.drop_out(meeting, who, at),
        What::End => zoom.end(meeting, at),
        What::PassTime => zoom.pass_time(at),
    };
    if act.reversed {
        webhooks.reverse();
    }
    let sent = webhooks.len().saturating_mul(act.times);
    let webhooks: Vec<Webhook> = webhooks.into_iter().cycle().take(sent).collect();
    told(&zoom, &webhooks).await
}

/// Something that happens to a recording, and is told at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    uuid: String,
    what: Recording,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Recording {
    Record { from: Timestamp, until: Timestamp },
    Completed { at: Timestamp },
    TranscriptCompleted { words: String, at: Timestamp },
    Deleted,
}

async fn recording(State(zoom): State<Zoom>, Json(recorded): Json<Recorded>) -> Json<Value> {
    let uuid = recorded.uuid.as_str();
    let webhooks = match recorded.what {
        Recording::Record { from, until } => {
            zoom.record(uuid, from, until);
            Vec::new()
        }
        Recording::Completed { at } => zoom.recording_completed(uuid, at),
        Recording::TranscriptCompleted { words, at } => zoom.transcript_completed(uuid, &words, at),
        Recording::Deleted => {
            zoom.delete_recording(uuid);
            Vec::new()
        }
    };
    told(&zoom, &webhooks).await
}

async fn tell(State(zoom): State<Zoom>) -> Json<Value> {
    let webhooks = zoom.untold();
    told(&zoom, &webhooks).await
}

async fn deauthorize(State(zoom): State<Zoom>, Json(someone): Json<Someone>) -> Json<Value> {
    let webhooks = zoom.app_deauthorized(&someone.user_id.unwrap_or_default());
    told(&zoom, &webhooks).await
}

async fn validate(State(zoom): State<Zoom>) -> Json<Value> {
    let is_valid = zoom.validate_url().await;
    Json(json!({"is_valid": is_valid, "is_reporting": zoom.is_reporting()}))
}

async fn told(zoom: &Zoom, webhooks: &[Webhook]) -> Json<Value> {
    let mut statuses = Vec::new();
    for webhook in webhooks {
        statuses.push(zoom.deliver(webhook).await);
    }
    let events: Vec<&str> = webhooks.iter().map(|webhook| webhook.event.as_str()).collect();
    Json(json!({"events": events, "statuses": statuses}))
}

/// The page behind `join_url`.
pub(super) async fn join_page(State(zoom): State<Zoom>, Path(id): Path<u64>, call: Call) -> Response {
    let books = zoom.books();
    let meeting = books.living(id, zoom.now());
    let knows = meeting.is_some_and(|meeting| call.query.get("pwd") == Some(&meeting.draft.password));
    let answer = if knows {
        Answer::page(200, "<p>You are about to join the meeting.</p>")
    } else {
        Answer::page(404, "<p>This meeting link is invalid.</p>")
    };
    answer.into_response()
}

/// The page behind `start_url`: for two hours, whoever has it is the host.
pub(super) async fn start_page(State(zoom): State<Zoom>, Path(id): Path<u64>, call: Call) -> Response {
    let (books, now) = (zoom.books(), zoom.now());
    let ticket = call.query.get("zak");
    let is_host = ticket.is_some_and(|ticket| books.opens(ticket, &Opens::Meeting(id), now));
    let answer = if is_host && books.living(id, now).is_some() {
        Answer::page(200, "<p>You are about to start the meeting.</p>")
    } else {
        Answer::page(403, "<p>This link has expired. Sign in to start the meeting.</p>")
    };
    answer.into_response()
}
