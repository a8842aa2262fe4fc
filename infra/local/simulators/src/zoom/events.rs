//! What webhooks say: the vendor's shapes, with their members in the order in which they were seen.

use super::books::{Books, File, Instance, Meeting, Stay, time};
use super::people::User;
use super::quirks::Quirk;
use super::recordings::length;
use jiff::{SignedDuration, Timestamp};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

/// An event is stamped so long after what it tells of.
const LAG: SignedDuration = SignedDuration::from_millis(781);

/// A JSON object that keeps its order.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(&'static str, Part)>);

/// A value in it.
#[derive(Debug, Clone)]
enum Part {
    Value(Value),
    Fields(Fields),
    List(Vec<Fields>),
}

impl Fields {
    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, Part::Value(value.into())));
        self
    }

    fn within(mut self, name: &'static str, fields: Self) -> Self {
        self.0.push((name, Part::Fields(fields)));
        self
    }

    fn list(mut self, name: &'static str, items: Vec<Self>) -> Self {
        self.0.push((name, Part::List(items)));
        self
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, part) in &self.0 {
            match part {
                Part::Value(value) => map.serialize_entry(name, value)?,
                Part::Fields(fields) => map.serialize_entry(name, fields)?,
                Part::List(items) => map.serialize_entry(name, items)?,
            }
        }
        map.end()
    }
}

/// Something that the vendor tells the app, not yet on its way.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Whose grant it goes by; without one it is not told.
    pub(super) host: String,
    pub(super) event: &'static str,
    /// What its tracking id is made of: events of one meeting share it.
    pub(super) topic: String,
    pub(super) at: Timestamp,
    payload: Fields,
    shape: Shape,
}

/// Where an event's name and stamp stand.
#[derive(Debug, Clone)]
enum Shape {
    /// `event, payload, event_ts`
    NameFirst,
    /// `payload, event_ts, event`
    NameLast,
    /// The same with a token for downloads.
    Tokened(String),
    /// `event, payload`, the stamp inside.
    StampInside,
}

impl Told {
    /// The body, stamped so much later.
    pub(super) fn body(&self, later: SignedDuration) -> Fields {
        let stamp = (self.at + LAG + later).as_millisecond();
        let fields = Fields::default();
        match &self.shape {
            Shape::NameFirst => fields
                .with("event", self.event)
                .within("payload", self.payload.clone())
                .with("event_ts", stamp),
            Shape::NameLast => fields
                .within("payload", self.payload.clone())
                .with("event_ts", stamp)
                .with("event", self.event),
            Shape::Tokened(token) => fields
                .within("payload", self.payload.clone())
                .with("event_ts", stamp)
                .with("event", self.event)
                .with("download_token", token.as_str()),
            Shape::StampInside => fields
                .with("event", self.event)
                .within("payload", self.payload.clone().with("event_ts", stamp)),
        }
    }

    /// The app was taken off somebody's account.
    pub(super) fn deauthorized(user: &User, client_id: &str, says_retention: bool, at: Timestamp) -> Self {
        let mut payload = Fields::default()
            .with("account_id", user.account.as_str())
            .with("user_id", user.id.as_str())
            .with(
                "signature",
                "827edc3452044f0bc86bdd5684afb7d1e6becfa1a767f24df1b287853cf73000",
            )
            .with("deauthorization_time", format!("{at:.3}"))
            .with("client_id", client_id);
        if says_retention {
            payload = payload.with("user_data_retention", "false");
        }
        Self {
            host: user.id.clone(),
            event: "app_deauthorized",
            topic: user.id.clone(),
            at,
            payload,
            shape: Shape::StampInside,
        }
    }

    /// Asks whether an address knows the secret.
    pub(super) fn url_validation(plain_token: &str, at: Timestamp) -> Self {
        Self {
            host: String::new(),
            event: "endpoint.url_validation",
            topic: String::new(),
            at,
            payload: Fields::default().with("plainToken", plain_token),
            shape: Shape::NameLast,
        }
    }
}

/// Somebody's coming or going, or what comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Joins,
    JoinsBeforeHost,
    Knocks,
    IsAdmitted,
    LeavesWaitingRoom,
}

