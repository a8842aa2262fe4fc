//! What users have granted: codes, access tokens, refresh tokens.

use super::encoding::{base64_url, credential};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// A code is good for so long, and once.
const CODE_LIVES: SignedDuration = SignedDuration::from_mins(5);

/// An access token is good for so long.
const ACCESS_LIVES: SignedDuration = SignedDuration::from_secs(3599);

/// A refresh token that nobody uses is good for so long.
const REFRESH_LIVES: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What somebody agreed to on the vendor's page.
#[derive(Clone)]
pub(super) struct Agreement {
    pub(super) user: String,
    pub(super) redirect: String,
    /// SHA-256 of the verifier, in base64 for URLs.
    pub(super) challenge: Option<String>,
    pub(super) scopes: BTreeSet<String>,
    pub(super) at: Timestamp,
}

/// The tie between a user and the app.
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) scopes: BTreeSet<String>,
    refresh: String,
    refreshed: Timestamp,
    refreshes: u32,
    ended: Option<Ended>,
}

/// Why a grant is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// The app gave it back.
    Revoked,
    /// The same user authorised the app again.
    Superseded,
    /// The user took the app off their account.
    Deauthorized,
}

/// Fresh tokens.
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) scopes: BTreeSet<String>,
}

/// Why there are no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The code is unknown, used or too old.
    Code,
    /// It was given for another address.
    Redirect,
    /// The verifier is not the one of the challenge, is missing, or was never announced.
    Verifier,
    /// The refresh token is unknown, used or too old, or was given back.
    Token,
    /// A later authorisation of the same user took its place.
    Superseded,
}

struct Access {
    grant: usize,
    until: Timestamp,
}

#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<String, Agreement>,
    all: Vec<Grant>,
    access: HashMap<String, Access>,
    /// The grant of each refresh token that ever was the latest.
    refresh: HashMap<String, usize>,
    /// Every credential that was ever given out.
    pub(super) given_out: Vec<String>,
}

impl Grants {
    fn credential(&mut self, length: usize) -> String {
        let credential = credential(length);
        self.given_out.push(credential.clone());
        credential
    }

    pub(super) fn code(&mut self, agreement: Agreement) -> String {
        let code = self.credential(24);
        self.codes.insert(code.clone(), agreement);
        code
    }

    /// Tokens for a code. A code that was shown once is used up, whatever came of it.
    pub(super) fn redeem(
        &mut self,
        code: &str,
        redirect: &str,
        verifier: Option<&str>,
        now: Timestamp,
    ) -> Result<Tokens, Refusal> {
        let agreement = self.codes.remove(code).ok_or(Refusal::Code)?;
        if now > agreement.at + CODE_LIVES {
            return Err(Refusal::Code);
        }
        if agreement.redirect != redirect {
            return Err(Refusal::Redirect);
        }
        let shown = verifier.map(challenge_of);
        if shown != agreement.challenge {
            return Err(Refusal::Verifier);
        }

        self.end(&agreement.user, Ended::Superseded);
        self.all.push(Grant {
            user: agreement.user,
            scopes: agreement.scopes,
            refresh: String::new(),
            refreshed: now,
            refreshes: 0,
            ended: None,
        });
        self.issue(self.all.len() - 1, now).ok_or(Refusal::Code)
    }

    /// New tokens for the latest refresh token, which dies at once.
    pub(super) fn renew(&mut self, refresh: &str, now: Timestamp) -> Result<Tokens, Refusal> {
        let number = *self.refresh.get(refresh).ok_or(Refusal::Token)?;
        let grant = self.all.get_mut(number).ok_or(Refusal::Token)?;
        if grant.refresh != refresh || now > grant.refreshed + REFRESH_LIVES {
            return Err(Refusal::Token);
        }
        match grant.ended {
            Some(Ended::Superseded) => return Err(Refusal::Superseded),
            Some(Ended::Revoked | Ended::Deauthorized) => return Err(Refusal::Token),
            None => {}
        }

        grant.refreshes += 1;
        self.issue(number, now).ok_or(Refusal::Token)
    }

    fn issue(&mut self, number: usize, now: Timestamp) -> Option<Tokens> {
        // As long as the vendor's, so that a column that is too short shows.
        let (access, refresh) = (self.credential(480), self.credential(480));
        let until = now + ACCESS_LIVES;
        self.access
            .insert(access.clone(), Access { grant: number, until });
        self.refresh.insert(refresh.clone(), number);

        let grant = self.all.get_mut(number)?;
        grant.refresh.clone_from(&refresh);
        grant.refreshed = now;
        Some(Tokens {
            access,
            refresh,
            scopes: grant.scopes.clone(),
        })
    }

