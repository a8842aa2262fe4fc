//! What the vendor knows: users, grants, meetings and what became of them.

use super::api::{Call, Operation, Weight};
use super::encoding::credential;
use super::grants::Grants;
use super::meetings::Draft;
use super::oauth::{Consent, SCOPES};
use super::people::{Person, Standing, User, Who};
use super::quirks::{Faults, Quirk, Quirks};
use super::webhooks::Webhook;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;
use url::Url;

/// A scheduled meeting's id dies so long after its last use.
const ID_LIVES: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A participant's number in a meeting starts somewhere, and goes on in such steps.
const FIRST_VISIT: u64 = 16_778_240;
const VISIT_STEP: u64 = 1024;

pub(super) struct Books {
    // People and consent
    pub(super) users: BTreeMap<String, User>,
    pub(super) signed_in: Option<String>,
    pub(super) consent: Consent,
    pub(super) scopes: BTreeSet<String>,
    pub(super) redirects: BTreeSet<String>,
    pub(super) grants: Grants,
    /// Settings that an account has locked, by the account's id.
    pub(super) locks: HashMap<String, Map<String, Value>>,

    // Meetings
    pub(super) meetings: BTreeMap<u64, Meeting>,
    /// The meeting of each uuid of something that took place.
    pub(super) places: HashMap<String, u64>,
    pub(super) visits: u64,
    /// Creations and updates by host and day.
    pub(super) spent: HashMap<(String, String), u32>,
    pub(super) tickets: HashMap<String, Ticket>,
    /// Instance and file of each download link.
    pub(super) links: HashMap<String, (String, String)>,
    /// Where a list goes on, by its token.
    pub(super) pages: HashMap<String, Bookmark>,

    // Webhooks
    pub(super) hook: Option<Url>,
    /// Validations of the address that failed one after the other.
    pub(super) failures: u32,
    /// Webhooks about what the API was asked to do, not yet fetched.
    pub(super) untold: Vec<Webhook>,

    // Conduct
    pub(super) faults: Faults,
    pub(super) quirks: Quirks,
    pub(super) asked: HashMap<(String, Weight), VecDeque<Instant>>,
    pub(super) log: Vec<Value>,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            signed_in: None,
            consent: Consent::default(),
            scopes: SCOPES.map(ToOwned::to_owned).into(),
            redirects: BTreeSet::new(),
            grants: Grants::default(),
            locks: HashMap::new(),
            meetings: BTreeMap::new(),
            places: HashMap::new(),
            visits: 0,
            spent: HashMap::new(),
            tickets: HashMap::new(),
            links: HashMap::new(),
            pages: HashMap::new(),
            hook: None,
            failures: 0,
            untold: Vec::new(),
            faults: Faults::default(),
            quirks: Quirks::default(),
            asked: HashMap::new(),
            log: Vec::new(),
        }
    }
}

/// A meeting that was scheduled.
pub(super) struct Meeting {
    pub(super) id: u64,
    /// Not the uuid of anything that takes place.
    pub(super) uuid: String,
    pub(super) host: String,
    pub(super) draft: Draft,
    pub(super) created: Timestamp,
    pub(super) deleted: Option<Timestamp>,
    pub(super) instances: Vec<Instance>,
    /// Those who came before the host and may not begin.
    pub(super) early: Vec<Who>,
}

/// A meeting that took place, or does.
pub(super) struct Instance {
    pub(super) uuid: String,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    pub(super) stays: Vec<Stay>,
    pub(super) recording: Recording,
}

/// Somebody's stay in a meeting or its waiting room, on one device.
#[derive(Clone)]
pub(super) struct Stay {
    pub(super) who: Who,
    pub(super) person: Person,
    pub(super) is_waiting: bool,
    /// `user_id`, another for each visit.
    pub(super) visit: String,
    pub(super) uuid: String,
    pub(super) from: Timestamp,
    pub(super) until: Option<Timestamp>,
}

