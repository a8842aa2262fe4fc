//! People, what they allowed, and the tokens that say so.

use super::ids;
use super::scopes::{self, Scopes};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// How long an access token is good for, in seconds.
pub(super) const ACCESS_LIFE: i64 = 3599;

/// How long a code is good for.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// A refresh token that nobody uses dies.
const UNUSED_LIFE: SignedDuration = SignedDuration::from_hours(183 * 24);

/// As do all of an app whose consent screen is in status "Testing".
pub(super) const TESTING_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An account and an app have so many live refresh tokens; the oldest dies for one more.
const REFRESH_TOKENS: usize = 100;

/// What kind of account somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// One of a school or firm, with recordings.
    #[default]
    Workspace,
    /// A person's own, without recordings.
    Personal,
}

/// What somebody does at the consent page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Allows what is asked for.
    #[default]
    Agree,
    /// Allows it without these scopes: `https://www.googleapis.com/auth/calendar.events` or `calendar.events`.
    Without(Vec<String>),
    /// Goes away.
    Deny,
}

#[derive(Clone)]
pub(super) struct Person {
    pub(super) sub: String,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) account: Account,
    /// Meet's number of them.
    pub(super) meet_id: String,
    /// Whether their calendar may ask for rooms.
    pub(super) may_meet: bool,
}

/// What an app asks for at the consent page.
pub(super) struct Asked {
    pub(super) redirect: String,
    pub(super) scopes: Scopes,
    pub(super) is_offline: bool,
    pub(super) prompts_consent: bool,
    pub(super) includes_granted: bool,
    pub(super) challenge: Option<Challenge>,
    pub(super) nonce: Option<String>,
}

#[derive(Clone)]
pub(super) struct Challenge {
    pub(super) value: String,
    pub(super) is_hashed: bool,
}

/// A code that waits for its app.
pub(super) struct Code {
    pub(super) sub: String,
    pub(super) scopes: Scopes,
    pub(super) redirect: String,
    pub(super) challenge: Option<Challenge>,
    pub(super) nonce: Option<String>,
    issued: Timestamp,
    gives_refresh: bool,
}

struct Grant {
    scopes: Scopes,
    consented: Timestamp,
    /// Oldest first.
    refresh: Vec<Refresh>,
}

struct Refresh {
    token: String,
    scopes: Scopes,
    issued: Timestamp,
    used: Timestamp,
}

#[derive(Clone)]
pub(super) struct Access {
    pub(super) sub: String,
    pub(super) scopes: Scopes,
    expires: Timestamp,
}

/// Tokens that were just issued.
pub(super) struct Issued {
    pub(super) sub: String,
    pub(super) scopes: Scopes,
    pub(super) access: String,
    pub(super) refresh: Option<String>,
    pub(super) nonce: Option<String>,
}

#[derive(Default)]
pub(super) struct Accounts {
    pub(super) people: BTreeMap<String, Person>,
    /// Who is signed in where consent pages are opened, and what they do there.
    pub(super) at_browser: Option<String>,
    pub(super) consent: Consent,
    /// Where codes may be sent; any address that the vendor would register, if empty.
    pub(super) redirects: Vec<String>,
    codes: HashMap<String, Code>,
    grants: BTreeMap<String, Grant>,
    access: HashMap<String, Access>,
}

impl Accounts {
    pub(super) fn add(&mut self, email: &str, name: &str, account: Account, has_other_id: bool) -> String {
        let sub = ids::account();
        let meet_id = if has_other_id { ids::account() } else { sub.clone() };
        let person = Person {
            sub: sub.clone(),
            email: email.into(),
            name: name.into(),
            account,
            meet_id,
            may_meet: true,
        };
        self.people.insert(sub.clone(), person);
        sub
    }

    pub(super) fn by_email(&self, email: &str) -> Option<&Person> {
        let mut people = self.people.values();
        people.find(|person| person.email.eq_ignore_ascii_case(email))
    }

    /// Ends the consents that an app in status "Testing" has had for too long.
    fn age(&mut self, now: Timestamp, is_testing: bool) {
        let is_young = |since: Timestamp| now.duration_since(since) < TESTING_LIFE;
        for grant in self.grants.values_mut() {
            grant.refresh.retain(|refresh| {
                let is_spared = !is_testing || scopes::only_identify(&refresh.scopes);
                let is_used = now.duration_since(refresh.used) < UNUSED_LIFE;
                is_used && (is_spared || is_young(refresh.issued))
            });
        }
        self.grants.retain(|_, grant| {
            !is_testing || scopes::only_identify(&grant.scopes) || is_young(grant.consented)
        });
    }

    /// What somebody has allowed so far.
    pub(super) fn granted(&mut self, sub: &str, now: Timestamp, is_testing: bool) -> Scopes {
        self.age(now, is_testing);
        let grant = self.grants.get(sub);
        grant.map(|grant| grant.scopes.clone()).unwrap_or_default()
    }

