//! The two things that tie a webhook to a booking: the token in the address that a launch gives the vendor, and the
//! room's signing key, which a launch gives us.
//!
//! Both are made with `LESSONSPACE_SECRET`, under a key derived for each purpose. While that secret is rotated it holds
//! the new value and the old one: the first makes, all are accepted.

use crate::signature::{code, derive, is_code};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use domain::ids::BookingId;
use platform::secrets::{Secret, SecretError};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// What a token is made for; another scheme gets another name.
const TOKEN: &[u8] = b"lessonspace-webhook/v3";

/// What a sealed key is made for.
const SEAL: &[u8] = b"lessonspace-room-key/v1";

/// Tells a booking's webhook address from any that we did not give out: an HMAC-SHA256 of the booking's id, in
/// hexadecimal. It is the same in every launch of a booking, so it does not matter which launch the vendor heeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookToken(pub String);

impl WebhookToken {
    /// Makes the token of `booking`, under the secret's newest value.
    pub async fn of(secret: &Secret, booking: BookingId) -> Result<Self, SecretError> {
        Ok(Self::made_with(&secret.first().await?, booking))
    }

    fn made_with(secret: &SecretString, booking: BookingId) -> Self {
        // HMAC takes a key of any length, so there always is a value.
        let token = derive(secret, TOKEN).and_then(|key| code(&key, booking.0.as_bytes()));
        Self(token.map(hex::encode).unwrap_or_default())
    }

    /// Whether this is the token of `booking` under one of `secrets`; constant time.
    pub fn is_for(&self, booking: BookingId, secrets: &[SecretString]) -> bool {
        let Ok(given) = hex::decode(&self.0) else {
            return false;
        };
        secrets
            .iter()
            .filter_map(|secret| derive(secret, TOKEN))
            .any(|key| is_code(&key, booking.0.as_bytes(), &given))
    }

    /// The address that a room's webhooks go to; `None` if `public_base` cannot have paths.
    pub fn url(&self, public_base: &Url, booking: BookingId) -> Option<Url> {
        let mut url = public_base.join("api/webhooks/lessonspace").ok()?;
        url.query_pairs_mut()
            .append_pair("booking", &booking.to_string())
            .append_pair("token", &self.0);
        Some(url)
    }
}

/// A room's signing key, sealed for one booking: AES-256-GCM, nonce and ciphertext in hexadecimal. The key is a
/// credential: it also signs the vendor's admission tokens, so whoever has it can let themselves into the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedKey(pub(super) String);

fn sealing_key(secret: &SecretString) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, &derive(secret, SEAL)?).ok()
}

impl SealedKey {
    /// Seals a room's key for `booking`. `None` only if the cipher itself refuses.
    pub(super) async fn seal(
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

    /// The room's key, if one of `secrets` sealed it for `booking`.
    pub(super) fn open(&self, booking: BookingId, secrets: &[SecretString]) -> Option<SecretString> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const MINE: BookingId = BookingId(Uuid::from_u128(1));
    const YOURS: BookingId = BookingId(Uuid::from_u128(2));

    fn secrets() -> [SecretString; 2] {
        ["current", "previous"].map(SecretString::from)
    }

    #[test]
    fn a_token_is_the_same_each_time_and_is_for_one_booking() {
        let [current, previous] = secrets();
        let token = WebhookToken::made_with(&current, MINE);
        assert_eq!(token, WebhookToken::made_with(&current, MINE));

        assert_eq!(token.0.len(), 64);
        assert!(token.is_for(MINE, &secrets()));
        assert!(!token.is_for(YOURS, &secrets()));

        let older = WebhookToken::made_with(&previous, MINE);
        assert!(
            older.is_for(MINE, &secrets()),
            "an address given out before a rotation still works"
        );
        assert!(!older.is_for(MINE, &[current]), "a retired secret");
        assert!(!token.is_for(MINE, &[]));
    }

    #[test]
    fn whatever_else_somebody_sends_is_no_token() {
        let token = WebhookToken::made_with(&secrets()[0], MINE).0;
        let longer = format!("{token}00");
        for forged in ["", "00", "zz", &token[2..], &token[..62], &longer] {
            let forged = WebhookToken(forged.into());
            assert!(!forged.is_for(MINE, &secrets()), "{forged:?} is accepted");
        }
    }

    #[test]
    fn the_address_names_the_booking_and_carries_its_token() {
        let token = WebhookToken::made_with(&secrets()[0], MINE);

        let url = token
            .url(&"https://api.example/v1/".parse().unwrap(), MINE)
            .unwrap();

        assert_eq!(
            url.as_str(),
            format!(
                "https://api.example/v1/api/webhooks/lessonspace?booking={MINE}&token={}",
                token.0
            )
        );
    }

    #[test]
    fn a_sealed_key_opens_for_its_booking_only() {
        let [current, previous] = secrets();
        let key = SecretString::from("room-key");
        let sealed = SealedKey::seal_with(&previous, MINE, &key).unwrap();

        let opened = sealed.open(MINE, &secrets());
        let opened = opened.map(|key| key.expose_secret().to_owned());
        assert_eq!(
            opened.as_deref(),
            Some("room-key"),
            "what was sealed before a rotation still opens"
        );
        assert!(sealed.open(YOURS, &secrets()).is_none());
        assert!(sealed.open(MINE, &[current]).is_none());
        assert!(
            !sealed.0.contains(&hex::encode("room-key")),
            "the key can be read"
        );

        for malformed in ["", "00", "zz", &sealed.0[2..]] {
            let malformed = SealedKey(malformed.into());
            assert!(malformed.open(MINE, &secrets()).is_none(), "{malformed:?} opens");
        }
    }
}