#[derive(Default)]
pub(super) struct Recording {
    pub(super) files: Vec<File>,
    pub(super) is_ready: bool,
    pub(super) passcode: String,
}

/// A file of a recording.
#[derive(Clone)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) kind: FileKind,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) content: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Video,
    Audio,
    Timeline,
    Transcript,
}

/// What a credential that is no OAuth token opens.
pub(super) struct Ticket {
    pub(super) opens: Opens,
    pub(super) until: Timestamp,
}

#[derive(PartialEq, Eq)]
pub(super) enum Opens {
    /// The files of a recording, by its instance.
    Files(String),
    /// A meeting, as its host.
    Meeting(u64),
}

/// Where a list goes on.
pub(super) struct Bookmark {
    /// What was listed.
    pub(super) list: String,
    pub(super) from: usize,
    pub(super) since: Timestamp,
}

impl Books {
    pub(super) fn is(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Writes down that something was asked, and what it was answered with: 0 if it never was.
    pub(super) fn note(&mut self, operation: Operation, call: &Call, status: u16, now: Timestamp) {
        let is_about_tokens = matches!(operation, Operation::Token | Operation::Revoke);
        let body = if is_about_tokens {
            json!({"grant_type": call.form().get("grant_type")})
        } else {
            serde_json::from_slice(&call.body).unwrap_or(Value::Null)
        };
        let query: BTreeMap<&String, &String> = match operation {
            Operation::Authorize => BTreeMap::new(),
            _ => call.query.iter().collect(),
        };
        let grant = call
            .bearer()
            .and_then(|token| self.grants.bearer(token, now).ok());
        let user = grant.map(|grant| grant.user.clone());

        self.log.push(json!({
            "operation": operation, "method": call.method, "path": call.path, "query": query, "body": body,
            "user_id": user, "has_bearer": call.bearer().is_some(), "status": status, "at": time(now),
        }));
    }

    /// A ticket that is good until then.
    pub(super) fn ticket(&mut self, opens: Opens, until: Timestamp) -> String {
        let token = credential(240);
        self.grants.given_out.push(token.clone());
        self.tickets.insert(token.clone(), Ticket { opens, until });
        token
    }

    /// Whether a credential is a ticket for this, and still good.
    pub(super) fn opens(&self, token: &str, what: &Opens, now: Timestamp) -> bool {
        let ticket = self.tickets.get(token);
        ticket.is_some_and(|ticket| ticket.opens == *what && now <= ticket.until)
    }

    /// The number of somebody's visit to a meeting.
    pub(super) fn visit(&mut self) -> String {
        self.visits += 1;
        (FIRST_VISIT + self.visits * VISIT_STEP).to_string()
    }

    /// A meeting whose id still means something.
    pub(super) fn living(&self, id: u64, now: Timestamp) -> Option<&Meeting> {
        let meeting = self.meetings.get(&id);
        meeting.filter(|meeting| meeting.deleted.is_none() && now <= meeting.last_use() + ID_LIVES)
    }

    pub(super) fn host_of(&self, meeting: &Meeting) -> Option<&User> {
        self.users.get(&meeting.host)
    }

    /// A meeting and one of its instances.
    pub(super) fn instance(&self, uuid: &str) -> Option<(&Meeting, &Instance)> {
        let meeting = self.meetings.get(self.places.get(uuid)?)?;
        let mut instances = meeting.instances.iter();
        let instance = instances.find(|instance| instance.uuid == uuid)?;
        Some((meeting, instance))
    }

    pub(super) fn instance_mut(&mut self, uuid: &str) -> Option<&mut Instance> {
        let meeting = self.meetings.get_mut(self.places.get(uuid)?)?;
        let mut instances = meeting.instances.iter_mut();
        instances.find(|instance| instance.uuid == uuid)
    }

    /// How somebody is told of in the meetings of a host.
    pub(super) fn person(&self, who: &Who, host: &User) -> Person {
        match who {
            Who::Host => Person::known(host),
            Who::Guest(name) => Person::unknown(name),
            Who::Member(id) => match self.users.get(id) {
                Some(user) if user.account == host.account => Person::known(user),
                Some(user) => Person::unknown(&user.name),
                None => Person::unknown("Zoom User"),
            },
        }
    }

    /// Forgets meetings that were last used before then, what was asked, and every credential of tickets and pages.
    pub(super) fn forget(&mut self, before: Timestamp) {
        self.meetings.retain(|_, meeting| meeting.last_use() >= before);
        let meetings = &self.meetings;
        self.places.retain(|_, id| meetings.contains_key(id));
        let places = &self.places;
        self.links.retain(|_, (uuid, _)| places.contains_key(uuid));
        self.tickets.retain(|_, ticket| ticket.until >= before);
        self.pages.clear();
        self.spent.clear();
        self.log.clear();
    }

    /// Whether the vendor would let somebody hold a meeting there.
    pub(super) fn can_be_held(&self, id: u64, at: Timestamp) -> bool {
        let host = self.living(id, at).and_then(|meeting| self.host_of(meeting));
        host.is_some_and(|host| host.standing != Standing::Gone)
    }
}

impl Meeting {
    pub(super) fn running(&self) -> Option<&Instance> {
        let latest = self.instances.last();
        latest.filter(|instance| instance.end.is_none())
    }

