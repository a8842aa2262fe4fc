//! What the API does: rooms, and who is in them.

use super::admission::{LONGEST_METADATA, LONGEST_NAME};
use super::books::Books;
use super::egress::Kind;
use super::quirks::Quirk;
use super::refusals::{Code, TwirpError};
use super::rooms::Reason;
use super::twirp::Call;
use super::webhooks::Event;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A deleted room that lingers is dead after this.
const DYING: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn text<'a>(request: &'a Value, name: &str) -> &'a str {
    request.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn no_room() -> TwirpError {
    TwirpError::new(Code::NotFound, "requested room does not exist")
}

fn no_participant() -> TwirpError {
    TwirpError::new(Code::NotFound, "participant does not exist")
}

impl Books {
    /// Does what an accepted request asks for. What it brings about waits to be told.
    pub(super) fn carry_out(
        &mut self,
        call: Call,
        request: &Value,
        now: Timestamp,
    ) -> Result<Value, TwirpError> {
        let mut told = Vec::new();
        let answer = match call {
            Call::CreateRoom => self.create_room(request, now, &mut told),
            Call::DeleteRoom => self.delete_room(text(request, "room"), now, &mut told),
            Call::ListRooms => Ok(self.list_rooms(request)),
            Call::ListParticipants => self.list_participants(text(request, "room")),
            Call::GetParticipant => self.get_participant(request),
            Call::RemoveParticipant => self.remove_participant(request, now, &mut told),
            Call::Start(kind) => self.start_by_call(kind, request, now, &mut told),
            Call::StopEgress => self.stop_egress(text(request, "egress_id"), now, &mut told),
            Call::ListEgress => self.list_egress(request, now),
        };
        self.keep(told);
        answer
    }

    /// Keeps what happened, to be told later.
    pub(super) fn keep(&mut self, events: Vec<Event>) {
        self.note(&events);
        self.waiting.extend(events);
    }

    fn create_room(
        &mut self,
        request: &Value,
        now: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<Value, TwirpError> {
        let invalid = |words| Err(TwirpError::new(Code::InvalidArgument, words));
        let name = text(request, "name");
        if name.is_empty() {
            return invalid("no room name");
        }
        if name.len() > LONGEST_NAME {
            return invalid("room name length exceeds limits: max length 256");
        }
        if text(request, "metadata").len() > LONGEST_METADATA {
            return invalid("metadata size exceeds limits");
        }
        if !text(request, "room_preset").is_empty() {
            return invalid("unknown room configuration in create room request");
        }

        let sid = if let Some(sid) = self.sid_of(name) {
            let updates = self.is(Quirk::RoomsAreUpdated);
            if let Some(room) = self.room_by_sid(&sid).filter(|_| updates) {
                room.update(request);
            }
            sid
        } else {
            self.make_room(name, request, now, told)?
        };
        let room = self.room_by_sid(&sid).ok_or_else(no_room)?;
        Ok(room.info())
    }

    /// Makes a room, and starts its own egress if it shall have one. If that cannot start, the room lives all the same.
    pub(super) fn make_room(
        &mut self,
        name: &str,
        settings: &Value,
        at: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<String, TwirpError> {
        let (sid, event) = self.open(name, settings, at);
        told.push(event);

        if let Some(wanted) = settings.pointer("/egress/room") {
            let mut request = wanted.clone();
            if let Some(fields) = request.as_object_mut() {
                fields.insert("room_name".into(), json!(name));
            }
            self.start_egress(Kind::RoomComposite, &request, &sid, at, told)?;
        }
        Ok(sid)
    }

    fn delete_room(
        &mut self,
        name: &str,
        now: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<Value, TwirpError> {
        let sid = self.room(name).ok_or_else(no_room)?.sid.clone();
        if !self.is(Quirk::DeletedRoomsLinger) {
            told.extend(self.close(&sid, Reason::RoomDeleted, now));
            return Ok(json!({}));
        }

        let people = self.room_by_sid(&sid).map(|room| {
            room.dies_at = now.checked_add(DYING).ok();
            room.people
                .iter()
                .map(|person| person.identity.clone())
                .collect::<Vec<_>>()
        });
        for identity in people.into_iter().flatten() {
            told.extend(self.depart(&sid, &identity, Reason::RoomDeleted, now));
        }
        Ok(json!({}))
    }

    fn list_rooms(&self, request: &Value) -> Value {
        let names = request.get("names").and_then(Value::as_array);
        let wanted = names.filter(|names| !names.is_empty());
        let rooms = self.rooms.iter().filter(|room| {
            let is_visible = self.room(&room.name).is_some();
            is_visible && wanted.is_none_or(|names| names.contains(&json!(room.name)))
        });
        json!({"rooms": rooms.map(super::rooms::Room::info).collect::<Vec<Value>>()})
    }

    fn list_participants(&self, name: &str) -> Result<Value, TwirpError> {
        let Some(room) = self.room(name) else {
            return if self.is(Quirk::AbsentRoomsAreEmpty) {
                Ok(json!({"participants": []}))
            } else {
                Err(no_room())
            };
        };

        let mut people: Vec<Value> = room.people.iter().map(super::rooms::Person::info).collect();
        if let Some((left, person)) = &self.left_last
            && self.is(Quirk::ListsLag)
            && left == name
        {
            people.push(person.clone());
        }
        Ok(json!({"participants": people}))
    }

    fn get_participant(&self, request: &Value) -> Result<Value, TwirpError> {
        let room = self.room(text(request, "room"));
        let person = room.and_then(|room| room.person(text(request, "identity")));
        Ok(person.ok_or_else(no_participant)?.info())
    }

    /// Disconnects somebody. Their token still lets them in again.
    fn remove_participant(
        &mut self,
        request: &Value,
        now: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<Value, TwirpError> {
        self.get_participant(request)?;
        let sid = self.sid_of(text(request, "room")).unwrap_or_default();
        told.extend(self.depart(&sid, text(request, "identity"), Reason::ParticipantRemoved, now));
        Ok(json!({}))
    }
}
