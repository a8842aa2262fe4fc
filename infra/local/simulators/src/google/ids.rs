//! Names and numbers as the vendor makes them, and its two ways of writing bytes as text.

use rand::seq::IndexedRandom;

const DIGITS: &[u8] = b"0123456789";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const OPAQUE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_ADDRESSES: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn drawn(from: &[u8], count: usize) -> String {
    let mut random = rand::rng();
    (0..count)
        .filter_map(|_| from.choose(&mut random).copied())
        .map(char::from)
        .collect()
}

/// The number of an account: 21 digits.
pub(super) fn account() -> String {
    format!("1{}", drawn(DIGITS, 20))
}

/// The number of a Pub/Sub message: 17 digits.
pub(super) fn message() -> String {
    format!("1{}", drawn(DIGITS, 16))
}

/// Letters and digits that mean nothing.
pub(super) fn opaque(count: usize) -> String {
    drawn(OPAQUE, count)
}

/// Lower-case letters that mean nothing.
pub(super) fn letters(count: usize) -> String {
    drawn(LETTERS, count)
}

/// A meeting code, `abc-mnop-xyz`.
pub(super) fn meeting_code() -> String {
    format!("{}-{}-{}", letters(3), letters(4), letters(3))
}

/// Base64 as in a message: padded.
pub(super) fn base64(bytes: &[u8]) -> String {
    encoded(bytes, STANDARD, true)
}

/// Base64 as in a token: for addresses, not padded.
pub(super) fn base64_url(bytes: &[u8]) -> String {
    encoded(bytes, FOR_ADDRESSES, false)
}

fn encoded(bytes: &[u8], alphabet: &[u8; 64], pads: bool) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let joined = group
            .iter()
            .fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        let number = joined << (8 * (3 - group.len()));

        for place in 0..4 {
            let sextet = (number >> (18 - 6 * place)) & 63;
            if place <= group.len() {
                let letter = alphabet.get(sextet as usize).copied();
                text.extend(letter.map(char::from));
            } else if pads {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_the_standard_says() {
        let data = br#"{"conferenceRecord":{"name":"conferenceRecords/rec1"}}"#;
        let written = "eyJjb25mZXJlbmNlUmVjb3JkIjp7Im5hbWUiOiJjb25mZXJlbmNlUmVjb3Jkcy9yZWMxIn19";
        assert_eq!(base64(data), written);

        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64_url(&[0xff, 0xfe, 0xfb]), "__77");
        assert_eq!(base64_url(b"f"), "Zg");
    }

    #[test]
    fn a_meeting_code_has_its_three_parts() {
        let code = meeting_code();
        let parts: Vec<usize> = code.split('-').map(str::len).collect();
        assert_eq!(parts, [3, 4, 3]);
    }
}