    /// The grant that an access token speaks for, or what is wrong with the token.
    pub(super) fn bearer(&self, token: &str, now: Timestamp) -> Result<&Grant, &'static str> {
        let access = self.access.get(token).ok_or("Invalid access token.")?;
        if now > access.until {
            return Err("Access token is expired.");
        }
        let grant = self.all.get(access.grant);
        let alive = grant.filter(|grant| grant.ended.is_none());
        alive.ok_or("Invalid access token.")
    }

    /// Whose refresh token it is, dead or alive.
    pub(super) fn owner(&self, refresh: &str) -> Option<&str> {
        let grant = self.all.get(*self.refresh.get(refresh)?)?;
        Some(&grant.user)
    }

    /// The user's grant, if it lives.
    pub(super) fn of(&self, user: &str) -> Option<&Grant> {
        let mut grants = self.all.iter();
        grants.find(|grant| grant.user == user && grant.ended.is_none())
    }

    pub(super) fn end(&mut self, user: &str, why: Ended) {
        let alive = self.all.iter_mut().filter(|grant| grant.ended.is_none());
        for grant in alive.filter(|grant| grant.user == user) {
            grant.ended = Some(why);
        }
    }

    /// Access tokens of the user are no longer good; the refresh token is.
    pub(super) fn expire_access(&mut self, user: &str) {
        let grants = &self.all;
        for access in self.access.values_mut() {
            if grants.get(access.grant).is_some_and(|grant| grant.user == user) {
                access.until = Timestamp::MIN;
            }
        }
    }

    /// The refresh token of the user is used by somebody else, who keeps what comes of it.
    pub(super) fn steal(&mut self, user: &str, now: Timestamp) {
        let refresh = self.of(user).map(|grant| grant.refresh.clone());
        if let Some(refresh) = refresh {
            let _kept_by_the_thief = self.renew(&refresh, now);
        }
    }

    pub(super) fn remove_scope(&mut self, user: &str, scope: &str) {
        for grant in self.all.iter_mut().filter(|grant| grant.user == user) {
            grant.scopes.remove(scope);
        }
    }

    /// For a judge: no credential among them.
    pub(super) fn views(&self) -> Vec<Value> {
        let grants = self.all.iter();
        grants
            .map(|grant| {
                json!({
                    "user_id": grant.user, "scopes": grant.scopes, "is_alive": grant.ended.is_none(),
                    "ended": grant.ended, "refreshes": grant.refreshes,
                })
            })
            .collect()
    }
}

fn challenge_of(verifier: &str) -> String {
    base64_url(&Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn agreement(at: Timestamp) -> Agreement {
        Agreement {
            user: "tutor".into(),
            redirect: "https://example.org/back".into(),
            challenge: Some(CHALLENGE.into()),
            scopes: BTreeSet::from(["user:read:user".to_owned()]),
            at,
        }
    }

    fn redeem(grants: &mut Grants, code: &str, verifier: &str, now: Timestamp) -> Result<Tokens, Refusal> {
        grants.redeem(code, "https://example.org/back", Some(verifier), now)
    }

    #[test]
    fn a_code_is_good_once_and_only_with_its_verifier() {
        let (mut grants, now) = (Grants::default(), Timestamp::UNIX_EPOCH);
        let code = grants.code(agreement(now));
        assert!(redeem(&mut grants, &code, VERIFIER, now).is_ok());
        assert_eq!(
            redeem(&mut grants, &code, VERIFIER, now).err(),
            Some(Refusal::Code),
            "used"
        );

        let code = grants.code(agreement(now));
        assert_eq!(
            redeem(&mut grants, &code, "another", now).err(),
            Some(Refusal::Verifier)
        );
        let code = grants.code(agreement(now));
        assert_eq!(
            grants.redeem(&code, "https://example.org/back", None, now).err(),
            Some(Refusal::Verifier)
        );
        let code = grants.code(agreement(now));
        let elsewhere = grants.redeem(&code, "https://example.org/back/", Some(VERIFIER), now);
        assert_eq!(elsewhere.err(), Some(Refusal::Redirect));
        let code = grants.code(agreement(now));
        let late = now + SignedDuration::from_secs(301);
        assert_eq!(
            redeem(&mut grants, &code, VERIFIER, late).err(),
            Some(Refusal::Code),
            "too old"
        );
    }

    #[test]
    fn a_refresh_token_is_good_once_and_dies_with_the_next_authorisation() {
        let (mut grants, now) = (Grants::default(), Timestamp::UNIX_EPOCH);
        let code = grants.code(agreement(now));
        let first = redeem(&mut grants, &code, VERIFIER, now).ok().unwrap();
        let second = grants.renew(&first.refresh, now).ok().unwrap();
        assert_eq!(
            grants.renew(&first.refresh, now).err(),
            Some(Refusal::Token),
            "raced"
        );
        assert!(
            grants.bearer(&first.access, now).is_ok(),
            "older access tokens live on"
        );

        let code = grants.code(agreement(now));
        let third = redeem(&mut grants, &code, VERIFIER, now).ok().unwrap();
        assert_eq!(
            grants.renew(&second.refresh, now).err(),
            Some(Refusal::Superseded)
        );
        assert!(grants.bearer(&second.access, now).is_err());
        let later = now + SignedDuration::from_hours(1);
        assert!(grants.bearer(&third.access, later).is_err(), "an hour");
    }
}
