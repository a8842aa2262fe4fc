//! What Lessonspace tells us. A delivery is a hint to go and ask: who may deliver is proven by the address's token,
//! and what is true is asked at the vendor. The signature is checked where the room's key is at hand, and counted.

use super::key::SealedKey;
use crate::signature::is_signed;
use domain::ids::{BookingId, RoomId};
use http::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The longest header and the longest id that are read, in bytes. What is longer counts as missing.
const LONGEST: usize = 200;

/// The headers of a delivery that matter. None of them is covered by the signature.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Headers {
    /// `x-webhook-id`: the same for every retry of one event.
    pub id: Option<String>,
    /// `x-webhook-event`, such as `webhooks.session.end`.
    pub event: Option<String>,
    /// `x-webhook-signature`, in hexadecimal, as it came.
    pub signature: Option<String>,
    /// `x-webhook-timestamp`: when it happened, by the vendor's clock.
    pub timestamp: Option<String>,
}

impl Headers {
    /// Reads the headers. One that is missing, empty, there twice or too long is `None`.
    pub fn read(headers: &HeaderMap) -> Self {
        let single = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            let is_one = values.next().is_none() && !value.is_empty() && value.len() <= LONGEST;
            is_one.then(|| value.to_owned())
        };

        Self {
            id: single("x-webhook-id"),
            event: single("x-webhook-event"),
            signature: single("x-webhook-signature"),
            timestamp: single("x-webhook-timestamp"),
        }
    }
}

/// What a delivery is about. It decides what the vendor's list should show by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first person entered.
    SessionStart,
    /// The last person left, or the vendor gave up waiting for somebody to move.
    SessionEnd,
    /// Nobody in the room has moved for a while.
    SessionIdle,
    /// A person entered.
    UserJoin,
    /// A person left.
    UserLeave,
    /// A person has not moved for a while.
    UserIdle,
    /// Something that we do not use.
    Other,
}

impl Kind {
    /// Reads an event's name, of which integrations have seen two spellings, with and without a prefix.
    fn read(name: &str) -> Self {
        match name.strip_prefix("webhooks.").unwrap_or(name) {
            "session.start" => Self::SessionStart,
            "session.end" => Self::SessionEnd,
            "session.idle" => Self::SessionIdle,
            "user.join" | "user.joined" => Self::UserJoin,
            "user.leave" | "user.left" => Self::UserLeave,
            "user.idle" => Self::UserIdle,
            _ => Self::Other,
        }
    }
}

/// What a delivery's signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// The room's key signed the body as it came.
    Raw,
    /// The room's key signed the body's compact form, as `JSON.stringify` writes it.
    Compact,
    /// The room's key did not sign this.
    Wrong,
    /// There is no signature.
    Absent,
    /// There is a signature, and no key at hand to check it with.
    NoKey,
}

/// A delivery as it came in, kept whole until its signature was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The booking that the URL named and the token confirmed.
    pub booking: BookingId,
    /// Those of its headers that matter.
    pub headers: Headers,
    /// The body exactly as it came, since the signature is over its bytes.
    pub body: String,
}

impl Delivery {
    /// Identifies the event among all of the vendor's: the vendor's id, else a hash of what it says. The booking is
    /// part of it, so that nobody can use up another booking's ids.
    pub fn event_id(&self) -> String {
        format!("{}/{}", self.booking, self.own_id())
    }

    fn own_id(&self) -> String {
        self.headers.id.clone().unwrap_or_else(|| {
            let event = self.headers.event.as_deref().unwrap_or_default();
            let said = Sha256::new().chain_update(event).chain_update(&self.body);
            hex::encode(said.finalize())
        })
    }

    /// What the delivery is about. The body names no event, so this is the header's word, which is not
    /// signed.
    pub fn kind(&self) -> Kind {
        self.headers.event.as_deref().map_or(Kind::Other, Kind::read)
    }

    /// Whether the body is a JSON object.
    pub fn is_readable(&self) -> bool {
        self.read().is_some()
    }

    /// The vendor's id of the room that the body names, if it names one.
    pub fn room(&self) -> Option<RoomId> {
        id(&self.read()?, "room").map(RoomId)
    }

    /// The id of the session that the delivery is about, which the session lists call `uuid`.
    pub fn span(&self) -> Option<String> {
        let body = self.read()?;
        match self.kind() {
            Kind::SessionStart | Kind::SessionEnd | Kind::SessionIdle => text(body.get("id")?),
            Kind::UserJoin | Kind::UserLeave | Kind::UserIdle | Kind::Other => id(&body, "session"),
        }
    }

