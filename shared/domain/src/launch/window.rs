//! When a room is open.
//!
//! Rules: [launch-window](../../RULES.md#launch-window).

use jiff::{SignedDuration, Timestamp};

/// The planned time of a lesson. `ends_at` is never before `starts_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl Schedule {
    /// A lesson of `duration_minutes` from `starts_at`; `None` if the length is not positive or the end
    /// lies outside the calendar.
    pub fn new(starts_at: Timestamp, duration_minutes: i32) -> Option<Self> {
        let length = SignedDuration::from_mins(i64::from(duration_minutes));
        let ends_at = starts_at.checked_add(length).ok()?;
        (duration_minutes > 0).then_some(Self { starts_at, ends_at })
    }

    /// The planned start.
    pub fn starts_at(&self) -> Timestamp {
        self.starts_at
    }

    /// The planned end.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

/// How long before the start and after the end a room is open; configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinPolicy {
    /// Opens this long before the planned start.
    pub opens_before: SignedDuration,
    /// Closes this long after the planned end.
    pub closes_after: SignedDuration,
}

impl JoinPolicy {
    /// The minutes before the start and after the end that hold unless others are set.
    pub const DEFAULT_MINUTES: u16 = 15;

    /// A policy in whole minutes.
    pub fn from_minutes(opens_before: u16, closes_after: u16) -> Self {
        Self {
            opens_before: SignedDuration::from_mins(opens_before.into()),
            closes_after: SignedDuration::from_mins(closes_after.into()),
        }
    }
}

impl Default for JoinPolicy {
    fn default() -> Self {
        Self::from_minutes(Self::DEFAULT_MINUTES, Self::DEFAULT_MINUTES)
    }
}

/// The span in which Join works: from `opens_at` to just before `closes_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindow {
    /// First instant at which Join works.
    pub opens_at: Timestamp,
    /// First instant at which Join no longer works.
    pub closes_at: Timestamp,
}

/// Where an instant lies relative to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before `opens_at`.
    Before,
    /// From `opens_at` to just before `closes_at`.
    Open,
    /// From `closes_at` on.
    After,
}

impl JoinWindow {
    /// The window of a lesson. Saturates at the ends of the calendar.
    pub fn of(schedule: &Schedule, policy: JoinPolicy) -> Self {
        Self {
            opens_at: schedule
                .starts_at
                .saturating_sub(policy.opens_before)
                .unwrap_or(Timestamp::MIN),
            closes_at: schedule
                .ends_at
                .saturating_add(policy.closes_after)
                .unwrap_or(Timestamp::MAX),
        }
    }

    /// Where `now` lies.
    pub fn phase(&self, now: Timestamp) -> Phase {
        if now < self.opens_at {
            Phase::Before
        } else if now < self.closes_at {
            Phase::Open
        } else {
            Phase::After
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_opens_a_quarter_before_and_closes_a_quarter_after() {
        let schedule = Schedule::new("2026-03-01T17:00:00Z".parse().unwrap(), 60).unwrap();
        let window = JoinWindow::of(&schedule, JoinPolicy::default());
        assert_eq!(window.opens_at.to_string(), "2026-03-01T16:45:00Z");
        assert_eq!(window.closes_at.to_string(), "2026-03-01T18:15:00Z");
        assert_eq!(
            window.phase(window.opens_at),
            Phase::Open,
            "the opening instant is open"
        );
        assert_eq!(
            window.phase(window.closes_at),
            Phase::After,
            "the closing instant is closed"
        );
    }

    #[test]
    fn a_lesson_has_a_length() {
        assert_eq!(Schedule::new(Timestamp::UNIX_EPOCH, 0), None);
        assert_eq!(Schedule::new(Timestamp::MAX, 1), None);
    }

    proptest! {
        #[test]
        fn time_only_moves_forward_through_the_phases(
            start in -10_000_000_000_i64..10_000_000_000, minutes in 1..10_000_i32,
            earlier in -20_000_000_000_i64..20_000_000_000, step in 0..1_000_000_000_i64,
        ) {
            let schedule = Schedule::new(Timestamp::from_second(start).unwrap(), minutes).unwrap();
            let window = JoinWindow::of(&schedule, JoinPolicy::default());
            let order = |second| match window.phase(Timestamp::from_second(second).unwrap()) {
                Phase::Before => 0,
                Phase::Open => 1,
                Phase::After => 2,
            };
            prop_assert!(order(earlier) <= order(earlier + step));
            prop_assert_eq!(window.phase(schedule.starts_at()), Phase::Open);
        }
    }
}
