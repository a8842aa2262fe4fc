//! What the vendor knows: rooms, sessions, people.

use super::quirks::{Faults, Quirk, Quirks};
use super::webhooks::Webhook;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;
use uuid::Uuid;

/// A session ends so long after the last one is gone.
const LINGERS: SignedDuration = SignedDuration::from_secs(30);

/// The vendor's numbers for people and sessions start somewhere.
const FIRST_USER: u64 = 40_001;
const FIRST_SESSION: u64 = 880_001;

#[derive(Default)]
pub(super) struct Books {
    /// By the id that the first launch gave, or the room's own id for the second room of a race.
    pub(super) rooms: HashMap<String, Room>,
    /// Where a room is among [`Self::rooms`], by its own id.
    places: HashMap<String, String>,
    pub(super) launches: Vec<Value>,
    pub(super) people: BTreeMap<u64, Person>,
    /// The latest number of each person, by our id of them.
    numbers: HashMap<String, u64>,
    pub(super) sessions: u64,
    pub(super) faults: Faults,
    pub(super) quirks: Quirks,
    /// When lists were last asked for.
    pub(super) asked: VecDeque<Instant>,
}

#[derive(Clone)]
pub(super) struct Person {
    pub(super) external_id: String,
    pub(super) name: Option<String>,
    pub(super) role: String,
}

#[derive(Clone)]
pub(super) struct Room {
    pub(super) id: String,
    pub(super) launch_id: String,
    pub(super) secret: String,
    pub(super) webhooks: Value,
    pub(super) settings: Settings,
    pub(super) region: String,
    pub(super) allows_guests: bool,
    /// Everybody who was given a way in.
    pub(super) visitors: BTreeSet<u64>,
    pub(super) sessions: Vec<Session>,
    /// The session to come.
    pub(super) upcoming: String,
}

/// What each launch sets anew for the whole room.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) record_av: bool,
    pub(super) transcribe: bool,
    pub(super) summarise: bool,
}

#[derive(Clone)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) uuid: String,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    pub(super) has_idled: bool,
    pub(super) is_recorded: bool,
    pub(super) is_deleted: bool,
    pub(super) logs: Vec<Log>,
    /// How many tabs each person has open.
    pub(super) connections: BTreeMap<Who, u32>,
    /// Everybody who was there.
    pub(super) seen: BTreeSet<Who>,
    /// When the last one left.
    emptied: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Log {
    pub(super) who: Who,
    pub(super) what: &'static str,
    pub(super) at: Timestamp,
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    User(u64),
    /// By their socket.
    Guest(String),
}

