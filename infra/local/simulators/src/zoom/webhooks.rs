//! Webhooks, as the vendor signs and sends them.

use super::books::Books;
use super::encoding::random;
use super::events::{Fields, Told};
use super::quirks::{Quirk, Quirks};
use super::{Vendor, Zoom};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// A delivery is tried once and then again so often, waiting twice as long each time. The vendor waits 5, 20 and 60
/// minutes.
const DELIVERY_TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A delivery that is not answered in this time has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// An address that failed to show the secret so often, one time after the other, is given up.
const FORGIVEN_VALIDATIONS: u32 = 6;

/// Two subscriptions to one event are stamped so far apart.
const APART: SignedDuration = SignedDuration::from_millis(3);

/// A webhook that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to; nowhere as long as no address is set.
    pub url: Option<Url>,
    /// `meeting.started`, say.
    pub event: String,
    /// The same at each retry.
    pub request_id: String,
    /// All headers that count.
    pub headers: Vec<(&'static str, String)>,
    /// Exactly what is sent and signed.
    pub body: Vec<u8>,
}

impl Webhook {
    /// What the body says, for a judge; null if it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header by its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac(key: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

/// `x-zm-signature` of a body at a time that is written as in the header.
fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let hash = hmac(secret, &[b"v0:", timestamp.as_bytes(), b":", body]);
    format!("v0={hash}")
}

