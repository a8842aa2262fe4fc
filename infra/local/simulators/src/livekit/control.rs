//! `/_control/`, for whoever directs the play, and the check of a token that clients ask for.

use super::endings::Ending;
use super::quirks::{Faults, Quirk};
use super::storage::S3Target;
use super::webhooks::Webhook;
use super::{LiveKit, Refusal};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Connection {
    access_token: String,
    room: String,
}

/// Says whether a token would let its bearer in, now.
pub(super) async fn validate(
    State(vendor): State<LiveKit>,
    Query(connection): Query<Connection>,
    headers: HeaderMap,
) -> Response {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = header
        .and_then(|header| header.strip_prefix("Bearer "))
        .unwrap_or(&connection.access_token);
    let now = vendor.now();
    let refusal = vendor.admit(token, &connection.room, now).and_then(|admission| {
        let books = vendor.books();
        let is_missing = books.room(&admission.room).is_none();
        if is_missing && !books.setup.creates_rooms && !admission.may_create {
            return Err(Refusal::new(404, "requested room does not exist"));
        }
        Ok(())
    });
    match refusal {
        Ok(()) => "success".into_response(),
        Err(refusal) => (status(refusal.status), refusal.text).into_response(),
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) async fn faults(State(vendor): State<LiveKit>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

pub(super) async fn quirks(State(vendor): State<LiveKit>, Json(quirks): Json<Vec<Quirk>>) -> StatusCode {
    vendor.behave(quirks);
    StatusCode::NO_CONTENT
}

pub(super) async fn books(State(vendor): State<LiveKit>) -> Json<Value> {
    Json(vendor.books().tell_all())
}

/// Where webhooks go, and how the server makes rooms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    url: Url,
    #[serde(default)]
    at_once: bool,
    #[serde(default)]
    auto_create: Option<bool>,
}

pub(super) async fn report_to(State(vendor): State<LiveKit>, Json(report): Json<Report>) -> StatusCode {
    vendor.report_to(report.url);
    vendor.tell_at_once(report.at_once);
    if let Some(does) = report.auto_create {
        vendor.auto_create(does);
    }
    StatusCode::NO_CONTENT
}

/// The server's own storage. What is left out is taken away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Storages {
    #[serde(default)]
    own: Option<S3Target>,
    #[serde(default)]
    backup: Option<S3Target>,
    #[serde(default)]
    amazon: Option<Url>,
}

pub(super) async fn storage(State(vendor): State<LiveKit>, Json(storages): Json<Storages>) -> StatusCode {
    let setup = &mut vendor.books().setup;
    setup.storage = storages.own;
    setup.backup = storages.backup;
    setup.amazon = storages.amazon;
    StatusCode::NO_CONTENT
}

/// Something that happens, and is told at once, after what waits to be told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    what: What,
    at: Timestamp,
    /// The room's name, where it is not in a token.
    #[serde(default)]
    room: String,
    /// An identity.
    #[serde(default)]
    who: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    egress_id: String,
    /// What was recorded.
    #[serde(default)]
    file: String,
    #[serde(default = "complete")]
    ending: Ending,
    /// The name of an event that nobody has heard of.
    #[serde(default)]
    event: String,
    /// How often each webhook is delivered.
    #[serde(default = "once")]
    times: usize,
    /// Whether the last comes first.
    #[serde(default)]
    reversed: bool,
}

fn complete() -> Ending {
    Ending::Complete
}

fn once() -> usize {
    1
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Join,
    AbortConnection,
    Leave,
    Crash,
    Publish,
    PassTime,
    FinishEgress,
    Say,
    /// Nothing: only what waits is told.
    Nothing,
}

pub(super) async fn act(State(vendor): State<LiveKit>, Json(act): Json<Act>) -> Response {
    let happened = match happen(&vendor, &act).await {
        Ok(webhooks) => webhooks,
        Err(refusal) => return (status(refusal.status), Json(json!({ "refusal": refusal }))).into_response(),
    };

    let mut webhooks = vendor.take_webhooks();
    webhooks.extend(happened);
    if act.reversed {
        webhooks.reverse();
    }
    let repeated = webhooks
        .iter()
        .flat_map(|webhook| vec![webhook.clone(); act.times]);
    let statuses = vendor.deliver_all(&repeated.collect::<Vec<Webhook>>()).await;
    let events: Vec<&str> = webhooks.iter().map(|webhook| webhook.event.as_str()).collect();
    Json(json!({"sent": statuses.len(), "statuses": statuses, "events": events})).into_response()
}

async fn happen(vendor: &LiveKit, act: &Act) -> Result<Vec<Webhook>, Refusal> {
    let (room, who, at) = (act.room.as_str(), act.who.as_str(), act.at);
    Ok(match act.what {
        What::Join => vendor.join_picking(&act.token, room, at)?,
        What::AbortConnection => vendor.abort_connection(&act.token, at)?,
        What::Leave => vendor.leave(room, who, at),
        What::Crash => vendor.crash(room, who, at),
        What::Publish => vendor.publish(room, who, at),
        What::PassTime => vendor.pass_time(at),
        What::FinishEgress => {
            let file = act.file.as_bytes();
            vendor.end_egress(&act.egress_id, act.ending, file, at).await
        }
        What::Say => vendor.say(&act.event, room, at, &json!({})),
        What::Nothing => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use crate::livekit::stage::Stage;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_play_is_directed_over_http() {
        let stage = Stage::set().await;
        let token = stage.token("b-1", "tutor");
        let join = json!({"what": "join", "token": token, "at": "2026-09-21T10:00:00Z"});
        let publish = json!({"what": "publish", "room": "b-1", "who": "tutor", "at": "2026-09-21T10:00:05Z"});
        let report = json!({"url": "http://127.0.0.1:1/hook"});

        assert_eq!(stage.control("report_to", &report).await.0, 204);
        assert_eq!(stage.control("quirks", &json!(["silent"])).await.0, 204);
        assert_eq!(
            stage.control("act", &join).await,
            (200, json!({"sent": 0, "statuses": [], "events": []}))
        );
        assert_eq!(stage.control("quirks", &json!([])).await.0, 204);
        assert_eq!(stage.control("faults", &json!({"fail_next": 1})).await.0, 204);
        let (_, told) = stage.control("act", &publish).await;
        assert_eq!(
            (&told["sent"], &told["statuses"]),
            (&json!(2), &json!([0, 0])),
            "nobody answers"
        );

        let bad = json!({"what": "join", "token": "a.b.c", "at": "2026-09-21T10:00:00Z"});
        assert_eq!(stage.control("act", &bad).await.0, 401);
        let books = stage.livekit.books().tell_all();
        assert_eq!(books["history"].as_array().map(Vec::len), Some(4));
        assert_eq!(
            books["participants"]["b-1"][0]["tracks"].as_array().map(Vec::len),
            Some(2)
        );
        assert_eq!(books["refused"].as_array().map(Vec::len), Some(1));
        assert_ne!(books["joins"], Value::Null);
    }
}
