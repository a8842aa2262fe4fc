//! An egress: a recording of a room, a participant or tracks.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use super::outputs::FilePlan;
use super::proto::Message;
use super::rooms::Room;
use super::schema;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

/// By which method it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Egress,
    RoomComposite,
    Participant,
    TrackComposite,
    Track,
}

impl Kind {
    /// Under which name the request stands in what is told of it.
    fn field(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::RoomComposite => "room_composite",
            Self::Participant => "participant",
            Self::TrackComposite => "track_composite",
            Self::Track => "track",
        }
    }

    pub(super) fn request(self) -> Message {
        match self {
            Self::Egress => schema::START_EGRESS,
            Self::RoomComposite => schema::ROOM_COMPOSITE,
            Self::Participant => schema::PARTICIPANT_EGRESS,
            Self::TrackComposite => schema::TRACK_COMPOSITE,
            Self::Track => schema::TRACK_EGRESS,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Starting,
    Active,
    Ending,
    Complete,
    Failed,
    Aborted,
    LimitReached,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Starting => "EGRESS_STARTING",
            Self::Active => "EGRESS_ACTIVE",
            Self::Ending => "EGRESS_ENDING",
            Self::Complete => "EGRESS_COMPLETE",
            Self::Failed => "EGRESS_FAILED",
            Self::Aborted => "EGRESS_ABORTED",
            Self::LimitReached => "EGRESS_LIMIT_REACHED",
        }
    }

    pub(super) fn is_final(self) -> bool {
        match self {
            Self::Starting | Self::Active | Self::Ending => false,
            Self::Complete | Self::Failed | Self::Aborted | Self::LimitReached => true,
        }
    }
}

/// What it records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Room,
    Participant(String),
    Tracks(Vec<String>),
}

impl Source {
    pub(super) fn of(kind: Kind, request: &Value) -> Self {
        let said = |pointer: &str| {
            let found = request.pointer(pointer).and_then(Value::as_str);
            found.filter(|text| !text.is_empty()).map(ToOwned::to_owned)
        };
        let tracks = |pointers: &[&str]| Self::Tracks(pointers.iter().filter_map(|p| said(p)).collect());
        match kind {
            Kind::RoomComposite => Self::Room,
            Kind::Participant => Self::Participant(said("/identity").unwrap_or_default()),
            Kind::TrackComposite => tracks(&["/audio_track_id", "/video_track_id"]),
            Kind::Track => tracks(&["/track_id"]),
            Kind::Egress => match said("/media/participant_video/identity") {
                Some(identity) => Self::Participant(identity),
                None if said("/media/video_track_id").is_some() => tracks(&["/media/video_track_id"]),
                None => Self::Room,
            },
        }
    }

    /// Whether there is something of it in the room.
    pub(super) fn is_there(&self, room: &Room) -> bool {
        let mut publishers = room.people.iter().filter(|person| !person.tracks.is_empty());
        match self {
            Self::Room => publishers.next().is_some(),
            Self::Participant(identity) => publishers.any(|person| person.identity == *identity),
            Self::Tracks(sids) => publishers
                .flat_map(|person| &person.tracks)
                .any(|track| sids.iter().any(|sid| track["sid"] == *sid)),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Egress {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) source: Source,
    /// As it came, with its secrets.
    request: Value,
    pub(super) room: Value,
    pub(super) plan: FilePlan,
    pub(super) status: Status,
    pub(super) started: Timestamp,
    pub(super) updated: Timestamp,
    /// When media began to come.
    pub(super) active: Option<Timestamp>,
    /// When media ceased to come.
    pub(super) stopped: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) details: String,
    pub(super) error: String,
    pub(super) error_code: u16,
    pub(super) files: Vec<Value>,
    pub(super) manifest: String,
    pub(super) is_in_backup: bool,
}

impl Egress {
    pub(super) fn new(
        id: String,
        kind: Kind,
        request: &Value,
        room: Value,
        plan: FilePlan,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            source: Source::of(kind, request),
            request: request.clone(),
            room,
            files: vec![json!({"filename": plan.key})],
            plan,
            status: Status::Starting,
            started: at,
            updated: at,
            active: None,
            stopped: None,
            ended: None,
            details: String::new(),
            error: String::new(),
            error_code: 0,
            manifest: String::new(),
            is_in_backup: false,
        }
    }

