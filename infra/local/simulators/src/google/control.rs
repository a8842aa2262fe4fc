//! `/_control/`, for whoever directs the play.

use super::accounts::{Account, Consent};
use super::keys::Forgery;
use super::push::Shape;
use super::quirks::{Faults, Quirk};
use super::rooms::Who;
use super::subscriptions::Suspension;
use super::{Google, Webhook};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub(super) fn routes() -> Router<Google> {
    Router::new()
        .route("/faults", post(faults))
        .route("/quirks", post(quirks))
        .route("/user", post(user))
        .route("/sign_in", post(sign_in))
        .route("/consent", post(consent))
        .route("/setup", post(setup))
        .route("/act", post(act))
        .route("/hand", post(hand))
        .route("/account", post(account))
        .route("/pass_time", post(pass_time))
        .route("/waiting", post(waiting))
        .route("/books", get(books))
}

async fn faults(State(google): State<Google>, Json(faults): Json<Faults>) -> StatusCode {
    google.misbehave(faults);
    StatusCode::NO_CONTENT
}

async fn quirks(State(google): State<Google>, Json(quirks): Json<Vec<Quirk>>) -> StatusCode {
    google.behave(quirks);
    StatusCode::NO_CONTENT
}

/// Somebody with an account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    email: String,
    name: String,
    #[serde(default)]
    account: Account,
}

async fn user(State(google): State<Google>, Json(user): Json<User>) -> Json<Value> {
    let sub = google.add_user(&user.email, &user.name, user.account);
    Json(json!({ "sub": sub }))
}

/// Who is there: their number or their address; nobody without either.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    who: Option<String>,
}

async fn sign_in(State(google): State<Google>, Json(sign_in): Json<SignIn>) -> StatusCode {
    match sign_in.who.map(|who| google.number(&who)) {
        Some(sub) => google.sign_in(&sub),
        None => google.sign_out(),
    }
    StatusCode::NO_CONTENT
}

impl Google {
    /// Somebody's number, by their address or the number itself.
    fn number(&self, who: &str) -> String {
        let books = self.books();
        let person = books.accounts.by_email(who);
        person.map_or_else(|| who.to_owned(), |person| person.sub.clone())
    }
}

async fn consent(State(google): State<Google>, Json(consent): Json<Consent>) -> StatusCode {
    google.consent(consent);
    StatusCode::NO_CONTENT
}

/// What stands at the vendor's console. What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    push_to: Option<Url>,
    topic: Option<String>,
    may_publish: Option<bool>,
    redirects: Option<Vec<String>>,
    #[serde(default)]
    rotate_keys: bool,
}

async fn setup(State(google): State<Google>, Json(setup): Json<Setup>) -> StatusCode {
    if let Some(url) = setup.push_to {
        google.push_to(url);
    }
    if let Some(topic) = setup.topic {
        google.make_topic(&topic);
    }
    if let Some(may_publish) = setup.may_publish {
        google.allow_publishing(may_publish);
    }
    if let Some(redirects) = setup.redirects {
        google.register_redirects(redirects);
    }
    if setup.rotate_keys {
        google.rotate_keys();
    }
    StatusCode::NO_CONTENT
}

/// Something that happens in a room, and how it is told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    what: What,
    /// A space, code, link, or the id of an event; the name of a recording or transcript where its file gets ready.
    room: String,
    who: Option<Who>,
    #[serde(default)]
    device: String,
    at: Timestamp,
    /// What is said, in `say`.
    #[serde(default)]
    text: String,
    #[serde(default)]
    telling: Telling,
}

/// How it is told: once, in order and as it is, unless this says otherwise.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Telling {
    /// How often each push is delivered.
    times: usize,
    /// Whether the last comes first.
    reversed: bool,
    shape: Option<Shape>,
    forgery: Option<Forgery>,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            times: 1,
            reversed: false,
            shape: None,
            forgery: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Start,
    Enter,
    Leave,
    End,
    Record,
    StopRecording,
    RecordingReady,
    Transcribe,
    Say,
    TranscriptReady,
}

