//! Tokens: what opens a room to somebody, what lets us call the API, and what the vendor signs its webhooks with are all
//! JWTs under the same secret. What tells them apart is what they grant.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use platform::secrets::{Secret, SecretError};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How far the vendor's clock and ours may differ. The vendor's own verifier allows as much.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// An API key and its secret.
pub(crate) struct Key {
    id: String,
    secret: SecretString,
}

/// The key pairs in force, `id:secret` each, separated by commas: sign with the first, accept any.
pub(crate) struct Keys(Secret);

impl Keys {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// All pairs. What has no colon is no pair and is left out.
    pub(crate) async fn all(&self) -> Result<Vec<Key>, SecretError> {
        let pairs = self.0.all().await?;
        let split = |pair: SecretString| {
            let (id, secret) = pair.expose_secret().split_once(':')?;
            Some(Key {
                id: id.to_owned(),
                secret: SecretString::from(secret),
            })
        };
        Ok(pairs.into_iter().filter_map(split).collect())
    }

    /// The pair to sign with; `None` if none is in force.
    pub(crate) async fn first(&self) -> Result<Option<Key>, SecretError> {
        Ok(self.all().await?.into_iter().next())
    }

    /// The vendor has refused our key.
    pub(crate) async fn forget(&self) {
        self.0.forget().await;
    }
}

/// What a token allows, and nothing beside it. Whoever may join a room may see, speak and send messages in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant<'a> {
    /// To enter this one room. Without its name the token would open every room.
    Join(&'a str),
    /// To make rooms.
    CreateRooms,
    /// To ask which rooms are live.
    ListRooms,
    /// To ask who is in this room.
    Administer(&'a str),
}

impl Serialize for Grant<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Join(room) => json!({"roomJoin": true, "room": room}),
            Self::CreateRooms => json!({"roomCreate": true}),
            Self::ListRooms => json!({"roomList": true}),
            Self::Administer(room) => json!({"roomAdmin": true, "room": room}),
        }
        .serialize(to)
    }
}

/// A token that is yet to be signed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Claims<'a> {
    /// Who enters, by our id; `None` for our own calls.
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<&'a str>,
    /// The name shown in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    /// Until when it opens anything, in seconds since 1970.
    pub(crate) exp: i64,
    /// What it opens.
    pub(crate) video: Grant<'a>,
}

#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    #[serde(flatten)]
    claims: &'a Claims<'a>,
}

impl Key {
    /// The token of `claims`; `None` if the secret is of no use as a key.
    pub(crate) fn sign(&self, claims: &Claims<'_>) -> Option<SecretString> {
        let key = EncodingKey::from_secret(self.secret.expose_secret().as_bytes());
        let signed = Signed {
            iss: &self.id,
            claims,
        };
        encode(&Header::new(Algorithm::HS256), &signed, &key)
            .ok()
            .map(SecretString::from)
    }
}

/// What a webhook's token says of its body.
#[derive(Deserialize)]
struct Seal {
    iss: String,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    sha256: String,
}

/// Whether `token`, as it came without a word before it, seals these very bytes under one of `keys` now; or why not. A
/// token to join a room is signed by the same key, and seals nothing.
pub(crate) fn check_seal(token: &str, body: &[u8], keys: &[Key], now: Timestamp) -> Result<(), &'static str> {
    let header = decode_header(token).map_err(|_| "no token")?;
    if header.alg != Algorithm::HS256 {
        return Err("another algorithm");
    }

    let seal = keys.iter().find_map(|key| opened(token, key));
    let seal = seal.ok_or("the signature, or no seal")?;
    if is_passed(seal.exp, now) {
        return Err("expired");
    }
    if is_to_come(seal.nbf, now) {
        return Err("not valid yet");
    }

    let sealed = STANDARD.decode(&seal.sha256).map_err(|_| "the hash is no hash")?;
    let is_same = sealed.ct_eq(Sha256::digest(body).as_slice());
    bool::from(is_same).then_some(()).ok_or("another body")
}

/// The seal, if `key` has signed it and is named as the one who did.
fn opened(token: &str, key: &Key) -> Option<Seal> {
    // The times are compared with the clock of the world that we are in, not with the machine's.
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();

    let secret = DecodingKey::from_secret(key.secret.expose_secret().as_bytes());
    let seal = decode::<Seal>(token, &secret, &validation).ok()?.claims;
    (seal.iss == key.id).then_some(seal)
}

fn is_passed(second: i64, now: Timestamp) -> bool {
    second.saturating_add(LEEWAY.as_secs()) <= now.as_second()
}

fn is_to_come(second: i64, now: Timestamp) -> bool {
    second > now.as_second().saturating_add(LEEWAY.as_secs())
}
