//! What Stripe tells us, and how we know that it is Stripe.

use crate::signature;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far the signed time may be from ours. An older delivery may be a copy that somebody else sends again.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

/// Why a delivery is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no signature header, or several, or one that cannot be read.
    #[error("no signature")]
    NoSignature,
    /// None of the signatures in the header was made with one of our keys.
    #[error("signature")]
    Signature,
    /// The signature is good, but was made at another time.
    #[error("timestamp")]
    Timestamp,
}

/// The signature header for `body` at `now`, as Stripe makes it; for simulators and tests.
pub fn sign(key: &SecretString, body: &[u8], now: Timestamp) -> String {
    let time = now.as_second().to_string();
    let signature = signature::sign(key, &[time.as_bytes(), b".", body]);
    format!("t={time},v1={signature}")
}

/// Verifies `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=…]`: HMAC-SHA256 over `<t>.<body>` with any key in
/// force, not older or newer than five minutes.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    keys: &[SecretString],
    now: Timestamp,
) -> Result<(), Refusal> {
    let mut values = headers.get_all("stripe-signature").iter();
    let header = values
        .next()
        .and_then(|value| value.to_str().ok())
        .ok_or(Refusal::NoSignature)?;
    if values.next().is_some() {
        return Err(Refusal::NoSignature);
    }

    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let (_, time) = pairs()
        .find(|(name, _)| *name == "t")
        .ok_or(Refusal::NoSignature)?;

    // While Stripe rotates a key it signs with both, so one good signature is enough.
    let mut signatures = pairs().filter(|(name, _)| *name == "v1");
    let is_signed =
        signatures.any(|(_, given)| signature::is_signed(keys, &[time.as_bytes(), b".", body], given));

    if !is_signed {
        return Err(Refusal::Signature);
    }

    let signed_at = time
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(Refusal::Timestamp)?;

    let is_fresh = now.duration_since(signed_at).abs() <= TOLERANCE;
    is_fresh.then_some(()).ok_or(Refusal::Timestamp)
}

/// A delivery as it came in, verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The body exactly as it came, since the signature is over its bytes.
    pub body: String,
}

/// The object at Stripe that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A Checkout page, by its id.
    Checkout(String),
    /// A payment intent, by its id: a charge of ours, or of a page.
    PaymentIntent(String),
    /// A refund, by its id.
    Refund(String),
    /// A dispute, by its id.
    Dispute(String),
    /// Something that we do not follow.
    Other,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    id: String,
    #[serde(default, rename = "object")]
    kind: String,
    /// For a charge: the payment intent that it was made for.
    payment_intent: Option<Value>,
}

/// What an event says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stripe's id of the event, `evt_…`, which is the same in every delivery of it.
    pub id: String,
    /// The event's type, such as `checkout.session.completed`.
    pub kind: String,
    /// The object to look up.
    pub subject: Subject,
}

impl Delivery {
    /// Reads the event; `None` if the body is none.
    pub fn notice(&self) -> Option<Notice> {
        let Event { id, kind, data } = serde_json::from_str(&self.body).ok()?;
        let Object {
            id: object,
            kind: what,
            payment_intent,
        } = data.object;

        let subject = match what.as_str() {
            "checkout.session" => Subject::Checkout(object),
            "payment_intent" => Subject::PaymentIntent(object),
            "refund" => Subject::Refund(object),
            "dispute" => Subject::Dispute(object),
            // A charge may tell its fee later than its success, so its intent is looked up again.
            "charge" => match payment_intent {
                Some(Value::String(intent)) => Subject::PaymentIntent(intent),
                _ => Subject::Other,
            },
            _ => Subject::Other,
        };

        (!id.is_empty() && id.len() <= 255).then_some(Notice { id, kind, subject })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"charge.refunded","data":{"object":{"id":"ch_1","object":"charge"}}}"#;

    fn now() -> Timestamp {
        Timestamp::from_second(1_772_366_400).unwrap()
    }

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("stripe-signature", HeaderValue::from_str(value).unwrap());
        headers
    }

    fn keys() -> [SecretString; 2] {
        [SecretString::from("whsec_new"), SecretString::from("whsec_old")]
    }

    #[test]
    fn what_stripe_signs_now_is_believed_and_nothing_else() {
        let [new, old] = keys();
        let good = sign(&old, BODY, now());

        assert_eq!(verify(&headers(&good), BODY, &keys(), now()), Ok(()));

        let both = format!(
            "t={},v1=00,v0=zz,{}",
            now().as_second(),
            good.split_once(',').unwrap().1
        );
        assert_eq!(
            verify(&headers(&both), BODY, &keys(), now()),
            Ok(()),
            "one of several"
        );

        let other = sign(&SecretString::from("whsec_x"), BODY, now());
        let cases = [
            (good.clone(), b"{}".as_slice(), now(), Refusal::Signature),
            (other, BODY, now(), Refusal::Signature),
            (good.replace("t=1", "t=2"), BODY, now(), Refusal::Signature),
            (
                good.clone(),
                BODY,
                now() + SignedDuration::from_secs(301),
                Refusal::Timestamp,
            ),
            (
                good.clone(),
                BODY,
                now() - SignedDuration::from_secs(301),
                Refusal::Timestamp,
            ),
            ("v1=00".into(), BODY, now(), Refusal::NoSignature),
            (String::new(), BODY, now(), Refusal::NoSignature),
        ];

        for (header, body, at, refusal) in cases {
            assert_eq!(
                verify(&headers(&header), body, &keys(), at),
                Err(refusal),
                "{header}"
            );
        }

        let mut twice = headers(&sign(&new, BODY, now()));
        twice.append("stripe-signature", HeaderValue::from_str(&good).unwrap());
        assert_eq!(verify(&twice, BODY, &keys(), now()), Err(Refusal::NoSignature));
    }

    /// Made with `stripe.WebhookSignature` of the official Python library: secret, time and payload as below.
    #[test]
    fn the_header_is_the_one_that_the_official_library_makes() {
        let header = sign(
            &SecretString::from("whsec_test_secret"),
            br#"{"id":"evt_test_webhook","object":"event"}"#,
            Timestamp::from_second(1_700_000_000).unwrap(),
        );
        assert_eq!(header, OFFICIAL);
    }

    const OFFICIAL: &str = "t=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990";

    #[test]
    fn an_event_names_what_to_look_at() {
        let read = |kind: &str, object: &str| {
            let body = format!(
                r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{{"id":"x_1","object":"{object}"}}}}}}"#
            );
            Delivery { body }.notice().unwrap().subject
        };

        let id = || "x_1".to_owned();
        assert_eq!(
            read("checkout.session.completed", "checkout.session"),
            Subject::Checkout(id())
        );
        assert_eq!(
            read("payment_intent.succeeded", "payment_intent"),
            Subject::PaymentIntent(id())
        );
        assert_eq!(read("refund.updated", "refund"), Subject::Refund(id()));
        assert_eq!(read("charge.dispute.closed", "dispute"), Subject::Dispute(id()));
        assert_eq!(read("charge.refunded", "charge"), Subject::Other);

        let charge = r#"{"id":"evt_1","type":"charge.updated","data":{"object":{"id":"ch_1","object":"charge","payment_intent":"pi_1"}}}"#;
        let notice = Delivery { body: charge.into() }.notice().unwrap();
        assert_eq!(notice.subject, Subject::PaymentIntent("pi_1".into()));

        assert_eq!(Delivery { body: "{}".into() }.notice(), None);
    }
}
