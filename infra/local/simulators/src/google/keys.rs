//! The keys that sign tokens, the tokens, and every token that only looks like one.

use super::PushIdentity;
use super::ids;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::HashSet;

/// Whose tokens these are.
pub(super) const ISSUER: &str = "https://accounts.google.com";

/// How long a token is good for, in seconds.
const LIFE: i64 = 3600;

/// A push token is used for other messages, too, until it is so old, in seconds.
const SHARED_FOR: i64 = 3000;

/// Where the modulus of a 2048-bit key lies in its PKCS#1 form.
const MODULUS: std::ops::Range<usize> = 9..265;

/// A push token that must not be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// No header at all, as the emulator sends it.
    Missing,
    /// The right token with another scheme.
    NotBearer,
    /// No token.
    Garbled,
    /// It ran out an hour ago.
    Expired,
    /// It was issued an hour from now.
    FromTheFuture,
    /// For somebody else.
    WrongAudience,
    /// By somebody else.
    WrongIssuer,
    /// For another service account.
    WrongEmail,
    /// For no account.
    NoEmail,
    /// The address is not verified.
    UnverifiedEmail,
    /// Not signed, and says so.
    AlgNone,
    /// HS256 with the public key as secret.
    Hs256WithPublicKey,
    /// A good signature by a key that nobody has published.
    UnknownKid,
    /// Signed with another key under a published key's id.
    ForeignKey,
    /// Claims that were changed after signing.
    Tampered,
}

impl Forgery {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Missing,
        Self::NotBearer,
        Self::Garbled,
        Self::Expired,
        Self::FromTheFuture,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::WrongEmail,
        Self::NoEmail,
        Self::UnverifiedEmail,
        Self::AlgNone,
        Self::Hs256WithPublicKey,
        Self::UnknownKid,
        Self::ForeignKey,
        Self::Tampered,
    ];
}

struct Key {
    kid: String,
    pair: RsaKeyPair,
}

impl Key {
    #[allow(clippy::expect_used, reason = "making a key of a usual size does not fail")]
    fn new() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let kid = ids::opaque(40).to_lowercase();
        Self { kid, pair }
    }

    fn published(&self) -> Value {
        let public = self.pair.public_key().as_ref();
        let modulus = public.get(MODULUS).unwrap_or_default();
        json!({
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid,
            "n": ids::base64_url(modulus), "e": "AQAB",
        })
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        let signed = self
            .pair
            .sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature);
        signed.map(|()| signature).unwrap_or_default()
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": self.kid, "typ": "JWT"});
        sealed(&header, claims, |text| self.sign(text))
    }
}

fn sealed(header: &Value, claims: &Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let part = |value: &Value| ids::base64_url(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = ids::base64_url(&sign(&text));
    format!("{text}.{signature}")
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The keys, newest first; never more than two.
pub(super) struct Keys {
    published: Vec<Key>,
    /// Push tokens that were really issued.
    issued: HashSet<String>,
    /// The push token in use, and since when.
    shared: Option<(String, i64)>,
    pub(super) requests: u32,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            published: vec![Key::new()],
            issued: HashSet::new(),
            shared: None,
            requests: 0,
        }
    }

    /// Signs with another key from now on. The one before is published for one more turn.
    pub(super) fn rotate(&mut self) {
        self.published.insert(0, Key::new());
        self.published.truncate(2);
        self.shared = None;
    }

    pub(super) fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.published.iter().map(Key::published).collect();
        json!({ "keys": keys })
    }

    /// Any claims, signed with the newest key.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let newest = self.published.first();
        newest.map(|key| key.token(claims)).unwrap_or_default()
    }

    /// The token for a push now. The same one serves many messages.
    pub(super) fn push_token(&mut self, identity: &PushIdentity, now: Timestamp) -> String {
        let now = now.as_second();
        let in_use = self.shared.as_ref();
        if let Some((token, since)) = in_use
            && (0..SHARED_FOR).contains(&(now - since))
        {
            return token.clone();
        }

        let token = self.sign(&claims(identity, now));
        self.issued.insert(token.clone());
        self.shared = Some((token.clone(), now));
        token
    }

    /// Whether that `Authorization` is one of ours.
    pub(super) fn has_issued(&self, authorization: &str) -> bool {
        let token = authorization.strip_prefix("Bearer ");
        token.is_some_and(|token| self.issued.contains(token))
    }

    /// An `Authorization` that must not be accepted.
    pub(super) fn forged(&self, identity: &PushIdentity, now: Timestamp, kind: Forgery) -> Option<String> {
        let now = now.as_second();
        let good = claims(identity, now);
        let with = |name: &str, value: Value| changed(&good, name, value);
        let token = match kind {
            Forgery::Missing => return None,
            Forgery::NotBearer => return Some(format!("Basic {}", self.sign(&good))),
            Forgery::Garbled => "not.a.token".into(),
            Forgery::Expired => self.sign(&claims(identity, now - 2 * LIFE)),
            Forgery::FromTheFuture => self.sign(&claims(identity, now + LIFE)),
            Forgery::WrongAudience => self.sign(&with("aud", "https://elsewhere.example/push".into())),
            Forgery::WrongIssuer => self.sign(&with("iss", "https://accounts.elsewhere.example".into())),
            Forgery::WrongEmail => {
                let stranger = "push@another-project.iam.gserviceaccount.com";
                self.sign(&with("email", stranger.into()))
            }
            Forgery::NoEmail => self.sign(&with("email", Value::Null)),
            Forgery::UnverifiedEmail => self.sign(&with("email_verified", false.into())),
            Forgery::AlgNone => sealed(&json!({"alg": "none", "typ": "JWT"}), &good, |_| Vec::new()),
            Forgery::Hs256WithPublicKey => self.confused(&good),
            Forgery::UnknownKid => Key::new().token(&good),
            Forgery::ForeignKey => self.impersonated(&good),
            Forgery::Tampered => tampered(&self.sign(&good), &with("aud", "tampered".into())),
        };
        Some(format!("Bearer {token}"))
    }

    fn confused(&self, claims: &Value) -> String {
        let newest = self.published.first();
        newest
            .map(|key| {
                let header = json!({"alg": "HS256", "kid": key.kid, "typ": "JWT"});
                sealed(&header, claims, |text| hmac(key.pair.public_key().as_ref(), text))
            })
            .unwrap_or_default()
    }

    fn impersonated(&self, claims: &Value) -> String {
        let mut stranger = Key::new();
        if let Some(newest) = self.published.first() {
            stranger.kid.clone_from(&newest.kid);
        }
        stranger.token(claims)
    }
}