    /// The last that ended.
    pub(super) fn past(&self) -> Option<&Instance> {
        let mut instances = self.instances.iter().rev();
        instances.find(|instance| instance.end.is_some())
    }

    pub(super) fn scheduled_end(&self) -> Timestamp {
        self.draft
            .start
            .saturating_add(SignedDuration::from_mins(self.draft.duration))
            .unwrap_or(self.draft.start)
    }

    /// For a judge.
    pub(super) fn view(&self) -> Value {
        let draft = &self.draft;
        json!({
            "id": self.id, "uuid": self.uuid, "host_id": self.host, "topic": draft.topic, "agenda": draft.agenda,
            "start_time": time(draft.start), "duration": draft.duration, "timezone": draft.timezone,
            "settings": draft.settings, "created_at": time(self.created), "deleted_at": self.deleted.map(time),
            "is_running": self.running().is_some(),
            "instances": self.instances.iter().map(Instance::view).collect::<Vec<Value>>(),
        })
    }

    fn last_use(&self) -> Timestamp {
        let held = self.instances.iter();
        let held = held.map(|instance| instance.end.unwrap_or(instance.start));
        held.chain([self.scheduled_end(), self.created])
            .max()
            .unwrap_or(self.created)
    }
}

impl Instance {
    pub(super) fn new(uuid: String, start: Timestamp) -> Self {
        Self {
            uuid,
            start,
            end: None,
            stays: Vec::new(),
            recording: Recording::default(),
        }
    }

    /// Nobody is in it; whoever sits in the waiting room does not count.
    pub(super) fn is_empty(&self) -> bool {
        let mut stays = self.stays.iter();
        !stays.any(|stay| !stay.is_waiting && stay.until.is_none())
    }

    /// For a judge.
    pub(super) fn view(&self) -> Value {
        let stays = self.stays.iter();
        let stays: Vec<Value> = stays
            .map(|stay| {
                json!({
                    "name": stay.person.name, "id": stay.person.id, "is_waiting": stay.is_waiting,
                    "from": time(stay.from), "until": stay.until.map(time),
                })
            })
            .collect();
        json!({
            "uuid": self.uuid, "start_time": time(self.start), "end_time": self.end.map(time), "stays": stays,
            "files": self.recording.files.len(), "is_recording_ready": self.recording.is_ready,
        })
    }
}

/// A time as the vendor writes it: whole seconds, UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
