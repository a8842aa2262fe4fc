//! How egresses begin and end, as far as rooms and the API decide it. What becomes of their files is in `endings`.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use super::books::{Books, guid};
use super::egress::{Egress, Kind, Source, Status};
use super::outputs::{Facts, plan};
use super::quirks::Quirk;
use super::refusals::{Code, TwirpError};
use super::room_service::text;
use super::rooms::{Person, Room};
use super::webhooks::Event;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Ended egresses are remembered for so long.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

const NO_SIGNAL: &str = "Start signal not received";
const PRECONDITION_FAILED: u16 = 412;

impl Books {
    /// Starts one by its room's name, which the request holds.
    pub(super) fn start_by_call(
        &mut self,
        kind: Kind,
        request: &Value,
        at: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<Value, TwirpError> {
        let name = text(request, "room_name");
        if name.is_empty() {
            let words = "request has missing or invalid field: room_name";
            return Err(TwirpError::new(Code::InvalidArgument, words));
        }
        let room = self.room(name).filter(|_| !self.is(Quirk::RoomsHideFromEgress));
        let absent = || TwirpError::new(Code::NotFound, "requested room does not exist");
        let sid = room.ok_or_else(absent)?.sid.clone();

        let id = self.start_egress(kind, request, &sid, at, told)?;
        // The answer is older than what happens next.
        let answer = self.egress(&id).map(Egress::info).unwrap_or_default();
        let activated = self.activate_egresses(&sid, at);
        told.extend(activated);
        Ok(answer)
    }

    /// Starts one in a room, and returns its id.
    pub(super) fn start_egress(
        &mut self,
        kind: Kind,
        request: &Value,
        sid: &str,
        at: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<String, TwirpError> {
        if self.is(Quirk::NoEgress) {
            let words = "egress not connected (redis required)";
            return Err(TwirpError::new(Code::Internal, words));
        }
        if self.faults.lacks_worker() {
            return Err(TwirpError::no_worker());
        }
        let room = self.room_by_sid(sid).map(|room| room.brief()).unwrap_or_default();
        let facts = Facts {
            room_name: text(&room, "name"),
            room_sid: sid,
            at,
        };
        let plan = plan(kind, request, facts)?;

        let id = guid("EG_");
        let egress = Egress::new(id.clone(), kind, request, room, plan, at);
        told.push(tell("egress_started", &egress, at));
        self.egresses.push(egress);
        told.extend(self.admit(sid, Person::recorder(&id, at), at));
        Ok(id)
    }

    pub(super) fn egress(&self, id: &str) -> Option<&Egress> {
        self.egresses.iter().find(|egress| egress.id == id)
    }

    /// What waits for its source in a room, and has it now, begins to record.
    pub(super) fn activate_egresses(&mut self, sid: &str, at: Timestamp) -> Vec<Event> {
        if self.is(Quirk::StartSignalsGetLost) {
            return Vec::new();
        }
        let Some(room) = self.rooms.iter().find(|room| room.sid == sid) else {
            return Vec::new();
        };

        let waiting = self.egresses.iter_mut().filter(|egress| {
            egress.status == Status::Starting && egress.room_sid() == sid && egress.source.is_there(room)
        });
        let begin = |egress: &mut Egress| {
            egress.active = Some(at);
            egress.turn(Status::Active, at);
            tell("egress_updated", egress, at)
        };
        waiting.map(begin).collect()
    }

    /// Starts what a room records by itself when somebody has published.
    pub(super) fn record_by_itself(
        &mut self,
        sid: &str,
        identity: &str,
        tracks: &[Value],
        is_first: bool,
        at: Timestamp,
        told: &mut Vec<Event>,
    ) {
        let Some(room) = self.room_by_sid(sid) else {
            return;
        };
        let brief = room.brief();
        let mut wanted = participant_wish(room, identity, is_first);
        wanted.extend(track_wishes(room, tracks));

        for (kind, request) in wanted {
            if let Err(refusal) = self.start_egress(kind, &request, sid, at, told) {
                let info = Egress::info_of_failure(kind, &request, &brief, &refusal.message);
                let about = json!({"room": brief, "egress_info": info});
                told.push(Event::new("egress_ended", at, about));
            }
        }
    }

    /// Ends what loses its source: with `gone`, who left; without, with the whole room.
    pub(super) fn end_egresses_of(&mut self, sid: &str, gone: Option<&Person>, at: Timestamp) -> Vec<Event> {
        let loses = |egress: &Egress| match (gone, &egress.source) {
            (None, _) => true,
            (Some(_), Source::Room) => false,
            (Some(person), Source::Participant(identity)) => person.identity == *identity,
            (Some(person), Source::Tracks(sids)) => {
                let mut tracks = person.tracks.iter();
                tracks.any(|track| sids.iter().any(|sid| track["sid"] == *sid))
            }
        };
        let affected = self.egresses.iter();
        let affected = affected.filter(|egress| egress.room_sid() == sid && loses(egress));
        let ids: Vec<String> = affected.map(|egress| egress.id.clone()).collect();

        let mut told = Vec::new();
        for id in ids {
            told.extend(self.stop(&id, "Source closed", at));
        }
        told
    }

    /// One stops taking in: it goes on to its end if it has recorded something, and is given up if not.
    fn stop(&mut self, id: &str, reason: &str, at: Timestamp) -> Vec<Event> {
        let Some(egress) = self.egress_mut(id) else {
            return Vec::new();
        };
        let event = match egress.status {
            Status::Starting => {
                egress.abort(at);
                "egress_ended"
            }
            Status::Active => {
                egress.stopped = Some(at);
                egress.turn(Status::Ending, at);
                "egress_updated"
            }
            Status::Ending | Status::Complete | Status::Failed | Status::Aborted | Status::LimitReached => {
                return Vec::new();
            }
        };
        egress.details = format!("End reason: {reason}");
        let mut told = vec![tell(event, egress, at)];
        told.extend(self.dismiss(id, at));
        told
    }

    pub(super) fn egress_mut(&mut self, id: &str) -> Option<&mut Egress> {
        self.egresses.iter_mut().find(|egress| egress.id == id)
    }

    /// What an egress joined as leaves its room.
    pub(super) fn dismiss(&mut self, id: &str, at: Timestamp) -> Vec<Event> {
        let sid = self.egress(id).map(|egress| egress.room_sid().to_owned());
        let sid = sid.unwrap_or_default();
        self.depart(&sid, id, super::rooms::Reason::ClientInitiated, at)
    }

    pub(super) fn stop_egress(
        &mut self,
        id: &str,
        now: Timestamp,
        told: &mut Vec<Event>,
    ) -> Result<Value, TwirpError> {
        let absent = || TwirpError::new(Code::NotFound, "egress does not exist");
        let status = self.egress(id).ok_or_else(absent)?.status;
        if status.is_final() {
            let words = format!("egress with status {} cannot be stopped", status.name());
            return Err(TwirpError::new(Code::FailedPrecondition, words));
        }

        told.extend(self.stop(id, "StopEgress API", now));
        let mut info = self.egress(id).map(Egress::info).unwrap_or_default();
        if status == Status::Starting {
            // The end is told in other words than the answer.
            info["error"] = json!("Stop called before pipeline could start");
        }
        Ok(info)
    }

    pub(super) fn list_egress(&self, request: &Value, now: Timestamp) -> Result<Value, TwirpError> {
        let is_known = |egress: &&Egress| {
            let is_old = |ended: Timestamp| now.duration_since(ended) >= REMEMBERED;
            !egress
                .ended
                .is_some_and(|ended| self.is(Quirk::ForgetsEgresses) || is_old(ended))
        };
        let mut known: Vec<&Egress> = self.egresses.iter().filter(is_known).collect();

        let (id, name) = (text(request, "egress_id"), text(request, "room_name"));
        if id.is_empty() {
            let is_active_wanted = request.get("active") == Some(&json!(true));
            known.retain(|egress| name.is_empty() || egress.room_name() == name);
            known.retain(|egress| !is_active_wanted || !egress.status.is_final());
            // In no order.
            known.sort_by(|one, other| one.id.cmp(&other.id));
        } else {
            known.retain(|egress| egress.id == id);
            if known.is_empty() {
                return Err(TwirpError::new(Code::NotFound, "egress does not exist"));
            }
        }
        Ok(json!({"items": known.into_iter().map(Egress::info).collect::<Vec<Value>>()}))
    }
}

impl Egress {
    /// Gives up before anything was recorded. A file is named that does not exist.
    pub(super) fn abort(&mut self, at: Timestamp) {
        self.turn(Status::Aborted, at);
        NO_SIGNAL.clone_into(&mut self.error);
        self.error_code = PRECONDITION_FAILED;
        self.files = vec![self.row()];
    }
}

/// An event of an egress, which goes to the addresses of its request as well.
pub(super) fn tell(event: &str, egress: &Egress, at: Timestamp) -> Event {
    let about = json!({"room": egress.room, "egress_info": egress.info()});
    Event {
        extras: egress.extras(),
        ..Event::new(event, at, about)
    }
}

/// What the room records of somebody who publishes for the first time.
fn participant_wish(room: &Room, identity: &str, is_first: bool) -> Vec<(Kind, Value)> {
    let wish = room.auto_participant.iter().filter(|_| is_first).map(|options| {
        let mut request = options.clone();
        request["room_name"] = json!(room.name);
        request["identity"] = json!(identity);
        (Kind::Participant, request)
    });
    wish.collect()
}

/// What the room records of each track.
fn track_wishes(room: &Room, tracks: &[Value]) -> Vec<(Kind, Value)> {
    let wishes = room.auto_tracks.iter().flat_map(|options| {
        tracks.iter().map(|track| {
            let mut file = options.clone();
            // The server forgets to pass it on.
            file["disable_manifest"] = json!(false);
            file["filepath"] = json!(with_track_id(text(options, "filepath")));
            let request = json!({"room_name": room.name, "track_id": track["sid"], "file": file});
            (Kind::Track, request)
        })
    });
    wishes.collect()
}

/// A name that differs from track to track.
fn with_track_id(filepath: &str) -> String {
    if filepath.is_empty() || filepath.ends_with('/') || filepath.contains("{track_id}") {
        return filepath.to_owned();
    }
    match filepath.split_once('.') {
        Some((name, ending)) => format!("{name}-{{track_id}}.{ending}"),
        None => format!("{filepath}-{{track_id}}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::livekit::stage::{Stage, events, request};
    use crate::livekit::{Ending, Faults, Quirk};
    use serde_json::json;

    #[tokio::test]
    async fn stopping_is_answered_by_what_it_is_too_late_for() {
        let stage = Stage::set().await;
        let livekit = &stage.livekit;
        livekit.join(&stage.token("b-1", "tutor"), stage.at(0)).unwrap();
        livekit.publish("b-1", "tutor", stage.at(1));
        let (_, info) = stage
            .call("StartRoomCompositeEgress", &request("http://x.test", "b"))
            .await;
        let stop = json!({"egressId": info["egress_id"]});

        let (_, ending) = stage.call("StopEgress", &stop).await;
        assert_eq!(
            (&ending["status"], &ending["details"]),
            (&json!("EGRESS_ENDING"), &json!("End reason: StopEgress API"))
        );

        let id = info["egress_id"].as_str().unwrap();
        livekit.end_egress(id, Ending::Killed, b"", stage.at(60)).await;
        let (status, error) = stage.call("StopEgress", &stop).await;
        assert_eq!((status, &error["code"]), (412, &json!("failed_precondition")));
        let (_, listed) = stage.call("ListEgress", &json!({"active": true})).await;
        assert_eq!(listed["items"], json!([]));
    }

    #[tokio::test]
    async fn a_rooms_own_egress_may_fail_although_the_room_lives() {
        let stage = Stage::set().await;
        stage.livekit.misbehave(Faults {
            no_worker_next: 1,
            ..Faults::default()
        });
        let asked = json!({"name": "b-1", "egress": {"room": request("http://x.test", "b")}});

        let (status, error) = stage.call("CreateRoom", &asked).await;

        assert_eq!((status, &error["msg"]), (503, &json!("no response from servers")));
        assert_eq!(events(&stage.livekit.take_webhooks()), ["room_started"]);
        assert_eq!(stage.livekit.rooms().len(), 1);
    }

    #[tokio::test]
    async fn signals_may_get_lost_and_tracks_be_recorded_by_themselves() {
        let stage = Stage::set().await;
        let tracks = json!({"filepath": "t/x", "s3": {"bucket": "b"}});
        stage
            .call(
                "CreateRoom",
                &json!({"name": "b-1", "egress": {"tracks": tracks}}),
            )
            .await;
        stage
            .livekit
            .join(&stage.token("b-1", "tutor"), stage.at(0))
            .unwrap();
        stage.livekit.publish("b-1", "tutor", stage.at(1));
        let kept = stage.livekit.egresses();
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|egress| egress["status"] == "EGRESS_ACTIVE"));

        stage.livekit.behave([Quirk::StartSignalsGetLost]);
        stage
            .call("StartRoomCompositeEgress", &request("http://x.test", "b"))
            .await;
        assert_eq!(stage.livekit.egresses()[2]["status"], "EGRESS_STARTING");
    }
}
