//! What Lessonspace tells us, and how we know that it is Lessonspace.
//!
//! Two locks. The URL that we gave the vendor carries a token bound to the booking (HMAC with
//! `LESSONSPACE_SECRET`), which the door checks without a database. The body is signed with the room's own
//! key, which the vendor gave us when the room was opened; the consumer checks that, since it has the key.
//! And even then only the vendor's session list is believed for times and recordings.

use super::api::webhook_url;
use crate::signature::{is_signed, sign};
use domain::ids::{BookingId, RoomId};
use http::HeaderMap;
use platform::secrets::{Secret, SecretError};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

/// Separates this use of the secret from any other, and one version of the scheme from the next.
const TOKEN_PURPOSE: &[u8] = b"lessonspace-webhook/v1/";

const LONGEST_ID: usize = 200;

/// Proves that a webhook URL was made by us for one booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookToken(pub String);

impl WebhookToken {
    /// The URL to give to the vendor for `booking`.
    pub async fn url(
        secret: &Secret,
        public_base: &Url,
        booking: BookingId,
    ) -> Result<Option<Url>, SecretError> {
        let token = Self(sign(
            &secret.first().await?,
            &[TOKEN_PURPOSE, booking.0.as_bytes()],
        ));
        Ok(webhook_url(public_base, booking, &token))
    }

    /// Whether the token belongs to `booking`; constant time.
    pub fn is_for(&self, booking: BookingId, secrets: &[SecretString]) -> bool {
        is_signed(secrets, &[TOKEN_PURPOSE, booking.0.as_bytes()], &self.0)
    }
}

/// The headers of a delivery that matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// `x-webhook-id`: the same for every retry of one event.
    pub id: Option<String>,
    /// `x-webhook-event`, such as `session.end`.
    pub event: Option<String>,
    /// `x-webhook-signature`.
    pub signature: String,
}

/// Why a delivery is not believed. For the log and the record, never for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthentic {
    /// No signature, several, or one that cannot be one.
    #[error("no well-formed signature")]
    Malformed,
    /// Signed by somebody else, or for another body.
    #[error("the signature does not fit the body")]
    Forged,
    /// Authentic, but about another room than the URL's booking has.
    #[error("the event is about another room")]
    OtherRoom,
}

impl Headers {
    /// Reads them; the signature must be there once and look like one.
    pub fn read(headers: &HeaderMap) -> Result<Self, Unauthentic> {
        let single = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            (values.next().is_none() && !value.is_empty() && value.len() <= LONGEST_ID)
                .then(|| value.to_owned())
        };
        let signature = single("x-webhook-signature").ok_or(Unauthentic::Malformed)?;
        let is_sha256 = hex::decode(&signature).is_ok_and(|bytes| bytes.len() == 32);
        if !is_sha256 {
            return Err(Unauthentic::Malformed);
        }
        Ok(Self {
            id: single("x-webhook-id"),
            event: single("x-webhook-event"),
            signature,
        })
    }
}

/// What a delivery is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first person entered.
    SessionStart,
    /// The last person left.
    SessionEnd,
    /// Nothing we use.
    Other,
}

impl Kind {
    fn read(name: &str) -> Self {
        match name {
            "session.start" => Self::SessionStart,
            "session.end" => Self::SessionEnd,
            _ => Self::Other,
        }
    }
}

/// A delivery as it came in, kept whole so that it can be verified and replayed later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The booking that the URL named and the token confirmed.
    pub booking: BookingId,
    /// The headers.
    pub headers: Headers,
    /// The body, to the byte.
    pub body: String,
}

#[derive(Deserialize)]
struct Body {
    event: Option<String>,
    room: Option<Room>,
}

#[derive(Deserialize)]
struct Room {
    id: RoomId,
}

impl Delivery {
    /// Identifies the event among all of the vendor's: the vendor's id, else a hash of what it says. The
    /// booking is part of it, so that nobody can use up another booking's ids.
    pub fn event_id(&self) -> String {
        let own = self.headers.id.clone().unwrap_or_else(|| {
            let event = self.headers.event.as_deref().unwrap_or_default();
            hex::encode(
                Sha256::new()
                    .chain_update(event)
                    .chain_update(&self.body)
                    .finalize(),
            )
        });
        format!("{}/{own}", self.booking)
    }

