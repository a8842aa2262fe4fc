//! HMAC-SHA256 in hexadecimal, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

fn mac(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;

    for part in parts {
        mac.update(part);
    }

    Some(mac)
}

fn bytes(key: &SecretString) -> &[u8] {
    key.expose_secret().as_bytes()
}

/// The HMAC-SHA256 of the concatenated `parts` under `key`, in lower-case hexadecimal.
pub fn sign(key: &SecretString, parts: &[&[u8]]) -> String {
    // HMAC takes a key of any length, so there always is a value.
    mac(bytes(key), parts)
        .map(|mac| hex::encode(mac.finalize().into_bytes()))
        .unwrap_or_default()
}

/// The key for one purpose, derived from `secret`. Keys of different purposes say nothing about each other.
pub(crate) fn derive(secret: &SecretString, purpose: &[u8]) -> Option<[u8; 32]> {
    code(bytes(secret), purpose)
}

/// The HMAC-SHA256 of `message` under `key`, as bytes.
pub(crate) fn code(key: &[u8], message: &[u8]) -> Option<[u8; 32]> {
    Some(mac(key, &[message])?.finalize().into_bytes().into())
}

/// Whether `given` is the HMAC-SHA256 of `message` under `key`. Compares in constant time.
pub(crate) fn is_code(key: &[u8], message: &[u8], given: &[u8]) -> bool {
    mac(key, &[message]).is_some_and(|mac| mac.verify_slice(given).is_ok())
}

/// Whether `signature` (hexadecimal) is the HMAC-SHA256 of the concatenated `parts` under one of `keys`.
/// Compares in constant time.
pub fn is_signed(keys: &[SecretString], parts: &[&[u8]], signature: &str) -> bool {
    let Ok(signature) = hex::decode(signature) else {
        return false;
    };
    keys.iter()
        .any(|key| mac(bytes(key), parts).is_some_and(|mac| mac.verify_slice(&signature).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    const VECTOR: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    #[test]
    fn the_published_vector_holds() {
        let key = SecretString::from("Jefe");
        assert_eq!(sign(&key, &[b"what do ya want ", b"for nothing?"]), VECTOR);
    }

    #[test]
    fn any_active_key_verifies_and_nothing_else_does() {
        let keys = [SecretString::from("new"), SecretString::from("Jefe")];
        let message: &[u8] = b"what do ya want for nothing?";

        assert!(is_signed(&keys, &[message], VECTOR));
        assert!(!is_signed(&keys[..1], &[message], VECTOR), "a retired key");
        assert!(
            !is_signed(&keys, &[b"what do ya want for nothing!"], VECTOR),
            "another message"
        );

        for malformed in ["", "5bdc", "zz", &VECTOR[..62]] {
            assert!(!is_signed(&keys, &[message], malformed), "accepted {malformed:?}");
        }
    }
}
