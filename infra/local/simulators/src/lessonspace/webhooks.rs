//! Webhooks, as the vendor signs and names them.

use super::books::time;
use super::quirks::{Quirk, Quirks};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

/// A webhook that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// `x-webhook-…` headers.
    pub headers: Vec<(&'static str, String)>,
    /// The signed body.
    pub body: String,
}

impl Webhook {
    /// One about `event`, a subject and what it did.
    pub(super) fn new(
        url: Url,
        secret: &str,
        quirks: &Quirks,
        event: (&str, &str),
        at: Timestamp,
        body: &Value,
    ) -> Self {
        let compact = body.to_string();
        let sent = if quirks.contains(&Quirk::SignsCompact) {
            serde_json::to_string_pretty(body).unwrap_or_default()
        } else {
            compact.clone()
        };

        let mut headers = vec![
            ("x-webhook-id", Uuid::new_v4().to_string()),
            ("x-webhook-event", name(quirks, event)),
            ("x-webhook-timestamp", time(at)),
        ];
        let signature = signature(secret, quirks, &compact);
        headers.extend(signature.map(|signature| ("x-webhook-signature", signature)));
        Self {
            url,
            headers,
            body: sent,
        }
    }
}

fn name(quirks: &Quirks, (subject, what): (&str, &str)) -> String {
    let is = |quirk| quirks.contains(&quirk);
    let what = match what {
        "join" if is(Quirk::PastTense) => "joined",
        "leave" if is(Quirk::PastTense) => "left",
        "start" if is(Quirk::LyingHeaders) => "end",
        "end" if is(Quirk::LyingHeaders) => "start",
        what => what,
    };
    let prefix = if is(Quirk::BareNames) { "" } else { "webhooks." };
    format!("{prefix}{subject}.{what}")
}

fn signature(secret: &str, quirks: &Quirks, body: &str) -> Option<String> {
    let is = |quirk| quirks.contains(&quirk);
    let key = if is(Quirk::SignsWithAnotherKey) {
        Uuid::new_v4().to_string()
    } else {
        secret.to_owned()
    };

    let mut signature = hex::encode(hmac(&key, body));
    if is(Quirk::SignsHalf) {
        signature.truncate(32);
    }
    (!is(Quirk::SignsNothing)).then_some(signature)
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac(key: &str, body: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
