//! What the vendor knows: rooms, people, egresses, and what it was asked for.

use super::egress::Egress;
use super::quirks::{Faults, Quirk, Quirks};
use super::rooms::{Reason, Room};
use super::storage::S3Target;
use super::webhooks::Event;
use super::{proto, schema};
use jiff::Timestamp;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::{Map, Value, json};
use url::Url;

/// A new id as the vendor makes them.
pub(super) fn guid(prefix: &str) -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(12).map(char::from);
    prefix.chars().chain(random).collect()
}

/// What the operator of the server has set.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Where webhooks go.
    pub(super) url: Option<Url>,
    /// Whether what API calls bring about is told without being asked for.
    pub(super) tells_at_once: bool,
    /// Whether joining makes rooms.
    pub(super) creates_rooms: bool,
    /// Where recordings go if the request does not say.
    pub(super) storage: Option<S3Target>,
    /// Where recordings go if they cannot go where they should.
    pub(super) backup: Option<S3Target>,
    /// Where Amazon's S3 is.
    pub(super) amazon: Option<Url>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            url: None,
            tells_at_once: false,
            creates_rooms: true,
            storage: None,
            backup: None,
            amazon: None,
        }
    }
}

#[derive(Default)]
pub(super) struct Books {
    /// Those that live, oldest first.
    pub(super) rooms: Vec<Room>,
    pub(super) ended_rooms: Vec<Room>,
    pub(super) egresses: Vec<Egress>,
    /// Every accepted request, every refused one, every accepted join.
    pub(super) requests: Vec<Value>,
    pub(super) refused: Vec<Value>,
    pub(super) joins: Vec<Value>,
    /// Everything that happened, told or not.
    pub(super) history: Vec<Value>,
    /// What API calls brought about and nobody was told of yet.
    pub(super) waiting: Vec<Event>,
    /// Who left last, and of which room.
    pub(super) left_last: Option<(String, Value)>,
    pub(super) setup: Setup,
    pub(super) faults: Faults,
    pub(super) quirks: Quirks,
}

/// Something that becomes due without anybody doing anything.
enum Due {
    /// The server notices that somebody is gone.
    Departure { sid: String, identity: String },
    /// A room closes.
    Closing { sid: String, reason: Reason },
}

impl Books {
    pub(super) fn is(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// The room of that name that lives, and can be seen.
    pub(super) fn room(&self, name: &str) -> Option<&Room> {
        let room = self.rooms.iter().find(|room| room.name == name)?;
        (room.dies_at.is_none() || room.count() > 0).then_some(room)
    }

    pub(super) fn room_by_sid(&mut self, sid: &str) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.sid == sid)
    }

    /// The sid of the room of that name, be it dying.
    pub(super) fn sid_of(&self, name: &str) -> Option<String> {
        let room = self.rooms.iter().find(|room| room.name == name);
        room.map(|room| room.sid.clone())
    }

    /// Keeps what happened in the history.
    pub(super) fn note(&mut self, events: &[Event]) {
        for event in events {
            let told = json!({
                "at": event.at.to_string(), "event": event.name,
                "room": event.text("/room/name"), "room_sid": event.text("/room/sid"),
                "identity": event.text("/participant/identity"),
                "participant_sid": event.text("/participant/sid"),
                "egress_id": event.text("/egress_info/egress_id"),
                "status": event.text("/egress_info/status"),
                "reason": event.text("/participant/disconnect_reason"),
            });
            self.history.push(told);
        }
    }

    /// Lets the time come to `now`: those whose connection broke are noticed, and rooms close that nobody is in.
    pub(super) fn settle(&mut self, now: Timestamp) -> Vec<Event> {
        let mut told = Vec::new();
        while let Some((at, due)) = self.next_due(now) {
            told.extend(match due {
                Due::Departure { sid, identity } => {
                    self.depart(&sid, &identity, Reason::ConnectionTimeout, at)
                }
                Due::Closing { sid, reason } => self.close(&sid, reason, at),
            });
        }
        told
    }

    fn next_due(&self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let departures = self.rooms.iter().flat_map(|room| {
            room.people.iter().filter_map(|person| {
                let (sid, identity) = (room.sid.clone(), person.identity.clone());
                Some((person.noticed_at?, Due::Departure { sid, identity }))
            })
        });
        let closings = self.rooms.iter().filter_map(|room| {
            let reason = if room.dies_at.is_some() {
                Reason::RoomDeleted
            } else {
                Reason::RoomClosed
            };
            let sid = room.sid.clone();
            Some((room.closes_at()?, Due::Closing { sid, reason }))
        });

        let due = departures.chain(closings).filter(|(at, _)| *at <= now);
        due.min_by_key(|(at, _)| *at)
    }

    /// Everything, for whoever judges.
    pub(super) fn tell_all(&self) -> Value {
        let inside = self.rooms.iter();
        let inside: Map<String, Value> = inside
            .map(|room| (room.name.clone(), json!(people(room))))
            .collect();
        json!({
            "rooms": self.live_rooms(), "ended_rooms": self.past_rooms(), "participants": inside,
            "egresses": self.recordings(), "joins": self.joins, "requests": self.requests,
            "refused": self.refused, "history": self.history, "waiting": self.waiting.len(),
        })
    }

    pub(super) fn live_rooms(&self) -> Vec<Value> {
        let visible = self
            .rooms
            .iter()
            .filter(|room| self.room(&room.name).is_some_and(|seen| seen.sid == room.sid));
        visible
            .map(|room| proto::answer(&room.info(), schema::ROOM))
            .collect()
    }

    pub(super) fn past_rooms(&self) -> Vec<Value> {
        let ended = self.ended_rooms.iter().map(|room| {
            json!({
                "sid": room.sid, "name": room.name,
                "ended_at": room.ended.map(|at| at.to_string()),
            })
        });
        ended.collect()
    }

    pub(super) fn people_of(&self, name: &str) -> Vec<Value> {
        self.room(name).map(people).unwrap_or_default()
    }

    pub(super) fn recordings(&self) -> Vec<Value> {
        let egresses = self.egresses.iter();
        egresses
            .map(|egress| proto::answer(&egress.info(), schema::EGRESS))
            .collect()
    }
}

fn people(room: &Room) -> Vec<Value> {
    let people = room.people.iter();
    people
        .map(|person| proto::answer(&person.info(), schema::PARTICIPANT))
        .collect()
}
