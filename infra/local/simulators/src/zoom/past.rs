//! `/v2/past_meetings`: what took place.

use super::api::{Answer, Call, Desk, Operation, Outcome};
use super::books::{Instance, Meeting, Stay, time};
use super::encoding::percent_decoded;
use super::meetings::meeting_number;
use super::quirks::Quirk;
use super::{Zoom, lists};
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Who was there is known for so long.
const PARTICIPANTS_LIVE: SignedDuration = SignedDuration::from_hours(365 * 24);

pub(super) async fn read(State(zoom): State<Zoom>, Path(place): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::ReadPast, call, |desk, _| {
        let uuid = desk.past(&place, Operation::ReadPast)?;
        desk.past_view(&uuid).ok_or_else(missing)
    })
    .await
}

pub(super) async fn instances(State(zoom): State<Zoom>, Path(id): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::ListInstances, call, |desk, _| desk.instances(&id))
        .await
}

pub(super) async fn participants(
    State(zoom): State<Zoom>,
    Path(place): Path<String>,
    call: Call,
) -> Response {
    zoom.serve(Operation::ListParticipants, call, |desk, call| {
        let uuid = desk.past(&place, Operation::ListParticipants)?;
        desk.participants(&uuid, call)
    })
    .await
}

fn missing() -> Answer {
    Answer::refusal(404, 3001, "Meeting does not exist.")
}

/// What a path means: a meeting by its number, or an instance by its uuid.
pub(super) enum Place {
    Number(u64),
    Uuid(String),
}

impl Place {
    /// Reads a part of a path that the server decoded once. A slash that is in it by now was encoded only once, and
    /// has led somewhere else.
    pub(super) fn read(segment: &str) -> Option<Self> {
        if let Ok(number) = meeting_number(segment) {
            return Some(Self::Number(number));
        }
        if segment.contains('/') {
            return None;
        }
        percent_decoded(segment).map(Self::Uuid)
    }
}

impl Desk<'_> {
    /// An instance of a meeting of whoever asks: the one of a uuid, or of a number's the last that `is_wanted`.
    pub(super) fn find(
        &self,
        segment: &str,
        is_wanted: fn(&Instance) -> bool,
    ) -> Option<(&Meeting, &Instance)> {
        let (meeting, instance) = match Place::read(segment)? {
            Place::Number(number) => {
                let meeting = self.books.meetings.get(&number)?;
                let mut instances = meeting.instances.iter().rev();
                let latest = instances.find(|instance| is_wanted(instance))?;
                (meeting, latest)
            }
            Place::Uuid(uuid) => {
                let (meeting, instance) = self.books.instance(&uuid)?;
                is_wanted(instance).then_some((meeting, instance))?
            }
        };
        (meeting.host == self.user.id).then_some((meeting, instance))
    }

    /// The uuid of what is past.
    fn past(&mut self, segment: &str, operation: Operation) -> Result<String, Answer> {
        if self.books.faults.is_unready(operation) {
            return Err(missing());
        }
        let found = self.find(segment, |instance| instance.end.is_some());
        let (_, instance) = found.ok_or_else(missing)?;
        Ok(instance.uuid.clone())
    }

    fn past_view(&self, uuid: &str) -> Option<Answer> {
        let (meeting, instance) = self.books.instance(uuid)?;
        let end = instance.end?;
        let present = || instance.stays.iter().filter(|stay| !stay.is_waiting);
        let seconds: i64 = present().map(|stay| seconds(stay, instance)).sum();
        Some(Answer::json(
            200,
            json!({
                "uuid": instance.uuid, "id": meeting.id, "host_id": meeting.host, "type": meeting.draft.kind,
                "topic": meeting.draft.topic, "user_name": self.user.name, "user_email": self.user.email,
                "start_time": time(instance.start), "end_time": time(end),
                "duration": minutes(end.duration_since(instance.start).as_secs()),
                "total_minutes": minutes(seconds), "participants_count": present().count(),
                "dept": "", "source": "Zoom",
            }),
        ))
    }

    fn instances(&mut self, id: &str) -> Outcome {
        let number = meeting_number(id)?;
        if self.books.faults.is_unready(Operation::ListInstances) {
            return Err(missing());
        }
        let meeting = self.books.meetings.get(&number);
        let meeting = meeting
            .filter(|meeting| meeting.host == self.user.id)
            .ok_or_else(missing)?;
        let past = meeting.instances.iter().filter(|instance| instance.end.is_some());
        let rows: Vec<Value> = past
            .map(|instance| json!({"uuid": instance.uuid, "start_time": time(instance.start)}))
            .collect();
        if rows.is_empty() && self.books.is(Quirk::NeverHeldIs404) {
            return Err(missing());
        }
        Ok(Answer::json(200, json!({ "meetings": rows })))
    }

    fn participants(&mut self, uuid: &str, call: &Call) -> Outcome {
        if !self.user.plan.is_paid() {
            let text = format!("Only available for Paid account: {}.", self.user.account);
            return Err(Answer::refusal(400, 200, &text));
        }
        let (_, instance) = self.books.instance(uuid).ok_or_else(missing)?;
        if instance.end.is_some_and(|end| self.now > end + PARTICIPANTS_LIVE) {
            let text = "Can not access a meeting a year ago.";
            return Err(Answer::refusal(400, 12702, text));
        }

        // The vendor says nothing about a meeting in which nobody met anybody.
        let present = instance.stays.iter().filter(|stay| !stay.is_waiting);
        let mut people: Vec<String> = present.map(|stay| format!("{:?}", stay.who)).collect();
        people.sort();
        people.dedup();
        let rows = if people.len() > 1 {
            let stays = instance.stays.iter();
            stays.map(|stay| row(stay, instance)).collect()
        } else {
            Vec::new()
        };
        lists::page(self.books, call, self.now, ("participants", uuid), rows)
    }
}

fn seconds(stay: &Stay, instance: &Instance) -> i64 {
    let until = stay.until.or(instance.end).unwrap_or(stay.from);
    until.duration_since(stay.from).as_secs()
}

/// Begun minutes.
fn minutes(seconds: i64) -> i64 {
    (seconds + 59).div_euclid(60)
}

fn row(stay: &Stay, instance: &Instance) -> Value {
    let until = stay.until.or(instance.end).unwrap_or(stay.from);
    let is_internal = !stay.person.id.is_empty();
    let status = if stay.is_waiting {
        "in_waiting_room"
    } else {
        "in_meeting"
    };
    json!({
        "id": stay.person.id, "name": stay.person.name, "user_id": stay.visit, "registrant_id": "",
        "user_email": stay.person.email, "join_time": time(stay.from), "leave_time": time(until),
        "duration": seconds(stay, instance), "failover": false, "status": status, "internal_user": is_internal,
    })
}