    /// Whether the vendor signed the body with the room's key, which is `sealed` under one of `secrets`.
    pub fn signature_by(&self, sealed: Option<&str>, secrets: &[SecretString]) -> Signature {
        let sealed = sealed.map(|sealed| SealedKey(sealed.to_owned()));
        let key = sealed.and_then(|sealed| sealed.open(self.booking, secrets));
        self.signature(key.as_ref())
    }

    /// Whether the vendor signed the body with the room's `key`. The bytes as they came are tried first, then the
    /// compact form: the vendor's page hashes `JSON.stringify(body)`, which need not be what it sends.
    pub fn signature(&self, key: Option<&SecretString>) -> Signature {
        let Some(given) = self.headers.signature.as_deref() else {
            return Signature::Absent;
        };
        let Some(key) = key else {
            return Signature::NoKey;
        };

        let given = given.strip_prefix("sha256=").unwrap_or(given);
        let signed = |body: &str| is_signed(std::slice::from_ref(key), &[body.as_bytes()], given);

        if signed(&self.body) {
            Signature::Raw
        } else if compact(&self.body).is_some_and(|body| signed(&body)) {
            Signature::Compact
        } else {
            Signature::Wrong
        }
    }

    /// The delivery without what is not used of it: the body's ids stay, names and everything else go. Everything but
    /// [`Self::signature`] answers as before.
    #[must_use]
    pub fn trimmed(self) -> Self {
        let named = |name| id(&self.read()?, name);
        let kept = json!({
            "id": self.read().and_then(|body| text(body.get("id")?)),
            "room": {"id": named("room")},
            "session": {"id": named("session")},
        });

        let headers = Headers {
            id: Some(self.own_id()),
            signature: None,
            ..self.headers
        };
        Self {
            booking: self.booking,
            headers,
            body: kept.to_string(),
        }
    }

    fn read(&self) -> Option<Map<String, Value>> {
        serde_json::from_str(&self.body).ok()
    }
}

fn text(id: &Value) -> Option<String> {
    let text = id.as_str()?;
    (!text.is_empty() && text.len() <= LONGEST).then(|| text.to_owned())
}

fn id(body: &Map<String, Value>, name: &str) -> Option<String> {
    text(body.get(name)?.get("id")?)
}

