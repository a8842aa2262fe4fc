//! `/oauth/`: the page on which a person agrees, and the token endpoint.

use super::api::{Answer, Call, Operation, Outcome};
use super::books::Books;
use super::encoding::from_base64;
use super::grants::{Agreement, Ended, Refusal, Tokens};
use super::people::Standing;
use super::quirks::Quirk;
use super::{Vendor, Zoom};
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use url::Url;

/// What the next person who is asked for consent does, until it is changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Agrees to everything.
    #[default]
    Grants,
    /// Agrees, but only to these scopes.
    GrantsOnly(Vec<String>),
    /// Does not agree.
    Denies,
}

/// The scopes of the app, as set in the Marketplace.
pub const SCOPES: [&str; 12] = [
    "cloud_recording:read:list_recording_files",
    "cloud_recording:read:meeting_transcript",
    "meeting:delete:meeting",
    "meeting:read:list_meetings",
    "meeting:read:list_past_instances",
    "meeting:read:list_past_participants",
    "meeting:read:meeting",
    "meeting:read:past_meeting",
    "meeting:update:meeting",
    "meeting:update:status",
    "meeting:write:meeting",
    "user:read:user",
];

/// A SHA-256 in base64 for URLs is so long.
const CHALLENGE_LENGTH: usize = 43;

fn wrong(code: u16, reason: &str) -> Answer {
    let reason = format!("<h1>{reason} ({code})</h1>");
    Answer::page(400, &reason)
}

pub(super) async fn authorize(State(zoom): State<Zoom>, call: Call) -> Response {
    zoom.answer(Operation::Authorize, &call, |books| {
        ask(zoom.vendor(), books, &call, zoom.now())
    })
    .await
}

/// Asks whoever is signed in, and sends them back.
fn ask(vendor: &Vendor, books: &mut Books, call: &Call, now: Timestamp) -> Outcome {
    let asked = |name: &str| call.query.get(name).map(String::as_str);
    if asked("client_id") != Some(vendor.client_id.as_str()) {
        return Err(wrong(4702, "Invalid client."));
    }
    let redirect = asked("redirect_uri").filter(|uri| books.redirects.contains(*uri));
    let redirect = redirect.ok_or_else(|| wrong(4700, "Invalid redirect."))?;
    if asked("response_type") != Some("code") {
        return Err(wrong(4706, "Invalid response type."));
    }
    let challenge = read_challenge(call)?;

    let Some(user) = books.signed_in.clone() else {
        return Ok(Answer::page(200, "<h1>Sign in</h1>"));
    };
    let standing = books.users.get(&user).map(|user| user.standing);
    match standing {
        Some(Standing::Active | Standing::MayNotHost) => {}
        Some(Standing::AppSwitchedOff) => return Err(wrong(4738, "Your admin has switched this app off.")),
        Some(Standing::Gone) | None => return Err(wrong(4735, "There is no such user.")),
    }

    let Some(scopes) = agreed(books) else {
        return back(redirect, ("error", "access_denied"), asked("state"));
    };
    let code = books.grants.code(Agreement {
        user,
        redirect: redirect.to_owned(),
        challenge,
        scopes,
        at: now,
    });
    back(redirect, ("code", &code), asked("state"))
}

fn read_challenge(call: &Call) -> Result<Option<String>, Answer> {
    let Some(challenge) = call.query.get("code_challenge") else {
        return Ok(None);
    };
    let is_sha256 = call
        .query
        .get("code_challenge_method")
        .is_some_and(|method| method == "S256");
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !is_sha256 || challenge.len() != CHALLENGE_LENGTH || !challenge.chars().all(is_known) {
        return Err(wrong(4706, "Invalid code challenge."));
    }
    Ok(Some(challenge.clone()))
}

/// The scopes that the person agrees to, of those that the app has.
fn agreed(books: &Books) -> Option<BTreeSet<String>> {
    match &books.consent {
        Consent::Grants => Some(books.scopes.clone()),
        Consent::GrantsOnly(some) => {
            let is_wanted = |scope: &&String| some.contains(scope);
            Some(books.scopes.iter().filter(is_wanted).cloned().collect())
        }
        Consent::Denies => None,
    }
}

/// Sends the person back with what came of it, and the state as it was given.
fn back(redirect: &str, result: (&str, &str), state: Option<&str>) -> Outcome {
    let mut url: Url = redirect.parse().map_err(|_| wrong(4700, "Invalid redirect."))?;
    url.query_pairs_mut().append_pair(result.0, result.1);
    if let Some(state) = state {
        url.query_pairs_mut().append_pair("state", state);
    }
    Ok(Answer::nothing(302).with("location", url.as_str()))
}

