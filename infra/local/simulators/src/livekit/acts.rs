//! What happens in rooms. Each act first lets the time come to its own, and returns what there is to tell, in the order
//! of the room's queue.

use super::admission::{Admission, Refusal};
use super::books::Books;
use super::quirks::Quirk;
use super::rooms::{Person, Reason, Room};
use super::webhooks::Event;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The server takes so long to notice that a connection broke.
const NOTICED_AFTER: SignedDuration = SignedDuration::from_secs(20);

impl Books {
    /// Somebody comes in. Whoever is there under the same identity is thrown out.
    pub(super) fn join(&mut self, admission: &Admission, at: Timestamp) -> Result<Vec<Event>, Refusal> {
        let mut told = self.settle(at);
        let sid = self.enter(admission, at, &mut told)?;
        let person = Person::admitted(&admission.claims, at);
        let thrown_out = self.depart(&sid, &person.identity, Reason::DuplicateIdentity, at);

        let joined = self.admit(&sid, person, at);
        if self.is(Quirk::JoinsBeforeLefts) {
            told.extend(joined);
            told.extend(thrown_out);
        } else {
            told.extend(thrown_out);
            told.extend(joined);
        }
        self.joins.push(json!({
            "at": at.to_string(), "room": admission.room, "room_sid": sid,
            "identity": admission.claims.identity(), "name": admission.claims.name,
            "metadata": admission.claims.metadata, "attributes": admission.claims.attributes,
        }));
        Ok(told)
    }

    /// Somebody is let in and never gets through: no media, no joining, no leaving.
    pub(super) fn abort_connection(
        &mut self,
        admission: &Admission,
        at: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let mut told = self.settle(at);
        let sid = self.enter(admission, at, &mut told)?;
        let person = Person::admitted(&admission.claims, at);
        if let Some(room) = self.room_by_sid(&sid) {
            room.first_joined.get_or_insert(at);
            room.last_left = Some(at);
            let about = json!({
                "room": room.info(), "participant": person.info_at_leaving(Reason::JoinFailure),
            });
            told.push(Event::new("participant_connection_aborted", at, about));
        }
        Ok(told)
    }

