//! Lists, page by page.

use super::api::{Answer, Call, Outcome};
use super::books::{Bookmark, Books};
use super::encoding::credential;
use super::quirks::Quirk;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

const PAGE: usize = 30;
const LARGEST_PAGE: usize = 300;

/// Where a list goes on is known for so long.
const TOKEN_LIVES: SignedDuration = SignedDuration::from_mins(15);

/// One page of `rows`, under the name and of the list that `what` says.
pub(super) fn page(
    books: &mut Books,
    call: &Call,
    now: Timestamp,
    what: (&str, &str),
    rows: Vec<Value>,
) -> Outcome {
    let (name, list) = what;
    let asked = size(call)?;
    let size = if books.is(Quirk::TinyPages) { 1 } else { asked };
    let from = begin(books, call, now, list)?;

    let total = rows.len();
    let next = from.saturating_add(size);
    let token = if next < total {
        credential(24)
    } else {
        String::new()
    };
    if !token.is_empty() {
        let bookmark = Bookmark {
            list: list.to_owned(),
            from: next,
            since: now,
        };
        books.pages.insert(token.clone(), bookmark);
    }

    let rows: Vec<Value> = rows.into_iter().skip(from).take(size).collect();
    let mut body = Map::new();
    body.insert("page_count".into(), json!(total.div_ceil(size)));
    body.insert("page_size".into(), json!(asked));
    body.insert("total_records".into(), json!(total));
    body.insert("next_page_token".into(), json!(token));
    body.insert(name.into(), Value::Array(rows));
    Ok(Answer::json(200, Value::Object(body)))
}

fn size(call: &Call) -> Result<usize, Answer> {
    let Some(text) = call.query.get("page_size") else {
        return Ok(PAGE);
    };
    let size = text.parse().ok();
    let size = size.filter(|size| (1..=LARGEST_PAGE).contains(size));
    size.ok_or_else(|| Answer::refusal(400, 300, "The page size is not valid."))
}

fn begin(books: &Books, call: &Call, now: Timestamp, list: &str) -> Result<usize, Answer> {
    let Some(token) = call
        .query
        .get("next_page_token")
        .filter(|token| !token.is_empty())
    else {
        return Ok(0);
    };
    let bookmark = books.pages.get(token);
    let good = bookmark.filter(|bookmark| bookmark.list == list && now <= bookmark.since + TOKEN_LIVES);
    let wrong = || Answer::refusal(400, 300, "The next page token is invalid or expired.");
    good.map(|bookmark| bookmark.from).ok_or_else(wrong)
}
