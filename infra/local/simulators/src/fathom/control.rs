//! `/_control/`, for whoever directs the play.

use super::quirks::{Faults, Quirk};
use super::{Asked, Fathom, MeetingSketch, Registration, Webhook};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub(super) fn router() -> Router<Fathom> {
    Router::new()
        .route("/_control/faults", post(faults))
        .route("/_control/quirks", post(quirks))
        .route("/_control/polls", post(polls))
        .route("/_control/calls/forget", post(forget_calls))
        .route("/_control/accounts", post(open_account))
        .route("/_control/keys", post(rotate_key))
        .route("/_control/apps", post(connect_app))
        .route("/_control/webhooks", post(register).get(registrations))
        .route("/_control/webhooks/{hook}/rotate", post(rotate_secret))
        .route("/_control/meetings", post(record).get(meetings))
        .route("/_control/meetings/{recording}", post(edit).delete(delete))
        .route("/_control/ready", post(ready))
        .route("/_control/posts", post(posts))
        .route("/_control/requests", get(requests))
        .route("/_control/downloads", get(downloads))
}

// What it is like -------------------------------------------------------------------------------------------

async fn faults(State(vendor): State<Fathom>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

async fn quirks(State(vendor): State<Fathom>, Json(quirks): Json<Vec<Quirk>>) -> StatusCode {
    vendor.behave(quirks);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Polls {
    polls: u32,
}

async fn polls(State(vendor): State<Fathom>, Json(wanted): Json<Polls>) -> StatusCode {
    vendor.take_polls(wanted.polls);
    StatusCode::NO_CONTENT
}

async fn forget_calls(State(vendor): State<Fathom>) -> StatusCode {
    vendor.forget_calls();
    StatusCode::NO_CONTENT
}

// Whom it knows ---------------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    name: String,
    email: String,
    team: Option<String>,
}

async fn open_account(State(vendor): State<Fathom>, Json(new): Json<NewAccount>) -> Json<Value> {
    let key = vendor.open_account(&new.name, &new.email, new.team.as_deref());
    Json(json!({ "api_key": key }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    email: String,
}

async fn rotate_key(State(vendor): State<Fathom>, Json(owner): Json<Owner>) -> Json<Value> {
    Json(json!({"api_key": vendor.rotate_key(&owner.email)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewApp {
    email: String,
    lasts_seconds: u32,
}

async fn connect_app(State(vendor): State<Fathom>, Json(app): Json<NewApp>) -> Json<Value> {
    let lasts = SignedDuration::from_secs(app.lasts_seconds.into());
    Json(json!({"access_token": vendor.connect_app(&app.email, lasts)}))
}

// Registrations ---------------------------------------------------------------------------------------------

/// An address, and a secret if the customer has one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHook {
    url: Url,
    secret: Option<String>,
}

async fn register(
    State(vendor): State<Fathom>,
    Json(new): Json<NewHook>,
) -> Result<Json<Registration>, StatusCode> {
    let secret = new.secret.unwrap_or_else(|| super::Secret::new().text());
    let registration = vendor.register_with(&new.url, &secret);
    registration.map(Json).ok_or(StatusCode::BAD_REQUEST)
}

async fn registrations(State(vendor): State<Fathom>) -> Json<Vec<Registration>> {
    Json(vendor.registrations())
}

async fn rotate_secret(
    State(vendor): State<Fathom>,
    Path(hook): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let secret = vendor.rotate_secret(&hook).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({ "secret": secret })))
}

// Meetings --------------------------------------------------------------------------------------------------

async fn record(State(vendor): State<Fathom>, Json(sketch): Json<MeetingSketch>) -> Json<Value> {
    let recording = vendor.meeting(sketch);
    Json(json!({"recording_id": recording, "share_url": vendor.share_url(recording)}))
}

async fn meetings(State(vendor): State<Fathom>) -> Json<Vec<Value>> {
    let books = vendor.books();
    let meetings = books.meetings.values();
    let rows = meetings.map(|meeting| {
        json!({
            "recording_id": meeting.id, "is_ready": meeting.is_ready, "share_url": meeting.share_url(),
            "recorded_by": meeting.recorder, "sketch": meeting.sketch,
        })
    });
    Json(rows.collect())
}

async fn edit(
    State(vendor): State<Fathom>,
    Path(recording): Path<u64>,
    Json(sketch): Json<MeetingSketch>,
) -> StatusCode {
    if vendor.edit(recording, |old| *old = sketch) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn delete(State(vendor): State<Fathom>, Path(recording): Path<u64>) -> StatusCode {
    vendor.delete(recording);
    StatusCode::NO_CONTENT
}

/// A meeting of which is told at once, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {
    recording_id: u64,
    /// How often each webhook is delivered, under the same id.
    #[serde(default = "once")]
    times: usize,
    /// It is told before its content is there.
    #[serde(default)]
    is_early: bool,
}

fn once() -> usize {
    1
}

async fn ready(State(vendor): State<Fathom>, Json(ready): Json<Ready>) -> Json<Value> {
    let webhooks = if ready.is_early {
        vendor.tell(ready.recording_id)
    } else {
        vendor.content_ready(ready.recording_id)
    };
    let sent = webhooks.len().saturating_mul(ready.times);
    let webhooks: Vec<Webhook> = webhooks.into_iter().cycle().take(sent).collect();
    told(&vendor, &webhooks).await
}

async fn posts(State(vendor): State<Fathom>) -> Json<Value> {
    let posts = vendor.take_posts();
    told(&vendor, &posts).await
}

async fn told(vendor: &Fathom, webhooks: &[Webhook]) -> Json<Value> {
    let mut statuses = Vec::new();
    for webhook in webhooks {
        statuses.push(vendor.deliver(webhook).await);
    }
    Json(json!({ "statuses": statuses }))
}

// What it knows ---------------------------------------------------------------------------------------------

async fn requests(State(vendor): State<Fathom>) -> Json<Vec<Asked>> {
    Json(vendor.requests())
}

async fn downloads(State(vendor): State<Fathom>) -> Json<Vec<Value>> {
    Json(vendor.downloads())
}
