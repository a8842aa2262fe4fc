//! What the vendor knows: users, spaces, sessions, recordings, links, and what it was asked.

use super::attendance::Activity;
use super::faults::Faults;
use super::quirks::{Quirk, Quirks};
use super::shelf::Shelf;
use super::webhooks::Webhook;
use jiff::Timestamp;
use rand::distr::{Alphanumeric, SampleString};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use url::Url;

/// The institution's admin, whose key it is. Owns the spaces that nobody else owns, and is a host of all.
pub(super) const ADMIN: &str = "InstitutionAdmin00000000001";

pub(super) struct Books {
    pub(super) users: Shelf<User>,
    pub(super) spaces: Shelf<Space>,
    pub(super) sessions: Shelf<Session>,
    pub(super) recordings: Shelf<Recording>,
    /// Magic links, by their tokens.
    pub(super) links: Shelf<Link>,
    /// Who is logged in, by their cookies.
    pub(super) logins: HashMap<String, String>,
    /// Everybody to whom the vendor has sent an invitation.
    pub(super) invited: Vec<String>,
    pub(super) requests: Vec<Request>,
    /// What requests have caused to be told.
    pub(super) untold: Vec<Webhook>,
    pub(super) webhook_url: Option<Url>,
    pub(super) webhook_secret: String,
    pub(super) faults: Faults,
    pub(super) quirks: Quirks,
}

#[derive(Clone)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) external_id: Option<String>,
}

#[derive(Clone)]
pub(super) struct Space {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) visibility: String,
    pub(super) owner: String,
    pub(super) hosts: Vec<String>,
    pub(super) participants: Vec<String>,
    pub(super) external_id: Option<String>,
    pub(super) site: Option<String>,
    pub(super) settings: Settings,
    pub(super) is_archived: bool,
    pub(super) is_deleted: bool,
    /// The room in which everybody is who is in no other.
    pub(super) main_room: String,
    /// Ids of its sessions and recordings, oldest first.
    pub(super) sessions: Vec<String>,
    pub(super) recordings: Vec<String>,
}

#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) has_waiting_room: bool,
    pub(super) disables_always_on_recording: bool,
}

impl Default for Settings {
    /// What a space has whose settings nobody sets. What it is at the vendor is not known.
    fn default() -> Self {
        Self {
            has_waiting_room: true,
            disables_always_on_recording: false,
        }
    }
}

#[derive(Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) space: String,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    pub(super) is_analysed: bool,
    pub(super) is_deleted: bool,
    pub(super) stays: Vec<Stay>,
    /// What each user did in it.
    pub(super) activities: BTreeMap<String, Activity>,
}

/// One tab of one user, from coming to going.
#[derive(Clone)]
pub(super) struct Stay {
    pub(super) user: String,
    pub(super) tab: String,
    pub(super) from: Timestamp,
    pub(super) until: Option<Timestamp>,
    pub(super) has_crashed: bool,
    /// When the tab was in the background.
    pub(super) hidden: Vec<(Timestamp, Option<Timestamp>)>,
}

#[derive(Clone)]
pub(super) struct Recording {
    pub(super) id: String,
    pub(super) space: String,
    pub(super) session: String,
    pub(super) room: String,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) is_ready: bool,
}

/// A magic link.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) token: String,
    pub(super) user: String,
    pub(super) redirect_url: String,
    pub(super) made: Timestamp,
    pub(super) used: Option<Timestamp>,
}

/// A request that the vendor has carried out, whether or not its answer arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// `GET`, `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// Below the API's base, `/spaces/create` say.
    pub path: String,
    /// As it was sent, without its question mark.
    pub query: String,
    /// Null where there was none.
    pub body: Value,
    /// When, by the vendor's clock.
    pub at: Timestamp,
}

/// An id as the vendor gives one: letters and digits, of which nobody can guess the next.
pub(super) fn new_id(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}

/// A time as the vendor writes it in its lists.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