impl Books {
    pub(super) fn is(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    pub(super) fn room(&self, id: &str) -> Option<&Room> {
        self.rooms.get(self.places.get(id)?)
    }

    fn room_mut(&mut self, id: &str) -> Option<&mut Room> {
        self.rooms.get_mut(self.places.get(id)?)
    }

    /// Keeps a room, new or changed.
    pub(super) fn keep(&mut self, key: String, room: Room) {
        self.places.insert(room.id.clone(), key.clone());
        self.rooms.insert(key, room);
    }

    /// Forgets the rooms in which nothing has begun since `before`, and all launches.
    pub(super) fn forget(&mut self, before: Timestamp) {
        let is_old = |room: &Room| room.latest().is_some_and(|session| session.start < before);
        self.rooms.retain(|_, room| !is_old(room));
        let rooms = &self.rooms;
        self.places.retain(|_, key| rooms.contains_key(key));
        self.launches.clear();
    }

    /// The vendor's number for a visitor, the same at each launch.
    pub(super) fn user(&mut self, person: Person) -> u64 {
        let next = self.people.keys().last().map_or(FIRST_USER, |last| last + 1);
        let known = if self.is(Quirk::NewUserEachLaunch) {
            None
        } else if self.is(Quirk::OneUserForAll) {
            self.people.keys().next().copied()
        } else {
            self.number_of(&person.external_id)
        };

        let number = known.unwrap_or(next);
        self.numbers.insert(person.external_id.clone(), number);
        self.people.insert(number, person);
        number
    }

    fn number_of(&self, external_id: &str) -> Option<u64> {
        let number = *self.numbers.get(external_id)?;
        let person = self.people.get(&number)?;
        (person.external_id == external_id).then_some(number)
    }

    /// Whom a story means: the vendor's number of somebody, our id of them, or `guest:` and a socket.
    fn who(&self, name: &str) -> Option<Who> {
        if let Some(socket) = name.strip_prefix("guest:") {
            return Some(Who::Guest(socket.to_owned()));
        }
        let number = name.parse().ok().or_else(|| self.number_of(name));
        number.map(Who::User)
    }

    /// A session begins with nobody in it.
    pub(super) fn begin(&mut self, room: &str, at: Timestamp) -> Vec<Webhook> {
        let number = FIRST_SESSION + self.sessions;
        let records = self.is(Quirk::RecordsAnyway);
        let Some(place) = self.room_mut(room) else {
            return Vec::new();
        };
        let session = Session {
            id: number,
            uuid: std::mem::replace(&mut place.upcoming, Uuid::new_v4().to_string()),
            start: at,
            end: None,
            has_idled: false,
            is_recorded: place.settings.record_av || records,
            is_deleted: false,
            logs: Vec::new(),
            connections: BTreeMap::new(),
            seen: BTreeSet::new(),
            emptied: None,
        };
        place.sessions.push(session);
        self.sessions += 1;

        self.tell_of_session(room, "start", at)
    }

    /// Somebody comes: into the session that runs, or else into a new one. One that was empty for too long has ended
    /// meanwhile.
    pub(super) fn enter(&mut self, room: &str, name: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(who) = self.who(name) else {
            return Vec::new();
        };
        let is_shut = self.room(room).is_none_or(|place| !place.allows_guests);
        if is_shut && matches!(who, Who::Guest(_)) {
            return Vec::new();
        }

        let mut told = self.end_if_abandoned(room, at);
        if self.running(room).is_none() {
            told.extend(self.begin(room, at));
        }
        if let Some(session) = self.running(room) {
            session.seen.insert(who.clone());
            *session.connections.entry(who.clone()).or_default() += 1;
            session.log(&who, "user-joined", at);
            session.emptied = None;
        }

        told.extend(self.tell_of_user(room, "join", &who, at));
        if self.is(Quirk::JoinsBeforeStarts) {
            told.reverse();
        }
        told
    }

    fn end_if_abandoned(&mut self, room: &str, now: Timestamp) -> Vec<Webhook> {
        let emptied = self.running(room).and_then(|session| session.emptied);
        let over = emptied
            .map(|emptied| emptied + LINGERS)
            .filter(|over| *over < now);
        over.map_or_else(Vec::new, |over| self.close(room, over, None))
    }

    /// Somebody goes, or closes one of several tabs.
    pub(super) fn leave(&mut self, room: &str, name: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(who) = self.who(name) else {
            return Vec::new();
        };
        let Some(session) = self.running(room) else {
            return Vec::new();
        };
        let Some(tabs) = session.connections.get_mut(&who).filter(|tabs| **tabs > 0) else {
            return Vec::new();
        };
        *tabs -= 1;
        session.log(&who, "user-left", at);
        if session.connections.values().all(|tabs| *tabs == 0) {
            session.emptied = Some(at);
        }

        self.tell_of_user(room, "leave", &who, at)
    }

    /// Somebody has not moved for a while.
    pub(super) fn idle(&mut self, room: &str, name: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(who) = self.who(name) else {
            return Vec::new();
        };
        if let Some(session) = self.running(room) {
            session.log(&who, "user-idle", at);
        }
        self.tell_of_user(room, "idle", &who, at)
    }

    /// Whoever is there leaves, and the session ends.
    pub(super) fn end(&mut self, room: &str, at: Timestamp) -> Vec<Webhook> {
        let tabs: Vec<Who> = self.running(room).map_or_else(Vec::new, |session| {
            let connected = session.connections.iter();
            connected
                .flat_map(|(who, tabs)| (0..*tabs).map(|_| who.clone()))
                .collect()
        });

        let mut told = Vec::new();
        for who in tabs {
            told.extend(self.leave(room, &who.to_string(), at));
        }
        told.extend(self.close(room, at, None));
        told
    }

    /// Everybody who is there has stopped moving, and the vendor ends the session over their heads.
    pub(super) fn idle_out(&mut self, room: &str, at: Timestamp) -> Vec<Webhook> {
        if let Some(session) = self.running(room) {
            session.has_idled = true;
        }
        let mut told = self.tell_of_session(room, "idle", at);
        told.extend(self.close(room, at, Some("idle")));
        told
    }

    fn close(&mut self, room: &str, at: Timestamp, reason: Option<&str>) -> Vec<Webhook> {
        let Some(session) = self.running(room) else {
            return Vec::new();
        };
        session.end = Some(at);
        session.connections.clear();

        let Some(session) = self.room(room).and_then(Room::latest) else {
            return Vec::new();
        };
        let mut said = json!({"summary": {"start": time(session.start), "end": time(at)}});
        if let (Some(reason), Some(fields)) = (reason, said.as_object_mut()) {
            fields.insert("reason".into(), reason.into());
        }
        let uuid = session.uuid.clone();
        self.tell(room, "session", "end", at, with(said, "id", &json!(uuid)))
    }

    /// A session from beginning to end, with everybody in it who has a way in.
    pub(super) fn hold(&mut self, room: &str, start: Timestamp, end: Timestamp) -> Vec<Webhook> {
        let visitors = self.room(room).map(|place| place.visitors.clone());
        let mut told = self.begin(room, start);
        for number in visitors.into_iter().flatten() {
            let who = Who::User(number);
            if let Some(session) = self.running(room) {
                session.log(&who, "user-joined", start);
                session.log(&who, "user-left", end);
                session.seen.insert(who);
            }
        }
        told.extend(self.close(room, end, None));
        told
    }

    fn running(&mut self, room: &str) -> Option<&mut Session> {
        let session = self.room_mut(room)?.sessions.last_mut()?;
        session.end.is_none().then_some(session)
    }

    /// Its recording is deleted.
    pub(super) fn delete_recording(&mut self, uuid: &str) {
        let sessions = self.rooms.values_mut().flat_map(|room| &mut room.sessions);
        for session in sessions.filter(|session| session.uuid == uuid) {
            session.is_deleted = true;
        }
    }

    fn tell_of_session(&self, room: &str, what: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(session) = self.room(room).and_then(Room::latest) else {
            return Vec::new();
        };
        self.tell(room, "session", what, at, json!({"id": session.uuid}))
    }

    fn tell_of_user(&self, room: &str, what: &str, who: &Who, at: Timestamp) -> Vec<Webhook> {
        let Some(session) = self.room(room).and_then(Room::latest) else {
            return Vec::new();
        };
        let user = match who {
            Who::User(number) => {
                let person = self.people.get(number);
                let name = person.and_then(|person| person.name.clone());
                let role = person.map(|person| person.role.clone());
                json!({"id": number, "name": name, "meta": {"name": name}, "guest": false, "role": role})
            }
            Who::Guest(socket) => json!({"id": socket, "meta": {"name": "Guest"}, "guest": true}),
        };
        self.tell(
            room,
            "user",
            what,
            at,
            json!({"user": user, "session": {"id": session.uuid}}),
        )
    }

    fn tell(&self, room: &str, subject: &str, what: &str, at: Timestamp, said: Value) -> Vec<Webhook> {
        let Some(room) = self.room(room) else {
            return Vec::new();
        };
        let body = with(
            with(said, "room", &json!({"id": room.id})),
            "time",
            &json!(time(at)),
        );
        let pointer = format!("/{subject}/{what}");
        let url = room.webhooks.pointer(&pointer).and_then(Value::as_str);
        let url = url.and_then(|url| url.parse().ok());

        let webhook =
            url.map(|url| Webhook::new(url, &room.secret, &self.quirks, (subject, what), at, &body));
        let is_lost = self.is(Quirk::Silent) || (what == "leave" && self.is(Quirk::LosesLeaves));
        webhook.into_iter().filter(|_| !is_lost).collect()
    }

    /// A delivery about anything, signed as the room's others are and sent where its ends go.
    pub(super) fn say(
        &self,
        room: &str,
        event: (&str, &str),
        at: Timestamp,
        body: &Value,
    ) -> Option<Webhook> {
        let room = self.room(room)?;
        let url = room.webhooks.pointer("/session/end")?.as_str()?.parse().ok()?;
        Some(Webhook::new(url, &room.secret, &self.quirks, event, at, body))
    }
}

impl Room {
    pub(super) fn new(launch_id: &str, region: &str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            launch_id: launch_id.to_owned(),
            secret: Uuid::new_v4().to_string(),
            webhooks: Value::Null,
            settings: Settings::default(),
            region: region.to_owned(),
            allows_guests: true,
            visitors: BTreeSet::new(),
            sessions: Vec::new(),
            upcoming: Uuid::new_v4().to_string(),
        }
    }

    fn latest(&self) -> Option<&Session> {
        self.sessions.last()
    }

    /// The session that a launch names: the one that runs, or the one to come.
    pub(super) fn session_id(&self) -> String {
        let running = self.latest().filter(|session| session.end.is_none());
        running.map_or(&self.upcoming, |session| &session.uuid).clone()
    }
}

impl Session {
    fn log(&mut self, who: &Who, what: &'static str, at: Timestamp) {
        let who = who.clone();
        self.logs.push(Log { who, what, at });
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(number) => number.fmt(f),
            Self::Guest(socket) => write!(f, "guest:{socket}"),
        }
    }
}

/// A time as the vendor writes it: with milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn with(mut body: Value, name: &str, value: &Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert(name.into(), value.clone());
    }
    body
}
