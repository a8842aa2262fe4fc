//! What the vendor knows: accounts and their keys, meetings, and who may see which.

use super::admission::{Asked, Caller};
use super::downloads::Download;
use super::hooks::{Hook, Trigger};
use super::limits::Limits;
use super::meeting::{Included, Meeting, Recorder};
use super::quirks::{Faults, Quirk, Quirks};
use super::recordings::Promise;
use super::sketch::{MeetingSketch, Sharing};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The vendor's numbers are too great for 32 bits, and begin somewhere.
const FIRST_RECORDING: u64 = 4_400_000_001;

#[derive(Default)]
pub(super) struct Books {
    /// By their addresses in lower case.
    pub(super) accounts: BTreeMap<String, Account>,
    /// By the key or token itself.
    pub(super) credentials: BTreeMap<String, Credential>,
    pub(super) meetings: BTreeMap<u64, Meeting>,
    recordings: u64,
    pub(super) hooks: Vec<Hook>,
    pub(super) downloads: Vec<Download>,
    /// What is to be sent as soon as it is there.
    pub(super) promises: Vec<Promise>,
    /// How often a download is asked after before it is ready.
    pub(super) polls: u32,
    pub(super) asked: Vec<Asked>,
    pub(super) limits: Limits,
    pub(super) faults: Faults,
    pub(super) quirks: Quirks,
}

/// One user of the vendor's.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) email: String,
    /// Without a team it is not on a team plan. All teams are of one customer.
    pub(super) team: Option<String>,
    pub(super) created_at: Timestamp,
}

/// Whose it is.
pub(super) struct Credential {
    /// The account's key among [`Books::accounts`].
    pub(super) account: String,
    pub(super) kind: CredentialKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialKind {
    ApiKey,
    /// Of an app that the account's owner has connected, and until when it is good.
    Token {
        until: Timestamp,
    },
}

impl Books {
    pub(super) fn is(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    // Accounts ----------------------------------------------------------------------------------------------

    /// Opens an account, or changes one.
    pub(super) fn open_account(&mut self, name: &str, email: &str, team: Option<&str>, now: Timestamp) {
        let account = Account {
            name: name.to_owned(),
            email: email.to_owned(),
            team: team.map(ToOwned::to_owned),
            created_at: now,
        };
        self.accounts.insert(email.to_lowercase(), account);
    }

    /// Gives an account's owner `key`; it loses those that it had.
    pub(super) fn give_key(&mut self, email: &str, key: &str) {
        let account = email.to_lowercase();
        self.credentials
            .retain(|_, known| known.account != account || known.kind != CredentialKind::ApiKey);
        let kind = CredentialKind::ApiKey;
        self.credentials
            .insert(key.to_owned(), Credential { account, kind });
    }

    /// Who calls, if they say so and may.
    pub(super) fn caller(&self, headers: &HeaderMap, now: Timestamp) -> Option<Caller> {
        let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let (text, is_app) = match header("x-api-key") {
            Some(key) => (key, false),
            None => (header("authorization")?.strip_prefix("Bearer ")?, true),
        };

        let known = self.credentials.get(text)?;
        let is_good = match known.kind {
            CredentialKind::ApiKey => !is_app,
            CredentialKind::Token { until } => is_app && now < until,
        };
        is_good.then(|| Caller {
            credential: text.to_owned(),
            account: known.account.clone(),
            is_app,
        })
    }

    // Meetings ----------------------------------------------------------------------------------------------

    /// A meeting has been recorded; its number.
    pub(super) fn record(&mut self, sketch: MeetingSketch, now: Timestamp) -> u64 {
        let recorder = sketch.recorded_by.as_deref().unwrap_or(super::RECORDER);
        let recorder = recorder.to_lowercase();
        if !self.accounts.contains_key(&recorder) {
            self.open_account(&recorder, &recorder, None, now);
        }

        let id = FIRST_RECORDING + self.recordings;
        self.recordings += 1;
        let meeting = Meeting {
            id,
            recorder,
            sketch,
            share: Uuid::new_v4().simple().to_string(),
            is_ready: false,
        };
        self.meetings.insert(id, meeting);
        id
    }

    /// The meeting whose number `text` is, if `account` may see it.
    pub(super) fn seen_by(&self, account: &str, text: &str) -> Option<&Meeting> {
        let meeting = self.meetings.get(&text.parse().ok()?)?;
        self.sees(account, meeting).then_some(meeting)
    }

    pub(super) fn sees(&self, account: &str, meeting: &Meeting) -> bool {
        meeting.recorder == account
            || is_shared_with(account, meeting)
            || self.is_shared_with_team_of(account, meeting)
    }

    /// Whether `account` may have it as a file: whoever sees it only as a guest with limited access may not.
    pub(super) fn may_download(&self, account: &str, meeting: &Meeting) -> bool {
        let may_more = meeting.recorder == account || self.is_shared_with_team_of(account, meeting);
        may_more || !meeting.sketch.is_limited
    }

    fn is_shared_with_team_of(&self, account: &str, meeting: &Meeting) -> bool {
        let (Some(own), Some(theirs)) = (self.team(account), self.team(&meeting.recorder)) else {
            return false;
        };
        match meeting.sketch.sharing {
            Sharing::NoTeams => false,
            Sharing::SingleTeam => own == theirs,
            Sharing::MultipleTeams | Sharing::AllTeams => true,
        }
    }

    pub(super) fn team(&self, account: &str) -> Option<&str> {
        self.accounts.get(account)?.team.as_deref()
    }

    /// What this meeting is to `account`, as registrations put it.
    pub(super) fn trigger(&self, account: &str, meeting: &Meeting) -> Option<Trigger> {
        let (own, theirs) = (self.team(account), self.team(&meeting.recorder));
        if meeting.recorder == account {
            let is_shared = own.is_some() && meeting.sketch.sharing != Sharing::NoTeams;
            return Some(if is_shared {
                Trigger::MySharedWithTeamRecordings
            } else {
                Trigger::MyRecordings
            });
        }
        if !self.sees(account, meeting) {
            return None;
        }
        Some(if own.is_some() && theirs.is_some() {
            Trigger::SharedTeamRecordings
        } else {
            Trigger::SharedExternalRecordings
        })
    }

    /// The meeting as the vendor puts it.
    pub(super) fn render(&self, meeting: &Meeting, included: Included) -> Value {
        let account = self.accounts.get(&meeting.recorder);
        let recorder = Recorder {
            name: account.map_or("", |account| &account.name),
            email: account.map_or("", |account| &account.email),
            team: account.and_then(|account| account.team.as_deref()),
        };
        meeting.render(&recorder, included, &self.quirks)
    }
}

fn is_shared_with(account: &str, meeting: &Meeting) -> bool {
    let people = &meeting.sketch.shared_with_people;
    people.iter().any(|email| email.to_lowercase() == account)
}
