//! Subscriptions to what happens in rooms: what they are, how long they live, and how they end.

use super::Webhook;
use super::accounts::Person;
use super::books::Books;
use super::ids;
use super::push::Published;
use super::quirks::Quirk;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// No subscription without resource data lives longer.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Reminders come so long before the end.
const REMINDERS: [SignedDuration; 2] = [SignedDuration::from_hours(12), SignedDuration::from_hours(1)];

/// The events that there are, without what all their names begin with.
pub(super) const KINDS: [&str; 13] = [
    "conference.v2.started",
    "conference.v2.ended",
    "participant.v2.joined",
    "participant.v2.left",
    "recording.v2.started",
    "recording.v2.ended",
    "recording.v2.fileGenerated",
    "transcript.v2.started",
    "transcript.v2.ended",
    "transcript.v2.fileGenerated",
    "smartNote.v2.started",
    "smartNote.v2.ended",
    "smartNote.v2.fileGenerated",
];

/// What the names of events begin with.
pub(super) const PREFIX: &str = "google.workspace.meet.";

/// Whoever is only invited is told of these.
const FOR_INVITED: [&str; 2] = ["conference.v2.started", "transcript.v2.fileGenerated"];

/// Why a subscription is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Suspension {
    /// The user took back what they allowed.
    UserScopeRevoked,
    /// Their administrator did.
    AppScopeRevoked,
    /// What it is about is gone.
    ResourceDeleted,
    /// The user lost access to it.
    UserAuthorizationFailure,
    /// The app did.
    AppAuthorizationFailure,
    /// The topic may not be written to. Nobody is told.
    EndpointPermissionDenied,
    /// The topic is gone. Nobody is told.
    EndpointNotFound,
    /// The topic is full. Nobody is told.
    EndpointResourceExhausted,
    /// Something else.
    Other,
}

impl Suspension {
    /// As it is written in an answer.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::UserScopeRevoked => "USER_SCOPE_REVOKED",
            Self::AppScopeRevoked => "APP_SCOPE_REVOKED",
            Self::ResourceDeleted => "RESOURCE_DELETED",
            Self::UserAuthorizationFailure => "USER_AUTHORIZATION_FAILURE",
            Self::AppAuthorizationFailure => "APP_AUTHORIZATION_FAILURE",
            Self::EndpointPermissionDenied => "ENDPOINT_PERMISSION_DENIED",
            Self::EndpointNotFound => "ENDPOINT_NOT_FOUND",
            Self::EndpointResourceExhausted => "ENDPOINT_RESOURCE_EXHAUSTED",
            Self::Other => "OTHER",
        }
    }

    /// Whether it can be told of at all.
    fn reaches_the_topic(self) -> bool {
        match self {
            Self::EndpointPermissionDenied | Self::EndpointNotFound | Self::EndpointResourceExhausted => {
                false
            }
            Self::UserScopeRevoked
            | Self::AppScopeRevoked
            | Self::ResourceDeleted
            | Self::UserAuthorizationFailure
            | Self::AppAuthorizationFailure
            | Self::Other => true,
        }
    }
}

/// What a subscription is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// All spaces of a user, by Meet's number of them.
    User(String),
    /// One space, by its id.
    Space(String),
}

impl Target {
    /// Reads a full resource name.
    pub(super) fn read(text: &str) -> Option<Self> {
        let user = text.strip_prefix("//cloudidentity.googleapis.com/users/");
        let space = text.strip_prefix("//meet.googleapis.com/spaces/");
        let target = user
            .map(|id| Self::User(id.to_owned()))
            .or_else(|| space.map(|id| Self::Space(id.to_owned())));
        target.filter(|target| match target {
            Self::User(id) | Self::Space(id) => !id.is_empty() && !id.contains('/'),
        })
    }

    pub(super) fn written(&self) -> String {
        match self {
            Self::User(id) => format!("//cloudidentity.googleapis.com/users/{id}"),
            Self::Space(id) => format!("//meet.googleapis.com/spaces/{id}"),
        }
    }
}

#[derive(Clone)]
pub(super) struct Subscription {
    pub(super) id: String,
    /// Who made it, by their `sub`.
    pub(super) owner: String,
    pub(super) target: Target,
    /// Full names of events.
    pub(super) types: Vec<String>,
    pub(super) topic: String,
    pub(super) suspended: Option<Suspension>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) version: u64,
    /// Whether it was allowed by the scope that only reaches rooms of the app.
    pub(super) is_narrow: bool,
    /// How many reminders were sent.
    reminded: usize,
}

/// An operation, and how often it is still asked for before it is done.
pub(super) struct Operation {
    pub(super) answer: Value,
    pub(super) owner: String,
    pub(super) asks_left: u32,
}

pub(super) struct Subscriptions {
    pub(super) list: Vec<Subscription>,
    pub(super) operations: HashMap<String, Operation>,
    /// The topic that exists; any of the right form if `None`.
    pub(super) topic: Option<String>,
    /// Whether Meet may write to it.
    pub(super) may_publish: bool,
    /// Where the topic pushes to.
    pub(super) pushes_to: Option<url::Url>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            operations: HashMap::new(),
            topic: None,
            may_publish: true,
            pushes_to: None,
        }
    }
}

impl Subscription {
    pub(super) fn new(owner: &str, target: Target, types: Vec<String>, topic: &str, now: Timestamp) -> Self {
        let kind = match target {
            Target::User(_) => "users",
            Target::Space(_) => "spaces",
        };
        Self {
            id: format!("meet-{kind}-{}", ids::opaque(22)),
            owner: owner.to_owned(),
            target,
            types,
            topic: topic.to_owned(),
            suspended: None,
            created: now,
            updated: now,
            expires: now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX),
            version: 1,
            is_narrow: false,
            reminded: 0,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("subscriptions/{}", self.id)
    }

