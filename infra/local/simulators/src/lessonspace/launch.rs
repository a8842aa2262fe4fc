//! `POST spaces/launch/`.

use super::books::{Person, Room, Settings};
use super::quirks::Quirk;
use super::{Answer, Lessonspace, detail};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// Links work for so long at most.
const LONGEST_LINK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where rooms are made if nobody says otherwise: near whoever asks.
const NEARBY: &str = "us-east-1";

const HOOKS: [(&str, &[&str]); 6] = [
    ("session", &["start", "end", "idle"]),
    ("user", &["join", "leave", "idle"]),
    ("chat", &["message"]),
    ("cobrowser", &["start", "stop"]),
    ("transcription", &["finish"]),
    ("knock", &["request", "admit", "deny"]),
];

fn wrong(field: &str, text: &str) -> Answer {
    (StatusCode::BAD_REQUEST, Json(json!({ field: [text] })))
}

fn text<'a>(body: &'a Value, field: &str, longest: usize) -> Result<Option<&'a str>, Answer> {
    let value = body.get(field).filter(|value| !value.is_null());
    let Some(value) = value else {
        return Ok(None);
    };

    let text = value
        .as_str()
        .ok_or_else(|| wrong(field, "Not a valid string."))?;
    if text.is_empty() {
        return Err(wrong(field, "This field may not be blank."));
    }
    if text.chars().count() > longest {
        let text = format!("Ensure this field has no more than {longest} characters.");
        return Err(wrong(field, &text));
    }
    Ok(Some(text))
}

fn time(body: &Value, field: &str) -> Result<Option<Timestamp>, Answer> {
    let value = body.get(field).filter(|value| !value.is_null());
    let read = value.map(|value| value.as_str().and_then(|time| time.parse().ok()));
    match read {
        Some(None) => Err(wrong(field, "Datetime has wrong format.")),
        read => Ok(read.flatten()),
    }
}

fn flag(body: &Value, field: &str) -> Result<bool, Answer> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(is_on)) => Ok(*is_on),
        Some(_) => Err(wrong(field, "Must be a valid boolean.")),
    }
}

