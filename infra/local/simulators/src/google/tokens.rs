//! The token endpoint, revoking, and the keys of the tokens that are signed.

use super::Google;
use super::accounts::{ACCESS_LIFE, Account, Code, Issued, TESTING_LIFE};
use super::answers::{Pairs, Refusal};
use super::books::Books;
use super::ids;
use super::keys::ISSUER;
use super::quirks::Quirk;
use super::scopes::{self, Scopes};
use super::subscriptions::Suspension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const DEAD: &str = "Token has been expired or revoked.";

fn bad(error: &str, description: &str) -> Refusal {
    Refusal::oauth(StatusCode::BAD_REQUEST, error, description)
}

fn form(headers: &HeaderMap, body: &Bytes) -> Result<Pairs, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(bad("invalid_request", "The request is not form-encoded."));
    }
    let pairs = Pairs::parse(body);
    if let Some(name) = pairs.repeated() {
        let text = format!("OAuth 2 parameters can only have a single value: {name}");
        return Err(bad("invalid_request", &text));
    }
    Ok(pairs)
}

fn wanted<'a>(pairs: &'a Pairs, name: &str) -> Result<&'a str, Refusal> {
    let value = pairs.one(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| bad("invalid_request", &format!("Missing required parameter: {name}")))
}

pub(super) async fn token(
    State(google): State<Google>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let pairs = form(&headers, &body)?;
    let mut books = google.books();
    books.check_client(&pairs)?;

    let issued = match wanted(&pairs, "grant_type")? {
        "authorization_code" => books.exchange(&pairs)?,
        "refresh_token" => books.refresh(&pairs)?,
        other => {
            let text = format!("Invalid grant_type: {other}");
            return Err(bad("unsupported_grant_type", &text));
        }
    };
    Ok(Json(books.told(&issued)))
}

pub(super) async fn revoke(
    State(google): State<Google>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let in_form = form(&headers, &body)?;
    let in_address = Pairs::of(&uri);
    let token = in_form.one("token").or(in_address.one("token"));

    let mut books = google.books();
    let (now, is_testing) = (books.now(), books.is(Quirk::Testing));
    let sub = token.and_then(|token| books.accounts.owner(token, now, is_testing));
    let Some(sub) = sub else {
        return Err(bad("invalid_token", "Token expired or revoked"));
    };
    let told = books.withdraw(&sub);
    books.waiting.extend(told);
    Ok(Json(json!({})))
}

pub(super) async fn certs(State(google): State<Google>) -> Response {
    let mut books = google.books();
    books.keys.requests += 1;
    if books.faults.certs_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let cache = [(header::CACHE_CONTROL, "public, max-age=300")];
    (cache, Json(books.keys.jwks())).into_response()
}

impl Books {
    fn check_client(&self, pairs: &Pairs) -> Result<(), Refusal> {
        let refusal = |text: &str| Refusal::oauth(StatusCode::UNAUTHORIZED, "invalid_client", text);
        if pairs.one("client_id") != Some(&self.client_id) {
            return Err(refusal("The OAuth client was not found."));
        }
        if pairs.one("client_secret") != Some(&self.client_secret) {
            return Err(refusal("The provided client secret is invalid."));
        }
        Ok(())
    }

    fn exchange(&mut self, pairs: &Pairs) -> Result<Issued, Refusal> {
        let redirect = wanted(pairs, "redirect_uri")?;
        let now = self.now();
        let code = self.accounts.take_code(wanted(pairs, "code")?, now);
        let code = code.ok_or_else(|| bad("invalid_grant", "Bad Request"))?;
        if code.redirect != redirect {
            return Err(bad("invalid_grant", "Bad Request"));
        }
        check_verifier(&code, pairs.one("code_verifier"))?;

        let withholds = self.is(Quirk::NoRefreshTokens);
        Ok(self.accounts.redeem(code, now, withholds))
    }