    pub(super) fn source(&self) -> String {
        format!("//workspaceevents.googleapis.com/{}", self.name())
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{}-{}\"", self.id, self.version)
    }

    pub(super) fn is_alive(&self, at: Timestamp) -> bool {
        at < self.expires
    }

    /// Lives to another end. Reminders whose time has passed by then never come.
    pub(super) fn extend(&mut self, to: Timestamp, now: Timestamp) {
        self.expires = to;
        self.reminded = self.due(now);
    }

    pub(super) fn touch(&mut self, now: Timestamp) {
        self.updated = now;
        self.version += 1;
    }

    /// The reminders that are due and were not sent, and the end, if it has come.
    fn due_events(&self, now: Timestamp) -> Vec<Published> {
        let can_be_told = self.suspended.is_none_or(Suspension::reaches_the_topic);
        if !can_be_told {
            return Vec::new();
        }
        let about = json!({"subscription": {"name": self.name(), "expire_time": self.expires}});
        let missing = self.due(now).saturating_sub(self.reminded);
        let mut events: Vec<Published> = (0..missing)
            .map(|_| self.publishes_of_itself("expirationReminder", &about, now))
            .collect();
        if !self.is_alive(now) {
            events.push(self.publishes_of_itself("expired", &about, now));
        }
        events
    }

    /// How many reminders are due by now.
    fn due(&self, now: Timestamp) -> usize {
        let left = self.expires.duration_since(now);
        REMINDERS.iter().filter(|before| left <= **before).count()
    }
}

impl Books {
    /// Tells whoever subscribed to it that something happened in a space.
    pub(super) fn tell(&mut self, space: &str, kind: &str, about: &Value, at: Timestamp) -> Vec<Webhook> {
        let told: Vec<Subscription> = self
            .subscriptions
            .list
            .iter()
            .filter(|subscription| self.hears(subscription, space, kind, at))
            .cloned()
            .collect();
        let kind = format!("{PREFIX}{kind}");
        let events = told.iter().map(|subscription| {
            let subject = subscription.target.written();
            subscription.publishes(&kind, &subject, about, at)
        });
        let events: Vec<_> = events.collect();
        self.pushed(&events)
    }

    fn hears(&self, subscription: &Subscription, space: &str, kind: &str, at: Timestamp) -> bool {
        let full = format!("{PREFIX}{kind}");
        let is_open = subscription.suspended.is_none() && subscription.is_alive(at);
        if !is_open || !subscription.types.contains(&full) {
            return false;
        }
        let Some(space) = self.rooms.space(space) else {
            return false;
        };
        let only_app_rooms = subscription.is_narrow || self.is(Quirk::OnlyAppRoomsTell);
        if only_app_rooms && !space.is_by_app {
            return false;
        }

        match &subscription.target {
            Target::Space(id) => *id == space.id,
            Target::User(_) if subscription.owner == space.owner => true,
            Target::User(_) => {
                let person = self.person(&subscription.owner);
                let is_invited = person.is_some_and(|person| self.is_invited(&space.id, person));
                is_invited && FOR_INVITED.contains(&kind)
            }
        }
    }

    /// Whether somebody is on the list of attendees of a space's event.
    pub(super) fn is_invited(&self, space: &str, person: &Person) -> bool {
        let mut events = self.events.iter().filter(|event| event.space() == Some(space));
        events.any(|event| event.invites(&person.email))
    }

    /// Suspends a subscription, by its name, or all of somebody, by their `sub`.
    pub(super) fn suspend(&mut self, whose: &str, reason: Suspension) -> Vec<Webhook> {
        let now = self.now();
        let mut suspended = Vec::new();
        for subscription in &mut self.subscriptions.list {
            let is_meant = subscription.owner == whose || subscription.name() == whose;
            if is_meant && subscription.suspended.is_none() && subscription.is_alive(now) {
                subscription.suspended = Some(reason);
                subscription.touch(now);
                suspended.push(subscription.clone());
            }
        }
        suspended.retain(|_| reason.reaches_the_topic());

        let events = suspended.iter().map(|subscription| {
            let about = json!({"subscription": {
                "name": subscription.name(), "suspension_reason": reason.word(),
            }});
            subscription.publishes_of_itself("suspended", &about, now)
        });
        let events: Vec<_> = events.collect();
        self.pushed(&events)
    }

    /// Sends the reminders that are due, ends what has run out, and suspends what nobody allows any longer.
    pub(super) fn pass_time(&mut self) -> Vec<Webhook> {
        let mut told = self.suspend_orphans();
        let now = self.now();
        let events: Vec<_> = self
            .subscriptions
            .list
            .iter()
            .flat_map(|subscription| subscription.due_events(now))
            .collect();

        for subscription in &mut self.subscriptions.list {
            subscription.reminded = subscription.reminded.max(subscription.due(now));
        }
        self.subscriptions
            .list
            .retain(|subscription| subscription.is_alive(now));
        if !self.is(Quirk::NoReminders) {
            told.extend(self.pushed(&events));
        }
        told
    }

    /// A consent that has run out suspends what it allowed.
    fn suspend_orphans(&mut self) -> Vec<Webhook> {
        let (now, is_testing) = (self.now(), self.is(Quirk::Testing));
        let list = self.subscriptions.list.iter();
        let owners: BTreeSet<String> = list.map(|subscription| subscription.owner.clone()).collect();
        let mut told = Vec::new();
        for owner in owners {
            if self.accounts.granted(&owner, now, is_testing).is_empty() {
                told.extend(self.suspend(&owner, Suspension::UserScopeRevoked));
            }
        }
        told
    }
}
