//! What lists are asked with, and how they are cut into pages.

use super::books::Books;
use super::quirks::Quirk;
use super::{base64, webhooks};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

const PAGE: usize = 10;

/// Three bytes that are `++++` in base64: whoever does not encode a cursor in an address loses it.
const AWKWARD: [u8; 3] = [0xfb, 0xef, 0xbe];

/// What stands in a cursor, beside where to go on, so that nobody makes one up.
const CURSOR_KEY: &[u8] = b"cursors";

/// Where a row stands in its list.
pub(super) type Rank = (i64, i64);

/// What stands behind the `?` of an address. Names that the vendor does not know are ignored without a word.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(known, _)| known == name);
        pairs.map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, StatusCode> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(StatusCode::BAD_REQUEST),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, StatusCode> {
        let text = self.get(name);
        let read = text.map(|text| text.parse().map_err(|_| StatusCode::BAD_REQUEST));
        read.transpose()
    }

    /// Whether any value of this filter is one of `found`, or there is no such filter.
    pub(super) fn takes(&self, name: &str, found: &[String]) -> bool {
        let mut wanted = self.all(name).peekable();
        wanted.peek().is_none() || wanted.any(|wanted| found.iter().any(|found| found == wanted))
    }
}

/// Rows in the order in which they come.
pub(super) fn numbered<T>(rows: impl Iterator<Item = T>) -> Vec<(Rank, T)> {
    (0..).map(|number| (number, 0)).zip(rows).collect()
}

/// A piece of a list.
pub(super) struct Page<T> {
    size: usize,
    next: Option<String>,
    rows: Vec<T>,
}

impl<T> Page<T> {
    pub(super) fn show(&self, row: impl Fn(&T) -> Value) -> Value {
        let items: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"limit": self.size, "next_cursor": self.next, "items": items})
    }
}

/// The piece of `list` that is asked for.
pub(super) fn page<T>(
    books: &Books,
    list: &str,
    query: &Query,
    mut rows: Vec<(Rank, T)>,
) -> Result<Page<T>, StatusCode> {
    let size = if books.is(Quirk::TinyPages) { 1 } else { PAGE };
    let after = match query.get("cursor") {
        Some(cursor) => Some(read_cursor(list, cursor).ok_or(StatusCode::BAD_REQUEST)?),
        None => None,
    };
    rows.sort_by_key(|(rank, _)| *rank);
    rows.retain(|(rank, _)| after.is_none_or(|after| *rank > after));

    let has_more = rows.len() > size;
    rows.truncate(size);
    let end = rows.last().map(|(rank, _)| *rank);
    Ok(Page {
        size,
        next: end.filter(|_| has_more).map(|rank| cursor(list, rank)),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

fn cursor(list: &str, (first, second): Rank) -> String {
    let place = format!("{list}/{first}/{second}");
    let seal = webhooks::hmac(CURSOR_KEY, place.as_bytes());
    let seal = hex::encode(seal.iter().take(4).copied().collect::<Vec<u8>>());
    let mut bytes = AWKWARD.to_vec();
    bytes.extend(format!("{place}/{seal}").into_bytes());
    base64::encode(&bytes)
}

fn read_cursor(list: &str, text: &str) -> Option<Rank> {
    let bytes = base64::decode(text)?;
    let place = std::str::from_utf8(bytes.strip_prefix(&AWKWARD)?).ok()?;
    let [_, first, second, _] = place.split('/').collect::<Vec<_>>().try_into().ok()?;
    let rank = (first.parse().ok()?, second.parse().ok()?);
    (cursor(list, rank) == text).then_some(rank)
}
