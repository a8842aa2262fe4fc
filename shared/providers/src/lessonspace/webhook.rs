//! What Lessonspace tells us, and how we know that it is Lessonspace.
//!
//! The vendor signs the webhooks of a room with the room's own key, which it gives us when the room is
//! opened. The URL that we then give the vendor carries that key, sealed for ourselves and bound to the
//! booking. So whoever answers the door can tell, without a database, that the URL is ours and that the body
//! is the vendor's. And even then only the vendor's session list is believed for times and recordings.

use crate::signature::{derive, is_signed};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use domain::ids::{BookingId, RoomId};
use http::HeaderMap;
use platform::secrets::{Secret, SecretError};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

/// Separates this use of the secret from any other, and one version of the scheme from the next.
const PURPOSE: &[u8] = b"lessonspace-webhook/v2";

const LONGEST_ID: usize = 200;

/// A room's signing key, sealed under our secret for one booking: nonce and ciphertext, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookToken(pub String);

fn sealing_key(secret: &SecretString) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, &derive(secret, PURPOSE)?).ok()
}

impl WebhookToken {
    /// Seals a room's key for `booking`.
    pub async fn seal(
        secret: &Secret,
        booking: BookingId,
        key: &SecretString,
    ) -> Result<Option<Self>, SecretError> {
        Ok(Self::seal_with(&secret.first().await?, booking, key))
    }

    fn seal_with(secret: &SecretString, booking: BookingId, key: &SecretString) -> Option<Self> {
        let mut sealed = key.expose_secret().as_bytes().to_vec();
        let bound_to = Aad::from(booking.0.as_bytes());
        let nonce = sealing_key(secret)?
            .seal_in_place_append_tag(bound_to, &mut sealed)
            .ok()?;
        Some(Self(hex::encode([nonce.as_ref().as_slice(), &sealed].concat())))
    }

    /// The room's key, if one of `secrets` sealed this token for `booking`.
    pub fn open(&self, booking: BookingId, secrets: &[SecretString]) -> Option<SecretString> {
        let bytes = hex::decode(&self.0).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        secrets.iter().find_map(|secret| {
            let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
            let bound_to = Aad::from(booking.0.as_bytes());
            let key = sealing_key(secret)?
                .open_in_place(nonce, bound_to, &mut sealed)
                .ok()?;
            std::str::from_utf8(key).ok().map(SecretString::from)
        })
    }

    /// The address that a room's webhooks go to.
    pub fn url(&self, public_base: &Url, booking: BookingId) -> Option<Url> {
        let mut url = public_base.join("api/webhooks/lessonspace").ok()?;
        url.query_pairs_mut()
            .append_pair("booking", &booking.to_string())
            .append_pair("token", &self.0);
        Some(url)
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

/// No signature, several, or one that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no well-formed signature")]
pub struct NoSignature;

impl Headers {
    /// Reads them; the signature must be there once and look like one.
    pub fn read(headers: &HeaderMap) -> Result<Self, NoSignature> {
        let single = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            (values.next().is_none() && !value.is_empty() && value.len() <= LONGEST_ID)
                .then(|| value.to_owned())
        };
        let signature = single("x-webhook-signature").ok_or(NoSignature)?;
        let is_sha256 = hex::decode(&signature).is_ok_and(|bytes| bytes.len() == 32);
        if !is_sha256 {
            return Err(NoSignature);
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

    /// Whether the vendor signed this body for the room whose key this is; constant time.
    pub fn is_signed_with(&self, key: &SecretString) -> bool {
        is_signed(
            std::slice::from_ref(key),
            &[self.body.as_bytes()],
            &self.headers.signature,
        )
    }

    /// Whether the body is a JSON object that names a room.
    pub fn is_readable(&self) -> bool {
        self.read().is_some_and(|body| body.room.is_some())
    }

    /// What a verified delivery is about; `None` if it is about another room.
    pub fn kind(&self, room: &RoomId) -> Option<Kind> {
        let body = self.read()?;
        body.room.filter(|named| named.id == *room)?;
        // The signed body's word counts before the header's, which is not signed.
        let name = body.event.as_deref().or(self.headers.event.as_deref());
        Some(name.map_or(Kind::Other, Kind::read))
    }

    fn read(&self) -> Option<Body> {
        serde_json::from_str(&self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::sign;
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
    fn a_signed_end_of_the_right_room_is_believed_and_nothing_else() {
        let ended = delivery(BODY, "room-key");
        assert!(ended.is_signed_with(&SecretString::from("room-key")));
        assert!(!ended.is_signed_with(&SecretString::from("other-key")));
        let kind = ended.kind(&RoomId("room-1".into()));
        assert_eq!(
            kind,
            Some(Kind::SessionEnd),
            "unknown fields of the vendor are tolerated"
        );
        assert_eq!(ended.kind(&RoomId("room-2".into())), None);
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
    fn a_token_opens_for_its_booking_only_and_gives_the_rooms_key() {
        let secrets = [SecretString::from("current"), SecretString::from("previous")];
        let (mine, yours) = (BookingId(Uuid::from_u128(1)), BookingId(Uuid::from_u128(2)));
        let key = SecretString::from("room-key");
        let token = WebhookToken::seal_with(&secrets[1], mine, &key).unwrap();
        let opened = token
            .open(mine, &secrets)
            .map(|key| key.expose_secret().to_owned());
        assert_eq!(
            opened.as_deref(),
            Some("room-key"),
            "a URL given out before a rotation still works"
        );
        assert!(token.open(yours, &secrets).is_none());
        assert!(token.open(mine, &secrets[..1]).is_none());
        assert!(!token.0.contains(&hex::encode("room-key")), "the key can be read");
        for malformed in ["", "00", "zz", &token.0[2..]] {
            assert!(
                WebhookToken(malformed.into()).open(mine, &secrets).is_none(),
                "{malformed:?} opens"
            );
        }
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
                prop_assert!(!forged.is_signed_with(&SecretString::from("room-key")));
            }
        }
    }
}
