//! When something is asked of a gateway again, and when nobody may ask yet.
//!
//! Rules: [card-retries](../../RULES.md#card-retries), [refund-retries](../../RULES.md#refund-retries),
//! [under-way](../../RULES.md#under-way).

use jiff::{SignedDuration, Timestamp};

/// For how long what a gateway was asked may still be on its way there. Whoever asks is done within a minute; the rest is
/// for clocks that differ, and for a gateway that lists late what it has taken.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(5);

/// Since when something was asked of a gateway that may still be on its way there.
pub fn under_way_since(now: Timestamp) -> Timestamp {
    now.saturating_sub(UNDER_WAY).unwrap_or(now)
}

/// Whether what a gateway was asked at `asked_at` may still be on its way there.
pub fn may_be_under_way(asked_at: Timestamp, now: Timestamp) -> bool {
    asked_at > under_way_since(now)
}

/// What a gateway's refusal says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The same card may work later.
    TryLater,
    /// It will not: the client has to do something.
    AskClient,
}

/// Waits after the first, second and third refusal of a card; after the fourth the client is told. Gateways
/// forbid more than a handful of tries, and money comes at the beginning or the middle of a month.
pub const TRY_AGAIN_AFTER: [SignedDuration; 3] = [
    SignedDuration::from_hours(24),
    SignedDuration::from_hours(72),
    SignedDuration::from_hours(120),
];

/// When to try again after the refusal of attempt number `attempt`, counted from 1; `None` gives up.
pub fn try_again_at(attempt: i32, advice: Advice, now: Timestamp) -> Option<Timestamp> {
    if advice == Advice::AskClient {
        return None;
    }
    let wait = TRY_AGAIN_AFTER.get(usize::try_from(attempt.checked_sub(1)?).ok()?)?;
    now.checked_add(*wait).ok()
}

/// Waits after the first, second, … refusal of a refund that may be accepted later, as when our balance at the gateway
/// has run out; after the last it waits for a person.
pub const REFUND_AGAIN_AFTER: [SignedDuration; 4] = [
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// When to try a refund again that was refused `refusals` times before this one; `None` gives up.
pub fn refund_again_at(refusals: i32, now: Timestamp) -> Option<Timestamp> {
    let wait = REFUND_AGAIN_AFTER.get(usize::try_from(refusals).ok()?)?;
    now.checked_add(*wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_refused_refund_is_tried_again_four_times_with_growing_gaps() {
        let minutes = |refusals| Some(refund_again_at(refusals, now())?.duration_since(now()).as_mins());
        let tried: Vec<_> = (0..=4).map(minutes).collect();
        assert_eq!(tried, [Some(10), Some(60), Some(360), Some(1_440), None]);
        assert_eq!(minutes(-1), None);
    }

    #[test]
    fn declines_are_tried_again_after_one_three_and_five_days() {
        let hours = |attempt, advice| {
            let at = try_again_at(attempt, advice, now())?;
            Some(at.duration_since(now()).as_hours())
        };
        let tried: Vec<_> = (1..=5).map(|n| hours(n, Advice::TryLater)).collect();
        assert_eq!(tried, [Some(24), Some(72), Some(120), None, None]);
        assert_eq!(hours(1, Advice::AskClient), None);
        assert_eq!(hours(0, Advice::TryLater), None, "there is no attempt 0");
    }
}
