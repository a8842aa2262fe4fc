//! Events in calendars, and the rooms that come with them.

use super::accounts::Person;
use super::answers::Refusal;
use super::books::Books;
use super::draft::{Ask, Draft, is_event_id, settle_times};
use super::ids;
use super::quirks::take_one;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Its room, on the way to it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Conference {
    None,
    Pending {
        request: String,
        polls_left: u32,
        fails: bool,
    },
    Failed {
        request: String,
    },
    /// With the id of its space.
    Ready {
        request: String,
        space: String,
    },
}

#[derive(Clone)]
pub(super) struct Event {
    pub(super) id: String,
    /// In whose calendar it is.
    pub(super) owner: String,
    /// The address of its organizer.
    pub(super) organizer: String,
    pub(super) is_cancelled: bool,
    /// As it was sent, with the times rewritten.
    pub(super) fields: Map<String, Value>,
    pub(super) conference: Conference,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    created: Timestamp,
    updated: Timestamp,
    version: u64,
}

/// What a change starts from.
pub(super) struct Change {
    pub(super) draft: Draft,
    /// Whether what is not sent is taken away.
    pub(super) is_whole: bool,
    pub(super) version: u8,
}

impl Event {
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", 3_400_000_000_000_000_u64 + self.version)
    }

    /// Its room's space.
    pub(super) fn space(&self) -> Option<&str> {
        match &self.conference {
            Conference::Ready { space, .. } => Some(space),
            Conference::None | Conference::Pending { .. } | Conference::Failed { .. } => None,
        }
    }

    fn request(&self) -> Option<&str> {
        match &self.conference {
            Conference::None => None,
            Conference::Pending { request, .. }
            | Conference::Failed { request }
            | Conference::Ready { request, .. } => Some(request),
        }
    }

    /// A private property.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let properties = self.fields.get("extendedProperties")?;
        properties.get("private")?.get(name)?.as_str()
    }

    /// Whether somebody is on its list of attendees.
    pub(super) fn invites(&self, email: &str) -> bool {
        let attendees = self.fields.get("attendees").and_then(Value::as_array);
        let mut addresses = attendees
            .into_iter()
            .flatten()
            .filter_map(|attendee| attendee.get("email")?.as_str());
        addresses.any(|address| address.eq_ignore_ascii_case(email))
    }

    fn touch(&mut self, now: Timestamp) {
        self.version += 1;
        self.updated = now;
    }
}

impl Books {
    /// The event of that id in somebody's calendar; of two copies the one that is alive.
    pub(super) fn event(&self, owner: &str, id: &str) -> Option<usize> {
        let found = |is_alive: bool| {
            self.events.iter().rposition(|event| {
                let is_it = event.owner == owner && event.id == id;
                is_it && (!is_alive || !event.is_cancelled)
            })
        };
        found(true).or_else(|| found(false))
    }

    /// The event of that id in any calendar.
    pub(super) fn any_event(&self, id: &str) -> Option<usize> {
        let owner = self.events.iter().find(|event| event.id == id)?.owner.clone();
        self.event(&owner, id)
    }

    pub(super) fn insert(&mut self, owner: &Person, draft: Draft) -> Result<usize, Refusal> {
        let Draft { mut fields, ask } = draft;
        fields.retain(|_, value| !value.is_null());
        let id = self.chosen_id(owner, fields.remove("id").as_ref())?;
        let (start, end) = settle_times(&mut fields)?;
        fields.remove("status");
        let now = self.now();

        let mut event = Event {
            id,
            owner: owner.sub.clone(),
            organizer: owner.email.clone(),
            is_cancelled: false,
            fields,
            conference: Conference::None,
            start,
            end,
            created: now,
            updated: now,
            version: u64::from(rand::random::<u32>()),
        };
        self.furnish(&mut event, owner, &ask)?;
        self.events.push(event);
        Ok(self.events.len() - 1)
    }