    /// Somebody allows `agreed`; the code for the app. A refresh token comes with it only at the first consent, or if
    /// the app made them consent again.
    pub(super) fn allow(&mut self, sub: &str, asked: &Asked, agreed: &Scopes, now: Timestamp) -> String {
        let is_first = !self.grants.contains_key(sub);
        let grant = self.grants.entry(sub.to_owned()).or_insert_with(|| Grant {
            scopes: Scopes::new(),
            consented: now,
            refresh: Vec::new(),
        });
        grant.scopes.extend(agreed.iter().cloned());
        if is_first || asked.prompts_consent {
            grant.consented = now;
        }

        let scopes = if asked.includes_granted {
            grant.scopes.clone()
        } else {
            agreed.clone()
        };
        let code = Code {
            sub: sub.to_owned(),
            scopes,
            redirect: asked.redirect.clone(),
            challenge: asked.challenge.clone(),
            nonce: asked.nonce.clone(),
            issued: now,
            gives_refresh: asked.is_offline && (is_first || asked.prompts_consent),
        };
        let text = format!("4/0A{}", ids::opaque(60));
        self.codes.insert(text.clone(), code);
        text
    }

    /// Takes a code, once, while it is young.
    pub(super) fn take_code(&mut self, code: &str, now: Timestamp) -> Option<Code> {
        let code = self.codes.remove(code)?;
        let is_young = now.duration_since(code.issued) < CODE_LIFE;
        (is_young && self.grants.contains_key(&code.sub)).then_some(code)
    }

    /// The tokens for a code.
    pub(super) fn redeem(&mut self, code: Code, now: Timestamp, withholds_refresh: bool) -> Issued {
        let gives_refresh = code.gives_refresh && !withholds_refresh;
        let grant = self.grants.get_mut(&code.sub).filter(|_| gives_refresh);
        let refresh = grant.map(|grant| {
            let token = format!("1//0{}", ids::opaque(90));
            grant.refresh.push(Refresh {
                token: token.clone(),
                scopes: code.scopes.clone(),
                issued: now,
                used: now,
            });
            let surplus = grant.refresh.len().saturating_sub(REFRESH_TOKENS);
            grant.refresh.drain(..surplus);
            token
        });

        let access = self.issue(&code.sub, &code.scopes, now);
        Issued {
            sub: code.sub,
            scopes: code.scopes,
            access,
            refresh,
            nonce: code.nonce,
        }
    }

    /// Another access token; the refresh token stays as it is. `None` if it is dead.
    pub(super) fn refresh(&mut self, token: &str, now: Timestamp, is_testing: bool) -> Option<Issued> {
        self.age(now, is_testing);
        let (sub, scopes) = self.grants.iter_mut().find_map(|(sub, grant)| {
            let refresh = grant.refresh.iter_mut().find(|refresh| refresh.token == token)?;
            refresh.used = now;
            Some((sub.clone(), refresh.scopes.clone()))
        })?;

        let access = self.issue(&sub, &scopes, now);
        Some(Issued {
            sub,
            scopes,
            access,
            refresh: None,
            nonce: None,
        })
    }

    fn issue(&mut self, sub: &str, scopes: &Scopes, now: Timestamp) -> String {
        let token = format!("ya29.a0{}", ids::opaque(150));
        let life = SignedDuration::from_secs(ACCESS_LIFE);
        let access = Access {
            sub: sub.into(),
            scopes: scopes.clone(),
            expires: now.saturating_add(life).unwrap_or(Timestamp::MAX),
        };
        self.access.insert(token.clone(), access);
        token
    }

    /// Whose access token that is, while it is good.
    pub(super) fn holder(&self, token: &str, now: Timestamp) -> Option<&Access> {
        self.access.get(token).filter(|access| now < access.expires)
    }

    /// Whose live token that is, of either kind.
    pub(super) fn owner(&mut self, token: &str, now: Timestamp, is_testing: bool) -> Option<String> {
        self.age(now, is_testing);
        let by_access = self.holder(token, now).map(|access| access.sub.clone());
        by_access.or_else(|| {
            let mut grants = self.grants.iter();
            let found = grants.find(|(_, grant)| grant.refresh.iter().any(|refresh| refresh.token == token));
            found.map(|(sub, _)| sub.clone())
        })
    }

    /// Forgets all that somebody allowed, with every token of theirs.
    pub(super) fn forget(&mut self, sub: &str) -> bool {
        self.access.retain(|_, access| access.sub != sub);
        self.codes.retain(|_, code| code.sub != sub);
        self.grants.remove(sub).is_some()
    }

    /// The refresh tokens of somebody die, as after six months; what they allowed stays.
    pub(super) fn kill_refresh_tokens(&mut self, sub: &str) {
        if let Some(grant) = self.grants.get_mut(sub) {
            grant.refresh.clear();
        }
    }

    /// How many refresh tokens of somebody are alive.
    pub(super) fn refresh_tokens(&mut self, sub: &str, now: Timestamp, is_testing: bool) -> usize {
        self.age(now, is_testing);
        self.grants.get(sub).map_or(0, |grant| grant.refresh.len())
    }
}