    fn refresh(&mut self, pairs: &Pairs) -> Result<Issued, Refusal> {
        let token = wanted(pairs, "refresh_token")?;
        let (now, is_testing) = (self.now(), self.is(Quirk::Testing));
        let issued = self.accounts.refresh(token, now, is_testing);
        issued.ok_or_else(|| bad("invalid_grant", DEAD))
    }

    fn told(&self, issued: &Issued) -> Value {
        let mut answer = json!({
            "access_token": issued.access,
            "expires_in": ACCESS_LIFE,
            "scope": scopes::written(&issued.scopes),
            "token_type": "Bearer",
        });
        let mut extras = Map::new();
        if let Some(token) = &issued.refresh {
            extras.insert("refresh_token".into(), token.clone().into());
            if self.is(Quirk::Testing) && !scopes::only_identify(&issued.scopes) {
                let seconds = TESTING_LIFE.as_secs() - 1;
                extras.insert("refresh_token_expires_in".into(), seconds.into());
            }
        }
        if scopes::holds(&issued.scopes, &["openid"]) {
            extras.insert("id_token".into(), self.id_token(issued).into());
        }
        if let Some(answer) = answer.as_object_mut() {
            answer.extend(extras);
        }
        answer
    }

    fn id_token(&self, issued: &Issued) -> String {
        let now = self.now().as_second();
        let hash = Sha256::digest(issued.access.as_bytes());
        let half = hash.get(..16).unwrap_or_default();
        let mut claims = json!({
            "iss": ISSUER,
            "azp": self.client_id,
            "aud": self.client_id,
            "sub": issued.sub,
            "at_hash": ids::base64_url(half),
            "iat": now,
            "exp": now + 3600,
        });
        if let Some(claims) = claims.as_object_mut() {
            claims.extend(self.about(&issued.sub, &issued.scopes));
            let nonce = issued.nonce.clone();
            claims.extend(nonce.map(|nonce| ("nonce".to_owned(), Value::from(nonce))));
        }
        self.keys.sign(&claims)
    }

    /// What a token says of somebody beside their number.
    fn about(&self, sub: &str, scopes: &Scopes) -> Map<String, Value> {
        let mut claims = Map::new();
        let Some(person) = self.accounts.people.get(sub) else {
            return claims;
        };
        if scopes::holds(scopes, &["userinfo.email"]) {
            claims.insert("email".into(), person.email.clone().into());
            claims.insert("email_verified".into(), true.into());
        }
        if scopes::holds(scopes, &["userinfo.profile"]) {
            claims.insert("name".into(), person.name.clone().into());
        }
        if person.account == Account::Workspace {
            let domain = person.email.rsplit('@').next().unwrap_or_default();
            claims.insert("hd".into(), domain.into());
        }
        claims
    }

    /// Somebody's whole grant goes, and with it what their subscriptions may tell.
    pub(super) fn withdraw(&mut self, sub: &str) -> Vec<super::Webhook> {
        self.accounts.forget(sub);
        self.suspend(sub, Suspension::UserScopeRevoked)
    }
}

fn check_verifier(code: &Code, verifier: Option<&str>) -> Result<(), Refusal> {
    let refusal = |text: &str| Err(bad("invalid_grant", text));
    let (challenge, verifier) = match (&code.challenge, verifier) {
        (Some(challenge), Some(verifier)) => (challenge, verifier),
        (Some(_), None) => return refusal("Missing code verifier."),
        (None, Some(_)) => return refusal("code_verifier or verifier is not needed."),
        (None, None) => return Ok(()),
    };

    let shown = if challenge.is_hashed {
        ids::base64_url(&Sha256::digest(verifier.as_bytes()))
    } else {
        verifier.to_owned()
    };
    let is_long_enough = (43..=128).contains(&verifier.len());
    if shown == challenge.value && is_long_enough {
        Ok(())
    } else {
        refusal("Invalid code verifier.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_the_hash_of_its_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = ids::base64_url(&Sha256::digest(verifier.as_bytes()));
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
