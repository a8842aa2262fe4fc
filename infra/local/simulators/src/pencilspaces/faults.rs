//! How the next requests fail.

use serde::Deserialize;
use std::time::Duration;

/// Requests that go wrong, for a while. Each counter is for so many of the requests to come, in the order in which the
/// counters stand here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Only requests whose path has this in it are meant, `users/createAPIUser` say; all of them if empty.
    pub only: String,
    /// So many go well first.
    pub spare_next: u32,
    /// So many are refused before anything happens.
    pub refuse_next: u32,
    /// With this status; 503 if 0.
    pub refuse_with: u16,
    /// With a page for people instead of JSON.
    pub html: bool,
    /// And with a Retry-After of so many seconds; without one if 0.
    pub retry_after_seconds: u32,
    /// So many get lost on the way: nothing happens, and nothing is answered.
    pub vanish_next: u32,
    /// So many are answered 200 with `{err}`, and nothing happens.
    pub err_next: u32,
    /// So many are answered 200 with an empty body, and nothing happens.
    pub empty_next: u32,
    /// So many are answered 200 with an empty body, though everything has happened.
    pub empty_after_next: u32,
    /// So many are answered 500 with a page for people, and nothing happens.
    pub break_next: u32,
    /// So many are answered 500 with a page for people, though everything has happened.
    pub break_after_next: u32,
    /// Of so many the answer gets lost, after everything has happened.
    pub lose_next: u32,
    /// So many are answered late, after everything has happened at once.
    pub late_next: u32,
    /// So late, in milliseconds.
    pub late_ms: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Normal,
    Refuse(Refused),
    Vanish,
    Err,
    Empty,
    EmptyAfter,
    Break,
    BreakAfter,
    Lose,
    Late(Duration),
}

/// How a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) html: bool,
    pub(super) retry_after_seconds: u32,
}

impl Faults {
    /// What becomes of the request that has come for `path`.
    pub(super) fn fate(&mut self, path: &str) -> Fate {
        if !path.contains(&self.only) || take_one(&mut self.spare_next) {
            return Fate::Normal;
        }

        let refused = Refused {
            status: if self.refuse_with == 0 {
                503
            } else {
                self.refuse_with
            },
            html: self.html,
            retry_after_seconds: self.retry_after_seconds,
        };
        let late = Duration::from_millis(self.late_ms);
        let fates = [
            (&mut self.refuse_next, Fate::Refuse(refused)),
            (&mut self.vanish_next, Fate::Vanish),
            (&mut self.err_next, Fate::Err),
            (&mut self.empty_next, Fate::Empty),
            (&mut self.empty_after_next, Fate::EmptyAfter),
            (&mut self.break_next, Fate::Break),
            (&mut self.break_after_next, Fate::BreakAfter),
            (&mut self.lose_next, Fate::Lose),
            (&mut self.late_next, Fate::Late(late)),
        ];

        let mut due = fates
            .into_iter()
            .filter_map(|(left, fate)| take_one(left).then_some(fate));
        due.next().unwrap_or(Fate::Normal)
    }
}

fn take_one(left: &mut u32) -> bool {
    let takes = *left > 0;
    *left -= u32::from(takes);
    takes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_for_so_many_requests_of_its_kind_and_no_more() {
        let mut faults = Faults {
            only: "createAPIUser".into(),
            spare_next: 1,
            lose_next: 1,
            ..Faults::default()
        };

        let fates = [
            "/users",
            "/users/createAPIUser",
            "/users/createAPIUser",
            "/users/createAPIUser",
        ]
        .map(|path| faults.fate(path));

        assert_eq!(fates, [Fate::Normal, Fate::Normal, Fate::Lose, Fate::Normal]);
    }
}
