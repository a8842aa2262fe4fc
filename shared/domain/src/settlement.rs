//! The decision about a session's money: one pure function of the session, the facts, the policy and the
//! time. It decides once, and says why.
//!
//! | what happened | charge | payout | fee | status |
//! | --- | --- | --- | --- | --- |
//! | cancelled before the start | 0 | 0 | 0 | `CANCELLED` |
//! | called off later, and an operator let that count | 0 | 0 | 0 | `CANCELLED` |
//! | no-show marked after the wait | 1/2 | 9/10 of it | the rest | `NO_SHOW_STUDENT` |
//! | the meeting ended before its time | 0 | 0 | 0 | `EARLY_END_SHORT` |
//! | … after the minimum, where that pays | all | 9/10 of it | the rest | `COMPLETED_ASSUMED` |
//! | otherwise | all | 9/10 of it | the rest | `COMPLETED_ASSUMED` |
//!
//! Each row counts before those below it. Source: iTutor seed, "Charging Logic".

use crate::money::{Money, Share};
use crate::session::{Session, SessionPolicy, SessionStatus};
use jiff::Timestamp;
use serde::Serialize;

/// What is known of how a session went. Learning a fact twice changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Facts {
    /// When the meeting began, as its provider saw it.
    pub meeting_started_at: Option<Timestamp>,
    /// When it ended for good.
    pub meeting_ended_at: Option<Timestamp>,
    /// When the tutor marked the student absent.
    pub no_show_marked_at: Option<Timestamp>,
    /// When client, tutor or platform called it off.
    pub cancelled_at: Option<Timestamp>,
    /// When an operator let the platform's cancellation count although the lesson had begun.
    pub waived_at: Option<Timestamp>,
}

/// The row of the table above that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Called off before the start.
    CancelledBeforeStart,
    /// Called off after the start, with an operator's leave.
    Waived,
    /// The student did not come.
    StudentNoShow,
    /// Ended early.
    EndedEarly,
    /// Ended early, but after the minimum, and the policy pays from there.
    EndedAfterMinimum,
    /// The planned end was reached, or nothing to the contrary is known.
    ReachedEnd,
}

/// Why this amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The rule that decided.
    pub rule: Rule,
    /// What was known.
    pub facts: Facts,
    /// The planned start.
    pub scheduled_start_at: Timestamp,
    /// The planned end.
    pub scheduled_end_at: Timestamp,
    /// The planned minutes.
    pub duration_minutes: u32,
    /// The minutes the tutor waits for the student.
    pub no_show_wait_minutes: u32,
    /// The minutes from which an early end is paid, where the policy says so.
    pub min_payable_minutes: u32,
    /// The pinned price.
    pub price: Money,
    /// The arithmetic, a line a step.
    pub arithmetic: [String; 3],
}

/// A session's one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// The final status.
    pub status: SessionStatus,
    /// What the client pays.
    pub charge: Money,
    /// What the tutor gets of it.
    pub payout: Money,
    /// What the platform keeps of it.
    pub fee: Money,
    /// Why.
    pub explanation: Explanation,
}

