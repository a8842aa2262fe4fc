//! Lists: pages, and filters in base64.

use super::books::Books;
use super::fields::{Fields, Refusal, wrong};
use super::quirks::Quirk;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Rows on a page, where nobody asks for another number.
const PAGE: usize = 25;

/// Rows on a page at most; who asks for more gets so many.
const LARGEST_PAGE: usize = 100;

const SIX_BITS: u32 = 6;

/// The query of a request. The vendor ignores names that it does not know, filters among them that are not in
/// `filters`.
pub(super) type Asked = HashMap<String, String>;

/// What a list is asked for.
pub(super) struct Wanted {
    /// Fields that a row must have, with these values.
    filter: Map<String, Value>,
    number: usize,
    size: usize,
}

impl Wanted {
    /// Reads a query. Rows can be filtered by the fields that are `known`.
    pub(super) fn read(asked: &Asked, known: &[&str], books: &Books) -> Result<Self, Refusal> {
        let size = number(asked, "pageSize")?.unwrap_or(PAGE).min(LARGEST_PAGE);
        Ok(Self {
            filter: filter(asked, known, books)?,
            number: number(asked, "pageNumber")?.unwrap_or(1),
            size: if books.is(Quirk::TinyPages) { 1 } else { size },
        })
    }

    /// The page of those rows that were asked for. Rows come oldest first.
    pub(super) fn page(&self, rows: impl Iterator<Item = Value>, books: &Books) -> Value {
        let is_wanted = |row: &Value| {
            let mut fields = self.filter.iter();
            fields.all(|(name, value)| row.get(name) == Some(value))
        };
        let mut rows: Vec<Value> = rows.filter(is_wanted).collect();
        if books.is(Quirk::NewestFirst) {
            rows.reverse();
        }

        let count = rows.len();
        let before = (self.number - 1).saturating_mul(self.size);
        let mut results: Vec<Value> = rows.into_iter().skip(before).take(self.size).collect();
        if books.is(Quirk::BareRows) {
            for fields in results.iter_mut().filter_map(Value::as_object_mut) {
                fields.remove("externalId");
            }
        }
        json!({
            "results": results, "pageNumber": self.number, "pageSize": self.size,
            "totalPages": count.div_ceil(self.size), "totalRecords": count,
        })
    }
}

/// A number from 1, if anything.
fn number(asked: &Asked, name: &str) -> Result<Option<usize>, Refusal> {
    let number = asked
        .get(name)
        .map(|text| text.parse().ok().filter(|number| *number > 0));
    match number {
        Some(None) => Err(wrong(format!("{name} must be a number from 1"))),
        number => Ok(number.flatten()),
    }
}

fn filter(asked: &Asked, known: &[&str], books: &Books) -> Result<Map<String, Value>, Refusal> {
    let Some(text) = asked.get("filters") else {
        return Ok(Map::new());
    };
    if books.is(Quirk::RefusesFilters) {
        return Err(wrong("filters do not match the schema"));
    }

    let json = decode(text).ok_or_else(|| wrong("filters must be base64"))?;
    let filter = serde_json::from_slice(&json).map_err(|_| wrong("filters must be JSON in base64"))?;
    Fields::of(&filter, known)?;
    match filter {
        Value::Object(filter) if !books.is(Quirk::IgnoresFilters) => Ok(filter),
        _ => Ok(Map::new()),
    }
}

/// Base64 in its usual alphabet, with its padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }

    let digits: Vec<u32> = digits.bytes().map(digit).collect::<Option<_>>()?;
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let missing = u32::try_from(4 - group.len()).ok()?;
        let bits = group.iter().fold(0, |bits, digit| (bits << SIX_BITS) | digit);
        let bits = bits << (SIX_BITS * missing);
        // Four digits are the lower three of the four bytes.
        bytes.extend(bits.to_be_bytes().get(1..group.len())?);
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u32> {
    let digit = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(digit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_padding_and_without_mercy() {
        let read = |text: &str| decode(text).map(|bytes| String::from_utf8(bytes).unwrap());

        assert_eq!(
            read("eyJzcGFjZUlkIjoiYWIifQ==").as_deref(),
            Some(r#"{"spaceId":"ab"}"#)
        );
        assert_eq!(read("Zm9vYmE=").as_deref(), Some("fooba"));
        assert_eq!(read("Zm9vYmFy").as_deref(), Some("foobar"));
        assert_eq!(read("Zm9vYmE"), None);
        assert_eq!(read("Zm9v YmE"), None);
        assert_eq!(read("Z==="), None);
    }

    #[test]
    fn the_first_page_has_25_rows_and_does_not_pretend_to_be_all() {
        let books = Books::new("secret");
        let rows = || (0..26).map(|number| json!({"name": number}));
        let page = |asked: &[(&str, &str)]| {
            let asked = asked
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            Wanted::read(&asked.collect(), &[], &books).map(|wanted| wanted.page(rows(), &books))
        };

        let first = page(&[]).unwrap();
        let second = page(&[("pageNumber", "2")]).unwrap();

        assert_eq!(first["results"].as_array().unwrap().len(), 25);
        assert_eq!(second["results"], json!([{"name": 25}]));
        assert_eq!(second["totalPages"], 2);
        assert_eq!(page(&[("pageSize", "1000")]).unwrap()["pageSize"], 100);
        assert!(page(&[("pageNumber", "0")]).is_err());
    }
}
