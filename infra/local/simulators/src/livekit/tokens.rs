//! Tokens: JSON Web Tokens by HMAC, checked as the vendor's server checks them, and signed in every way in which a
//! webhook could be.

use super::base64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use std::collections::BTreeMap;

/// How far the server's clock and another may be apart.
const LEEWAY_SECONDS: f64 = 60.0;

/// What a token claims.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) jti: String,
    pub(super) exp: Option<f64>,
    pub(super) nbf: Option<f64>,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) metadata: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) video: Option<Grant>,
    pub(super) room_config: Option<Value>,
}

/// What a token lets its bearer do.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "each is a right of its own")]
pub(super) struct Grant {
    pub(super) room_create: bool,
    pub(super) room_list: bool,
    pub(super) room_record: bool,
    pub(super) room_admin: bool,
    pub(super) room_join: bool,
    pub(super) room: String,
    pub(super) can_publish: Option<bool>,
    pub(super) can_subscribe: Option<bool>,
    pub(super) can_publish_data: Option<bool>,
    pub(super) can_publish_sources: Vec<String>,
    pub(super) can_update_own_metadata: Option<bool>,
    pub(super) hidden: bool,
    pub(super) recorder: bool,
    pub(super) agent: bool,
}

impl Claims {
    /// Who bears it.
    pub(super) fn identity(&self) -> &str {
        if self.sub.is_empty() { &self.jti } else { &self.sub }
    }
}

/// The claims of `token`, if it was signed with HS256 by `secret` for `key` and is valid at `now`; else the words with
/// which the server refuses it.
pub(super) fn verify(token: &str, key: &str, secret: &str, now: Timestamp) -> Result<Claims, String> {
    let invalid = |why: &str| format!("invalid authorization token: {why}");
    let malformed = || "invalid authorization token".to_owned();
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let header: Value = parse(header).ok_or_else(malformed)?;
    let payload: Value = parse(payload).ok_or_else(malformed)?;

    if payload.get("iss").and_then(Value::as_str) != Some(key) {
        return Err("invalid API key".into());
    }
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(invalid("token signature is invalid: signing method is invalid"));
    }
    let signature = base64::from_url_safe(signature).ok_or_else(malformed)?;
    if mac256(secret.as_bytes(), signed.as_bytes())
        .verify_slice(&signature)
        .is_err()
    {
        return Err(invalid("token signature is invalid: signature is invalid"));
    }

    let claims: Claims = serde_json::from_value(payload).map_err(|_| malformed())?;
    check_times(&claims, now).map_err(invalid)?;
    Ok(claims)
}

fn parse(part: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&base64::from_url_safe(part)?).ok()?;
    value.is_object().then_some(value)
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), &'static str> {
    let now = now.as_duration().as_secs_f64();
    let Some(end) = claims.exp else {
        return Err("token has invalid claims: token is missing required claim: exp claim is required");
    };
    if now >= end + LEEWAY_SECONDS {
        return Err("token has invalid claims: token is expired");
    }
    if claims.nbf.is_some_and(|start| now < start - LEEWAY_SECONDS) {
        return Err("token has invalid claims: token is not valid yet");
    }
    Ok(())
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs512,
    None,
}

/// A token with these claims.
pub(super) fn sign(algorithm: Algorithm, claims: &Value, secret: &str) -> String {
    let name = match algorithm {
        Algorithm::Hs256 => "HS256",
        Algorithm::Hs512 => "HS512",
        Algorithm::None => "none",
    };
    let header = json!({"alg": name, "typ": "JWT"}).to_string();
    let signed = format!(
        "{}.{}",
        base64::url_safe(header.as_bytes()),
        base64::url_safe(claims.to_string().as_bytes())
    );

    let signature = match algorithm {
        Algorithm::Hs256 => hmac256(secret.as_bytes(), signed.as_bytes()),
        Algorithm::Hs512 => hmac512(secret.as_bytes(), signed.as_bytes()),
        Algorithm::None => Vec::new(),
    };
    format!("{signed}.{}", base64::url_safe(&signature))
}

/// The HMAC of `text` by SHA-256.
pub(super) fn hmac256(key: &[u8], text: &[u8]) -> Vec<u8> {
    mac256(key, text).finalize().into_bytes().to_vec()
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac256(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key)
        .expect("a key")
        .chain_update(text)
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac512(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha512>::new_from_slice(key).expect("a key");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn checked(algorithm: Algorithm, claims: &Value) -> Result<Claims, String> {
        let now = Timestamp::from_second(NOW).unwrap();
        verify(&sign(algorithm, claims, "secret"), "devkey", "secret", now)
    }

    /// Made with another language's libraries.
    const VECTOR: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJleHAiOjE3OTAwMDAzMDAsImlzcyI6ImRldmtleSIsIm5iZiI6MTc5MDAwMDAwMCwic3ViIjoibGVhcm5lci0xIiwidmlkZW8iOns\
        icm9vbSI6ImItMSIsInJvb21Kb2luIjp0cnVlfX0.wNqlfoNqnhqGOEJUuB4uGVeXNOElcUfwvQ1q0azwIzU";

    #[test]
    fn a_token_is_signed_as_others_sign_it() {
        let claims = json!({
            "exp": NOW + 300, "iss": "devkey", "nbf": NOW, "sub": "learner-1",
            "video": {"room": "b-1", "roomJoin": true},
        });
        assert_eq!(sign(Algorithm::Hs256, &claims, "secret"), VECTOR);
    }

    #[test]
    fn hmac_has_the_values_of_rfc_4231() {
        let mac = hmac256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(mac),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_good_token_is_taken_within_the_leeway() {
        for (nbf, exp) in [(NOW, NOW + 5), (NOW + 60, NOW + 99), (NOW - 99, NOW - 59)] {
            let claims = json!({"iss": "devkey", "sub": "u", "nbf": nbf, "exp": exp});
            assert_eq!(checked(Algorithm::Hs256, &claims).unwrap().identity(), "u");
        }
    }

    #[test]
    fn each_fault_of_a_token_has_it_refused() {
        let good = json!({"iss": "devkey", "sub": "u", "exp": NOW + 5});
        for (claims, words) in [
            (json!({"iss": "other", "exp": NOW + 5}), "invalid API key"),
            (json!({"iss": "devkey"}), "exp claim is required"),
            (json!({"iss": "devkey", "exp": NOW - 60}), "expired"),
            (
                json!({"iss": "devkey", "exp": NOW + 99, "nbf": NOW + 61}),
                "not valid yet",
            ),
            (
                json!({"iss": "devkey", "exp": "soon"}),
                "invalid authorization token",
            ),
            (
                json!({"iss": "devkey", "exp": NOW + 5, "video": {"roomJoin": "true"}}),
                "invalid",
            ),
        ] {
            let refusal = checked(Algorithm::Hs256, &claims).unwrap_err();
            assert!(refusal.contains(words), "{claims}: {refusal}");
        }
        assert!(checked(Algorithm::Hs512, &good).is_err());
        assert!(checked(Algorithm::None, &good).is_err());

        let now = Timestamp::from_second(NOW).unwrap();
        let token = sign(Algorithm::Hs256, &good, "another secret");
        assert!(verify(&token, "devkey", "secret", now).is_err());
        assert!(verify("a.b", "devkey", "secret", now).is_err());
    }
}