fn refused(status: u16, error: &str, reason: &str) -> Answer {
    Answer::json(status, json!({"reason": reason, "error": error}))
}

/// With the number that the vendor's page has for it.
fn numbered(number: u16, error: &str, reason: &str) -> Answer {
    Answer::json(
        400,
        json!({"reason": reason, "error": error, "errorCode": number}),
    )
}

/// Whether the app shows its id and secret as it has to, and sends a form.
fn check_client(vendor: &Vendor, call: &Call) -> Result<(), Answer> {
    let shown = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Basic "));
    let shown = shown.and_then(from_base64);
    let wanted = format!("{}:{}", vendor.client_id, vendor.client_secret);
    if shown.as_deref() != Some(wanted.as_bytes()) {
        let reason = "Invalid client_id or client_secret";
        return Err(refused(401, "invalid_client", reason));
    }
    if !call.is_of_type("application/x-www-form-urlencoded") {
        return Err(refused(400, "invalid_request", "Bad Request"));
    }
    Ok(())
}

pub(super) async fn token(State(zoom): State<Zoom>, call: Call) -> Response {
    zoom.answer(Operation::Token, &call, |books| {
        check_client(zoom.vendor(), &call)?;
        exchange(zoom.vendor(), books, &call, zoom.now())
    })
    .await
}

fn exchange(vendor: &Vendor, books: &mut Books, call: &Call, now: Timestamp) -> Outcome {
    let form = call.form();
    let wanted = |name: &str| {
        let missing = || numbered(4706, "invalid_request", &format!("Missing parameter: {name}"));
        form.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(missing)
    };

    let tokens = match wanted("grant_type")?.as_str() {
        "authorization_code" => {
            let verifier = form.get("code_verifier").map(String::as_str);
            let (code, redirect) = (wanted("code")?, wanted("redirect_uri")?);
            books.grants.redeem(code, redirect, verifier, now)
        }
        "refresh_token" => {
            let refresh = wanted("refresh_token")?;
            check_owner(books, refresh)?;
            books.grants.renew(refresh, now)
        }
        _ => {
            let reason = "unsupported grant type";
            return Err(refused(400, "unsupported_grant_type", reason));
        }
    };
    match tokens {
        Ok(tokens) => Ok(issued(vendor, &tokens)),
        Err(refusal) => Err(refuse(books, refusal)),
    }
}

fn check_owner(books: &Books, refresh: &str) -> Result<(), Answer> {
    let owner = books.grants.owner(refresh);
    let standing = owner
        .and_then(|user| books.users.get(user))
        .map(|user| user.standing);
    match standing {
        Some(Standing::Gone) => Err(numbered(4735, "invalid_grant", "The user does not exist.")),
        Some(Standing::AppSwitchedOff) => Err(numbered(
            4738,
            "invalid_grant",
            "The app was switched off by an admin.",
        )),
        Some(Standing::Active | Standing::MayNotHost) | None => Ok(()),
    }
}

fn refuse(books: &Books, refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Code => numbered(4734, "invalid_request", "Invalid authorization code"),
        Refusal::Redirect => numbered(4709, "invalid_request", "Redirect URI mismatch"),
        Refusal::Verifier => numbered(4706, "invalid_request", "Invalid code verifier"),
        Refusal::Token => {
            let status = if books.is(Quirk::DeadRefreshIs401) {
                401
            } else {
                400
            };
            refused(status, "invalid_grant", "Invalid Token!")
        }
        Refusal::Superseded => {
            let reason = "The token was revoked by a later authorization.";
            numbered(4741, "invalid_grant", reason)
        }
    }
}

fn issued(vendor: &Vendor, tokens: &Tokens) -> Answer {
    let scopes: Vec<&str> = tokens.scopes.iter().map(String::as_str).collect();
    let body = json!({
        "access_token": tokens.access, "token_type": "bearer", "refresh_token": tokens.refresh, "expires_in": 3599,
        "scope": scopes.join(" "), "api_url": vendor.base().trim_end_matches('/'),
    });
    Answer::json(200, body)
}

pub(super) async fn revoke(State(zoom): State<Zoom>, call: Call) -> Response {
    zoom.answer(Operation::Revoke, &call, |books| {
        check_client(zoom.vendor(), &call)?;
        let form = call.form();
        let token = form.get("token").map(String::as_str).unwrap_or_default();
        let grant = books.grants.bearer(token, zoom.now());
        let user = grant.map(|grant| grant.user.clone());
        let user = user.map_err(|_| refused(400, "invalid_request", "Invalid Token!"))?;

        books.grants.end(&user, Ended::Revoked);
        Ok(Answer::json(200, json!({"status": "success"})))
    })
    .await
}
