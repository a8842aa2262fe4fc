//! Who owns a space, who hosts it, and who takes part.

use super::PencilSpaces;
use super::books::{ADMIN, Books, Space};
use super::fields::{Fields, Refusal, Sent, body, missing, wrong};
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

const ROLES: [&str; 2] = ["host", "participant"];

/// The people of a new space.
pub(super) struct Members {
    pub(super) owner: String,
    pub(super) hosts: Vec<String>,
    pub(super) participants: Vec<String>,
}

pub(super) async fn update(
    State(vendor): State<PencilSpaces>,
    Path(id): Path<String>,
    sent: Sent,
) -> Response {
    let changed = body(sent).and_then(|body| vendor.books().update_users(&id, &body));
    vendor.answer_whole(&id, changed)
}

impl Members {
    /// The admin whose key it is owns what nobody else owns, and is always a host.
    pub(super) fn read(fields: &Fields<'_>, books: &Books) -> Result<Self, Refusal> {
        let owner = fields.value("owner").map(|owner| books.person(owner));
        let people = |name: &str| -> Result<Vec<String>, Refusal> {
            fields
                .list(name)?
                .iter()
                .map(|person| books.person(person))
                .collect()
        };
        let (mut hosts, participants) = (people("hosts")?, people("participants")?);
        if !hosts.iter().any(|host| host == ADMIN) {
            hosts.insert(0, ADMIN.to_owned());
        }

        let members = Self {
            owner: owner.transpose()?.unwrap_or_else(|| ADMIN.to_owned()),
            hosts,
            participants,
        };
        members.check_once()?;
        Ok(members)
    }

    /// Nobody is two things, but the owner may be a host.
    fn check_once(&self) -> Result<(), Refusal> {
        let is_twice = |all: &[String], user: &String| all.iter().filter(|other| *other == user).count() > 1;
        let leads = |user: &String| self.owner == *user || self.hosts.contains(user);
        let is_wrong = self.hosts.iter().any(|user| is_twice(&self.hosts, user))
            || self
                .participants
                .iter()
                .any(|user| leads(user) || is_twice(&self.participants, user));
        if is_wrong {
            return Err(wrong("A user can have one role in a space only"));
        }
        Ok(())
    }
}

impl Books {
    /// A known user, with their own e-mail if with any.
    fn person(&self, value: &Value) -> Result<String, Refusal> {
        let fields = Fields::of(value, &["userId", "email"])?;
        let id = fields.wanted_text("userId")?;
        let user = self
            .users
            .get(id)
            .ok_or_else(|| wrong(format!("User {id} not found")))?;
        if fields.text("email")?.is_some_and(|email| email != user.email) {
            return Err(wrong("email is not this user's"));
        }
        Ok(id.to_owned())
    }

    /// Everything is checked before anything is changed.
    fn update_users(&mut self, id: &str, body: &Value) -> Result<(), Refusal> {
        let space = self.space(id).ok_or_else(|| missing("Space"))?;
        let fields = Fields::of(body, &["addUsers", "modifyUsers", "notifyInvitees"])?;
        let notifies = fields.wanted_flag("notifyInvitees")?;
        let (new, known) = (fields.list("addUsers")?, fields.list("modifyUsers")?);
        if new.is_empty() && known.is_empty() {
            return Err(wrong("addUsers or modifyUsers is required"));
        }

        let mut changed = space.clone();
        let mut added = Vec::new();
        for value in new {
            let (user, role) = self.user_and_role(value)?;
            changed.add(&user, role)?;
            added.push(user);
        }
        for value in known {
            let (user, role) = self.user_and_role(value)?;
            changed.modify(&user, role)?;
        }

        if notifies {
            self.invite(&added);
        }
        if let Some(space) = self.space_mut(id) {
            *space = changed;
        }
        Ok(())
    }

    fn user_and_role<'a>(&self, value: &'a Value) -> Result<(String, &'a str), Refusal> {
        let fields = Fields::of(value, &["userId", "role"])?;
        let id = fields.wanted_text("userId")?;
        if self.users.get(id).is_none() {
            return Err(wrong(format!("User {id} not found")));
        }
        fields.wanted_text("role")?;
        let role = fields.word("role", &ROLES)?.unwrap_or_default();
        Ok((id.to_owned(), role))
    }
}

impl Space {
    fn add(&mut self, user: &str, role: &str) -> Result<(), Refusal> {
        if self.has(user) {
            return Err(wrong(format!("User {user} is in the space already")));
        }
        self.put(user, role);
        Ok(())
    }

    fn modify(&mut self, user: &str, role: &str) -> Result<(), Refusal> {
        if !self.has(user) {
            return Err(wrong(format!("User {user} is not in the space")));
        }
        if (self.owner == user || user == ADMIN) && role != "host" {
            return Err(wrong("The owner and the admin remain hosts"));
        }

        self.hosts.retain(|other| other != user);
        self.participants.retain(|other| other != user);
        self.put(user, role);
        Ok(())
    }

    fn put(&mut self, user: &str, role: &str) {
        let people = if role == "host" {
            &mut self.hosts
        } else {
            &mut self.participants
        };
        people.push(user.to_owned());
    }

    /// Everybody who is in it, each once.
    pub(super) fn members(&self) -> Vec<String> {
        let mut members = vec![self.owner.clone()];
        let others = self.hosts.iter().chain(&self.participants);
        members.extend(others.filter(|user| **user != self.owner).cloned());
        members
    }
}