    fn chosen_id(&mut self, owner: &Person, chosen: Option<&Value>) -> Result<String, Refusal> {
        let Some(chosen) = chosen else {
            self.complain("insert: no id of the caller's own, so a lost answer makes a second event");
            return Ok(ids::opaque(26).to_lowercase());
        };
        let id = chosen.as_str().filter(|id| is_event_id(id));
        let id = id.ok_or_else(|| Refusal::bad_event("invalid", "Invalid resource id value."))?;
        if self.event(&owner.sub, id).is_some() && !take_one(&mut self.faults.copy_next) {
            let text = "The requested identifier already exists.";
            return Err(Refusal::calendar(StatusCode::CONFLICT, "duplicate", text));
        }
        Ok(id.to_owned())
    }

    /// Does with an event's room what was asked. A request that comes again is ignored.
    fn furnish(&mut self, event: &mut Event, owner: &Person, ask: &Ask) -> Result<(), Refusal> {
        let request = match ask {
            Ask::Nothing => return Ok(()),
            Ask::Remove => {
                event.conference = Conference::None;
                return Ok(());
            }
            Ask::Create(request) => request,
        };
        if event.request() == Some(request) {
            return Ok(());
        }
        if !owner.may_meet {
            return Err(Refusal::bad_event("invalid", "Invalid conference type value."));
        }

        event.conference = Conference::Pending {
            request: request.clone(),
            polls_left: self.faults.pending_polls,
            fails: take_one(&mut self.faults.fail_conferences_next),
        };
        self.advance(event);
        Ok(())
    }

    /// The room comes about, or does not, if it need not be waited for any longer.
    fn advance(&mut self, event: &mut Event) {
        let Conference::Pending {
            request,
            polls_left: 0,
            fails,
        } = &event.conference
        else {
            return;
        };
        let request = request.clone();
        event.conference = if *fails {
            Conference::Failed { request }
        } else {
            let space = self.rooms.open(&event.owner, false);
            Conference::Ready { request, space }
        };
        event.touch(self.now());
    }

    /// Somebody looks at an event: what is pending comes nearer.
    pub(super) fn look(&mut self, place: usize) {
        let Some(mut event) = self.events.get(place).cloned() else {
            return;
        };
        self.advance(&mut event);
        if let Conference::Pending { polls_left, .. } = &mut event.conference {
            *polls_left = polls_left.saturating_sub(1);
        }
        if let Some(kept) = self.events.get_mut(place) {
            *kept = event;
        }
    }

    pub(super) fn change(&mut self, place: usize, person: &Person, change: Change) -> Result<(), Refusal> {
        let gone = || Refusal::calendar(StatusCode::NOT_FOUND, "notFound", "Not Found");
        let mut event = self.events.get(place).cloned().ok_or_else(gone)?;
        let Draft { mut fields, ask } = change.draft;
        check_organizer(&event, person)?;
        if fields
            .remove("id")
            .is_some_and(|id| id.as_str() != Some(&event.id))
        {
            return Err(Refusal::bad_event("invalid", "The event's id cannot be changed."));
        }

        match fields.remove("status").as_ref().and_then(Value::as_str) {
            Some("cancelled") => event.is_cancelled = true,
            Some(_) => event.is_cancelled = false,
            None => {}
        }
        if change.is_whole {
            event.fields = fields;
            event.fields.retain(|_, value| !value.is_null());
            if change.version == 1 && ask == Ask::Nothing {
                event.conference = Conference::None;
            }
        } else {
            merge(&mut event.fields, fields);
        }
        (event.start, event.end) = settle_times(&mut event.fields)?;
        self.furnish(&mut event, person, &ask)?;

        event.touch(self.now());
        if let Some(kept) = self.events.get_mut(place) {
            *kept = event;
        }
        Ok(())
    }

    /// Takes an event away: it stays, cancelled.
    pub(super) fn cancel(&mut self, place: usize) {
        let now = self.now();
        if let Some(event) = self.events.get_mut(place) {
            event.is_cancelled = true;
            event.touch(now);
        }
    }