fn written(body: &Fields, is_spaced: bool) -> Vec<u8> {
    if !is_spaced {
        return serde_json::to_vec(body).unwrap_or_default();
    }
    let text = serde_json::to_string_pretty(body).unwrap_or_default();
    let mut escaped = String::new();
    for letter in text.chars() {
        if letter.is_ascii() {
            escaped.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a text cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped.into_bytes()
}

/// `6009d653_d487_445d_8406_42b654974899`
fn request_id() -> String {
    Uuid::new_v4().to_string().replace('-', "_")
}

impl Vendor {
    /// Webhooks of what is to be told, as far as the host still has the app and nothing gets lost.
    pub(super) fn seal(&self, books: &Books, told: Vec<Told>, now: Timestamp) -> Vec<Webhook> {
        let is_lost = |event: &str| {
            books.is(Quirk::Silent)
                || (event == "meeting.started" && books.is(Quirk::LosesStarts))
                || (event == "meeting.ended" && books.is(Quirk::LosesEnds))
                || (event == "meeting.participant_left" && books.is(Quirk::LosesLeaves))
        };
        let times = if books.is(Quirk::TwoSubscriptions) { 2 } else { 1 };
        told.into_iter()
            .filter(|told| !is_lost(told.event) && books.grants.of(&told.host).is_some())
            .flat_map(|told| (0..times).map(move |time| (told.clone(), APART * time)))
            .map(|(told, later)| self.webhook(books, &told, later, now))
            .collect()
    }

    /// One webhook, whoever it is about.
    pub(super) fn webhook(
        &self,
        books: &Books,
        told: &Told,
        later: SignedDuration,
        now: Timestamp,
    ) -> Webhook {
        let body = written(&told.body(later), books.is(Quirk::SpacedBodies));
        let webhook = Webhook {
            url: books.hook.clone(),
            event: told.event.into(),
            request_id: request_id(),
            headers: vec![("x-zm-trackingid", tracking_id(&told.topic))],
            body,
        };
        self.signed(&webhook, &books.quirks, now)
    }

    /// The same body under the same request id, stamped and signed anew.
    pub(super) fn signed(&self, webhook: &Webhook, quirks: &Quirks, at: Timestamp) -> Webhook {
        let is = |quirk| quirks.contains(&quirk);
        let ahead = if is(Quirk::ClockAhead) { 10 } else { 0 };
        let at = at + SignedDuration::from_secs(ahead);
        let timestamp = if is(Quirk::TimestampInMilliseconds) {
            at.as_millisecond().to_string()
        } else {
            at.as_second().to_string()
        };
        let secret = if is(Quirk::SignsWithAnotherKey) {
            "another secret"
        } else {
            self.webhook_secret.as_str()
        };
        let signed = if is(Quirk::SignsCompact) {
            webhook.json().to_string().into_bytes()
        } else {
            webhook.body.clone()
        };

        let tracking = webhook.header("x-zm-trackingid").unwrap_or_default();
        let trace = hex::encode(random(16));
        let mut headers = vec![
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("user-agent", "Zoom Marketplace/1.0a".to_owned()),
            ("x-zm-request-timestamp", timestamp.clone()),
            ("x-zm-request-id", webhook.request_id.clone()),
            ("x-zm-trackingid", tracking.to_owned()),
            ("traceparent", format!("00-{trace}-{}-00", hex::encode(random(8)))),
            ("zm-trace-upstream", "marketplace".to_owned()),
            ("clientid", self.client_id.clone()),
            ("authorization", "a-legacy-verification-token".to_owned()),
        ];
        if !is(Quirk::SignsNothing) {
            headers.push(("x-zm-signature", signature(secret, &timestamp, &signed)));
        }
        Webhook {
            headers,
            ..webhook.clone()
        }
    }
}

fn tracking_id(topic: &str) -> String {
    let hash = hex::encode(Sha256::digest(topic.as_bytes()));
    format!("v=2.0;clid=us02;rid=WEB_{}", hash.get(..32).unwrap_or_default())
}

impl Zoom {
    /// Sends a webhook as the vendor does: stamped and signed when it is sent, and again after a time-out or a 5xx, a
    /// few times. Anything else is final, a redirection and a refusal, too. Returns the last status, or 0.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let mut status = 0;
        for attempt in 0..DELIVERY_TRIES {
            if attempt > 0 {
                tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt - 1)).await;
            }
            // A clock that stands still must not make a retry look like the first try.
            let at = self.now() + SignedDuration::from_secs(i64::from(attempt));
            status = self.send(&self.retried(webhook, at)).await;
            if (200..500).contains(&status) {
                break;
            }
        }
        status
    }

    /// Sends a webhook once, exactly as it is. Returns the status, or 0.
    pub async fn send(&self, webhook: &Webhook) -> u16 {
        let answer = self.post(webhook).await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// The vendor's next try at `at`: the same body and request id, another timestamp and signature.
    pub fn retried(&self, webhook: &Webhook, at: Timestamp) -> Webhook {
        let quirks = self.books().quirks.clone();
        let mut again = self.vendor().signed(webhook, &quirks, at);
        if webhook.header("x-zm-signature").is_none() {
            again.headers.retain(|(name, _)| *name != "x-zm-signature");
        }
        again
    }

    async fn post(&self, webhook: &Webhook) -> Option<reqwest::Response> {
        let url = webhook.url.clone()?;
        let mut request = self.vendor().http.post(url).timeout(PATIENCE);
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        request.body(webhook.body.clone()).send().await.ok()
    }

    /// A request that asks the address to show that it knows the secret; unsigned, and with any token, it is an
    /// attacker's.
    pub fn url_validation(&self, is_signed: bool, plain_token: &str) -> Webhook {
        let now = self.now();
        let told = Told::url_validation(plain_token, now);
        let mut webhook = self
            .vendor()
            .webhook(&self.books(), &told, SignedDuration::ZERO, now);
        if !is_signed {
            webhook.headers.retain(|(name, _)| *name != "x-zm-signature");
        }
        webhook
    }

    /// Validates the address as the vendor does when it is set and every 72 hours. After the sixth failure in a row
    /// nothing is sent there any more.
    pub async fn validate_url(&self) -> bool {
        let plain_token = super::encoding::credential(16);
        let webhook = self.url_validation(true, &plain_token);
        let answer = self.post(&webhook).await;
        let is_ok = answer.as_ref().is_some_and(|answer| answer.status().is_success());
        let said: Value = match answer {
            Some(answer) if is_ok => answer.json().await.unwrap_or_default(),
            _ => Value::Null,
        };

        let wanted = hmac(&self.vendor().webhook_secret, &[plain_token.as_bytes()]);
        let shows = |name: &str, value: &str| said.get(name).and_then(Value::as_str) == Some(value);
        let is_valid = shows("plainToken", &plain_token) && shows("encryptedToken", &wanted);
        let mut books = self.books();
        books.failures = if is_valid { 0 } else { books.failures + 1 };
        if books.failures >= FORGIVEN_VALIDATIONS {
            books.hook = None;
        }
        is_valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "firstbell-test-secret";

    #[test]
    fn signatures_are_over_the_bytes_as_they_are() {
        let body = r#"{"event":"meeting.ended", "payload":{"account_id":"acct-1","object":{"id":"86084701483","uuid":"/de+IDqR//NA=="}},"event_ts":1785369806781,"note":"Leçon \u00e9"}"#;
        assert_eq!(body.len(), 162);
        let wanted = "v0=cc5f6858b864751f3669c5edb293591ce2baa30f016c1c01f45079eceb4edca4";
        assert_eq!(signature(SECRET, "1785369357", body.as_bytes()), wanted);
    }

    #[test]
    fn a_token_is_hashed_with_the_secret() {
        let hash = hmac(SECRET, &[b"qgg8vlvZRS6UYooatFL8Aw"]);
        assert_eq!(
            hash,
            "ef65ddc306b6333d6edd695bdbf814ea1366bcadc258abfb951787e9597f11b5"
        );
    }
}
