//! The filters of Meet's lists: comparisons joined by `AND`.

use super::draft::instant;
use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Equal,
    AtLeast,
    Above,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Is(String),
    Time(Comparison, Timestamp),
    IsNull,
}

/// A filter that was read; every one of its tests must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter(Vec<(String, Test)>);

/// What a field of a row holds.
pub(super) enum Field {
    Text(String),
    Time(Option<Timestamp>),
}

const OPERATORS: [(&str, Comparison); 5] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
    ("=", Comparison::Equal),
];

impl Filter {
    /// Reads a filter over texts and times of these names; `None` if it cannot be read.
    pub(super) fn parse(text: &str, texts: &[&str], times: &[&str]) -> Option<Self> {
        if text.trim().is_empty() {
            return Some(Self::default());
        }
        let terms = text.split(" AND ").map(|term| term_of(term.trim(), texts, times));
        terms.collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether a row passes, of which `field` gives the fields.
    pub(super) fn takes(&self, field: impl Fn(&str) -> Field) -> bool {
        self.0.iter().all(|(name, test)| match (field(name), test) {
            (Field::Text(text), Test::Is(wanted)) => text.eq_ignore_ascii_case(wanted),
            (Field::Time(at), Test::IsNull) => at.is_none(),
            (Field::Time(Some(at)), Test::Time(comparison, wanted)) => comparison.holds(at, *wanted),
            _ => false,
        })
    }
}

impl Comparison {
    fn holds(self, at: Timestamp, wanted: Timestamp) -> bool {
        match self {
            Self::Below => at < wanted,
            Self::AtMost => at <= wanted,
            Self::Equal => at == wanted,
            Self::AtLeast => at >= wanted,
            Self::Above => at > wanted,
        }
    }
}

fn term_of(term: &str, texts: &[&str], times: &[&str]) -> Option<(String, Test)> {
    if let Some(name) = term.strip_suffix(" IS NULL") {
        let name = name.trim();
        return times.contains(&name).then(|| (name.to_owned(), Test::IsNull));
    }

    let place = term.find(['<', '>', '='])?;
    let (name, rest) = term.split_at_checked(place)?;
    let name = name.trim();
    let (operator, comparison) = OPERATORS
        .iter()
        .find(|(operator, _)| rest.starts_with(operator))?;
    let value = rest.strip_prefix(operator)?.trim();
    let value = value.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = !value.is_empty() && !value.contains('"');
    let test = if texts.contains(&name) && *comparison == Comparison::Equal {
        Test::Is(value.to_owned())
    } else if times.contains(&name) {
        Test::Time(*comparison, instant(value)?)
    } else {
        return None;
    };
    is_plain.then(|| (name.to_owned(), test))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 2] = ["space.name", "space.meeting_code"];
    const TIMES: [&str; 2] = ["start_time", "end_time"];

    #[test]
    fn comparisons_are_joined_by_and() {
        let text = r#"space.name = "spaces/X" AND start_time>="2026-10-01T00:00:00Z" AND end_time IS NULL"#;
        let filter = Filter::parse(text, &TEXTS, &TIMES).unwrap();
        let takes = |start: &str, end: Option<Timestamp>| {
            filter.takes(|name| match name {
                "start_time" => Field::Time(start.parse().ok()),
                "end_time" => Field::Time(end),
                _ => Field::Text("spaces/X".into()),
            })
        };

        assert!(takes("2026-10-01T00:00:00Z", None));
        assert!(!takes("2026-09-30T23:59:59Z", None));
        assert!(!takes("2026-10-01T00:00:00Z", Some(Timestamp::UNIX_EPOCH)));
    }

    #[test]
    fn what_is_not_of_the_grammar_is_refused() {
        for text in [
            "space.name=spaces/X",
            r#"space.id="X""#,
            r#"space.name="X" OR space.name="Y""#,
            r#"start_time>="yesterday""#,
            r#"space.name>"X""#,
            "space.name IS NULL",
            r#"start_time >= "2026-10-01T00:00:00Z" and end_time IS NULL"#,
        ] {
            assert_eq!(Filter::parse(text, &TEXTS, &TIMES), None, "{text}");
        }
    }
}