    /// Somebody changes an event in their own calendar, not through the app.
    pub(super) fn by_hand(&mut self, id: &str, change: impl FnOnce(&mut Event)) -> bool {
        let now = self.now();
        let place = self.any_event(id);
        let Some(event) = place.and_then(|place| self.events.get_mut(place)) else {
            return false;
        };
        change(event);
        event.touch(now);
        true
    }

    /// An event as it is answered.
    pub(super) fn rendered(&self, event: &Event) -> Value {
        let organizes = self
            .person(&event.owner)
            .is_some_and(|person| person.email == event.organizer);
        let mut shown = event.fields.clone();
        let status = if event.is_cancelled {
            "cancelled"
        } else {
            "confirmed"
        };
        let own = json!({
            "kind": "calendar#event",
            "etag": event.etag(),
            "id": event.id,
            "status": status,
            "htmlLink": format!("https://www.google.com/calendar/event?eid={}", event.id),
            "created": event.created,
            "updated": event.updated,
            "creator": {"email": event.organizer, "self": organizes},
            "organizer": {"email": event.organizer, "self": organizes},
            "iCalUID": format!("{}@google.com", event.id),
            "sequence": 0,
            "eventType": "default",
        });
        shown.extend(own.as_object().cloned().unwrap_or_default());
        answered(shown.get_mut("attendees"));
        shown.extend(self.room_of(event));
        Value::Object(shown)
    }

    fn room_of(&self, event: &Event) -> Map<String, Value> {
        let request = |id: &str, status: &str| {
            json!({
                "requestId": id,
                "conferenceSolutionKey": {"type": "hangoutsMeet"},
                "status": {"statusCode": status},
            })
        };
        let shown = match &event.conference {
            Conference::None => json!({}),
            Conference::Pending { request: id, .. } => {
                json!({"conferenceData": {"createRequest": request(id, "pending")}})
            }
            Conference::Failed { request: id } => {
                json!({"conferenceData": {"createRequest": request(id, "failure")}})
            }
            Conference::Ready { request: id, space } => {
                let code = self.rooms.code_of(space);
                let link = format!("https://meet.google.com/{code}");
                let label = format!("meet.google.com/{code}");
                json!({
                    "hangoutLink": link,
                    "conferenceData": {
                        "createRequest": request(id, "success"),
                        "entryPoints": [{"entryPointType": "video", "uri": link, "label": label}],
                        "conferenceSolution": {"key": {"type": "hangoutsMeet"}, "name": "Google Meet"},
                        "conferenceId": code,
                    },
                })
            }
        };
        shown.as_object().cloned().unwrap_or_default()
    }
}

/// Attendees have not answered yet unless they have.
fn answered(attendees: Option<&mut Value>) {
    let attendees = attendees.and_then(Value::as_array_mut);
    for attendee in attendees.into_iter().flatten() {
        if let Some(attendee) = attendee.as_object_mut() {
            attendee
                .entry("responseStatus")
                .or_insert_with(|| "needsAction".into());
        }
    }
}

fn check_organizer(event: &Event, person: &Person) -> Result<(), Refusal> {
    if event.organizer.eq_ignore_ascii_case(&person.email) {
        return Ok(());
    }
    let text = "Shared properties can only be changed by the organizer of the event.";
    let reason = "forbiddenForNonOrganizer";
    Err(Refusal::calendar(StatusCode::FORBIDDEN, reason, text))
}

/// Objects are merged, null takes away, and everything else, arrays too, is replaced.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (target.get_mut(&name), value) {
            (_, Value::Null) => {
                target.remove(&name);
            }
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (_, value) => {
                target.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_objects_and_replaces_arrays() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let mut target = object(json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": 1}));

        merge(
            &mut target,
            object(json!({"a": {"c": 3}, "list": [4], "gone": null})),
        );

        assert_eq!(Value::Object(target), json!({"a": {"b": 1, "c": 3}, "list": [4]}));
    }
}
