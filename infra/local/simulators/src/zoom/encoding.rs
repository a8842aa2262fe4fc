//! Base64, percent-encoding and randomness, by hand: what is signed or compared here must not come from the product's
//! own libraries.

use rand::RngCore;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn letters(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let filled = chunk.iter().chain([0, 0].iter()).take(3);
        let group = filled.fold(0_usize, |group, byte| (group << 8) | usize::from(*byte));

        let places = (0..=chunk.len()).map(|place| (group >> (18 - 6 * place)) & 63);
        text.extend(places.filter_map(|place| alphabet.get(place).copied().map(char::from)));
    }
    text
}

/// Standard base64 with padding, as meetings' uuids are written.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = letters(bytes, STANDARD);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Base64 for URLs without padding, as PKCE wants it.
pub(super) fn base64_url(bytes: &[u8]) -> String {
    letters(bytes, URL_SAFE)
}

/// What standard base64 says, padded or not; nothing if it is none.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut group) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let place = STANDARD.iter().position(|known| *known == letter)?;
        group = ((group << 6) | u32::try_from(place).ok()?) & 0x00FF_FFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((group >> bits) & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

/// The text behind one layer of percent-encoding; nothing if that is broken.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

pub(super) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A credential made of so many random bytes.
pub(super) fn credential(length: usize) -> String {
    base64_url(&random(length))
}

/// An id as users and accounts have it: 22 characters.
pub(super) fn short_id() -> String {
    base64_url(&random(16))
}

/// A uuid of a meeting. Those that need to be encoded twice begin with a slash and hold two.
pub(super) fn meeting_uuid(has_slashes: bool) -> String {
    let uuid = base64(&random(16));
    let letters = uuid.chars().enumerate();
    let with_slashes = letters.map(|(place, letter)| match place {
        0 | 5 | 6 if has_slashes => '/',
        _ => letter,
    });
    with_slashes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_both_ways() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
            assert_eq!(from_base64(encoded), Some(plain.as_bytes().to_vec()));
        }
        assert_eq!(base64_url(&[0xFB, 0xFF]), "-_8");
        assert_eq!(from_base64("a b"), None);
    }

    #[test]
    fn one_layer_of_percent_encoding_is_taken_off() {
        assert_eq!(percent_decoded("%252Fde%252B").as_deref(), Some("%2Fde%2B"));
        assert_eq!(percent_decoded("%2Fde+").as_deref(), Some("/de+"));
        assert_eq!(percent_decoded("%2"), None);
    }

    #[test]
    fn an_awkward_uuid_begins_with_a_slash_and_holds_two() {
        let uuid = meeting_uuid(true);
        assert!(uuid.starts_with('/') && uuid.contains("//") && uuid.ends_with("=="));
        assert_eq!(uuid.len(), 24);
    }
}
