//! `/_control/`, for whoever directs the play.

use super::PencilSpaces;
use super::attendance::Activity;
use super::faults::Faults;
use super::quirks::Quirk;
use super::webhooks::Webhook;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub(super) fn routes() -> Router<PencilSpaces> {
    Router::new()
        .route("/faults", post(faults))
        .route("/quirks", post(quirks))
        .route("/report", post(report))
        .route("/act", post(act))
        .route("/record", post(record))
        .route("/deliver", post(deliver))
        .route("/books", get(books))
}

async fn faults(State(vendor): State<PencilSpaces>, Json(faults): Json<Faults>) -> StatusCode {
    vendor.misbehave(faults);
    StatusCode::NO_CONTENT
}

async fn quirks(State(vendor): State<PencilSpaces>, Json(quirks): Json<Vec<Quirk>>) -> StatusCode {
    vendor.behave(quirks);
    StatusCode::NO_CONTENT
}

/// Where webhooks go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    url: Url,
}

async fn report(State(vendor): State<PencilSpaces>, Json(report): Json<Report>) -> StatusCode {
    vendor.report_to(&report.url);
    StatusCode::NO_CONTENT
}

/// Something that happens.
#[derive(Deserialize)]
struct Play {
    /// Whether what tells of it waits for `deliver`, instead of being sent at once.
    #[serde(default)]
    waits: bool,
    #[serde(flatten)]
    deed: Deed,
}

/// A user in a space, by ids of the vendor or external ids.
#[derive(Deserialize)]
struct Place {
    space_id: String,
    user_id: String,
    #[serde(default)]
    tab: String,
    at: Timestamp,
}

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Deed {
    Enter(Place),
    Admit(Place),
    Leave(Place),
    Hide(Place),
    Unhide(Place),
    Crash(Place),
    EnterRoom {
        room_id: String,
        #[serde(flatten)]
        place: Place,
    },
    LeaveRoom {
        room_id: String,
        #[serde(flatten)]
        place: Place,
    },
    EndSession {
        space_id: String,
        at: Timestamp,
    },
    Analyse {
        session_id: String,
        at: Timestamp,
    },
    Engage {
        space_id: String,
        user_id: String,
        activity: Activity,
    },
    RecordingReady {
        recording_id: String,
        at: Timestamp,
    },
    TranscriptReady {
        recording_id: String,
        at: Timestamp,
    },
    Say {
        body: Value,
    },
}

async fn act(State(vendor): State<PencilSpaces>, Json(play): Json<Play>) -> Json<Value> {
    let webhooks = do_it(&vendor, play.deed);
    if play.waits {
        vendor.books().untold.extend(webhooks);
        return Json(json!({"statuses": []}));
    }
    told(&vendor, webhooks.iter()).await
}

fn do_it(vendor: &PencilSpaces, deed: Deed) -> Vec<Webhook> {
    match deed {
        Deed::Enter(place) => place.act(vendor, PencilSpaces::enter),
        Deed::Admit(place) => place.act(vendor, PencilSpaces::admit),
        Deed::Leave(place) => place.act(vendor, PencilSpaces::leave),
        Deed::Hide(place) => place.act(vendor, PencilSpaces::hide),
        Deed::Unhide(place) => place.act(vendor, PencilSpaces::unhide),
        Deed::Crash(place) => place.act(vendor, |vendor, space, user, tab, at| {
            vendor.crash(space, user, tab, at);
            Vec::new()
        }),
        Deed::EnterRoom { room_id, place } => place.act(vendor, |vendor, space, user, tab, at| {
            vendor.enter_room(space, user, tab, &room_id, at)
        }),
        Deed::LeaveRoom { room_id, place } => place.act(vendor, |vendor, space, user, tab, at| {
            vendor.leave_room(space, user, tab, &room_id, at)
        }),
        Deed::EndSession { space_id, at } => vendor.end_session(&space_id, at),
        Deed::Analyse { session_id, at } => vendor.analyse(&session_id, at),
        Deed::Engage {
            space_id,
            user_id,
            activity,
        } => {
            vendor.engage(&space_id, &user_id, activity);
            Vec::new()
        }
        Deed::RecordingReady { recording_id, at } => vendor.recording_ready(&recording_id, at),
        Deed::TranscriptReady { recording_id, at } => vendor.transcript_ready(&recording_id, at),
        Deed::Say { body } => vendor.say(&body),
    }
}

impl Place {
    fn act(
        &self,
        vendor: &PencilSpaces,
        deed: impl FnOnce(&PencilSpaces, &str, &str, &str, Timestamp) -> Vec<Webhook>,
    ) -> Vec<Webhook> {
        deed(vendor, &self.space_id, &self.user_id, &self.tab, self.at)
    }
}

/// Something to record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Take {
    space_id: String,
    from: Timestamp,
    to: Timestamp,
}

async fn record(State(vendor): State<PencilSpaces>, Json(take): Json<Take>) -> Json<Value> {
    let id = vendor.record(&take.space_id, take.from, take.to);
    Json(json!({ "recording_id": id }))
}

/// How what waits is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    /// How often each.
    times: usize,
    /// Whether the last comes first.
    reversed: bool,
}

async fn deliver(State(vendor): State<PencilSpaces>, Json(delivery): Json<Delivery>) -> Json<Value> {
    let mut webhooks = vendor.take_untold();
    if delivery.reversed {
        webhooks.reverse();
    }
    let count = webhooks.len() * delivery.times;
    told(&vendor, webhooks.iter().cycle().take(count)).await
}

async fn told(vendor: &PencilSpaces, webhooks: impl Iterator<Item = &Webhook>) -> Json<Value> {
    let mut statuses = Vec::new();
    for webhook in webhooks {
        statuses.push(vendor.deliver(webhook).await);
    }
    Json(json!({ "statuses": statuses }))
}

async fn books(State(vendor): State<PencilSpaces>) -> Json<Value> {
    Json(json!({
        "users": vendor.users(), "spaces": vendor.spaces(), "sessions": vendor.sessions(),
        "recordings": vendor.recordings(), "links": vendor.links(), "invited": vendor.invited(),
        "requests": vendor.requests(),
    }))
}