    /// Whether the body is a JSON object that names a room; what the door can check of the content.
    pub fn is_readable(&self) -> bool {
        self.read().is_some_and(|body| body.room.is_some())
    }

    /// Verifies that the vendor signed this body for this room, and tells what it is about.
    pub fn verify(&self, room: &RoomId, signing_key: Option<&SecretString>) -> Result<Kind, Unauthentic> {
        let keys = signing_key.map(std::slice::from_ref).unwrap_or_default();
        if !is_signed(keys, &[self.body.as_bytes()], &self.headers.signature) {
            return Err(Unauthentic::Forged);
        }
        let body = self.read().ok_or(Unauthentic::Malformed)?;
        if body.room.is_none_or(|named| named.id != *room) {
            return Err(Unauthentic::OtherRoom);
        }
        // The signed body's word counts before the header's, which is not signed.
        let name = body.event.as_deref().or(self.headers.event.as_deref());
        Ok(name.map_or(Kind::Other, Kind::read))
    }

    fn read(&self) -> Option<Body> {
        serde_json::from_str(&self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const BODY: &str = r#"{"event":"session.end","room":{"id":"room-1"},"session":{"id":"s-1"},"new":[1]}"#;

    fn delivery(body: &str, signed_with: &str) -> Delivery {
        let signature = sign(&SecretString::from(signed_with), &[body.as_bytes()]);
        let headers = Headers {
            id: Some("evt-1".into()),
            event: Some("session.end".into()),
            signature,
        };
        Delivery {
            booking: BookingId(Uuid::from_u128(1)),
            headers,
            body: body.into(),
        }
    }

    #[test]
    fn a_signed_end_of_the_right_room_is_believed() {
        let key = SecretString::from("room-key");
        let kind = delivery(BODY, "room-key").verify(&RoomId("room-1".into()), Some(&key));
        assert_eq!(
            kind,
            Ok(Kind::SessionEnd),
            "unknown fields of the vendor are tolerated"
        );
    }

    #[test]
    fn nothing_else_is() {
        let (key, room) = (SecretString::from("room-key"), RoomId("room-1".into()));
        assert_eq!(
            delivery(BODY, "other").verify(&room, Some(&key)),
            Err(Unauthentic::Forged)
        );
        assert_eq!(
            delivery(BODY, "room-key").verify(&room, None),
            Err(Unauthentic::Forged)
        );
        let elsewhere = delivery(BODY, "room-key").verify(&RoomId("room-2".into()), Some(&key));
        assert_eq!(elsewhere, Err(Unauthentic::OtherRoom));
    }

    #[test]
    fn retries_have_one_id_and_bookings_do_not_share_ids() {
        let first = delivery(BODY, "room-key");
        let mut other = first.clone();
        other.booking = BookingId(Uuid::from_u128(2));
        assert_eq!(first.event_id(), delivery(BODY, "x").event_id());
        assert_ne!(first.event_id(), other.event_id());
        let mut nameless = first.clone();
        nameless.headers.id = None;
        assert_eq!(nameless.event_id().len(), 36 + 1 + 64);
    }

    #[test]
    fn a_token_opens_the_door_for_its_booking_only() {
        let secrets = [SecretString::from("current"), SecretString::from("previous")];
        let (mine, yours) = (BookingId(Uuid::from_u128(1)), BookingId(Uuid::from_u128(2)));
        let token = WebhookToken(sign(&secrets[1], &[TOKEN_PURPOSE, mine.0.as_bytes()]));
        assert!(
            token.is_for(mine, &secrets),
            "a URL given out before a rotation still works"
        );
        assert!(!token.is_for(yours, &secrets));
        assert!(!token.is_for(mine, &secrets[..1]));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_a_forgery(at in 0..BODY.len(), to in any::<u8>()) {
            let mut bytes = BODY.as_bytes().to_vec();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            if let Ok(body) = String::from_utf8(bytes) {
                let mut forged = delivery(BODY, "room-key");
                forged.body = body;
                let verdict = forged.verify(&RoomId("room-1".into()), Some(&SecretString::from("room-key")));
                prop_assert_eq!(verdict, Err(Unauthentic::Forged));
            }
        }
    }
}
