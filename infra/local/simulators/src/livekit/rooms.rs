//! A room and who is in it.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use super::books::guid;
use super::schema::{PARTICIPANT_KINDS, SOURCES};
use super::tokens::{Claims, Grant};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Where nobody says otherwise.
const EMPTY_TIMEOUT_SECONDS: u32 = 300;
const DEPARTURE_TIMEOUT_SECONDS: u32 = 20;

const CODECS: [&str; 10] = [
    "audio/PCMU",
    "audio/PCMA",
    "audio/opus",
    "audio/red",
    "video/VP8",
    "video/H264",
    "video/VP9",
    "video/AV1",
    "video/H265",
    "video/rtx",
];

/// A room with a name of its own among those that live.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) sid: String,
    pub(super) name: String,
    empty_timeout: u32,
    departure_timeout: u32,
    pub(super) max_participants: u32,
    metadata: String,
    created: Timestamp,
    turn_password: String,
    /// What is recorded by itself of each participant, and of each track.
    pub(super) auto_participant: Option<Value>,
    pub(super) auto_tracks: Option<Value>,
    pub(super) people: Vec<Person>,
    pub(super) first_joined: Option<Timestamp>,
    pub(super) last_left: Option<Timestamp>,
    /// Deleted, and not dead before this.
    pub(super) dies_at: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

impl Room {
    /// A room as `settings`, a request or a token's configuration in snake case, want it.
    pub(super) fn new(name: &str, settings: &Value, at: Timestamp) -> Self {
        let mut room = Self {
            sid: guid("RM_"),
            name: name.to_owned(),
            empty_timeout: EMPTY_TIMEOUT_SECONDS,
            departure_timeout: DEPARTURE_TIMEOUT_SECONDS,
            max_participants: 0,
            metadata: String::new(),
            created: at,
            turn_password: guid(""),
            auto_participant: None,
            auto_tracks: None,
            people: Vec::new(),
            first_joined: None,
            last_left: None,
            dies_at: None,
            ended: None,
        };
        room.update(settings);
        room
    }

    /// Takes over what `settings` set.
    pub(super) fn update(&mut self, settings: &Value) {
        let number = |name: &str| {
            let given = settings.get(name).and_then(Value::as_u64);
            given
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number > 0)
        };
        let part = |pointer: &str| settings.pointer(pointer).cloned();

        self.empty_timeout = number("empty_timeout").unwrap_or(self.empty_timeout);
        self.departure_timeout = number("departure_timeout").unwrap_or(self.departure_timeout);
        self.max_participants = number("max_participants").unwrap_or(self.max_participants);
        self.auto_participant = part("/egress/participant").or_else(|| self.auto_participant.take());
        self.auto_tracks = part("/egress/tracks").or_else(|| self.auto_tracks.take());
        if let Some(metadata) = settings.get("metadata").and_then(Value::as_str)
            && !metadata.is_empty()
        {
            metadata.clone_into(&mut self.metadata);
        }
    }

    pub(super) fn person(&self, identity: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.identity == identity)
    }

    pub(super) fn person_mut(&mut self, identity: &str) -> Option<&mut Person> {
        self.people.iter_mut().find(|person| person.identity == identity)
    }

    /// How many there are whom the room is for.
    pub(super) fn count(&self) -> usize {
        self.people.iter().filter(|person| !person.is_dependent).count()
    }

    /// When it closes if nothing else happens: never, while somebody is there whom it is for.
    pub(super) fn closes_at(&self) -> Option<Timestamp> {
        if self.dies_at.is_some() {
            return self.dies_at;
        }
        if self.count() > 0 {
            return None;
        }
        let (since, timeout) = match (self.first_joined, self.last_left) {
            (Some(_), Some(left)) => (left, self.departure_timeout),
            _ => (self.created, self.empty_timeout),
        };
        since.checked_add(SignedDuration::from_secs(timeout.into())).ok()
    }

    /// As the API tells of it.
    pub(super) fn info(&self) -> Value {
        let publishers = self.people.iter().filter(|person| !person.tracks.is_empty());
        let is_recorded = self.people.iter().any(|person| person.is_recorder);
        let codecs: Vec<Value> = CODECS.iter().map(|mime| json!({ "mime": mime })).collect();
        json!({
            "sid": self.sid, "name": self.name, "empty_timeout": self.empty_timeout,
            "departure_timeout": self.departure_timeout, "max_participants": self.max_participants,
            "creation_time": self.created.as_second(), "creation_time_ms": self.created.as_millisecond(),
            "turn_password": self.turn_password, "enabled_codecs": codecs, "metadata": self.metadata,
            "num_participants": self.count(), "num_publishers": publishers.count(),
            "active_recording": is_recorded,
        })
    }

    /// As events of an egress tell of it.
    pub(super) fn brief(&self) -> Value {
        json!({"sid": self.sid, "name": self.name})
    }
}

/// Why somebody is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    ClientInitiated,
    DuplicateIdentity,
    ParticipantRemoved,
    RoomDeleted,
    JoinFailure,
    RoomClosed,
    ConnectionTimeout,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::ClientInitiated => "CLIENT_INITIATED",
            Self::DuplicateIdentity => "DUPLICATE_IDENTITY",
            Self::ParticipantRemoved => "PARTICIPANT_REMOVED",
            Self::RoomDeleted => "ROOM_DELETED",
            Self::JoinFailure => "JOIN_FAILURE",
            Self::RoomClosed => "ROOM_CLOSED",
            Self::ConnectionTimeout => "CONNECTION_TIMEOUT",
        }
    }
}

