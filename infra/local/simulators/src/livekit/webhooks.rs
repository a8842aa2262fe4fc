//! Webhooks, as the vendor prints, signs and sends them.

use super::base64;
use super::proto;
use super::quirks::{Quirk, Quirks};
use super::schema::WEBHOOK_EVENT;
use super::tokens::{Algorithm, sign};
use jiff::Timestamp;
use rand::Rng;
use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Serializer, Value, json};
use sha2::{Digest, Sha256};
use std::io;
use url::Url;

/// A token is good for so long.
const VALID_SECONDS: i64 = 300;

/// A webhook that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What it tells of, `participant_joined` say.
    pub event: String,
    /// The event's id, the same on every delivery.
    pub id: String,
    /// The name of the room that it is about.
    pub room: String,
    /// Where to; nowhere, if nobody has said.
    pub url: Option<Url>,
    /// All headers, the content type and the signature among them.
    pub headers: Vec<(&'static str, String)>,
    /// The body, whose bytes are signed.
    pub body: String,
}

impl Webhook {
    /// The body as gateways hand bodies of unknown types to a Lambda: in base64.
    pub fn body_in_base64(&self) -> String {
        base64::standard(self.body.as_bytes())
    }
}

/// Something that happened, before it is printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) at: Timestamp,
    /// What it is about, by the names of the fields.
    pub(super) about: Value,
    /// Where else it goes: addresses, and the keys that sign for them.
    pub(super) extras: Vec<(Url, String)>,
    /// Whether files without a size have one of zero.
    pub(super) says_size_zero: bool,
}

impl Event {
    pub(super) fn new(name: &str, at: Timestamp, about: Value) -> Self {
        Self {
            name: name.to_owned(),
            at,
            about,
            extras: Vec::new(),
            says_size_zero: false,
        }
    }

    /// The text at a pointer into what it is about; empty if there is none.
    pub(super) fn text(&self, pointer: &str) -> &str {
        let found = self.about.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default()
    }

    fn is_lost(&self, quirks: &Quirks) -> bool {
        let is = |quirk| quirks.contains(&quirk);
        is(Quirk::Silent)
            || match self.name.as_str() {
                "participant_left" => is(Quirk::LosesLefts),
                "participant_joined" => is(Quirk::LosesJoins),
                "egress_started" | "egress_updated" => is(Quirk::LosesEgressStarts),
                _ => false,
            }
    }
}

/// With what webhooks are signed, and when.
pub(super) struct Seal<'a> {
    pub(super) key: &'a str,
    pub(super) secret: &'a str,
    pub(super) now: Timestamp,
    pub(super) quirks: &'a Quirks,
}

