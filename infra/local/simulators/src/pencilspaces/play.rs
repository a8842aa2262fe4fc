//! What happens in the vendor's spaces, and which webhooks tell of it.

use super::attendance::Activity;
use super::books::{Books, Recording, Session, Stay, new_id, time};
use super::quirks::Quirk;
use super::webhooks::Webhook;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A tab of a user in a space.
pub(super) struct Seat {
    space: String,
    user: String,
    tab: String,
}

/// What happens to recordings. The vendor's own words for it are not known.
pub(super) const RECORDING_AVAILABLE: &str = "RECORDING_AVAILABLE";
pub(super) const TRANSCRIPT_AVAILABLE: &str = "TRANSCRIPT_AVAILABLE";

impl Books {
    /// Where a play puts somebody, if there are such a space and such a user.
    pub(super) fn seat(&self, space: &str, user: &str, tab: &str) -> Option<Seat> {
        let space = self.space_named(space)?.id.clone();
        let user = self.user_named(user)?.id.clone();
        let tab = format!("{user}-{tab}");
        Some(Seat { space, user, tab })
    }

    /// Somebody comes: into the session that runs, or else into a new one. Who is in already has loaded the page again.
    pub(super) fn enter(&mut self, seat: &Seat, is_admitted: bool, at: Timestamp) -> Vec<Webhook> {
        if !self.lets_in(seat, is_admitted) {
            return Vec::new();
        }
        if self.running_mut(&seat.space).is_none() {
            self.begin(&seat.space, at);
        }
        if let Some(session) = self.running_mut(&seat.space)
            && session.open_stay(&seat.tab).is_none()
        {
            session.stays.push(Stay {
                user: seat.user.clone(),
                tab: seat.tab.clone(),
                from: at,
                until: None,
                has_crashed: false,
                hidden: Vec::new(),
            });
        }
        self.tell_of_tab(seat, None, "joinSpace", at)
    }

    /// Nobody gets into an archived space, nor into a private one in which they are nothing. Where there is a waiting
    /// room, participants wait in it for a host, and nobody is told of them.
    fn lets_in(&self, seat: &Seat, is_admitted: bool) -> bool {
        let Some(space) = self.space(&seat.space) else {
            return false;
        };
        let may_come = space.visibility == "public" || space.has(&seat.user);
        let has_waiting_room = space.settings.has_waiting_room || self.is(Quirk::WaitingRoomStays);
        let waits = has_waiting_room && !space.leads(&seat.user) && !is_admitted;
        may_come && !waits && !space.is_archived
    }

    /// A session begins with nobody in it. Returns its id.
    fn begin(&mut self, space: &str, at: Timestamp) -> Option<String> {
        let session = Session::new(space, at);
        let id = session.id.clone();
        self.space_mut(space)?.sessions.push(id.clone());
        self.sessions.add(&id, session);
        Some(id)
    }

    /// A tab is closed. When it was the last one, the session ends.
    pub(super) fn leave(&mut self, seat: &Seat, at: Timestamp) -> Vec<Webhook> {
        if !self.depart(seat, at, false) {
            return Vec::new();
        }
        self.tell_of_tab(seat, None, "leaveSpace", at)
    }

    /// A device dies. The vendor sees that it is gone and tells nobody.
    pub(super) fn crash(&mut self, seat: &Seat, at: Timestamp) {
        self.depart(seat, at, true);
    }

    fn depart(&mut self, seat: &Seat, at: Timestamp, has_crashed: bool) -> bool {
        let Some(session) = self.running_mut(&seat.space) else {
            return false;
        };
        let Some(stay) = session.open_stay(&seat.tab) else {
            return false;
        };
        stay.until = Some(at);
        stay.has_crashed = has_crashed;

        if session.is_empty() {
            self.close(&seat.space, at);
        }
        true
    }

    /// A tab goes into the background.
    pub(super) fn hide(&mut self, seat: &Seat, at: Timestamp) -> Vec<Webhook> {
        let Some(stay) = self.open_stay(seat) else {
            return Vec::new();
        };
        stay.hidden.push((at, None));
        self.tell_of_tab(seat, None, "hideTab", at)
    }

    /// A tab comes back from the background.
    pub(super) fn unhide(&mut self, seat: &Seat, at: Timestamp) -> Vec<Webhook> {
        let Some(stay) = self.open_stay(seat) else {
            return Vec::new();
        };
        if let Some((_, until)) = stay.hidden.last_mut() {
            *until = Some(at);
        }
        self.tell_of_tab(seat, None, "unhideTab", at)
    }

    /// A tab that is in the space enters or leaves a room inside it. It stays in the space all the while.
    pub(super) fn visit(&mut self, seat: &Seat, room: &str, what: &str, at: Timestamp) -> Vec<Webhook> {
        if self.open_stay(seat).is_none() {
            return Vec::new();
        }
        self.tell_of_tab(seat, Some(room), what, at)
    }

    fn open_stay(&mut self, seat: &Seat) -> Option<&mut Stay> {
        self.running_mut(&seat.space)?.open_stay(&seat.tab)
    }

    /// Somebody does something in the session that runs, or has done it in the latest.
    pub(super) fn engage(&mut self, seat: &Seat, activity: Activity) {
        if let Some(session) = self.latest_session_mut(&seat.space) {
            let before = session.activities.entry(seat.user.clone()).or_default();
            *before = before.and(activity);
        }
    }