async fn act(State(google): State<Google>, Json(act): Json<Act>) -> Json<Value> {
    let nobody = Who::Anonymous("Guest".into());
    let who = act.who.as_ref().unwrap_or(&nobody);
    let who = &match who {
        Who::User(user) => Who::User(google.number(user)),
        Who::Anonymous(_) | Who::Phone(_) => who.clone(),
    };
    let (room, device, at) = (act.room.as_str(), act.device.as_str(), act.at);
    let webhooks = match act.what {
        What::Start => google.start(room, at),
        What::Enter => google.enter(room, who, device, at),
        What::Leave => google.leave(room, who, device, at),
        What::End => google.end(room, at),
        What::Record => google.record(room, at),
        What::StopRecording => google.stop_recording(room, at),
        What::RecordingReady => google.recording_ready(room, at),
        What::Transcribe => google.transcribe(room, at),
        What::Say => {
            google.say(room, who, &act.text, at, at);
            Vec::new()
        }
        What::TranscriptReady => google.transcript_ready(room, at),
    };
    told(&google, webhooks, &act.telling).await
}

async fn told(google: &Google, mut webhooks: Vec<Webhook>, telling: &Telling) -> Json<Value> {
    if telling.reversed {
        webhooks.reverse();
    }
    let sent = webhooks.len() * telling.times;
    let mut statuses = Vec::new();
    for webhook in webhooks.into_iter().cycle().take(sent) {
        let shaped = match telling.shape {
            Some(shape) => google.reshaped(&webhook, shape),
            None => webhook.clone(),
        };
        let signed = match telling.forgery {
            Some(kind) => google.forge(&shaped, kind),
            None => shaped,
        };
        let status = google.deliver(&signed).await;
        statuses.push(json!({"type": webhook.event_type(), "id": webhook.event_id(), "status": status}));
    }
    Json(json!({ "told": statuses }))
}

/// What a tutor does to an event in their own calendar.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Hand {
    Move {
        event: String,
        start: Timestamp,
        end: Timestamp,
    },
    Delete {
        event: String,
    },
    RemoveRoom {
        event: String,
    },
    GiveAway {
        event: String,
        email: String,
    },
}

async fn hand(State(google): State<Google>, Json(hand): Json<Hand>) -> StatusCode {
    let was_there = match hand {
        Hand::Move { event, start, end } => google.move_event(&event, start, end),
        Hand::Delete { event } => google.delete_event(&event),
        Hand::RemoveRoom { event } => google.remove_room(&event),
        Hand::GiveAway { event, email } => google.give_away(&event, &email),
    };
    if was_there {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

/// What becomes of somebody's account or subscriptions. `who` is their number or address.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Fate {
    Revoke { who: String },
    KillRefreshTokens { who: String },
    AllowMeet { who: String, may_meet: bool },
    Suspend { who: String, reason: Suspension },
    DeleteFile { file: String },
    ForbidDownload { file: String },
}

async fn account(State(google): State<Google>, Json(fate): Json<Fate>) -> Json<Value> {
    let mut webhooks = Vec::new();
    match fate {
        Fate::Revoke { who } => webhooks = google.revoke(&google.number(&who)),
        Fate::KillRefreshTokens { who } => google.kill_refresh_tokens(&google.number(&who)),
        Fate::AllowMeet { who, may_meet } => google.allow_meet(&google.number(&who), may_meet),
        Fate::Suspend { who, reason } => webhooks = google.suspend(&google.number(&who), reason),
        Fate::DeleteFile { file } => google.delete_file(&file),
        Fate::ForbidDownload { file } => google.forbid_download(&file),
    }
    told(&google, webhooks, &Telling::default()).await
}

async fn pass_time(State(google): State<Google>) -> Json<Value> {
    let webhooks = google.pass_time();
    told(&google, webhooks, &Telling::default()).await
}

async fn waiting(State(google): State<Google>) -> Json<Value> {
    let webhooks = google.waiting();
    told(&google, webhooks, &Telling::default()).await
}

async fn books(State(google): State<Google>) -> Json<Value> {
    Json(json!({
        "events": google.events(),
        "spaces": google.spaces(),
        "records": google.records(),
        "subscriptions": google.subscriptions(),
        "requests": google.requests(),
        "complaints": google.complaints(),
        "deliveries": google.deliveries(),
    }))
}