    /// The room that somebody wants to join, made if there is none. If they are refused, what has happened by then waits
    /// to be told: a room may live whose own egress could not start.
    fn enter(
        &mut self,
        admission: &Admission,
        at: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<String, Refusal> {
        let entered = match self.sid_of(&admission.room) {
            Some(sid) => self.check_place(&sid, admission.claims.identity()).map(|()| sid),
            None if self.setup.creates_rooms || admission.may_create => self
                .make_room(&admission.room, &admission.configuration, at, told)
                .map_err(|refusal| Refusal::new(500, &refusal.message)),
            None => Err(Refusal::new(404, "requested room does not exist")),
        };
        if entered.is_err() {
            self.keep(std::mem::take(told));
        }
        entered
    }

    fn check_place(&mut self, sid: &str, identity: &str) -> Result<(), Refusal> {
        let is_full = self.room_by_sid(sid).is_some_and(|room| {
            let most = usize::try_from(room.max_participants).unwrap_or(usize::MAX);
            most > 0 && room.count() >= most && room.person(identity).is_none()
        });
        if is_full {
            return Err(Refusal::new(500, "room has exceeded its max participants"));
        }
        Ok(())
    }

    /// Puts somebody in, and tells of it with the numbers of the moment before.
    pub(super) fn admit(&mut self, sid: &str, person: Person, at: Timestamp) -> Option<Event> {
        let room = self.room_by_sid(sid)?;
        let about = json!({"room": room.info(), "participant": person.info()});
        let before = room.count();
        room.people.push(person);
        if room.count() > before {
            room.first_joined.get_or_insert(at);
        }
        Some(Event::new("participant_joined", at, about))
    }

    /// Somebody says goodbye.
    pub(super) fn leave(&mut self, name: &str, identity: &str, at: Timestamp) -> Vec<Event> {
        let mut told = self.settle(at);
        if let Some(sid) = self.sid_of(name) {
            told.extend(self.depart(&sid, identity, Reason::ClientInitiated, at));
        }
        told
    }

    /// Somebody's machine dies. They are shown as being there until the server notices.
    pub(super) fn crash(&mut self, name: &str, identity: &str, at: Timestamp) -> Vec<Event> {
        let told = self.settle(at);
        let sid = self.sid_of(name).unwrap_or_default();
        let person = self.room_by_sid(&sid).and_then(|room| room.person_mut(identity));
        if let Some(person) = person {
            person.noticed_at = at.checked_add(NOTICED_AFTER).ok();
        }
        told
    }

    /// Somebody switches on camera and microphone, as far as they may and have not.
    pub(super) fn publish(&mut self, name: &str, identity: &str, at: Timestamp) -> Vec<Event> {
        let mut told = self.settle(at);
        let sid = self.sid_of(name).unwrap_or_default();
        let Some(room) = self.room_by_sid(&sid) else {
            return told;
        };
        let Some(person) = room.person_mut(identity) else {
            return told;
        };
        let is_first = person.tracks.is_empty();
        let (brief, tracks) = (person.brief(), person.publish());

        let about = room.info();
        told.extend(tracks.iter().map(|track| {
            let about = json!({"room": about, "participant": brief, "track": track});
            Event::new("track_published", at, about)
        }));
        if !tracks.is_empty() {
            self.record_by_itself(&sid, identity, &tracks, is_first, at, &mut told);
            told.extend(self.activate_egresses(&sid, at));
        }
        told
    }

    /// Somebody is gone from a room. Nothing, if they are not in it.
    pub(super) fn depart(&mut self, sid: &str, identity: &str, reason: Reason, at: Timestamp) -> Vec<Event> {
        let Some(room) = self.room_by_sid(sid) else {
            return Vec::new();
        };
        let before = room.info();
        let Some(place) = room.people.iter().position(|person| person.identity == identity) else {
            return Vec::new();
        };
        let person = room.people.remove(place);
        room.last_left = Some(at);
        let (name, brief) = (room.name.clone(), person.brief());
        self.left_last = Some((name, person.info()));

        let unpublished = person.tracks.iter().map(|track| {
            let about = json!({"room": before, "participant": brief, "track": track});
            Event::new("track_unpublished", at, about)
        });
        let mut told: Vec<Event> = unpublished.collect();
        let about = json!({"room": before, "participant": person.info_at_leaving(reason)});
        told.push(Event::new("participant_left", at, about));
        told.extend(self.end_egresses_of(sid, Some(&person), at));
        told
    }

    /// A room ends, and with it everything in it.
    pub(super) fn close(&mut self, sid: &str, reason: Reason, at: Timestamp) -> Vec<Event> {
        let Some(room) = self.room_by_sid(sid) else {
            return Vec::new();
        };
        let people: Vec<String> = room.people.iter().map(|person| person.identity.clone()).collect();
        let mut told = Vec::new();
        for identity in people {
            told.extend(self.depart(sid, &identity, reason, at));
        }

        let Some(place) = self.rooms.iter().position(|room| room.sid == sid) else {
            return told;
        };
        let mut room = self.rooms.remove(place);
        told.push(Event::new("room_finished", at, json!({"room": room.info()})));
        room.ended = Some(at);
        self.ended_rooms.push(room);
        told.extend(self.end_egresses_of(sid, None, at));
        told
    }

    /// Something about a room that lives.
    pub(super) fn say(&self, event: &str, name: &str, at: Timestamp, more: &Value) -> Vec<Event> {
        let Some(room) = self.room(name) else {
            return Vec::new();
        };
        let mut about = json!({"room": room.info()});
        if let (Some(fields), Some(more)) = (about.as_object_mut(), more.as_object()) {
            fields.extend(more.clone());
        }
        vec![Event::new(event, at, about)]
    }

    /// A room begins.
    pub(super) fn open(&mut self, name: &str, settings: &Value, at: Timestamp) -> (String, Event) {
        let room = Room::new(name, settings, at);
        let sid = room.sid.clone();
        let event = Event::new("room_started", at, json!({"room": room.info()}));
        self.rooms.push(room);
        (sid, event)
    }
}

#[cfg(test)]
mod tests {
    use crate::livekit::Quirk;
    use crate::livekit::stage::{Stage, body, events};
    use jiff::SignedDuration;
    use serde_json::json;

    #[tokio::test]
    async fn a_lesson_is_told_from_its_first_join_to_the_rooms_end() {
        let stage = Stage::set().await;
        let (livekit, tutor) = (&stage.livekit, stage.token("b-1", "tutor"));

        let came = livekit.join(&tutor, stage.at(0)).unwrap();
        assert_eq!(events(&came), ["room_started", "participant_joined"]);
        let told = body(&came[1]);
        assert_eq!(told["participant"]["joinedAtMs"], "1789984800000");
        assert_eq!(told["participant"].get("kind"), None, "a default is not told");

        let on = livekit.publish("b-1", "tutor", stage.at(5));
        assert_eq!(events(&on), ["track_published", "track_published"]);

        let left = livekit.leave("b-1", "tutor", stage.at(60));
        assert_eq!(
            events(&left),
            ["track_unpublished", "track_unpublished", "participant_left"]
        );
        assert_eq!(
            body(&left[2])["participant"]["disconnectReason"],
            "CLIENT_INITIATED"
        );

        assert_eq!(events(&livekit.pass_time(stage.at(79))), Vec::<&str>::new());
        let over = livekit.pass_time(stage.at(500));
        assert_eq!(events(&over), ["room_finished"]);
        assert_eq!(body(&over[0])["createdAt"], "1789984880");
        assert!(livekit.rooms().is_empty());
    }