    pub(super) fn room_name(&self) -> &str {
        self.room["name"].as_str().unwrap_or_default()
    }

    pub(super) fn room_sid(&self) -> &str {
        self.room["sid"].as_str().unwrap_or_default()
    }

    pub(super) fn turn(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.updated = at;
        if status.is_final() {
            self.ended = Some(at);
        }
    }

    /// The row of its file so far: without a size and without a place.
    pub(super) fn row(&self) -> Value {
        let until = self.stopped.or(self.ended).unwrap_or(self.updated);
        let (since, duration) = match self.active {
            Some(since) => (since, nanoseconds(until) - nanoseconds(since)),
            // What the vendor has for one that never got its start signal.
            None => (until, 152_090),
        };
        json!({
            "filename": self.plan.key, "started_at": nanoseconds(since), "ended_at": nanoseconds(until),
            "duration": duration,
        })
    }

    /// As the API and webhooks tell of it, the request's secrets masked.
    pub(super) fn info(&self) -> Value {
        let is_sdk = !matches!(self.kind, Kind::RoomComposite | Kind::Egress) || self.is_audio_alone();
        let source = if is_sdk {
            "EGRESS_SOURCE_TYPE_SDK"
        } else {
            "EGRESS_SOURCE_TYPE_WEB"
        };
        let mut info = json!({
            "egress_id": self.id, "room_id": self.room_sid(), "room_name": self.room_name(),
            "source_type": source, "status": self.status.name(), "started_at": nanoseconds(self.started),
            "updated_at": nanoseconds(self.updated), "file_results": self.files, "error": self.error,
            "error_code": self.error_code, "details": self.details, "manifest_location": self.manifest,
            "backup_storage_used": self.is_in_backup,
        });
        info[self.kind.field()] = redacted(&self.request);
        if let Some(ended) = self.ended {
            info["ended_at"] = json!(nanoseconds(ended));
        }
        if let [file] = self.files.as_slice() {
            info["file"] = file.clone();
        }
        info
    }

    fn is_audio_alone(&self) -> bool {
        let asked = self.request.get("template").unwrap_or(&self.request);
        let is_plain = ["layout", "custom_base_url"]
            .iter()
            .all(|name| asked[*name].as_str().unwrap_or_default().is_empty());
        let is_media = self.request.get("media").is_some();
        is_media || (asked["audio_only"] == true && is_plain)
    }

    /// As it is told of that never began: without an id, and with the request's secrets.
    pub(super) fn info_of_failure(kind: Kind, request: &Value, room: &Value, error: &str) -> Value {
        let mut info = json!({
            "room_id": room["sid"], "room_name": room["name"], "status": Status::Failed.name(), "error": error,
        });
        info[kind.field()] = request.clone();
        info
    }

    /// This one, as it is told of that never began.
    pub(super) fn info_if_it_never_began(&self, error: &str) -> Value {
        Self::info_of_failure(self.kind, &self.request, &self.room, error)
    }

    /// Where else it is told of.
    pub(super) fn extras(&self) -> Vec<(Url, String)> {
        let hooks = self.request["webhooks"].as_array();
        let hooks = hooks.into_iter().flatten().filter_map(|hook| {
            let key = hook["signing_key"].as_str().unwrap_or_default();
            Some((hook["url"].as_str()?.parse().ok()?, key.to_owned()))
        });
        hooks.collect()
    }
}

pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A request without its secrets.
pub(super) fn redacted(request: &Value) -> Value {
    match request {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let mask = match name.as_str() {
                    "access_key" => "{access_key}",
                    "secret" => "{secret}",
                    "session_token" => "{session_token}",
                    "assume_role_external_id" => "{external_id}",
                    "credentials" => "{credentials}",
                    "account_name" => "{account_name}",
                    "account_key" => "{account_key}",
                    _ => return (name.clone(), redacted(value)),
                };
                let masked = if value == "" { json!("") } else { json!(mask) };
                (name.clone(), masked)
            });
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => request.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let request = json!({"file_outputs": [{"s3": {"secret": "x", "session_token": "", "bucket": "b"}}]});
        assert_eq!(
            redacted(&request),
            json!({"file_outputs": [{"s3": {"secret": "{secret}", "session_token": "", "bucket": "b"}}]})
        );
    }
}