/// JSON as `JSON.stringify` writes it: no space between the parts, strings escaped no further than they must be. The
/// order of the keys and the spelling of numbers stay as they are.
fn compact(body: &str) -> Option<String> {
    let mut compact = String::with_capacity(body.len());
    let mut rest = body;

    loop {
        let (between, quoted) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
        compact.extend(between.split_ascii_whitespace());
        if quoted.is_empty() {
            return Some(compact);
        }

        let mut strings = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
        let string = strings.next()?.ok()?;
        compact.push_str(&serde_json::to_string(&string).ok()?);
        rest = quoted.get(strings.byte_offset()..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::sign;
    use proptest::prelude::*;
    use uuid::Uuid;

    const KEY: &str = "3f0c1f5e-8d0a-4a57-9b5e-2d6f1c7a9e10";
    const BODY: &str = r#"{"id":"9d5c2f1e-0001-4000-8000-000000000001","room":{"id":"9d5c2f1e-0002-4000-8000-000000000002"},"time":"2026-03-02T17:01:12.345Z"}"#;
    const SIGNED: &str = "b4d7cc8839e18a84e455905f56fba0cac5c28cf1df11878bffc78762c3b21c03";
    const SPACED_SIGNED: &str = "7322c872bbe2841f3fa3365ebf97091abb6264a524b916be65cb726c879f0e6d";

    fn key() -> SecretString {
        SecretString::from(KEY)
    }

    fn delivery(event: &str, body: &str, signature: Option<&str>) -> Delivery {
        Delivery {
            booking: BookingId(Uuid::from_u128(1)),
            headers: Headers {
                id: Some("evt-1".into()),
                event: Some(event.into()),
                signature: signature.map(Into::into),
                timestamp: Some("2026-03-02T17:01:12.345Z".into()),
            },
            body: body.into(),
        }
    }

    fn worth(body: &str, signature: &str) -> Signature {
        delivery("webhooks.session.end", body, Some(signature)).signature(Some(&key()))
    }

    fn spaced() -> String {
        BODY.replace("\":", "\": ")
            .replace("\",", "\", ")
            .replace("},", "}, ")
    }

    #[test]
    fn the_vector_holds_as_it_came_and_in_its_compact_form() {
        assert_eq!(worth(BODY, SIGNED), Signature::Raw);
        assert_eq!(worth(&spaced(), SIGNED), Signature::Compact);
        assert_eq!(worth(&spaced(), SPACED_SIGNED), Signature::Raw);
        assert_eq!(
            worth(BODY, SPACED_SIGNED),
            Signature::Wrong,
            "the form is taken from the body, not guessed"
        );
    }

    #[test]
    fn spellings_of_a_signature_are_read_only_if_they_are_one() {
        assert_eq!(worth(BODY, &SIGNED.to_uppercase()), Signature::Raw);
        assert_eq!(worth(BODY, &format!("sha256={SIGNED}")), Signature::Raw);

        let longer = format!("{SIGNED}00");
        for wrong in [
            "",
            "sha256=",
            "zz",
            &SIGNED[..62],
            &longer,
            "sha1=00",
            "sha256=sha256=",
        ] {
            assert_eq!(worth(BODY, wrong), Signature::Wrong, "{wrong:?} is accepted");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_not_called_wrong() {
        let signed = delivery("session.end", BODY, Some(SIGNED));
        assert_eq!(signed.signature(None), Signature::NoKey);
        assert_eq!(
            signed.signature(Some(&SecretString::from("another room's"))),
            Signature::Wrong
        );
        let unsigned = delivery("session.end", BODY, None);
        assert_eq!(unsigned.signature(Some(&key())), Signature::Absent);
    }

    #[test]
    fn the_compact_form_is_what_javascript_writes() {
        let pairs = [
            (
                "{ \"b\" : 1.50 ,\n\t\"a\" : [ 1e3 , true ] }",
                "{\"b\":1.50,\"a\":[1e3,true]}",
            ),
            (r#"{"a": "x , : \" y"}"#, r#"{"a":"x , : \" y"}"#),
            (
                r#"{"a": "Zo\u00eb \/ \u001f\n"}"#,
                "{\"a\":\"Zo\u{eb} / \\u001f\\n\"}",
            ),
            ("", ""),
        ];

        for (sent, stringified) in pairs {
            assert_eq!(compact(sent).as_deref(), Some(stringified));
        }

        assert_eq!(compact(r#"{"a": "cut"#), None);
    }

    #[test]
    fn every_spelling_of_an_event_is_known_and_no_other() {
        let known = [
            ("session.start", Kind::SessionStart),
            ("session.end", Kind::SessionEnd),
            ("session.idle", Kind::SessionIdle),
            ("user.join", Kind::UserJoin),
            ("user.joined", Kind::UserJoin),
            ("user.leave", Kind::UserLeave),
            ("user.left", Kind::UserLeave),
            ("user.idle", Kind::UserIdle),
            ("knock.request", Kind::Other),
            ("", Kind::Other),
        ];

        for (name, kind) in known {
            assert_eq!(delivery(name, "{}", None).kind(), kind, "{name}");
            assert_eq!(
                delivery(&format!("webhooks.{name}"), "{}", None).kind(),
                kind,
                "{name}"
            );
        }

        let mut nameless = delivery("", r#"{"event": "session.end"}"#, None);
        nameless.headers.event = None;
        assert_eq!(nameless.kind(), Kind::Other, "the body names no event");
    }

    #[test]
    fn a_session_is_named_in_one_place_by_its_own_events_and_in_another_by_its_visitors() {
        let ended = delivery("webhooks.session.end", BODY, None);
        assert_eq!(
            ended.span().as_deref(),
            Some("9d5c2f1e-0001-4000-8000-000000000001")
        );

        let room = RoomId("9d5c2f1e-0002-4000-8000-000000000002".into());
        assert_eq!(ended.room(), Some(room));

        let body = r#"{"id": "x", "user": {"id": 7, "name": "Ada"}, "session": {"id": "s-1"}, "room": {"id": "r-1"}}"#;
        let came = delivery("webhooks.user.join", body, None);
        assert_eq!(came.span().as_deref(), Some("s-1"));
        assert_eq!(came.room(), Some(RoomId("r-1".into())));

        for odd in [
            r#"{"id": 7}"#,
            r#"{"id": ""}"#,
            r#"{"id": null, "session": {"id": "s"}}"#,
            "[]",
            "{",
        ] {
            assert_eq!(delivery("session.end", odd, None).span(), None, "{odd}");
        }
    }

    #[test]
    fn the_samples_are_read() {
        let samples = [
            (
                include_str!("../../../../events/webhook-lessonspace/session-end.json"),
                Kind::SessionEnd,
            ),
            (
                include_str!("../../../../events/webhook-lessonspace/session-idle.json"),
                Kind::SessionIdle,
            ),
            (
                include_str!("../../../../events/webhook-lessonspace/user-join.json"),
                Kind::UserJoin,
            ),
        ];

        for (sample, kind) in samples {
            let sample: Value = serde_json::from_str(sample).unwrap();
            let event = sample["headers"]["x-webhook-event"].as_str().unwrap();
            let read = delivery(event, sample["body"].as_str().unwrap(), None);

            assert_eq!(read.kind(), kind);
            assert_eq!(
                read.room(),
                Some(RoomId("6f1c1c1e-0000-4000-8000-000000000001".into()))
            );
            assert_eq!(
                read.span().as_deref(),
                Some("6f1c1c1e-0000-4000-8000-000000000002")
            );
        }
    }

    #[test]
    fn only_an_object_is_readable() {
        for (body, is_readable) in [
            ("{}", true),
            (BODY, true),
            ("[]", false),
            ("\"{}\"", false),
            ("", false),
            ("{\"a\":", false),
        ] {
            assert_eq!(
                delivery("session.end", body, None).is_readable(),
                is_readable,
                "{body}"
            );
        }
    }

    #[test]
    fn retries_have_one_id_and_bookings_do_not_share_ids() {
        let first = delivery("session.end", BODY, None);
        let mut other = first.clone();
        other.booking = BookingId(Uuid::from_u128(2));

        assert_eq!(first.event_id(), delivery("session.start", "{}", None).event_id());
        assert_ne!(first.event_id(), other.event_id());

        let mut nameless = first;
        nameless.headers.id = None;
        assert_eq!(nameless.event_id().len(), 36 + 1 + 64);
    }

    #[test]
    fn names_do_not_stay_and_everything_that_is_used_does() {
        let body = r#"{"id": "x", "user": {"id": 7, "name": "Ada", "meta": {"name": "Ada"}}, "session": {"id": "s-1"}, "room": {"id": "r-1"}}"#;
        for event in ["webhooks.user.join", "webhooks.session.end", "chat.message"] {
            for id in [Some("evt-1".to_owned()), None] {
                let mut whole = delivery(event, body, Some(SIGNED));
                whole.headers.id = id;

                let trimmed = whole.clone().trimmed();

                assert_eq!(trimmed.event_id(), whole.event_id());
                assert_eq!(trimmed.kind(), whole.kind());
                assert_eq!(trimmed.span(), whole.span());
                assert_eq!(trimmed.room(), whole.room());
                assert_eq!(trimmed.signature(Some(&key())), Signature::Absent);
                assert!(!trimmed.body.contains("Ada"), "{}", trimmed.body);
            }
        }
    }

    #[test]
    fn headers_are_read_only_if_there_is_one_of_each() {
        let mut headers = HeaderMap::new();
        headers.insert("x-webhook-id", "evt-1".parse().unwrap());
        headers.insert("x-webhook-event", "webhooks.session.end".parse().unwrap());
        headers.insert("x-webhook-timestamp", "2026-03-02T17:01:12.345Z".parse().unwrap());
        headers.insert("x-webhook-signature", SIGNED.parse().unwrap());

        assert_eq!(
            Headers::read(&headers),
            delivery("webhooks.session.end", "", Some(SIGNED)).headers
        );

        headers.append("x-webhook-signature", SIGNED.parse().unwrap());
        headers.insert("x-webhook-event", "e".repeat(LONGEST + 1).parse().unwrap());
        headers.insert("x-webhook-id", "".parse().unwrap());
        let read = Headers::read(&headers);
        assert_eq!((read.id, read.event, read.signature), (None, None, None));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_a_forgery(at in 0..BODY.len(), to in any::<u8>()) {
            let mut bytes = BODY.as_bytes().to_vec();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            // Space between the parts is not covered by a signature over the compact form.
            prop_assume!(!to.is_ascii_whitespace());
            if let Ok(body) = String::from_utf8(bytes) {
                prop_assert_eq!(worth(&body, SIGNED), Signature::Wrong);
            }
        }

        #[test]
        fn the_compact_form_says_the_same(text in ".*", number in any::<i32>()) {
            let value = json!({"text": text, "list": [number, {"key": text}]});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty).unwrap(), value.to_string());
        }

        #[test]
        fn no_body_breaks_the_reader(body in ".*", signature in ".*") {
            let delivery = delivery("webhooks.session.end", &body, Some(&signature));
            delivery.signature(Some(&key()));
            delivery.trimmed().span();
        }

        #[test]
        fn whoever_has_the_key_is_believed(body in ".*") {
            prop_assert_eq!(worth(&body, &sign(&key(), &[body.as_bytes()])), Signature::Raw);
        }
    }
}