/// Settles a session, or says by `None` that its time has not come. A mark or a cancellation settles at once;
/// everything else at the planned end.
pub fn settle(
    session: &Session,
    facts: &Facts,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Option<Settlement> {
    let rule = rule(session, facts, policy);
    let at_once = match rule {
        Rule::CancelledBeforeStart | Rule::Waived | Rule::StudentNoShow => true,
        Rule::EndedEarly | Rule::EndedAfterMinimum | Rule::ReachedEnd => false,
    };
    let is_due = at_once || now >= session.charge_scheduled_at();
    is_due.then(|| conclude(session, facts, policy, rule))
}

/// Decides about a session that may have an outcome already: the first one when its time has come, another
/// one only where later news changes it and the policy corrects.
pub fn resettle(
    session: &Session,
    facts: &Facts,
    status: SessionStatus,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Option<Settlement> {
    let settlement = settle(session, facts, policy, now)?;
    let is_correction = status.is_final();
    let counts = !is_correction || (policy.corrects_late_news && settlement.status != status);
    counts.then_some(settlement)
}

fn rule(session: &Session, facts: &Facts, policy: &SessionPolicy) -> Rule {
    let (start, end) = (session.schedule.starts_at(), session.schedule.ends_at());
    let no_show_from = session.no_show_from(policy);
    if facts.cancelled_at.is_some_and(|at| at < start) {
        return Rule::CancelledBeforeStart;
    }
    if facts.waived_at.is_some() {
        return Rule::Waived;
    }
    if facts
        .no_show_marked_at
        .is_some_and(|at| at >= no_show_from && at <= end)
    {
        return Rule::StudentNoShow;
    }
    match facts.meeting_ended_at {
        Some(ended) if ended < end && is_paid(session, policy, ended) => Rule::EndedAfterMinimum,
        Some(ended) if ended < end => Rule::EndedEarly,
        _ => Rule::ReachedEnd,
    }
}

/// Whether an early end is late enough to be paid, counted from the planned start.
fn is_paid(session: &Session, policy: &SessionPolicy, ended: Timestamp) -> bool {
    let held_seconds = ended.duration_since(session.schedule.starts_at()).as_secs();
    policy.pays_from_minimum && held_seconds >= i64::from(session.min_payable_minutes(policy)) * 60
}

fn conclude(session: &Session, facts: &Facts, policy: &SessionPolicy, rule: Rule) -> Settlement {
    let (status, share) = match rule {
        Rule::CancelledBeforeStart | Rule::Waived => (SessionStatus::Cancelled, Share::NONE),
        Rule::StudentNoShow => (SessionStatus::NoShowStudent, policy.no_show_charge),
        Rule::EndedEarly => (SessionStatus::EarlyEndShort, Share::NONE),
        Rule::EndedAfterMinimum | Rule::ReachedEnd => (SessionStatus::CompletedAssumed, Share::ALL),
    };
    let charge = session.price.share(share);
    let (payout, fee) = charge.split(policy.payout);
    let arithmetic = [
        format!("charge = {share} of {} = {charge}", session.price),
        format!("payout = {} of {charge} = {payout}", policy.payout),
        format!("fee = {charge} - {payout} = {fee}"),
    ];
    let explanation = Explanation {
        rule,
        facts: *facts,
        scheduled_start_at: session.schedule.starts_at(),
        scheduled_end_at: session.schedule.ends_at(),
        duration_minutes: session.duration_minutes(),
        no_show_wait_minutes: session.no_show_wait_minutes(policy),
        min_payable_minutes: session.min_payable_minutes(policy),
        price: session.price,
        arithmetic,
    };
    Settlement {
        status,
        charge,
        payout,
        fee,
        explanation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BookingId, ProfileId};
    use crate::window::Schedule;
    use iso_currency::Currency;
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use uuid::Uuid;

    const START: i64 = 1_772_366_400;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(START).unwrap() + SignedDuration::from_mins(minute)
    }

    fn session(minutes: i32, minor: i64, currency: Currency) -> Session {
        Session {
            booking: BookingId(Uuid::nil()),
            client: ProfileId(Uuid::from_u128(1)),
            tutor: ProfileId(Uuid::from_u128(2)),
            schedule: Schedule::new(at(0), minutes).unwrap(),
            price: Money::new(minor, currency),
        }
    }

    fn outcome(facts: Facts, policy: &SessionPolicy) -> (SessionStatus, i64, i64, i64) {
        let settled = settle(&session(60, 10_000, Currency::TTD), &facts, policy, at(60)).unwrap();
        (
            settled.status,
            settled.charge.minor(),
            settled.payout.minor(),
            settled.fee.minor(),
        )
    }

    #[test]
    fn the_locked_table() {
        let policy = SessionPolicy::default();
        let nothing = Facts::default();
        assert_eq!(
            outcome(nothing, &policy),
            (SessionStatus::CompletedAssumed, 10_000, 9_000, 1_000)
        );
        let no_show = Facts {
            no_show_marked_at: Some(at(20)),
            ..nothing
        };
        assert_eq!(
            outcome(no_show, &policy),
            (SessionStatus::NoShowStudent, 5_000, 4_500, 500)
        );
        let early = Facts {
            meeting_ended_at: Some(at(59)),
            ..nothing
        };
        assert_eq!(outcome(early, &policy), (SessionStatus::EarlyEndShort, 0, 0, 0));
        let on_time = Facts {
            meeting_ended_at: Some(at(60)),
            ..nothing
        };
        assert_eq!(
            outcome(on_time, &policy),
            (SessionStatus::CompletedAssumed, 10_000, 9_000, 1_000)
        );
        let cancelled = Facts {
            cancelled_at: Some(at(-1)),
            ..nothing
        };
        assert_eq!(outcome(cancelled, &policy), (SessionStatus::Cancelled, 0, 0, 0));

        let waived = Facts {
            waived_at: Some(at(50)),
            ..no_show
        };
        assert_eq!(
            outcome(waived, &policy),
            (SessionStatus::Cancelled, 0, 0, 0),
            "an operator's leave counts before a mark"
        );
    }

    #[test]
    fn the_minimum_gates_an_early_end_where_the_policy_says_so() {
        let policy = SessionPolicy {
            pays_from_minimum: true,
            ..SessionPolicy::default()
        };
        let ended = |minute| {
            outcome(
                Facts {
                    meeting_ended_at: Some(at(minute)),
                    ..Facts::default()
                },
                &policy,
            )
            .0
        };
        assert_eq!(ended(39), SessionStatus::EarlyEndShort);
        assert_eq!(ended(40), SessionStatus::CompletedAssumed);
    }

    #[test]
    fn sixty_is_twenty_and_forty_and_a_hundred_is_thirty_three_and_sixty_six() {
        let policy = SessionPolicy::default();
        let minutes = |length, policy: &SessionPolicy| {
            let session = session(length, 1, Currency::XAF);
            (
                session.no_show_wait_minutes(policy),
                session.min_payable_minutes(policy),
            )
        };
        assert_eq!(
            [60, 90, 100].map(|length| minutes(length, &policy)),
            [(20, 40), (30, 60), (33, 66)]
        );
        let hundredths = SessionPolicy {
            no_show_wait: "33/100".parse().unwrap(),
            min_payable: "66/100".parse().unwrap(),
            ..policy
        };
        assert_eq!(
            [60, 90, 100].map(|length| minutes(length, &hundredths)),
            [(19, 39), (29, 59), (33, 66)]
        );
    }

    #[test]
    fn an_outcome_explains_itself() {
        let facts = Facts {
            no_show_marked_at: Some(at(25)),
            ..Facts::default()
        };
        let settled = settle(
            &session(60, 12_345, Currency::TTD),
            &facts,
            &SessionPolicy::default(),
            at(25),
        )
        .unwrap();
        assert_eq!(
            settled.explanation.arithmetic,
            [
                "charge = 1/2 of 123.45 TTD = 61.72 TTD",
                "payout = 9/10 of 61.72 TTD = 55.54 TTD",
                "fee = 61.72 TTD - 55.54 TTD = 6.18 TTD"
            ]
        );
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let minute = || proptest::option::of((-30..130_i64).prop_map(at));
        (minute(), minute(), minute(), minute(), minute()).prop_map(
            |(started, ended, no_show, cancelled, waived)| Facts {
                meeting_started_at: started,
                meeting_ended_at: ended,
                no_show_marked_at: no_show,
                cancelled_at: cancelled,
                waived_at: waived,
            },
        )
    }

    proptest! {
        #[test]
        fn the_parts_of_every_outcome_add_up(
            minor in 0..i64::MAX, minutes in 1..600_i32, facts in facts(), pays in any::<bool>(),
            (n, d) in (1..1_000_u32).prop_flat_map(|d| (0..=d, Just(d))), is_xaf in any::<bool>(),
        ) {
            let currency = if is_xaf { Currency::XAF } else { Currency::TTD };
            let share = Share::new(n, d).unwrap();
            let policy = SessionPolicy { pays_from_minimum: pays, no_show_charge: share, payout: share, ..SessionPolicy::default() };
            let settled = settle(&session(minutes, minor, currency), &facts, &policy, at(700)).unwrap();
            prop_assert_eq!(settled.payout.minor() + settled.fee.minor(), settled.charge.minor());
            prop_assert!(settled.charge.minor() <= minor && settled.payout.minor() >= 0 && settled.fee.minor() >= 0);
            prop_assert!(settled.status.is_final());
        }

        #[test]
        fn once_due_a_session_has_one_outcome_whenever_it_is_settled(facts in facts(), later in 0..100_000_i64) {
            let (session, policy) = (session(60, 10_000, Currency::TTD), SessionPolicy::default());
            let first = settle(&session, &facts, &policy, at(60));
            prop_assert!(first.is_some(), "a due session without an outcome");
            prop_assert_eq!(first, settle(&session, &facts, &policy, at(60 + later)));
        }

        #[test]
        fn before_its_time_only_a_mark_or_a_cancellation_settles(facts in facts(), minute in -100..60_i64) {
            let settled = settle(&session(60, 10_000, Currency::TTD), &facts, &SessionPolicy::default(), at(minute));
            let is_early = settled.is_some_and(|settled| !matches!(settled.status, SessionStatus::Cancelled | SessionStatus::NoShowStudent));
            prop_assert!(!is_early);
        }
    }
}
