//! The last line of defence for logs: whatever reaches a line, known secrets, tokens, credentials in URLs
//! and e-mail addresses leave it masked. The first line is not logging them.

use secrecy::{ExposeSecret, SecretString};
use std::sync::{PoisonError, RwLock};

const MASK: &str = "[redacted]";

/// Values shorter than this are not remembered as secrets: searching for them would mask ordinary words.
const SHORTEST_SECRET: usize = 8;

static KNOWN_SECRETS: RwLock<Vec<SecretString>> = RwLock::new(Vec::new());

/// Makes sure that this value never appears in a log line of this process.
pub(crate) fn remember(secret: &SecretString) {
    let value = secret.expose_secret();
    let mut known = KNOWN_SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    if value.len() >= SHORTEST_SECRET && !known.iter().any(|other| other.expose_secret() == value) {
        known.push(secret.clone());
    }
}

/// The text with all secrets, tokens, addresses and credentials masked.
pub fn redact(text: &str) -> String {
    let known = KNOWN_SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let text = known.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret.expose_secret(), MASK)
    });
    mask_words(&text)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-+@%:/~".contains(character)
}

fn mask_words(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(is_word).unwrap_or(rest.len());
        let (before, from_word) = rest.split_at(gap);
        let length = from_word
            .find(|character| !is_word(character))
            .unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(length);

        masked.push_str(before);
        masked.push_str(if is_sensitive(word) { MASK } else { word });
        rest = after;
    }
    masked
}

/// A JSON Web Token (`eyJ….….…`), or anything with an `@` between two names: an e-mail address, or
/// credentials before a host.
fn is_sensitive(word: &str) -> bool {
    let is_token = word.contains("eyJ") && word.matches('.').count() >= 2;
    let is_address = word
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains(['.', ':', '/']));
    is_token || is_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_tokens_and_credentials_are_masked() {
        let line = "mail ann.lee+x@example.org, token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl to postgres://app:pw@db.internal:5432/x";
        let redacted = redact(line);
        for leak in ["ann.lee", "example.org", "eyJzdWIiOi", "pw@", "app:"] {
            assert!(!redacted.contains(leak), "{leak} leaked in: {redacted}");
        }
        assert!(
            redacted.starts_with("mail [redacted], token [redacted] to "),
            "{redacted}"
        );
    }

    #[test]
    fn a_loaded_secret_is_masked_anywhere() {
        remember(&SecretString::from("correct horse battery"));
        assert_eq!(redact("x=correct horse battery!"), "x=[redacted]!");
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        let line = r#"{"booking_id":"0192f0c1-5b1e-7c5e-a5a5-0f0f0f0f0f0f","ratio":"3@4","url":"https://api.example/v2/"}"#;
        assert_eq!(redact(line), line);
    }
}
