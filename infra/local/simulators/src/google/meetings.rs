//! What happens in rooms, and what is told of it.

use super::Webhook;
use super::books::Books;
use super::ids;
use super::rooms::{Artifact, DriveFile, Line, Participant, Record, Session, Who};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The two kinds of files that a conference leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Recording,
    Transcript,
}

impl Kind {
    /// Its name in events.
    fn word(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Transcript => "transcript",
        }
    }

    /// Its name in addresses.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Recording => "recordings",
            Self::Transcript => "transcripts",
        }
    }

    pub(super) fn list(self, record: &Record) -> &[Artifact] {
        match self {
            Self::Recording => &record.recordings,
            Self::Transcript => &record.transcripts,
        }
    }

    fn list_mut(self, record: &mut Record) -> &mut Vec<Artifact> {
        match self {
            Self::Recording => &mut record.recordings,
            Self::Transcript => &mut record.transcripts,
        }
    }

    fn file_kind(self) -> &'static str {
        match self {
            Self::Recording => "video/mp4",
            Self::Transcript => "application/vnd.google-apps.document",
        }
    }
}

impl Books {
    /// The id of a space, by its name, id, code or link, or by the id of an event.
    pub(super) fn room(&self, key: &str) -> Option<String> {
        let key = key.strip_prefix("https://meet.google.com/").unwrap_or(key);
        let key = key.strip_prefix("spaces/").unwrap_or(key);
        let by_space = self.rooms.space_by_any(key).map(|space| space.id.clone());
        by_space.or_else(|| {
            let event = self.events.get(self.any_event(key)?)?;
            event.space().map(ToOwned::to_owned)
        })
    }

    pub(super) fn start(&mut self, space: &str, at: Timestamp) -> Vec<Webhook> {
        if self.rooms.running(space).is_some() {
            return Vec::new();
        }
        let record = Record {
            id: ids::opaque(42),
            space: space.to_owned(),
            start: at,
            end: None,
            participants: Vec::new(),
            recordings: Vec::new(),
            transcripts: Vec::new(),
        };
        let about = json!({"conferenceRecord": {"name": record.name()}});
        self.rooms.records.push(record);
        self.tell(space, "conference.v2.started", &about, at)
    }

    pub(super) fn enter(&mut self, space: &str, who: &Who, device: &str, at: Timestamp) -> Vec<Webhook> {
        let mut told = self.start(space, at);
        let Some(record) = self.rooms.running(space) else {
            return told;
        };
        let name = record.name();
        let Some(somebody) = come(record, who, device) else {
            return told;
        };

        let session = Session {
            id: ids::opaque(22),
            device: device.to_owned(),
            start: at,
            end: None,
        };
        let about = about_session(&name, &somebody.id, &session.id);
        somebody.sessions.push(session);
        told.extend(self.tell(space, "participant.v2.joined", &about, at));
        told
    }

    pub(super) fn leave(&mut self, space: &str, who: &Who, device: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(record) = self.rooms.running(space) else {
            return Vec::new();
        };
        let name = record.name();
        let of_them = record
            .participants
            .iter_mut()
            .filter(|somebody| somebody.who == *who);
        let left = of_them.rev().find_map(|somebody| {
            let mut sessions = somebody.sessions.iter_mut();
            let session = sessions.find(|session| session.device == device && session.end.is_none())?;
            session.end = Some(at);
            Some(about_session(&name, &somebody.id, &session.id))
        });
        let Some(about) = left else {
            return Vec::new();
        };

        let is_over = record.is_empty();
        let mut told = self.tell(space, "participant.v2.left", &about, at);
        if is_over {
            told.extend(self.close(space, at));
        }
        told
    }

    /// Everybody is out at once.
    pub(super) fn end(&mut self, space: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(record) = self.rooms.running(space) else {
            return Vec::new();
        };
        let name = record.name();
        let mut left = Vec::new();
        for somebody in &mut record.participants {
            for session in somebody
                .sessions
                .iter_mut()
                .filter(|session| session.end.is_none())
            {
                session.end = Some(at);
                left.push(about_session(&name, &somebody.id, &session.id));
            }
        }

        let mut told = Vec::new();
        for about in &left {
            told.extend(self.tell(space, "participant.v2.left", about, at));
        }
        told.extend(self.close(space, at));
        told
    }

    /// The conference is over, and what was being recorded with it.
    fn close(&mut self, space: &str, at: Timestamp) -> Vec<Webhook> {
        let mut told = self.stop(space, Kind::Recording, at);
        told.extend(self.stop(space, Kind::Transcript, at));
        let Some(record) = self.rooms.running(space) else {
            return told;
        };
        record.end = Some(at);
        let about = json!({"conferenceRecord": {"name": record.name()}});
        told.extend(self.tell(space, "conference.v2.ended", &about, at));
        told
    }