fn claims(identity: &PushIdentity, now: i64) -> Value {
    json!({
        "iss": ISSUER,
        "aud": identity.audience,
        "azp": "113774264463038321964",
        "sub": "113774264463038321964",
        "email": identity.service_account_email,
        "email_verified": true,
        "iat": now,
        "exp": now + LIFE,
    })
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    if let Some(claims) = claims.as_object_mut() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.into(), value);
        }
    }
    claims
}

/// The header and the signature of a token around other claims.
fn tampered(token: &str, claims: &Value) -> String {
    let header = token.split('.').next().unwrap_or_default();
    let signature = token.rsplit('.').next().unwrap_or_default();
    let claims = ids::base64_url(claims.to_string().as_bytes());
    format!("{header}.{claims}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    fn identity() -> PushIdentity {
        PushIdentity {
            audience: "https://firstbell.example/push".into(),
            service_account_email: "push@project.iam.gserviceaccount.com".into(),
        }
    }

    /// What a careful receiver makes of a header, but for the address and whether it is verified.
    fn read(keys: &Keys, authorization: Option<&str>) -> Option<Value> {
        let token = authorization?.strip_prefix("Bearer ")?;
        let kid = decode_header(token).ok()?.kid?;
        let jwks = keys.jwks();
        let key = jwks["keys"].as_array()?.iter().find(|key| key["kid"] == kid)?;
        let key = DecodingKey::from_rsa_components(key["n"].as_str()?, key["e"].as_str()?).ok()?;

        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[identity().audience]);
        validation.set_issuer(&[ISSUER]);
        decode::<Value>(token, &key, &validation)
            .ok()
            .map(|token| token.claims)
    }

    #[test]
    fn what_it_signs_verifies_by_what_it_publishes() {
        let mut keys = Keys::new();
        let now = Timestamp::now();

        let first = keys.push_token(&identity(), now);
        let claims = read(&keys, Some(&format!("Bearer {first}"))).expect("a good token");
        assert_eq!(claims["email"], identity().service_account_email);
        assert_eq!(
            keys.push_token(&identity(), now),
            first,
            "one token for many messages"
        );

        keys.rotate();
        let second = keys.push_token(&identity(), now);
        assert_ne!(
            decode_header(&second).unwrap().kid,
            decode_header(&first).unwrap().kid
        );
        assert!(
            read(&keys, Some(&format!("Bearer {first}"))).is_some(),
            "published for a while"
        );
        assert!(read(&keys, Some(&format!("Bearer {second}"))).is_some());
    }

    #[test]
    fn no_forgery_passes_a_careful_receiver() {
        let keys = Keys::new();
        for kind in Forgery::ALL {
            let forged = keys.forged(&identity(), Timestamp::now(), kind);
            let read = read(&keys, forged.as_deref());
            let passes = read.is_some_and(|claims| {
                let now = Timestamp::now().as_second();
                claims["email"] == identity().service_account_email
                    && claims["email_verified"] == true
                    && claims["iat"].as_i64().is_some_and(|iat| iat <= now)
            });
            assert!(!passes, "{kind:?}");
        }
    }
}
