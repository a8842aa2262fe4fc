//! What the provider saw of a lesson, merged so that no order of arrival changes the result.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One span for which the provider held the room open, as the provider itself reports it. A lesson has
/// several when everybody drops out and comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSession {
    /// The provider's id of the span.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// A stable address from which the recording can be asked for.
    pub recording_url: Option<String>,
}

impl ProviderSession {
    /// Length in whole seconds; 0 while it runs or if the provider's clock went backwards.
    pub fn duration_seconds(&self) -> i32 {
        let seconds = self
            .ended_at
            .map_or(0, |end| end.duration_since(self.started_at).as_secs());
        i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
    }
}

/// The lesson as proven so far: `bookings.meeting_started_at`, `meeting_ended_at`, `duration_actual`,
/// `recording_url`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The earliest start.
    pub started_at: Option<Timestamp>,
    /// The latest end.
    pub ended_at: Option<Timestamp>,
    /// Sum of all ended spans, in seconds.
    pub duration_seconds: Option<i32>,
    /// The recording of the longest span that has one.
    pub recording_url: Option<String>,
}

impl Evidence {
    /// Reads everything the provider reports of one room. Independent of the order of `sessions`.
    pub fn from_sessions(sessions: &[ProviderSession]) -> Self {
        let ended = || sessions.iter().filter(|session| session.ended_at.is_some());
        Self {
            started_at: sessions.iter().map(|session| session.started_at).min(),
            ended_at: ended().filter_map(|session| session.ended_at).max(),
            duration_seconds: ended()
                .map(ProviderSession::duration_seconds)
                .reduce(i32::saturating_add),
            recording_url: ended()
                .filter_map(|session| Some((session.duration_seconds(), session.recording_url.as_ref()?)))
                .max()
                .map(|(_, url)| url.clone()),
        }
    }

    /// Whether the provider has seen the lesson begin.
    pub fn has_begun(&self) -> bool {
        self.started_at.is_some()
    }

    /// Whether somebody is in the room as far as is known: begun and not ended.
    pub fn is_live(&self) -> bool {
        self.has_begun() && self.ended_at.is_none()
    }

    /// Whether the last known end is at or after `instant`.
    pub fn ended_after(&self, instant: Timestamp) -> bool {
        self.ended_at.is_some_and(|end| end >= instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(id: &str, start: i64, length: Option<i64>, recorded: bool) -> ProviderSession {
        let started_at = Timestamp::from_second(start).unwrap();
        ProviderSession {
            id: id.into(),
            started_at,
            ended_at: length.map(|length| Timestamp::from_second(start + length).unwrap()),
            recording_url: recorded.then(|| format!("https://vendor.example/{id}")),
        }
    }

    #[test]
    fn a_lesson_that_dropped_out_adds_up() {
        let seen = Evidence::from_sessions(&[
            session("second", 2_000, Some(1_800), true),
            session("first", 1_000, Some(600), true),
            session("running", 5_000, None, true),
        ]);
        assert_eq!(seen.duration_seconds, Some(2_400));
        assert_eq!(seen.started_at, Some(Timestamp::from_second(1_000).unwrap()));
        assert_eq!(seen.ended_at, Some(Timestamp::from_second(3_800).unwrap()));
        assert_eq!(
            seen.recording_url.as_deref(),
            Some("https://vendor.example/second")
        );
    }

    #[test]
    fn nothing_seen_proves_nothing() {
        assert_eq!(Evidence::from_sessions(&[]), Evidence::default());
        assert_eq!(session("backwards", 100, Some(-5), false).duration_seconds(), 0);
    }

    proptest! {
        #[test]
        fn the_order_of_the_report_does_not_matter(
            spans in proptest::collection::vec((0..1_000_000_i64, proptest::option::of(0..9_999_i64), any::<bool>()), 0..8),
        ) {
            let sessions: Vec<_> = spans.iter().enumerate()
                .map(|(n, (start, length, recorded))| session(&n.to_string(), *start, *length, *recorded))
                .collect();
            let mut reversed = sessions.clone();
            reversed.reverse();
            prop_assert_eq!(Evidence::from_sessions(&sessions), Evidence::from_sessions(&reversed));
        }
    }
}