/// Why somebody left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    OfTheirOwn,
    ConnectionLost,
    HostEnded,
    FreePlan,
}

impl Reason {
    fn text(self, name: &str) -> String {
        let reason = match self {
            Self::OfTheirOwn => "left the meeting.",
            Self::ConnectionLost => "Network connection error.",
            Self::HostEnded => "Host ended the meeting.",
            Self::FreePlan => "The free meeting ended.",
        };
        format!("{name} left the meeting.<br>Reason: {reason}")
    }
}

/// Tells of one meeting.
pub(super) struct Teller<'a> {
    meeting: &'a Meeting,
    host: &'a User,
    swaps_types: bool,
}

impl Books {
    pub(super) fn teller(&self, meeting: u64) -> Option<Teller<'_>> {
        let meeting = self.meetings.get(&meeting)?;
        Some(Teller {
            meeting,
            host: self.host_of(meeting)?,
            swaps_types: self.is(Quirk::SwapsIdTypes),
        })
    }
}

impl Teller<'_> {
    fn id(&self, is_text: bool) -> Value {
        if is_text == self.swaps_types {
            json!(self.meeting.id)
        } else {
            json!(self.meeting.id.to_string())
        }
    }

    fn told(&self, event: &'static str, topic: &str, at: Timestamp, object: Fields, shape: Shape) -> Told {
        Told {
            host: self.host.id.clone(),
            event,
            topic: topic.to_owned(),
            at,
            payload: Fields::default()
                .with("account_id", self.host.account.as_str())
                .within("object", object),
            shape,
        }
    }

    /// It begins or ends.
    pub(super) fn meeting(&self, event: &'static str, instance: &Instance, at: Timestamp) -> Told {
        let draft = &self.meeting.draft;
        let mut object = Fields::default()
            .with("duration", draft.duration)
            .with("start_time", time(instance.start))
            .with("timezone", draft.timezone.as_str());
        if let Some(end) = instance.end {
            object = object.with("end_time", time(end));
        }
        let object = object
            .with("topic", draft.topic.as_str())
            .with("id", self.id(true))
            .with("type", draft.kind)
            .with("uuid", instance.uuid.as_str())
            .with("host_id", self.host.id.as_str())
            .with("host_email", self.host.email.as_str());
        self.told(event, &instance.uuid, at, object, Shape::NameFirst)
    }

    fn about(&self, uuid: &str, start: Timestamp, participant: Fields, has_text_id: bool) -> Fields {
        let draft = &self.meeting.draft;
        Fields::default()
            .with("uuid", uuid)
            .within("participant", participant)
            .with("id", self.id(has_text_id))
            .with("type", draft.kind)
            .with("topic", draft.topic.as_str())
            .with("host_id", self.host.id.as_str())
            .with("duration", draft.duration)
            .with("start_time", time(start))
            .with("timezone", draft.timezone.as_str())
    }

    /// Somebody takes a step.
    pub(super) fn step(&self, step: Step, instance: &Instance, stay: &Stay, at: Timestamp) -> Told {
        let (event, moment) = match step {
            Step::Joins => ("meeting.participant_joined", Some("join_time")),
            Step::JoinsBeforeHost => ("meeting.participant_jbh_joined", None),
            Step::Knocks => ("meeting.participant_joined_waiting_room", Some("date_time")),
            Step::IsAdmitted => ("meeting.participant_admitted", Some("date_time")),
            Step::LeavesWaitingRoom => ("meeting.participant_left_waiting_room", Some("date_time")),
        };
        let participant = moment.map_or_else(
            || barely(stay),
            |moment| {
                visitor(stay)
                    .with(moment, time(at))
                    .with("email", stay.person.email.as_str())
                    .with("participant_uuid", stay.uuid.as_str())
            },
        );
        let object = self.about(&instance.uuid, instance.start, participant, true);
        self.told(event, &instance.uuid, at, object, Shape::NameLast)
    }

    /// Somebody leaves; the event is stamped when that was noticed.
    pub(super) fn leaves(
        &self,
        instance: &Instance,
        stay: &Stay,
        reason: Reason,
        noticed: Timestamp,
    ) -> Told {
        let left = stay.until.unwrap_or(noticed);
        let participant = visitor(stay)
            .with("leave_time", time(left))
            .with("leave_reason", reason.text(&stay.person.name))
            .with("registrant_id", "")
            .with("email", stay.person.email.as_str())
            .with("participant_uuid", stay.uuid.as_str())
            .with("private_ip", "192.0.2.4");
        let object = self.about(&instance.uuid, instance.start, participant, true);
        let event = "meeting.participant_left";
        self.told(event, &instance.uuid, noticed, object, Shape::NameLast)
    }

    /// Somebody waits for the host, or gives up. There is no instance yet, and no time but the stamp.
    pub(super) fn early(&self, stay: &Stay, gives_up: bool, at: Timestamp) -> Told {
        let event = if gives_up {
            "meeting.participant_jbh_waiting_left"
        } else {
            "meeting.participant_jbh_waiting"
        };
        let (uuid, start) = (&self.meeting.uuid, self.meeting.draft.start);
        let object = self.about(uuid, start, barely(stay), !gives_up);
        self.told(event, uuid, at, object, Shape::NameLast)
    }

    /// It was created, changed or deleted through the API.
    pub(super) fn change(&self, event: &'static str, at: Timestamp) -> Told {
        let draft = &self.meeting.draft;
        let object = Fields::default()
            .with("uuid", self.meeting.uuid.as_str())
            .with("id", self.id(false))
            .with("host_id", self.host.id.as_str())
            .with("topic", draft.topic.as_str())
            .with("type", draft.kind)
            .with("start_time", time(draft.start))
            .with("duration", draft.duration)
            .with("timezone", draft.timezone.as_str());
        self.told(event, &self.meeting.uuid, at, object, Shape::NameFirst)
    }

    /// Files are ready: these, at these links, for whoever shows the token.
    pub(super) fn recording(
        &self,
        event: &'static str,
        instance: &Instance,
        files: &[(File, String)],
        token: String,
        at: Timestamp,
    ) -> Told {
        let draft = &self.meeting.draft;
        let size: usize = files.iter().map(|(file, _)| file.content.len()).sum();
        let rows = files.iter().map(|(file, link)| row(&instance.uuid, file, link));
        let object = Fields::default()
            .with("uuid", instance.uuid.as_str())
            .with("id", self.id(false))
            .with("account_id", self.host.account.as_str())
            .with("host_id", self.host.id.as_str())
            .with("topic", draft.topic.as_str())
            .with("type", draft.kind)
            .with("start_time", time(instance.start))
            .with("timezone", draft.timezone.as_str())
            .with("host_email", self.host.email.as_str())
            .with("duration", length(instance))
            .with("total_size", size)
            .with("recording_count", files.len())
            .with("share_url", "https://us02web.zoom.us/rec/share/simulated")
            .list("recording_files", rows.collect())
            .with("password", draft.password.as_str())
            .with("recording_play_passcode", instance.recording.passcode.as_str())
            .with("on_prem", false);
        self.told(event, &instance.uuid, at, object, Shape::Tokened(token))
    }
}

/// Somebody with the number of their visit.
fn visitor(stay: &Stay) -> Fields {
    Fields::default()
        .with("customer_key", "")
        .with("public_ip", "203.0.113.7")
        .with("user_id", stay.visit.as_str())
        .with("user_name", stay.person.name.as_str())
        .with("participant_user_id", stay.person.id.as_str())
        .with("id", stay.person.id.as_str())
}

/// Somebody of whom there is little more than a name.
fn barely(stay: &Stay) -> Fields {
    Fields::default()
        .with("customer_key", "")
        .with("user_name", stay.person.name.as_str())
        .with("id", stay.person.id.as_str())
}

fn row(uuid: &str, file: &File, link: &str) -> Fields {
    let [file_type, extension, recording_type, _] = file.kind.names();
    Fields::default()
        .with("id", file.id.as_str())
        .with("meeting_id", uuid)
        .with("recording_start", time(file.from))
        .with("recording_end", time(file.until))
        .with("file_type", file_type)
        .with("file_extension", extension)
        .with("file_size", file.content.len())
        .with("play_url", "https://us02web.zoom.us/rec/play/simulated")
        .with("download_url", link)
        .with("status", "completed")
        .with("recording_type", recording_type)
}