    #[tokio::test]
    async fn the_same_identity_throws_out_whoever_was_there() {
        let stage = Stage::set().await;
        let (livekit, tutor) = (&stage.livekit, stage.token("b-1", "tutor"));
        let first = livekit.join(&tutor, stage.at(0)).unwrap();

        let again = livekit.join(&tutor, stage.at(9)).unwrap();
        assert_eq!(events(&again), ["participant_left", "participant_joined"]);
        let (left, joined) = (body(&again[0]), body(&again[1]));
        assert_eq!(left["participant"]["disconnectReason"], "DUPLICATE_IDENTITY");
        assert_eq!(left["participant"]["sid"], body(&first[1])["participant"]["sid"]);
        assert_ne!(left["participant"]["sid"], joined["participant"]["sid"]);

        livekit.behave([Quirk::JoinsBeforeLefts]);
        let again = livekit.join(&tutor, stage.at(19)).unwrap();
        assert_eq!(events(&again), ["participant_joined", "participant_left"]);
    }

    #[tokio::test]
    async fn who_crashed_is_there_until_it_is_noticed() {
        let stage = Stage::set().await;
        let livekit = &stage.livekit;
        livekit.join(&stage.token("b-1", "learner"), stage.at(0)).unwrap();

        assert!(livekit.crash("b-1", "learner", stage.at(30)).is_empty());
        assert_eq!(livekit.participants("b-1").len(), 1);

        let told = livekit.pass_time(stage.at(90));
        assert_eq!(events(&told), ["participant_left", "room_finished"]);
        assert_eq!(
            body(&told[0])["participant"]["disconnectReason"],
            "CONNECTION_TIMEOUT"
        );
        assert_eq!(body(&told[0])["createdAt"], "1789984850");
        assert_eq!(body(&told[1])["createdAt"], "1789984870");
    }

    #[tokio::test]
    async fn an_empty_room_closes_and_its_name_comes_again_as_another_room() {
        let stage = Stage::set().await;
        stage.call("CreateRoom", &json!({"name": "b-1"})).await;
        let first = stage.livekit.rooms()[0]["sid"].clone();

        stage.hand.advance(SignedDuration::from_secs(301));
        let (_, second) = stage.call("CreateRoom", &json!({"name": "b-1"})).await;

        let told = stage.livekit.take_webhooks();
        assert_eq!(events(&told), ["room_started", "room_finished", "room_started"]);
        assert_ne!(first, second["sid"]);
    }

    #[tokio::test]
    async fn a_deleted_room_may_linger_and_throw_out_whoever_comes() {
        let stage = Stage::set().await;
        let livekit = &stage.livekit;
        livekit.behave([Quirk::DeletedRoomsLinger]);
        let (_, old) = stage.call("CreateRoom", &json!({"name": "b-1"})).await;

        stage.call("DeleteRoom", &json!({"room": "b-1"})).await;
        let (_, same) = stage.call("CreateRoom", &json!({"name": "b-1"})).await;
        assert_eq!(old["sid"], same["sid"]);

        livekit.join(&stage.token("b-1", "tutor"), stage.at(5)).unwrap();
        let told = livekit.pass_time(stage.at(10));
        assert_eq!(events(&told), ["participant_left", "room_finished"]);
    }

    #[tokio::test]
    async fn who_never_gets_through_neither_joined_nor_left() {
        let stage = Stage::set().await;
        let token = stage.token("b-1", "learner");
        let told = stage.livekit.abort_connection(&token, stage.at(0)).unwrap();

        assert_eq!(events(&told), ["room_started", "participant_connection_aborted"]);
        assert_eq!(body(&told[1])["participant"]["disconnectReason"], "JOIN_FAILURE");
    }

    #[tokio::test]
    async fn rooms_are_not_made_by_joining_where_that_is_off_nor_overfilled() {
        let stage = Stage::set().await;
        stage.livekit.auto_create(false);
        let refusal = stage.livekit.join(&stage.token("b-1", "tutor"), stage.at(0));
        assert_eq!(refusal.unwrap_err().status, 404);

        stage
            .call("CreateRoom", &json!({"name": "b-1", "max_participants": 1}))
            .await;
        stage
            .livekit
            .join(&stage.token("b-1", "tutor"), stage.at(0))
            .unwrap();
        let refusal = stage.livekit.join(&stage.token("b-1", "learner"), stage.at(1));
        assert_eq!(refusal.unwrap_err().status, 500);
    }
}