impl Books {
    pub(super) fn new(webhook_secret: &str) -> Self {
        let mut users = Shelf::default();
        let admin = User {
            id: ADMIN.to_owned(),
            name: "Institution Admin".to_owned(),
            email: "admin@institution.example".to_owned(),
            role: "Institution Admin".to_owned(),
            external_id: None,
        };
        users.add(ADMIN, admin);

        Self {
            users,
            spaces: Shelf::default(),
            sessions: Shelf::default(),
            recordings: Shelf::default(),
            links: Shelf::default(),
            logins: HashMap::new(),
            invited: Vec::new(),
            requests: Vec::new(),
            untold: Vec::new(),
            webhook_url: None,
            webhook_secret: webhook_secret.to_owned(),
            faults: Faults::default(),
            quirks: Quirks::new(),
        }
    }

    pub(super) fn is(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// A space that is not deleted.
    pub(super) fn space(&self, id: &str) -> Option<&Space> {
        self.spaces.get(id).filter(|space| !space.is_deleted)
    }

    pub(super) fn space_mut(&mut self, id: &str) -> Option<&mut Space> {
        self.spaces.get_mut(id).filter(|space| !space.is_deleted)
    }

    /// The first space with this external id that is not deleted.
    pub(super) fn space_with(&self, external_id: &str) -> Option<&Space> {
        let mut spaces = self.spaces.iter();
        spaces.find(|space| !space.is_deleted && space.external_id.as_deref() == Some(external_id))
    }

    /// Whom a play means: somebody's id, or their latest user with this external id.
    pub(super) fn user_named(&self, name: &str) -> Option<&User> {
        let with = || {
            let mut users = self.users.iter().rev();
            users.find(|user| user.external_id.as_deref() == Some(name))
        };
        self.users.get(name).or_else(with)
    }

    /// Which space a play means: its id, or its external id.
    pub(super) fn space_named(&self, name: &str) -> Option<&Space> {
        self.space(name).or_else(|| self.space_with(name))
    }

    pub(super) fn latest_session(&self, space: &str) -> Option<&Session> {
        self.sessions.get(self.spaces.get(space)?.sessions.last()?)
    }

    pub(super) fn latest_session_mut(&mut self, space: &str) -> Option<&mut Session> {
        self.sessions.get_mut(self.spaces.get(space)?.sessions.last()?)
    }

    /// The session of a space that has not ended.
    pub(super) fn running_mut(&mut self, space: &str) -> Option<&mut Session> {
        let session = self.latest_session_mut(space)?;
        session.end.is_none().then_some(session)
    }

    /// Forgets what ended or was asked for before `before`, and all invitations. Users and spaces stay.
    pub(super) fn forget(&mut self, before: Timestamp) {
        let is_new = |session: &Session| session.end.is_none_or(|end| end >= before);
        self.sessions.retain(is_new, |session| &session.id);
        self.recordings
            .retain(|recording| recording.until >= before, |recording| &recording.id);
        self.links.retain(|link| link.made >= before, |link| &link.token);
        self.requests.retain(|request| request.at >= before);
        self.invited.clear();
    }
}

impl Space {
    /// Whether somebody is its owner, a host or a participant.
    pub(super) fn has(&self, user: &str) -> bool {
        self.leads(user) || self.participants.iter().any(|other| other == user)
    }

    /// Whether somebody is its owner or a host.
    pub(super) fn leads(&self, user: &str) -> bool {
        self.owner == user || self.hosts.iter().any(|other| other == user)
    }
}

impl Session {
    pub(super) fn new(space: &str, start: Timestamp) -> Self {
        Self {
            id: new_id(20),
            space: space.to_owned(),
            start,
            end: None,
            is_analysed: false,
            is_deleted: false,
            stays: Vec::new(),
            activities: BTreeMap::new(),
        }
    }

    /// Where a tab is in it now.
    pub(super) fn open_stay(&mut self, tab: &str) -> Option<&mut Stay> {
        let mut stays = self.stays.iter_mut();
        stays.find(|stay| stay.until.is_none() && stay.tab == tab)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stays.iter().all(|stay| stay.until.is_some())
    }
}
