//! Who has an account at the vendor, and who comes to a meeting.

use super::encoding::short_id;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What somebody pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Nothing: `type` 1. Meetings are cut at 40 minutes, there is no cloud recording and no list of participants.
    Basic,
    /// A licence: `type` 2.
    Pro,
    /// A licence with more requests a second.
    Business,
}

impl Plan {
    pub(super) fn is_paid(self) -> bool {
        self != Self::Basic
    }

    /// `type` of a user.
    pub(super) fn number(self) -> u8 {
        if self.is_paid() { 2 } else { 1 }
    }
}

/// Somebody to be added to the vendor's books.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoomUser {
    /// What they pay for.
    pub plan: Plan,
    /// How they sign in.
    pub email: String,
    /// What others see.
    pub name: String,
    /// Whose account they belong to; one of their own if there is none.
    #[serde(default)]
    pub account: Option<String>,
}

impl ZoomUser {
    /// Somebody with an account of their own, named by the part of the address before the `@`.
    pub fn new(plan: Plan, email: &str) -> Self {
        let name = email.split('@').next().unwrap_or(email);
        Self {
            plan,
            email: email.into(),
            name: name.into(),
            account: None,
        }
    }
}

/// What somebody may do at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Everything.
    Active,
    /// Everything but to create meetings: 400/3161.
    MayNotHost,
    /// Nothing through this app, which an admin switched off: 4738 at the token endpoint, 401/124 at the API.
    AppSwitchedOff,
    /// There is no such user any more: 4735 at the token endpoint, 404/1001 at the API.
    Gone,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) plan: Plan,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) standing: Standing,
}

impl User {
    pub(super) fn new(user: ZoomUser) -> Self {
        Self {
            id: short_id(),
            account: user.account.unwrap_or_else(short_id),
            plan: user.plan,
            email: user.email,
            name: user.name,
            standing: Standing::Active,
        }
    }

    /// For a judge.
    pub(super) fn view(&self) -> Value {
        json!({
            "id": self.id, "account_id": self.account, "plan": self.plan, "email": self.email, "name": self.name,
            "standing": self.standing,
        })
    }
}

/// Somebody at a meeting. Written as `host`, `member:<user id>` or `guest:<display name>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Who {
    /// Whose meeting it is, signed in.
    Host,
    /// Another user of the vendor, signed in, by their id. Named with id and e-mail only within the host's account.
    Member(String),
    /// Somebody without an account, or not signed in, by the name that they typed.
    Guest(String),
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("member", id)) => Ok(Self::Member(id.into())),
            Some(("guest", name)) => Ok(Self::Guest(name.into())),
            None if text == "host" => Ok(Self::Host),
            _ => Err(format!("neither host, member: nor guest: {text}")),
        }
    }
}

/// How somebody at a meeting is told of.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) name: String,
    /// Empty for guests, and for members of other accounts.
    pub(super) id: String,
    /// Likewise.
    pub(super) email: String,
}

impl Person {
    pub(super) fn known(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            id: user.id.clone(),
            email: user.email.clone(),
        }
    }

    pub(super) fn unknown(name: &str) -> Self {
        Self {
            name: name.into(),
            id: String::new(),
            email: String::new(),
        }
    }
}
