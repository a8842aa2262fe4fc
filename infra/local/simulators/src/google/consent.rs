//! The consent page: an app sends a browser there, and it comes back with a code.

use super::Google;
use super::accounts::{Asked, Challenge, Consent};
use super::answers::Pairs;
use super::books::Books;
use super::quirks::Quirk;
use super::scopes::{self, Scopes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Write;
use url::Url;

/// Names who opens the page in an address that the page made itself.
const AS_PERSON: &str = "sim_person";

/// What the page does.
enum Outcome {
    /// Sends the browser back.
    Back(String),
    /// Asks who is there: their numbers and addresses.
    Choose(Vec<(String, String)>),
}

/// What an app asked for, and how to come back to it.
struct Request {
    asked: Asked,
    back: Url,
    state: Option<String>,
    is_silent: bool,
}

pub(super) async fn open(State(google): State<Google>, uri: Uri) -> Response {
    let pairs = Pairs::of(&uri);
    let outcome = google.books().consent(&pairs);
    match outcome {
        Ok(Outcome::Back(address)) => (StatusCode::FOUND, [(header::LOCATION, address)]).into_response(),
        Ok(Outcome::Choose(people)) => choice(&uri, &people).into_response(),
        Err(text) => {
            let page = format!("<!doctype html><h1>Access blocked</h1><p>Error 400: {text}</p>");
            (StatusCode::BAD_REQUEST, Html(page)).into_response()
        }
    }
}

/// A page with a link for each person.
fn choice(uri: &Uri, people: &[(String, String)]) -> Html<String> {
    let query = uri.query().unwrap_or_default().replace('&', "&amp;");
    let mut page = String::from("<!doctype html><title>Google, simulated</title><h1>Choose an account</h1>");
    for (sub, email) in people {
        let _ = write!(page, "<p><a href=\"?{query}&amp;{AS_PERSON}={sub}\">{email}</a>");
    }
    let _ = write!(page, "<p><a href=\"?{query}&amp;{AS_PERSON}=nobody\">Cancel</a>");
    Html(page)
}

impl Books {
    fn consent(&mut self, pairs: &Pairs) -> Result<Outcome, String> {
        let request = self.request(pairs)?;
        let Some(sub) = self.whoever_is_there(pairs) else {
            if request.is_silent {
                return Ok(request.comes_back("error", "interaction_required"));
            }
            let people = self.accounts.people.values();
            let people = people.map(|person| (person.sub.clone(), person.email.clone()));
            return Ok(Outcome::Choose(people.collect()));
        };
        if !self.accounts.people.contains_key(&sub) {
            return Ok(request.comes_back("error", "access_denied"));
        }

        let (now, is_testing) = (self.now(), self.is(Quirk::Testing));
        let granted = self.accounts.granted(&sub, now, is_testing);
        let is_known = request.asked.scopes.is_subset(&granted) && !granted.is_empty();
        let must_ask = !is_known || request.asked.prompts_consent;
        if must_ask && request.is_silent {
            return Ok(request.comes_back("error", "interaction_required"));
        }

        let agreed = if must_ask {
            self.agreed(&request.asked.scopes)
        } else {
            Some(request.asked.scopes.clone())
        };
        let Some(agreed) = agreed.filter(|agreed| !agreed.is_empty()) else {
            return Ok(request.comes_back("error", "access_denied"));
        };
        let code = self.accounts.allow(&sub, &request.asked, &agreed, now);
        Ok(request.comes_back("code", &code))
    }

    fn whoever_is_there(&self, pairs: &Pairs) -> Option<String> {
        let chosen = pairs.one(AS_PERSON).map(ToOwned::to_owned);
        chosen.or_else(|| self.accounts.at_browser.clone())
    }

    /// What they leave ticked; `None` if they go away.
    fn agreed(&self, asked: &Scopes) -> Option<Scopes> {
        match &self.accounts.consent {
            Consent::Agree => Some(asked.clone()),
            Consent::Without(unticked) => {
                let unticked: Scopes = unticked.iter().filter_map(|name| scopes::meant(name)).collect();
                Some(asked.difference(&unticked).cloned().collect())
            }
            Consent::Deny => None,
        }
    }

    /// What the app asked for; otherwise what the page says instead of sending anybody back.
    fn request(&mut self, pairs: &Pairs) -> Result<Request, String> {
        if let Some(name) = pairs.repeated() {
            return Err(format!(
                "invalid_request: OAuth 2 parameters can only have a single value: {name}"
            ));
        }
        let wanted = |name: &str| {
            let value = pairs.one(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("invalid_request: Missing required parameter: {name}"))
        };
        if wanted("client_id")? != self.client_id {
            return Err("invalid_client: The OAuth client was not found.".into());
        }
        let redirect = wanted("redirect_uri")?;
        let back = self.registered(redirect)?;
        if wanted("response_type")? != "code" {
            return Err("unsupported_response_type".into());
        }

        let scopes = asked_scopes(wanted("scope")?)?;
        let challenge = challenge(pairs)?;
        let prompts = prompts(pairs)?;
        let is_offline = is_offline(pairs)?;
        self.mind(pairs, is_offline, challenge.as_ref());
        let asked = Asked {
            redirect: redirect.to_owned(),
            scopes,
            is_offline,
            prompts_consent: prompts.contains(&"consent"),
            includes_granted: pairs.is_true("include_granted_scopes"),
            challenge,
            nonce: pairs.one("nonce").map(ToOwned::to_owned),
        };
        Ok(Request {
            asked,
            back,
            state: pairs.one("state").map(ToOwned::to_owned),
            is_silent: prompts.contains(&"none"),
        })
    }

    /// What the vendor lets pass, and no app should do.
    fn mind(&mut self, pairs: &Pairs, is_offline: bool, challenge: Option<&Challenge>) {
        if pairs.one("state").is_none_or(str::is_empty) {
            self.complain("consent: no state");
        }
        if !is_offline {
            self.complain("consent: access_type is not offline, so no refresh token will come");
        }
        if !challenge.is_some_and(|challenge| challenge.is_hashed) {
            self.complain("consent: no code_challenge by S256");
        }
    }

    fn registered(&self, redirect: &str) -> Result<Url, String> {
        let mismatch = || "redirect_uri_mismatch".to_owned();
        let url = Url::parse(redirect).map_err(|_| mismatch())?;
        let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
        let is_registrable = url.scheme() == "https" || (url.scheme() == "http" && is_local);

        let registered = &self.accounts.redirects;
        let is_known = registered.is_empty() || registered.iter().any(|known| known == redirect);
        let is_fit = is_registrable && is_known && url.fragment().is_none();
        is_fit.then_some(url).ok_or_else(mismatch)
    }
}

fn asked_scopes(text: &str) -> Result<Scopes, String> {
    let names = text.split(' ').filter(|name| !name.is_empty());
    let full = |name: &str| {
        scopes::full(name).ok_or_else(|| format!("invalid_scope: Some requested scopes were invalid: {name}"))
    };
    names.map(full).collect()
}

fn prompts(pairs: &Pairs) -> Result<Vec<&str>, String> {
    let prompts: Vec<&str> = pairs.one("prompt").unwrap_or_default().split(' ').collect();
    let is_known = |prompt: &&str| ["", "none", "consent", "select_account"].contains(prompt);
    if prompts.iter().all(is_known) {
        Ok(prompts)
    } else {
        Err("invalid_request: Invalid parameter value for prompt".into())
    }
}

fn is_offline(pairs: &Pairs) -> Result<bool, String> {
    match pairs.one("access_type") {
        Some("offline") => Ok(true),
        Some("online") | None => Ok(false),
        Some(_) => Err("invalid_request: Invalid parameter value for access_type".into()),
    }
}

fn challenge(pairs: &Pairs) -> Result<Option<Challenge>, String> {
    let is_hashed = match pairs.one("code_challenge_method") {
        Some("S256") => true,
        Some("plain") | None => false,
        Some(_) => return Err("invalid_request: Invalid code_challenge_method".into()),
    };
    let Some(value) = pairs.one("code_challenge") else {
        return Ok(None);
    };
    if !(43..=128).contains(&value.len()) {
        return Err("invalid_request: Invalid code_challenge length".into());
    }
    Ok(Some(Challenge {
        value: value.to_owned(),
        is_hashed,
    }))
}

impl Request {
    fn comes_back(&self, name: &str, value: &str) -> Outcome {
        let mut back = self.back.clone();
        {
            let mut pairs = back.query_pairs_mut();
            if let Some(state) = &self.state {
                pairs.append_pair("state", state);
            }
            pairs.append_pair(name, value);
            if name == "code" {
                pairs.append_pair("scope", &scopes::written(&self.asked.scopes));
            }
        }
        Outcome::Back(back.into())
    }
}
