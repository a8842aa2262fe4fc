//! What a judge may read.

use super::Google;
use super::books::Books;
use super::meetings::Kind;
use super::quirks::Quirk;
use super::rooms::{Participant, Record, Who};
use serde_json::{Value, json};

impl Google {
    /// All events of all calendars as the API shows them, cancelled ones too, in the order in which they were made.
    pub fn events(&self) -> Vec<Value> {
        let books = self.books();
        books.events.iter().map(|event| books.rendered(event)).collect()
    }

    /// Those that are not cancelled.
    pub fn live_events(&self) -> Vec<Value> {
        let books = self.books();
        let live = books.events.iter().filter(|event| !event.is_cancelled);
        live.map(|event| books.rendered(event)).collect()
    }

    /// All spaces: `name`, `code`, `owner`, `isByApp`, `config`.
    pub fn spaces(&self) -> Vec<Value> {
        self.books().shown_spaces()
    }

    /// The name of a room's space, by its code, link, or the id of its event.
    pub fn space_of(&self, room: &str) -> Option<String> {
        self.books().room(room).map(|space| format!("spaces/{space}"))
    }

    /// The conferences of a room in the order in which they began, by their names.
    pub fn records_of(&self, room: &str) -> Vec<String> {
        let books = self.books();
        let Some(space) = books.room(room) else {
            return Vec::new();
        };
        let records = books.rooms.records.iter();
        records
            .filter(|record| record.space == space)
            .map(Record::name)
            .collect()
    }

    /// The recordings of a room, of all its conferences, by their names.
    pub fn recordings_of(&self, room: &str) -> Vec<String> {
        self.artifacts_of(room, Kind::Recording)
    }

    /// The transcripts of a room, likewise.
    pub fn transcripts_of(&self, room: &str) -> Vec<String> {
        self.artifacts_of(room, Kind::Transcript)
    }

    fn artifacts_of(&self, room: &str, kind: Kind) -> Vec<String> {
        let books = self.books();
        let Some(space) = books.room(room) else {
            return Vec::new();
        };
        let records = books.rooms.records.iter().filter(|record| record.space == space);
        let names = records.flat_map(|record| {
            let list = kind.list(record).iter();
            list.map(|artifact| format!("{}/{}/{}", record.name(), kind.folder(), artifact.id))
        });
        names.collect()
    }

    /// The file of a recording or a transcript, by its name, once there is one.
    pub fn file_of(&self, name: &str) -> Option<String> {
        let books = self.books();
        let files = books.rooms.records.iter().flat_map(|record| {
            [Kind::Recording, Kind::Transcript]
                .into_iter()
                .flat_map(move |kind| {
                    let list = kind.list(record).iter();
                    list.map(move |artifact| {
                        let name = format!("{}/{}/{}", record.name(), kind.folder(), artifact.id);
                        (name, artifact.file.clone())
                    })
                })
        });
        let mut files = files;
        files.find(|(found, _)| found == name).and_then(|(_, file)| file)
    }

    /// All conferences with everybody who was there, in the order in which they began.
    pub fn records(&self) -> Vec<Value> {
        let books = self.books();
        books.rooms.records.iter().map(told).collect()
    }

    /// All subscriptions that are alive: `name`, `owner`, `target`, `state`, `expireTime`, `eventTypes`.
    pub fn subscriptions(&self) -> Vec<Value> {
        self.books().shown_subscriptions()
    }

    /// Every request that was accepted: `method`, `path`, `query`, `sub` of the caller, `body`. Of a form only its
    /// `grant_type` is kept.
    pub fn requests(&self) -> Vec<Value> {
        self.books().requests.clone()
    }

    /// What the vendor let pass without a word though nobody can have wanted it. A story may ask for none.
    pub fn complaints(&self) -> Vec<String> {
        self.books().complaints.clone()
    }

    /// Each try to deliver a push: the number of its message, and the status that came back, or 0.
    pub fn deliveries(&self) -> Vec<(String, u16)> {
        self.books().deliveries.clone()
    }

    /// How many refresh tokens of somebody are alive.
    pub fn refresh_tokens(&self, sub: &str) -> usize {
        let mut books = self.books();
        let (now, is_testing) = (books.now(), books.is(Quirk::Testing));
        books.accounts.refresh_tokens(sub, now, is_testing)
    }

    /// What somebody has allowed, by full names.
    pub fn granted(&self, sub: &str) -> Vec<String> {
        let mut books = self.books();
        let (now, is_testing) = (books.now(), books.is(Quirk::Testing));
        books.accounts.granted(sub, now, is_testing).into_iter().collect()
    }

    /// How often the signing keys were asked for.
    pub fn key_requests(&self) -> u32 {
        self.books().keys.requests
    }

    /// Forgets requests, complaints and deliveries. The vendor does not: this is for long plays.
    pub fn forget(&self) {
        let mut books = self.books();
        books.requests.clear();
        books.complaints.clear();
        books.deliveries.clear();
    }
}

impl Books {
    fn shown_spaces(&self) -> Vec<Value> {
        let shown = self.rooms.spaces.iter().map(|space| {
            json!({
                "name": space.name(), "code": space.code, "owner": space.owner, "isByApp": space.is_by_app,
                "config": space.config,
            })
        });
        shown.collect()
    }

    fn shown_subscriptions(&self) -> Vec<Value> {
        let now = self.now();
        let alive = self.subscriptions.list.iter().filter(|found| found.is_alive(now));
        let shown = alive.map(|found| {
            json!({
                "name": found.name(), "owner": found.owner, "target": found.target.written(),
                "state": found.suspended.map_or("ACTIVE", |reason| reason.word()),
                "expireTime": found.expires, "eventTypes": found.types,
            })
        });
        shown.collect()
    }
}

fn told(record: &Record) -> Value {
    let people: Vec<Value> = record.participants.iter().map(told_of).collect();
    let artifacts = |kind: Kind| {
        let list = kind.list(record).iter().map(|artifact| {
            json!({
                "name": format!("{}/{}/{}", record.name(), kind.folder(), artifact.id),
                "state": artifact.state(), "startTime": artifact.start, "endTime": artifact.end,
                "file": artifact.file,
            })
        });
        list.collect::<Vec<Value>>()
    };
    json!({
        "name": record.name(),
        "space": format!("spaces/{}", record.space),
        "startTime": record.start,
        "endTime": record.end,
        "participants": people,
        "recordings": artifacts(Kind::Recording),
        "transcripts": artifacts(Kind::Transcript),
    })
}

fn told_of(somebody: &Participant) -> Value {
    let sessions: Vec<Value> = somebody
        .sessions
        .iter()
        .map(|session| json!({"device": session.device, "startTime": session.start, "endTime": session.end}))
        .collect();
    let who = match &somebody.who {
        Who::User(sub) => json!({"user": sub}),
        Who::Anonymous(name) => json!({"anonymous": name}),
        Who::Phone(number) => json!({"phone": number}),
    };
    json!({"who": who, "sessions": sessions})
}
