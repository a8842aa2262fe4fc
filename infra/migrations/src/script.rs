//! A script of SQL, a statement at a time: so that what fails can be named.

/// One statement and the line on which it begins, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// Splits at semicolons that stand outside of quotes, dollar quotes and comments.
pub(crate) fn statements(script: &str) -> Vec<Statement<'_>> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);

    while at < script.len() {
        let rest = script.get(at..).unwrap_or_default();
        if rest.starts_with(';') {
            found.extend(statement(script, begin, at));
            begin = at + 1;
        }
        at += token(rest);
    }
    found.extend(statement(script, begin, script.len()));
    found
}

/// The length of what may not be split: a comment, a quoted text, or one character.
fn token(rest: &str) -> usize {
    let through = |from: usize, end: &str| {
        let inside = rest.get(from..).and_then(|rest| rest.find(end));
        inside.map_or(rest.len(), |length| from + length + end.len())
    };

    match rest.as_bytes() {
        [b'-', b'-', ..] => through(2, "\n"),
        [b'/', b'*', ..] => through(2, "*/"),
        [b'\'', ..] => through(1, "'"),
        [b'"', ..] => through(1, "\""),
        [b'$', ..] => match dollar_tag(rest) {
            Some(tag) => through(tag.len(), tag),
            None => 1,
        },
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// `$…$` at the beginning of `rest`, if that is a dollar quote and not a parameter.
fn dollar_tag(rest: &str) -> Option<&str> {
    let name = rest.get(1..)?.split_once('$')?.0;
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| rest.get(..name.len() + 2))?
}

/// What lies between two semicolons, without the comments before it; `None` if there is nothing else.
fn statement(script: &str, begin: usize, end: usize) -> Option<Statement<'_>> {
    let mut text = script.get(begin..end)?;
    loop {
        text = text.trim_start();
        if !text.starts_with("--") && !text.starts_with("/*") {
            break;
        }
        text = text.get(token(text)..).unwrap_or_default();
    }
    let before = script.get(..end - text.len())?;
    let line = before.matches('\n').count() + 1;
    let text = text.trim_end();
    (!text.is_empty()).then_some(Statement { line, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_in_a_text_a_body_or_a_comment_ends_nothing() {
        let script = "-- first; of two\nSELECT ';' AS \"a;b\" /* ; */;\n\nDO $do$ BEGIN; x := 'it''s;'; END $do$;\n-- end;\n";
        let found = statements(script);

        let lines: Vec<_> = found.iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [2, 4]);
        assert!(
            found[1].text.starts_with("DO $do$") && found[1].text.ends_with("END $do$"),
            "{found:?}"
        );
    }

    #[test]
    fn a_parameter_is_no_quote() {
        assert_eq!(statements("SELECT $1, $2; SELECT 2").len(), 2);
    }
}
