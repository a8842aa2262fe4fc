//! `/_control/`, for whoever directs the play, and the pages behind the vendor's links.

use super::quirks::{Faults, Quirk};
use super::webhooks::Webhook;
use super::{Lessonspace, ORGANISATION};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Value, json};

fn page(text: &str) -> Response {
    let text = format!("<!doctype html><title>Lessonspace, simulated</title><p>{text}</p>");
    Html(text).into_response()
}

#[derive(Deserialize)]
pub(super) struct Admission {
    user: Option<String>,
}

/// Lets in whoever has an admission that the room's key signed. Its times are not looked at: the world's clock may
/// have been moved.
pub(super) async fn enter(
    State(vendor): State<Lessonspace>,
    Path(room): Path<String>,
    Query(admission): Query<Admission>,
) -> Response {
    let secret = vendor.books().room(&room).map(|room| room.secret.clone());
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();

    let is_admitted = secret.zip(admission.user).is_some_and(|(secret, user)| {
        let key = DecodingKey::from_secret(secret.as_bytes());
        decode::<Value>(&user, &key, &validation).is_ok()
    });
    if is_admitted {
        page("You are in the room.")
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

#[derive(Deserialize)]
pub(super) struct Access {
    token: Option<String>,
}

pub(super) async fn watch(State(vendor): State<Lessonspace>, Query(access): Query<Access>) -> Response {
    if access.token.is_none() || vendor.is(Quirk::LinksExpired) {
        return StatusCode::FORBIDDEN.into_response();
    }
    page("The recording plays.")
}

pub(super) async fn faults(State(vendor): State<Lessonspace>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

pub(super) async fn quirks(State(vendor): State<Lessonspace>, Json(quirks): Json<Vec<Quirk>>) -> StatusCode {
    vendor.behave(quirks);
    StatusCode::NO_CONTENT
}

pub(super) async fn launches(State(vendor): State<Lessonspace>) -> Json<Vec<Value>> {
    Json(vendor.launches())
}

/// A session to hold, and how its webhooks arrive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Play {
    room_id: String,
    started_at: Timestamp,
    ended_at: Timestamp,
    /// How often each webhook is delivered.
    times: usize,
    /// Whether the end is told before the start.
    reversed: bool,
}

pub(super) async fn session(State(vendor): State<Lessonspace>, Json(play): Json<Play>) -> Json<Value> {
    let mut webhooks = vendor.hold_session(&play.room_id, play.started_at, play.ended_at);
    if play.reversed {
        webhooks.reverse();
    }
    let sent = webhooks.len() * play.times;
    let webhooks: Vec<Webhook> = webhooks.into_iter().cycle().take(sent).collect();
    told(&vendor, &webhooks).await
}

/// Something that happens in a room, and is told at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    room_id: String,
    what: What,
    /// Who does it, where somebody does: the vendor's number, our id, or `guest:` and a socket.
    #[serde(default)]
    who: String,
    at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Begin,
    Enter,
    Leave,
    Idle,
    End,
    IdleOut,
}

pub(super) async fn act(State(vendor): State<Lessonspace>, Json(act): Json<Act>) -> Json<Value> {
    let (room, who, at) = (act.room_id.as_str(), act.who.as_str(), act.at);
    let webhooks = match act.what {
        What::Begin => vendor.begin(room, at),
        What::Enter => vendor.enter(room, who, at),
        What::Leave => vendor.leave(room, who, at),
        What::Idle => vendor.idle(room, who, at),
        What::End => vendor.end(room, at),
        What::IdleOut => vendor.idle_out(room, at),
    };
    told(&vendor, &webhooks).await
}

async fn told(vendor: &Lessonspace, webhooks: &[Webhook]) -> Json<Value> {
    let mut statuses = Vec::new();
    for webhook in webhooks {
        statuses.push(vendor.deliver(webhook).await);
    }
    Json(json!({ "statuses": statuses }))
}

/// Which organisation the key is of.
pub(super) fn organisation() -> Value {
    json!({"id": ORGANISATION.parse::<u32>().unwrap_or_default(), "name": "A tutoring platform"})
}