    /// A recording or a transcript begins, beside those that there are.
    pub(super) fn record(&mut self, space: &str, kind: Kind, at: Timestamp) -> Vec<Webhook> {
        let Some(record) = self.rooms.running(space) else {
            return Vec::new();
        };
        let artifact = Artifact::new(at);
        let about = about_artifact(record, kind, &artifact.id);
        kind.list_mut(record).push(artifact);
        self.tell(space, &format!("{}.v2.started", kind.word()), &about, at)
    }

    /// What is being recorded ends.
    pub(super) fn stop(&mut self, space: &str, kind: Kind, at: Timestamp) -> Vec<Webhook> {
        let Some(record) = self.rooms.running(space) else {
            return Vec::new();
        };
        let open = kind
            .list_mut(record)
            .iter_mut()
            .filter(|artifact| artifact.end.is_none());
        let ended: Vec<String> = open
            .map(|artifact| {
                artifact.end = Some(at);
                artifact.id.clone()
            })
            .collect();
        let abouts: Vec<Value> = ended.iter().map(|id| about_artifact(record, kind, id)).collect();

        let word = format!("{}.v2.ended", kind.word());
        let mut told = Vec::new();
        for about in &abouts {
            told.extend(self.tell(space, &word, about, at));
        }
        told
    }

    /// The file of a recording or a transcript, by its name, is there.
    pub(super) fn generate(&mut self, name: &str, kind: Kind, at: Timestamp) -> Vec<Webhook> {
        let Some((record, artifact)) = parted(name, kind) else {
            return Vec::new();
        };
        let Some(record) = self.rooms.record_mut(record) else {
            return Vec::new();
        };
        let space = record.space.clone();
        let about = about_artifact(record, kind, artifact);
        let found = kind
            .list_mut(record)
            .iter_mut()
            .find(|found| found.id == artifact);
        let Some(found) = found.filter(|found| found.file.is_none()) else {
            return Vec::new();
        };

        let file = ids::opaque(33);
        found.file = Some(file.clone());
        found.end.get_or_insert(at);
        let owner = self.rooms.space(&space).map(|space| space.owner.clone());
        let content = DriveFile {
            owner: owner.unwrap_or_default(),
            kind: kind.file_kind(),
            content: format!("the file {file} of {name}\n").repeat(64).into_bytes(),
            may_download: true,
        };
        self.rooms.files.insert(file, content);
        self.tell(&space, &format!("{}.v2.fileGenerated", kind.word()), &about, at)
    }

    /// Somebody says something while a transcript is made.
    pub(super) fn say(&mut self, space: &str, who: &Who, text: &str, from: Timestamp, to: Timestamp) {
        let Some(record) = self.rooms.running(space) else {
            return;
        };
        let mut them = record.participants.iter().rev();
        let Some(somebody) = them.find(|somebody| somebody.who == *who) else {
            return;
        };
        let line = Line {
            id: ids::opaque(12),
            participant: format!("{}/participants/{}", record.name(), somebody.id),
            text: text.to_owned(),
            start: from,
            end: to,
        };
        let open = record
            .transcripts
            .iter_mut()
            .find(|transcript| transcript.end.is_none());
        if let Some(transcript) = open {
            transcript.lines.push(line);
        }
    }
}

/// Whoever comes, if that device of theirs is not inside already. Who is not signed in is somebody else each time.
fn come<'a>(record: &'a mut Record, who: &Who, device: &str) -> Option<&'a mut Participant> {
    let is_inside = |somebody: &Participant| {
        let mut sessions = somebody.sessions.iter();
        somebody.who == *who && sessions.any(|session| session.device == device && session.end.is_none())
    };
    if record.participants.iter().any(is_inside) {
        return None;
    }

    let known = match who {
        Who::User(_) | Who::Phone(_) => record
            .participants
            .iter()
            .position(|somebody| somebody.who == *who),
        Who::Anonymous(_) => None,
    };
    let place = known.unwrap_or_else(|| {
        record.participants.push(Participant {
            id: ids::opaque(21),
            who: who.clone(),
            sessions: Vec::new(),
        });
        record.participants.len() - 1
    });
    record.participants.get_mut(place)
}

fn about_session(record: &str, participant: &str, session: &str) -> Value {
    let name = format!("{record}/participants/{participant}/participantSessions/{session}");
    json!({"participantSession": {"name": name}})
}

fn about_artifact(record: &Record, kind: Kind, id: &str) -> Value {
    let name = format!("{}/{}/{id}", record.name(), kind.folder());
    json!({ kind.word(): {"name": name} })
}

/// The ids in `conferenceRecords/R/recordings/A`.
fn parted(name: &str, kind: Kind) -> Option<(&str, &str)> {
    let rest = name.strip_prefix("conferenceRecords/")?;
    let (record, rest) = rest.split_once('/')?;
    let artifact = rest.strip_prefix(kind.folder())?.strip_prefix('/')?;
    Some((record, artifact))
}