/// What a launch asks for, once the vendor finds nothing wrong with it.
struct Asked {
    id: String,
    user: Option<(Person, bool)>,
    settings: Settings,
    /// `None` leaves them as they are.
    webhooks: Option<Value>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

impl Asked {
    fn read(body: &Value, takes_unknown_hooks: bool) -> Result<Self, Answer> {
        let id = text(body, "id", 64)?.ok_or_else(|| wrong("id", "This field is required."))?;
        text(body, "name", 128)?;

        let nothing = json!({});
        let timeouts = body.get("timeouts").unwrap_or(&nothing);
        let (not_before, not_after) = (time(timeouts, "not_before")?, time(timeouts, "not_after")?);
        if let (Some(from), Some(until)) = (not_before, not_after)
            && (until <= from || until.duration_since(from) > LONGEST_LINK)
        {
            return Err(wrong("not_after", "Must be within 7 days."));
        }

        let settings = Settings {
            record_av: flag(body, "record_av")?,
            transcribe: flag(body, "transcribe")?,
            summarise: flag(body, "summarise")?,
        };
        if settings.summarise && !(settings.record_av && settings.transcribe) {
            let text = "Summaries need recording and transcription.";
            let refusal = json!({"code": "summarise_requires_transcription", "message": text});
            return Err((StatusCode::BAD_REQUEST, Json(refusal)));
        }

        Ok(Self {
            id: id.to_owned(),
            user: body.get("user").map(visitor).transpose()?,
            settings,
            webhooks: webhooks(body, takes_unknown_hooks)?,
            not_before,
            not_after,
        })
    }
}

fn visitor(user: &Value) -> Result<(Person, bool), Answer> {
    let name = text(user, "name", 128)?;
    let id = text(user, "id", 64)?.or(name);
    let person = Person {
        external_id: id.unwrap_or("anonymous").to_owned(),
        name: name.map(ToOwned::to_owned),
        role: text(user, "role", 64)?.unwrap_or("student").to_owned(),
    };
    Ok((person, flag(user, "leader")?))
}

/// The launch's webhooks: a URL, null or "" each. A key that the vendor does not know voids them all.
fn webhooks(body: &Value, takes_unknown: bool) -> Result<Option<Value>, Answer> {
    let Some(subjects) = body.get("webhooks").and_then(Value::as_object) else {
        return Ok(body.get("webhooks").map(|_| Value::Null));
    };

    for (subject, hooks) in subjects {
        let known = HOOKS.iter().find(|(name, _)| name == subject);
        for (what, url) in hooks.as_object().into_iter().flatten() {
            let is_known = known.is_some_and(|(_, all)| all.contains(&what.as_str()));
            if !is_known && !takes_unknown {
                return Ok(Some(Value::Null));
            }
            let is_away = url.is_null() || url == "";
            let is_url = url.as_str().is_some_and(|url| url.parse::<Url>().is_ok());
            if !is_away && !is_url {
                return Err(wrong("webhooks", "Enter a valid URL."));
            }
        }
        if known.is_none() && !takes_unknown {
            return Ok(Some(Value::Null));
        }
    }
    Ok(Some(Value::Object(subjects.clone())))
}

pub(super) async fn launch(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Answer, Response> {
    let refused = |answer: Answer| answer.into_response();
    vendor.authorise(&headers).map_err(refused)?;
    let takes_unknown_hooks = vendor.is(Quirk::TakesUnknownHooks);
    let asked = Asked::read(&body, takes_unknown_hooks).map_err(refused)?;

    let found = vendor.books().rooms.get(&asked.id).cloned();
    // Whoever asks for the same new id while this one is slow makes a second room.
    vendor.fault().await?;
    let answer = vendor.open(asked, found, body).map_err(refused)?;

    let late = Duration::from_millis(vendor.books().faults.answer_after_ms);
    tokio::time::sleep(late).await;
    Ok(answer)
}

impl Lessonspace {
    fn open(&self, asked: Asked, found: Option<Room>, body: Value) -> Result<Answer, Answer> {
        let mut guard = self.books();
        let books = &mut *guard;
        let is_new = found.is_none();
        let was_overtaken = is_new && books.rooms.contains_key(&asked.id);
        if was_overtaken && books.is(Quirk::RacesFail) {
            return Err(detail(StatusCode::INTERNAL_SERVER_ERROR, "Server error."));
        }

        let region = body.get("server").and_then(Value::as_str).unwrap_or(NEARBY);
        let allows_guests = body.get("allow_guests") != Some(&json!(false));
        let mut room = found
            .and_then(|found| books.rooms.get(&asked.id).cloned().or(Some(found)))
            .unwrap_or_else(|| Room::new(&asked.id, region));
        let key = if was_overtaken {
            room.id.clone()
        } else {
            asked.id.clone()
        };

        let user = asked
            .user
            .map(|(person, leads)| (books.user(person.clone()), person, leads));
        room.visitors.extend(user.iter().map(|(number, ..)| *number));
        room.allows_guests = allows_guests;
        room.settings = asked.settings;
        if let Some(webhooks) = asked.webhooks
            && (is_new || !books.is(Quirk::FirstLaunchCounts))
        {
            room.webhooks = webhooks;
        }
        if !is_new && books.is(Quirk::ChangesSecrets) {
            room.secret = Uuid::new_v4().to_string();
        }

        let admission = json!({
            "nbf": asked.not_before.map(Timestamp::as_second),
            "exp": asked.not_after.map(Timestamp::as_second),
            "guest": false, "readOnly": false, "allowInvite": room.allows_guests,
            "canLead": user.as_ref().is_some_and(|(.., leads)| *leads),
            "id": user.as_ref().map(|(number, ..)| *number),
            "meta": {"name": user.as_ref().and_then(|(_, person, _)| person.name.clone()), "profilePicture": null},
        });
        let session_id = if books.is(Quirk::StaleSessionIds) {
            Uuid::new_v4().to_string()
        } else {
            room.session_id()
        };
        let answer = json!({
            "client_url": self.way_in(&room, &admission),
            "api_base": format!("{}v1/room/{}", self.base(), room.id),
            "room_id": room.id, "secret": room.secret, "session_id": session_id,
            "user_id": user.as_ref().map(|(number, ..)| *number),
            "room_settings": {
                "record_av": room.settings.record_av || books.is(Quirk::RecordsAnyway),
                "record_content": true,
                "waiting_room": books.is(Quirk::WaitingRoom),
                "transcribe": room.settings.transcribe,
                "summarise": room.settings.summarise,
            },
        });

        books.launches.push(body);
        books.keep(key, room);
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok((status, Json(answer)))
    }

    /// The visitor's link, with their admission signed by the room's key.
    fn way_in(&self, room: &Room, admission: &Value) -> String {
        let key = EncodingKey::from_secret(room.secret.as_bytes());
        let user = encode(&Header::default(), admission, &key).unwrap_or_default();
        let invite = format!("{}space/{}", self.base(), room.id);
        format!("{invite}?user={user}&room={}&inviteUrl={invite}", room.id)
    }
}
