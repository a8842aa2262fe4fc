//! Webhooks, as the vendor sends them: with its secret as a bearer token, and unsigned.

use super::books::new_id;
use super::quirks::{Quirk, Quirks};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

/// A webhook that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to, if anybody had told the vendor when it happened.
    pub url: Option<Url>,
    /// `authorization`, and `x-pencil-signature` where [`Quirk::Signs`] or [`Quirk::SignsWrongly`] wants it.
    pub headers: Vec<(&'static str, String)>,
    /// The body, byte by byte. Nothing binds the bearer token to it, so a test may change it.
    pub body: String,
}

impl Webhook {
    pub(super) fn new(url: Option<Url>, secret: &str, quirks: &Quirks, body: &Value) -> Self {
        let is = |quirk| quirks.contains(&quirk);
        let signed = body.to_string();
        let mut headers = Vec::new();
        headers.extend(bearer(secret, quirks).map(|bearer| ("authorization", bearer)));
        if is(Quirk::Signs) {
            headers.push(("x-pencil-signature", signature(secret, &signed)));
        }
        if is(Quirk::SignsWrongly) {
            headers.push(("x-pencil-signature", signature("another secret", &signed)));
        }

        let sent = if is(Quirk::Tampers) {
            tampered(body.clone()).to_string()
        } else {
            signed
        };
        Self {
            url,
            headers,
            body: sent,
        }
    }
}

fn bearer(secret: &str, quirks: &Quirks) -> Option<String> {
    let is = |quirk| quirks.contains(&quirk);
    if is(Quirk::NoBearer) {
        None
    } else if is(Quirk::WrongBearer) {
        Some(format!("Bearer {}", new_id(32)))
    } else if is(Quirk::StagingBearer) {
        Some(format!("Bearer staging-{secret}"))
    } else {
        Some(format!("Bearer {secret}"))
    }
}

/// HMAC-SHA256 of the body in hexadecimal. The vendor does not sign; this is what a reader would check if it did.
#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn tampered(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        for name in ["sessionId", "userId"] {
            if fields.contains_key(name) {
                fields.insert(name.into(), json!(new_id(20)));
            }
        }
        let metrics = json!({"duration": 36_000, "talk_time": 36_000});
        fields.insert("participation_metrics".into(), metrics);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"_type":"SPACE_SESSION","eventType":"SESSION_ENDED","sessionId":"q8Zt2Lw0aXcV5bNm1RsD","spaceId":"Jk3Lp9Qw7Er2Ty6Ui0Op","timestamp":"2026-03-02T17:09:40.000Z"}"#;

    fn headers(quirks: &[Quirk]) -> Vec<(&'static str, String)> {
        let body: Value = serde_json::from_str(BODY).unwrap();
        let quirks = quirks.iter().copied().collect();
        Webhook::new(None, "pencil-secret", &quirks, &body).headers
    }

    #[test]
    fn the_secret_itself_is_sent_and_a_signature_only_where_one_is_wanted() {
        let bearer = ("authorization", "Bearer pencil-secret".to_owned());
        let signed = "d8de4377fafac4c670a060b8342a16acc609b6fe20565ee3aa663f1cdfadfca0";

        assert_eq!(headers(&[]), std::slice::from_ref(&bearer));
        assert_eq!(headers(&[Quirk::NoBearer]), []);
        assert_eq!(
            headers(&[Quirk::Signs]),
            [bearer.clone(), ("x-pencil-signature", signed.to_owned())]
        );
        assert_ne!(headers(&[Quirk::SignsWrongly]), headers(&[Quirk::Signs]));
    }
}