impl Seal<'_> {
    /// The webhooks that tell of `event`: one for `url`, and one for each address that an egress named besides. A key
    /// that nobody knows signs nothing, so nothing is sent there.
    pub(super) fn put_on(&self, event: &Event, url: Option<&Url>) -> Vec<Webhook> {
        if event.is_lost(self.quirks) {
            return Vec::new();
        }

        let id = super::books::guid("EV_");
        let body = body(event, &id, self.quirks);
        let known = |key: &str| key.is_empty() || key == self.key;
        let extras = event.extras.iter().filter(|(_, key)| known(key));
        let urls = std::iter::once(url.cloned()).chain(extras.map(|(url, _)| Some(url.clone())));
        urls.map(|url| Webhook {
            event: event.name.clone(),
            id: id.clone(),
            room: event.text("/room/name").to_owned(),
            url,
            headers: self.headers(&body),
            body: body.clone(),
        })
        .collect()
    }

    /// The same webhook, signed now.
    pub(super) fn renew(&self, webhook: &Webhook) -> Webhook {
        Webhook {
            headers: self.headers(&webhook.body),
            ..webhook.clone()
        }
    }

    fn headers(&self, body: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/webhook+json".to_owned()),
            ("user-agent", "LiveKit".to_owned()),
        ];
        if !self.quirks.contains(&Quirk::Unsigned) {
            headers.push(("authorization", self.authorization(body)));
        }
        headers
    }

    fn authorization(&self, body: &str) -> String {
        let is = |quirk| self.quirks.contains(&quirk);
        let algorithm = if is(Quirk::SignedByNone) {
            Algorithm::None
        } else if is(Quirk::SignedByHs512) {
            Algorithm::Hs512
        } else {
            Algorithm::Hs256
        };
        let secret = if is(Quirk::SignedWithAnotherSecret) {
            "another secret"
        } else {
            self.secret
        };

        let token = sign(algorithm, &self.claims(body), secret);
        if is(Quirk::SignedByBearer) {
            format!("Bearer {token}")
        } else {
            token
        }
    }

    fn claims(&self, body: &str) -> Value {
        let is = |quirk| self.quirks.contains(&quirk);
        let now = self.now.as_second();
        let start = match () {
            () if is(Quirk::SignedTooEarly) => now + 70,
            () if is(Quirk::SignedEarly) => now + 50,
            () if is(Quirk::SignedTooLate) => now - VALID_SECONDS - 70,
            () if is(Quirk::SignedLate) => now - VALID_SECONDS - 50,
            () => now,
        };
        let issuer = if is(Quirk::SignedByAnotherKey) {
            "APIsomebodyelse"
        } else {
            self.key
        };

        let mut claims = json!({"iss": issuer, "iat": start, "nbf": start, "exp": start + VALID_SECONDS});
        let grant = json!({"roomJoin": true, "room": "a-lesson"});
        let said = if is(Quirk::SignedByJoinToken) {
            vec![("sub", json!("somebody")), ("video", grant)]
        } else {
            vec![("sha256", json!(self.hash(body)))]
        };
        if let Some(fields) = claims.as_object_mut() {
            fields.extend(said.into_iter().map(|(name, value)| (name.to_owned(), value)));
            if is(Quirk::SignedForever) {
                fields.remove("exp");
            }
            if is(Quirk::SignedWithoutHash) {
                fields.remove("sha256");
            }
        }
        claims
    }

    fn hash(&self, body: &str) -> String {
        let is = |quirk| self.quirks.contains(&quirk);
        let hashed = if is(Quirk::SignedAnotherBody) { "{}" } else { body };
        let hash = Sha256::digest(hashed.as_bytes());
        if is(Quirk::SignedInHex) {
            hex::encode(hash)
        } else if is(Quirk::SignedUrlSafe) {
            base64::standard(&hash).replace('+', "-").replace('/', "_")
        } else {
            base64::standard(&hash)
        }
    }
}

/// The body of an event: camel case, without defaults, 64-bit numbers as text, and with a space after each comma or
/// not, as it pleases the vendor's build.
fn body(event: &Event, id: &str, quirks: &Quirks) -> String {
    let mut whole = event.about.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("event".into(), json!(event.name));
        fields.insert("id".into(), json!(id));
        fields.insert("created_at".into(), json!(event.at.as_second()));
    }
    let mut printed = proto::event(&whole, WEBHOOK_EVENT);
    distort(&mut printed, quirks);
    if event.says_size_zero {
        say_size_zero(&mut printed);
    }

    let mut bytes = Vec::new();
    let spaced = Spaced(rand::rng().random());
    let written = printed.serialize(&mut Serializer::with_formatter(&mut bytes, spaced));
    let text = written.ok().and_then(|()| String::from_utf8(bytes).ok());
    text.unwrap_or_default()
}

fn distort(printed: &mut Value, quirks: &Quirks) {
    let is = |quirk| quirks.contains(&quirk);
    let mut set = |pointer: &str, name: &str, value: Value| {
        if let Some(Value::Object(fields)) = printed.pointer_mut(pointer) {
            fields.insert(name.to_owned(), value);
        }
    };

    if is(Quirk::UnknownEnums) {
        set("/participant", "kind", json!("HOLOGRAM"));
        set("/participant", "disconnectReason", json!("BORED"));
        set("/egressInfo", "status", json!("EGRESS_PAUSED"));
        set("/track", "source", json!("DREAM"));
    }
    if is(Quirk::UnknownFields) {
        for part in ["", "/room", "/participant", "/track", "/egressInfo"] {
            set(part, "fieldOfTheFuture", json!({"is": ["unknown", 1, null]}));
        }
    }
    if is(Quirk::HugeBodies) {
        set("/room", "metadata", json!("x".repeat(2 * 1024 * 1024)));
    }
    if is(Quirk::LosesStatuses)
        && let Some(Value::Object(info)) = printed.pointer_mut("/egressInfo")
    {
        info.remove("status");
    }
}