    /// Everybody is put out, and the session ends. No other one begins.
    pub(super) fn end_session(&mut self, space: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(session) = self.running_mut(space) else {
            return Vec::new();
        };
        let open = session.stays.iter().filter(|stay| stay.until.is_none());
        let seats: Vec<Seat> = open
            .map(|stay| Seat {
                space: space.to_owned(),
                user: stay.user.clone(),
                tab: stay.tab.clone(),
            })
            .collect();

        let mut told = Vec::new();
        for seat in seats {
            told.extend(self.leave(&seat, at));
        }
        self.close(space, at);
        told
    }

    /// As [`Self::end_session`], and another session begins at once that nobody is in. Returns both ids.
    pub(super) fn restart(&mut self, space: &str, at: Timestamp) -> Option<(String, String)> {
        let ended = self.running_mut(space)?.id.clone();
        let told = self.end_session(space, at);
        self.untold.extend(told);
        Some((ended, self.begin(space, at)?))
    }

    fn close(&mut self, space: &str, at: Timestamp) {
        let Some(session) = self.running_mut(space) else {
            return;
        };
        session.end = Some(at);

        let start = session.start;
        let disables = self
            .spaces
            .get(space)
            .is_some_and(|space| space.settings.disables_always_on_recording);
        if self.is(Quirk::AlwaysRecords) && !disables {
            self.record(space, start, at);
        }
    }

    /// The numbers of a session that has ended are ready, which the vendor calls its end.
    pub(super) fn analyse(&mut self, session: &str, at: Timestamp) -> Vec<Webhook> {
        let Some(session) = self.sessions.get_mut(session) else {
            return Vec::new();
        };
        if session.end.is_none() {
            return Vec::new();
        }
        session.is_analysed = true;

        let body = json!({
            "spaceId": session.space, "sessionId": session.id, "eventType": "SESSION_ENDED", "_type": "SPACE_SESSION",
        });
        if self.is(Quirk::LosesSessionEnds) {
            return Vec::new();
        }
        self.tell(body, at)
    }

    /// Something was recorded in the session that ran at its beginning, or else in the latest. Returns its id.
    pub(super) fn record(&mut self, space: &str, from: Timestamp, until: Timestamp) -> Option<String> {
        let place = self.spaces.get(space)?;
        let sessions = place.sessions.iter().filter_map(|id| self.sessions.get(id));
        let mut ran =
            sessions.filter(|session| session.start <= from && session.end.is_none_or(|end| end >= from));
        let session = ran.next_back().or_else(|| self.latest_session(space))?;

        let recording = Recording {
            id: new_id(20),
            space: space.to_owned(),
            session: session.id.clone(),
            room: place.main_room.clone(),
            from,
            until,
            is_ready: false,
        };
        let id = recording.id.clone();
        self.recordings.add(&id, recording);
        self.spaces.get_mut(space)?.recordings.push(id.clone());
        Some(id)
    }

    /// A recording, or its transcript, is ready. From then on the recording is listed.
    pub(super) fn ready(&mut self, recording: &str, what: &str, at: Timestamp) -> Vec<Webhook> {
        let is_bare = self.is(Quirk::BareRecordingEvents);
        let Some(recording) = self.recordings.get_mut(recording) else {
            return Vec::new();
        };
        recording.is_ready = true;

        let mut body = json!({"spaceId": recording.space, "eventType": what, "_type": "SPACE_RECORDING"});
        if let Some(fields) = body.as_object_mut()
            && !is_bare
        {
            fields.insert("sessionId".into(), json!(recording.session));
            fields.insert("recordingId".into(), json!(recording.id));
        }
        self.tell(body, at)
    }

    fn tell_of_tab(&self, seat: &Seat, room: Option<&str>, what: &str, at: Timestamp) -> Vec<Webhook> {
        let place = self.spaces.get(&seat.space);
        let (Some(session), Some(place)) = (self.latest_session(&seat.space), place) else {
            return Vec::new();
        };
        if what == "leaveSpace" && self.is(Quirk::LosesLeaves) {
            return Vec::new();
        }
        let body = json!({
            "spaceId": seat.space, "sessionId": session.id, "eventType": what, "userId": seat.user,
            "roomId": room.unwrap_or(&place.main_room), "userTabId": seat.tab, "_type": "SPACE_USER",
        });
        self.tell(body, at)
    }

    /// Tells `body`, with the time as the vendor writes it.
    fn tell(&self, body: Value, at: Timestamp) -> Vec<Webhook> {
        let mut bodies = Vec::new();
        if self.is(Quirk::UnknownEvents) {
            let space = body.get("spaceId").cloned().unwrap_or_default();
            let unheard_of =
                json!({"spaceId": space, "eventType": "whiteboardCleared", "_type": "SPACE_WHITEBOARD"});
            bodies.push(unheard_of);
        }
        bodies.push(body);

        for fields in bodies.iter_mut().filter_map(Value::as_object_mut) {
            fields.insert("timestamp".into(), self.timestamp(at));
        }
        bodies.iter().filter_map(|body| self.say(body)).collect()
    }

    /// A webhook with any body.
    pub(super) fn say(&self, body: &Value) -> Option<Webhook> {
        let url = self.webhook_url.clone();
        let webhook = Webhook::new(url, &self.webhook_secret, &self.quirks, body);
        (!self.is(Quirk::Silent)).then_some(webhook)
    }

    fn timestamp(&self, at: Timestamp) -> Value {
        if self.is(Quirk::EpochSeconds) {
            json!(at.as_second())
        } else if self.is(Quirk::EpochMilliseconds) {
            json!(at.as_millisecond())
        } else {
            json!(time(at))
        }
    }
}
