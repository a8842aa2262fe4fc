//! What the vendor sends, and how it signs it: Standard Webhooks, HMAC-SHA256 over `{id}.{timestamp}.{body}`.

use super::base64;
use super::meeting::later;
use super::quirks::{Quirk, Quirks};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

const PREFIX: &str = "whsec_";

/// How long ago an old webhook was signed: a second more than receivers bear.
const TOO_OLD: SignedDuration = SignedDuration::from_secs(301);

/// How far ahead a future one is: more than receivers bear, even if it takes a while to arrive.
const TOO_NEW: SignedDuration = SignedDuration::from_secs(600);

/// Something that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The id of the registration that it is for; none for what a single request asked to be sent.
    pub hook: Option<String>,
    /// Where to.
    pub url: Url,
    /// `webhook-…` headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Webhook {
    /// A header of it.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A new `webhook-id`.
pub(super) fn new_id() -> String {
    format!("msg_{}", Uuid::new_v4().simple())
}

/// The key with which webhooks are signed.
#[derive(Clone)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new() -> Self {
        Self(rand::random::<[u8; 24]>().to_vec())
    }

    /// The key that `text` stands for, if it is one: `whsec_` and the base64 of 24 to 64 bytes.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = base64::decode(text.strip_prefix(PREFIX)?)?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// As customers are told it.
    pub(super) fn text(&self) -> String {
        format!("{PREFIX}{}", base64::encode(&self.0))
    }

    /// An entry of the signature header.
    fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        format!("v1,{}", base64::encode(&hmac(&self.0, signed.as_bytes())))
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(super) fn hmac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

/// The headers of `body`, signed by each of `secrets`.
pub(super) fn seal(
    secrets: &[&Secret],
    quirks: &Quirks,
    id: &str,
    now: Timestamp,
    body: &str,
) -> Vec<(&'static str, String)> {
    let timestamp = timestamp(quirks, now);
    let mut headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
    ];
    if !quirks.contains(&Quirk::SignsNothing) {
        let entries = entries(secrets, quirks, id, timestamp, body);
        headers.push(("webhook-signature", entries.join(" ")));
    }
    headers
}

fn timestamp(quirks: &Quirks, now: Timestamp) -> i64 {
    let shifted = if quirks.contains(&Quirk::OldTimestamps) {
        later(now, -TOO_OLD)
    } else if quirks.contains(&Quirk::FutureTimestamps) {
        later(now, TOO_NEW)
    } else {
        now
    };
    shifted.as_second()
}

fn entries(secrets: &[&Secret], quirks: &Quirks, id: &str, timestamp: i64, body: &str) -> Vec<String> {
    let is = |quirk| quirks.contains(&quirk);
    let foreign = || Secret::new().sign(id, timestamp, body);

    let mut entries = Vec::new();
    if is(Quirk::MalformedSignaturesFirst) {
        entries.extend(["v1,", "", "v1,c2hvcnQ=", "v1", "c2hvcnQ="].map(str::to_owned));
    }
    if is(Quirk::AsymmetricSignatureFirst) {
        entries.push(format!("v1a,{}", base64::encode(&rand::random::<[u8; 64]>())));
    }
    if is(Quirk::WrongSignatureFirst) || is(Quirk::SignsWithAnotherKey) {
        entries.push(foreign());
    }
    if !is(Quirk::SignsWithAnotherKey) {
        entries.extend(secrets.iter().map(|secret| secret.sign(id, timestamp, body)));
    }
    entries
}

/// The bytes that are sent for a body that was signed as `signed`.
pub(super) fn sent(quirks: &Quirks, value: &Value, signed: String) -> String {
    if quirks.contains(&Quirk::RewritesBodies) {
        serde_json::to_string_pretty(value).unwrap_or(signed)
    } else {
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::{Quirks, Secret, seal};

    #[test]
    fn signs_as_the_standards_own_library_does() {
        let secret = Secret::read("whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH").unwrap();
        let id = "msg_2Lml0Vj3zZB6Zk1i4T9o7dZXq1a";
        let body = r#"{"recording_id":123456789,"title":"Lesson"}"#;
        let now = "2026-01-01T00:00:00Z".parse().unwrap();

        let headers = seal(&[&secret], &Quirks::new(), id, now, body);

        let signature = "v1,/Af26TMBb0QFg9dij3JDYaVcHVP9yLZfPVbWUjqjfGU=".to_owned();
        let wanted = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", "1767225600".to_owned()),
            ("webhook-signature", signature),
        ];
        assert_eq!(headers, wanted);
    }

    #[test]
    fn a_secret_is_24_bytes_behind_its_prefix() {
        let text = Secret::new().text();

        assert_eq!(text.len(), "whsec_".len() + 32);
        assert_eq!(Secret::read(&text).unwrap().text(), text);
        assert!(Secret::read("whsec_c2hvcnQ=").is_none());
    }
}