/// Somebody in a room, or something that records it.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) sid: String,
    pub(super) identity: String,
    name: String,
    metadata: String,
    attributes: Value,
    kind: &'static str,
    permission: Value,
    joined: Timestamp,
    pub(super) tracks: Vec<Value>,
    /// No longer connected; noticed then.
    pub(super) noticed_at: Option<Timestamp>,
    /// Does not keep the room open.
    is_dependent: bool,
    is_recorder: bool,
}

impl Person {
    pub(super) fn admitted(claims: &Claims, at: Timestamp) -> Self {
        let grant = claims.video.clone().unwrap_or_default();
        let given = claims.kind.to_ascii_uppercase();
        let kind = PARTICIPANT_KINDS.iter().find(|kind| **kind == given);
        let kind = kind
            .copied()
            .filter(|kind| !kind.is_empty())
            .unwrap_or("STANDARD");
        Self {
            sid: guid("PA_"),
            identity: claims.identity().to_owned(),
            name: claims.name.clone(),
            metadata: claims.metadata.clone(),
            attributes: json!(claims.attributes),
            kind,
            permission: permission(&grant),
            joined: at,
            tracks: Vec::new(),
            noticed_at: None,
            is_dependent: matches!(kind, "AGENT" | "EGRESS") || grant.agent || grant.recorder,
            is_recorder: grant.recorder,
        }
    }

    /// What an egress joins as.
    pub(super) fn recorder(egress: &str, at: Timestamp) -> Self {
        let claims = Claims {
            sub: egress.to_owned(),
            kind: "egress".into(),
            video: Some(Grant {
                room_join: true,
                can_publish: Some(false),
                can_subscribe: Some(true),
                hidden: true,
                recorder: true,
                ..Grant::default()
            }),
            ..Claims::default()
        };
        Self::admitted(&claims, at)
    }

    /// Switches on what is not on yet, as far as they may: camera and microphone. The tracks that are new.
    pub(super) fn publish(&mut self) -> Vec<Value> {
        let is_on = |source: &str| self.tracks.iter().any(|track| track["source"] == *source);
        let new: Vec<Value> = [("CAMERA", "VIDEO"), ("MICROPHONE", "AUDIO")]
            .into_iter()
            .filter(|(source, _)| self.may_publish(source) && !is_on(source))
            .map(|(source, kind)| track(source, kind))
            .collect();
        self.tracks.extend(new.iter().cloned());
        new
    }

    fn may_publish(&self, source: &str) -> bool {
        let sources = self.permission["can_publish_sources"].as_array();
        let is_named = sources.is_none_or(|sources| sources.is_empty() || sources.contains(&json!(source)));
        self.permission["can_publish"] == true && is_named
    }

    /// As the API tells of them while they are there.
    pub(super) fn info(&self) -> Value {
        json!({
            "sid": self.sid, "identity": self.identity, "state": "ACTIVE", "tracks": self.tracks,
            "metadata": self.metadata, "joined_at": self.joined.as_second(),
            "joined_at_ms": self.joined.as_millisecond(), "name": self.name,
            "version": 2 + self.tracks.len(), "permission": self.permission,
            "is_publisher": !self.tracks.is_empty(), "kind": self.kind, "attributes": self.attributes,
        })
    }

    /// As they are told of when they are gone.
    pub(super) fn info_at_leaving(&self, reason: Reason) -> Value {
        let mut info = self.info();
        info["state"] = json!("DISCONNECTED");
        info["tracks"] = json!([]);
        info["disconnect_reason"] = json!(reason.name());
        info
    }

    /// As events of a track tell of them.
    pub(super) fn brief(&self) -> Value {
        json!({"sid": self.sid, "identity": self.identity})
    }
}

/// What is absent from a grant is allowed, but for changing oneself.
fn permission(grant: &Grant) -> Value {
    let can_publish = grant.can_publish.unwrap_or(true);
    let sources = grant.can_publish_sources.iter().map(|source| {
        let source = source.to_ascii_uppercase();
        let is_known = SOURCES.contains(&source.as_str());
        json!(if is_known { source.as_str() } else { "UNKNOWN" })
    });
    json!({
        "can_subscribe": grant.can_subscribe.unwrap_or(true), "can_publish": can_publish,
        "can_publish_data": grant.can_publish_data.unwrap_or(can_publish),
        "can_publish_sources": sources.collect::<Vec<Value>>(), "hidden": grant.hidden,
        "recorder": grant.recorder, "agent": grant.agent,
        "can_update_metadata": grant.can_update_own_metadata.unwrap_or(false),
    })
}

fn track(source: &str, kind: &str) -> Value {
    let (prefix, mime) = match kind {
        "VIDEO" => ("TR_VC", "video/VP8"),
        _ => ("TR_AM", "audio/red"),
    };
    let mut track = json!({
        "sid": guid(prefix), "type": kind, "source": source, "mime_type": mime, "stream": "camera",
    });
    if kind == "VIDEO" {
        track["width"] = json!(1280);
        track["height"] = json!(720);
    }
    track
}
