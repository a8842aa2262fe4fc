//! When something that is kept, such as an issuer's keys, is asked for again: rarely while all is well,
//! rarer than once a request while its source fails, and never long while an older one is at hand.

use crate::outbound;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long something is used before it is asked for again, which is also how long a rotation may take to
/// show.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_mins(10);
/// The least time between two attempts once something was fetched, so that neither a source that fails nor
/// made-up names make us flood it.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// How long a refresh may take while an older value would do.
const PATIENCE_WITH_A_VALUE: Duration = Duration::from_secs(1);
/// How long the first fetch may take. It leaves time to answer that it failed.
const PATIENCE_WITHOUT: Duration = Duration::from_secs(5);

/// When something was last asked for and last fetched, and whether it can be trusted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Freshness {
    asked_at: Option<Timestamp>,
    fetched_at: Option<Timestamp>,
    is_failing: bool,
    is_doubted: bool,
}

impl Freshness {
    /// Whether to ask now. `is_held` says whether the wanted part is among what was fetched last.
    pub(crate) fn is_due(&self, is_held: bool, now: Timestamp) -> bool {
        let age = |then: Timestamp| now.duration_since(then).abs();
        let Some(fetched_at) = self.fetched_at else {
            // There is nothing to fall back on, so everybody tries.
            return true;
        };

        let is_wanted = !is_held || self.is_doubted || age(fetched_at) >= TIME_TO_LIVE;
        let has_rested = self.asked_at.is_none_or(|then| age(then) >= RETRY_INTERVAL);
        let is_urgent = self.is_doubted && !self.is_failing;
        is_wanted && (has_rested || is_urgent)
    }

    /// Notes an attempt, which counts as failed until [`Freshness::fetched`] is told.
    pub(crate) fn asked(&mut self, now: Timestamp) {
        self.asked_at = Some(now);
        self.is_failing = true;
    }

    /// Notes that the last attempt succeeded.
    pub(crate) fn fetched(&mut self, now: Timestamp) {
        self.fetched_at = Some(now);
        self.is_failing = false;
        self.is_doubted = false;
    }

    /// Notes that what was fetched proved wrong: it is asked for at once, whatever its age.
    pub(crate) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// Whether the last attempt failed, or has not ended.
    pub(crate) fn has_failed(&self) -> bool {
        self.is_failing
    }
}

/// How long one attempt may take: short if an older value would do, and never longer than the invocation has
/// left.
pub(crate) fn patience(is_held: bool) -> Duration {
    let patience = if is_held {
        PATIENCE_WITH_A_VALUE
    } else {
        PATIENCE_WITHOUT
    };
    patience.min(outbound::budget())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn what_was_never_had_is_asked_for_by_everybody() {
        let mut kept = Freshness::default();
        assert!(kept.is_due(false, after(0)));
        kept.asked(after(0));
        assert!(kept.is_due(false, after(0)) && kept.has_failed());
    }

    #[test]
    fn what_is_held_is_asked_for_after_its_lifetime_and_then_each_half_minute_until_it_is_had() {
        let mut kept = Freshness::default();
        kept.asked(after(0));
        kept.fetched(after(0));

        assert!(!kept.has_failed());
        assert!(!kept.is_due(true, after(599)) && kept.is_due(true, after(600)));

        kept.asked(after(600));
        assert!(kept.has_failed());
        assert!(!kept.is_due(true, after(629)) && kept.is_due(true, after(630)));

        kept.asked(after(630));
        kept.fetched(after(630));
        assert!(!kept.is_due(true, after(1_229)) && kept.is_due(true, after(1_230)));
    }

    #[test]
    fn what_is_not_among_what_was_fetched_is_looked_for_each_half_minute_at_most() {
        let mut kept = Freshness::default();
        kept.asked(after(0));
        kept.fetched(after(0));
        assert!(!kept.is_due(false, after(29)) && kept.is_due(false, after(30)));
    }

    #[test]
    fn what_proved_wrong_is_asked_for_at_once_but_not_again_and_again() {
        let mut kept = Freshness::default();
        kept.asked(after(0));
        kept.fetched(after(0));
        kept.doubt();
        assert!(kept.is_due(true, after(1)));

        kept.asked(after(1));
        assert!(!kept.is_due(true, after(30)) && kept.is_due(true, after(31)));

        kept.asked(after(31));
        kept.fetched(after(31));
        assert!(!kept.is_due(true, after(32)));
    }
}
