//! Lists come in pages.

use super::answers::Pairs;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Which page is wanted.
pub(super) struct Page {
    size: usize,
    from: usize,
    /// What the list is of: a token is only good for the list that it came with.
    of: String,
}

impl Page {
    /// By the parameter that says how many rows, with its usual and its greatest value. `None` if that or the token
    /// cannot be read, or belongs to another list.
    pub(super) fn of(
        pairs: &Pairs,
        (name, usual, most): (&str, usize, usize),
        is_tiny: bool,
    ) -> Option<Self> {
        let size = match pairs.one(name) {
            None | Some("0") => usual,
            Some(text) => text.parse().ok()?,
        };
        let mut hash = DefaultHasher::new();
        for name in ["filter", "privateExtendedProperty", "timeMin", "timeMax"] {
            pairs.all(name).collect::<Vec<_>>().hash(&mut hash);
        }
        let of = format!("{:x}", hash.finish());

        let from = match pairs.one("pageToken") {
            None | Some("") => 0,
            Some(token) => {
                let (from, list) = token.split_once('.')?;
                let from = from.parse().ok()?;
                (list == of).then_some(from)?
            }
        };
        let size = if is_tiny { 1 } else { size.min(most) };
        Some(Self { size, from, of })
    }
}

/// The rows of a page, and the token of the next one.
pub(super) fn page(rows: Vec<Value>, wanted: &Page) -> (Vec<Value>, Option<String>) {
    let end = wanted.from + wanted.size;
    let next = (end < rows.len()).then(|| format!("{end}.{}", wanted.of));
    let shown = rows.into_iter().skip(wanted.from).take(wanted.size);
    (shown.collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_walked_page_by_page_and_with_its_own_tokens_only() {
        let rows = || (0..5).map(Value::from).collect::<Vec<_>>();
        let of = |query: &str| Page::of(&Pairs::parse(query.as_bytes()), ("pageSize", 2, 3), false);

        let (first, next) = page(rows(), &of("filter=a").unwrap());
        assert_eq!(first.len(), 2);
        let next = next.unwrap();
        let (second, _) = page(
            rows(),
            &of(&format!("filter=a&pageSize=9&pageToken={next}")).unwrap(),
        );
        assert_eq!(second, [2, 3, 4]);

        assert!(of(&format!("filter=b&pageToken={next}")).is_none());
        assert!(of("pageSize=many").is_none());
    }
}