fn say_size_zero(printed: &mut Value) {
    let rows = printed.pointer_mut("/egressInfo/fileResults");
    for row in rows.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = row.as_object_mut() {
            fields.entry("size").or_insert_with(|| json!("0"));
        }
    }
}

/// Writes JSON on one line, with a space after each comma or not.
struct Spaced(bool);

impl Spaced {
    fn comma<W: ?Sized + io::Write>(&self, writer: &mut W, is_first: bool) -> io::Result<()> {
        match (is_first, self.0) {
            (true, _) => Ok(()),
            (false, true) => writer.write_all(b", "),
            (false, false) => writer.write_all(b","),
        }
    }
}

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.comma(writer, first)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.comma(writer, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::livekit::tokens::verify;

    fn sealed(quirks: impl IntoIterator<Item = Quirk>) -> Webhook {
        let quirks = quirks.into_iter().collect();
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let seal = Seal {
            key: "devkey",
            secret: "secret",
            now,
            quirks: &quirks,
        };
        let about =
            json!({"room": {"sid": "RM_1", "name": "lesson", "creation_time": 5, "num_participants": 0}});
        seal.put_on(&Event::new("room_started", now, about), None)
            .remove(0)
    }

    fn token(webhook: &Webhook) -> &str {
        let header = webhook.headers.iter().find(|(name, _)| *name == "authorization");
        &header.unwrap().1
    }

    fn claims(webhook: &Webhook) -> Value {
        let payload = token(webhook).split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::from_url_safe(payload).unwrap()).unwrap()
    }

    #[test]
    fn a_body_is_camel_case_without_defaults() {
        let webhook = sealed([]);
        let body: Value = serde_json::from_str(&webhook.body).unwrap();

        assert_eq!(
            body,
            json!({
                "event": "room_started", "id": webhook.id, "createdAt": "1790000000",
                "room": {"sid": "RM_1", "name": "lesson", "creationTime": "5"},
            })
        );
    }

    #[test]
    fn the_token_is_bare_and_has_the_hash_of_the_bytes() {
        let webhook = sealed([]);
        let now = Timestamp::from_second(1_790_000_000).unwrap();

        assert!(verify(token(&webhook), "devkey", "secret", now).is_ok());
        let hash = base64::standard(&Sha256::digest(webhook.body.as_bytes()));
        assert_eq!(
            claims(&webhook),
            json!({"iss": "devkey", "iat": 1_790_000_000, "nbf": 1_790_000_000, "exp": 1_790_000_300, "sha256": hash})
        );
    }

    #[test]
    fn each_bad_signature_is_bad_in_its_own_way() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let is_taken = |quirk| verify(token(&sealed([quirk])), "devkey", "secret", now).is_ok();

        for quirk in [Quirk::SignedLate, Quirk::SignedEarly, Quirk::SignedByJoinToken] {
            assert!(is_taken(quirk), "{quirk:?}");
        }
        for quirk in [
            Quirk::SignedTooLate,
            Quirk::SignedTooEarly,
            Quirk::SignedForever,
            Quirk::SignedWithAnotherSecret,
            Quirk::SignedByAnotherKey,
            Quirk::SignedByNone,
            Quirk::SignedByHs512,
            Quirk::SignedByBearer,
        ] {
            assert!(!is_taken(quirk), "{quirk:?}");
        }
        for quirk in [Quirk::SignedWithoutHash, Quirk::SignedByJoinToken] {
            assert_eq!(claims(&sealed([quirk])).get("sha256"), None);
        }
    }
}
