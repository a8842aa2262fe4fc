//! Base64, as tokens and hashes are written.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The standard alphabet, padded.
pub(super) fn standard(bytes: &[u8]) -> String {
    let mut text = encode(bytes, STANDARD);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// The alphabet of URLs, without padding.
pub(super) fn url_safe(bytes: &[u8]) -> String {
    encode(bytes, URL_SAFE)
}

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0_u8; 3];
        for (place, byte) in three.iter_mut().zip(chunk) {
            *place = *byte;
        }
        let [first, second, third] = three;
        let word = u32::from_be_bytes([0, first, second, third]);

        let shifts = [18_u32, 12, 6, 0].into_iter().take(chunk.len() + 1);
        text.extend(shifts.filter_map(|shift| {
            let six = usize::try_from((word >> shift) & 63).ok()?;
            alphabet.get(six).map(|character| char::from(*character))
        }));
    }
    text
}

/// What unpadded text in the alphabet of URLs stands for, if it is that.
pub(super) fn from_url_safe(text: &str) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }

    let (mut word, mut bits) = (0_u32, 0_u32);
    let mut bytes = Vec::new();
    for character in text.bytes() {
        let six = URL_SAFE.iter().position(|known| *known == character)?;
        word = (word << 6) | u32::try_from(six).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((word >> bits) & 0xff).ok()?);
            word &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(standard(plain.as_bytes()), text);
        }
        assert_eq!(url_safe(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        for length in 0..9_u8 {
            let bytes: Vec<u8> = (0..length).map(|number| number.wrapping_mul(83)).collect();
            assert_eq!(from_url_safe(&url_safe(&bytes)), Some(bytes));
        }
        assert_eq!(from_url_safe("Zg=="), None);
        assert_eq!(from_url_safe("a+b/"), None);
        assert_eq!(from_url_safe("abcde"), None);
    }
}
