//! Spaces, and the conferences that were held in them.

use super::ids;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is known of a conference is deleted so long after its end.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Somebody in a conference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Signed in: their `sub`.
    User(String),
    /// Not signed in: the name that they gave.
    Anonymous(String),
    /// By telephone: their number, of which the vendor tells a part.
    Phone(String),
}

pub(super) struct Space {
    pub(super) id: String,
    pub(super) code: String,
    /// Who owns it, by their `sub`.
    pub(super) owner: String,
    /// Whether the app made it, not Calendar.
    pub(super) is_by_app: bool,
    pub(super) config: Map<String, Value>,
}

/// A conference: from the first one who came to the last one who went.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) space: String,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    /// In the order in which they came.
    pub(super) participants: Vec<Participant>,
    pub(super) recordings: Vec<Artifact>,
    pub(super) transcripts: Vec<Artifact>,
}

pub(super) struct Participant {
    pub(super) id: String,
    pub(super) who: Who,
    pub(super) sessions: Vec<Session>,
}

/// One stay of one device.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) device: String,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
}

/// A recording or a transcript.
pub(super) struct Artifact {
    pub(super) id: String,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    /// The file in the organizer's Drive, once there is one.
    pub(super) file: Option<String>,
    /// What was said, in a transcript.
    pub(super) lines: Vec<Line>,
}

pub(super) struct Line {
    pub(super) id: String,
    pub(super) participant: String,
    pub(super) text: String,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// A file in somebody's Drive.
pub(super) struct DriveFile {
    pub(super) owner: String,
    pub(super) kind: &'static str,
    pub(super) content: Vec<u8>,
    pub(super) may_download: bool,
}

#[derive(Default)]
pub(super) struct Rooms {
    pub(super) spaces: Vec<Space>,
    /// In the order in which they began.
    pub(super) records: Vec<Record>,
    pub(super) files: BTreeMap<String, DriveFile>,
}

impl Participant {
    pub(super) fn first_start(&self) -> Option<Timestamp> {
        self.sessions.iter().map(|session| session.start).min()
    }

    /// When they left for the last time; `None` while they are inside.
    pub(super) fn last_end(&self) -> Option<Timestamp> {
        let ends: Option<Vec<Timestamp>> = self.sessions.iter().map(|session| session.end).collect();
        ends.and_then(|ends| ends.into_iter().max())
    }
}

impl Artifact {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            id: ids::opaque(24),
            start: at,
            end: None,
            file: None,
            lines: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        match (&self.file, self.end) {
            (Some(_), _) => "FILE_GENERATED",
            (None, Some(_)) => "ENDED",
            (None, None) => "STARTED",
        }
    }
}

impl Record {
    pub(super) fn name(&self) -> String {
        format!("conferenceRecords/{}", self.id)
    }

    /// When it is deleted; `None` while it runs.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let end = self.end?;
        Some(end.saturating_add(KEPT).unwrap_or(Timestamp::MAX))
    }

    pub(super) fn is_kept(&self, now: Timestamp) -> bool {
        self.expires().is_none_or(|expires| now < expires)
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut sessions = self.participants.iter().flat_map(|somebody| &somebody.sessions);
        sessions.all(|session| session.end.is_some())
    }
}

impl Rooms {
    /// Makes a space; its id.
    pub(super) fn open(&mut self, owner: &str, is_by_app: bool) -> String {
        let id = ids::opaque(12);
        let config = json!({"accessType": "TRUSTED", "entryPointAccess": "ALL", "moderation": "OFF"});
        self.spaces.push(Space {
            id: id.clone(),
            code: ids::meeting_code(),
            owner: owner.to_owned(),
            is_by_app,
            config: config.as_object().cloned().unwrap_or_default(),
        });
        id
    }

    /// By its id, which tells small letters from great ones.
    pub(super) fn space(&self, id: &str) -> Option<&Space> {
        self.spaces.iter().find(|space| space.id == id)
    }

    pub(super) fn space_mut(&mut self, id: &str) -> Option<&mut Space> {
        self.spaces.iter_mut().find(|space| space.id == id)
    }

    /// By its id or its code.
    pub(super) fn space_by_any(&self, key: &str) -> Option<&Space> {
        let by_code = || {
            self.spaces
                .iter()
                .find(|space| space.code.eq_ignore_ascii_case(key))
        };
        self.space(key).or_else(by_code)
    }

    pub(super) fn code_of(&self, id: &str) -> String {
        self.space(id).map(|space| space.code.clone()).unwrap_or_default()
    }

    /// A space's conference that is being held.
    pub(super) fn running(&mut self, space: &str) -> Option<&mut Record> {
        let mut records = self.records.iter_mut();
        records.find(|record| record.space == space && record.end.is_none())
    }

    pub(super) fn record(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    pub(super) fn record_mut(&mut self, id: &str) -> Option<&mut Record> {
        self.records.iter_mut().find(|record| record.id == id)
    }
}
