//! The decision about a session's money: one pure function of the session, the facts and the time. It decides once,
//! and says why.
//!
//! | what happened | charge | payout | fee | status |
//! | --- | --- | --- | --- | --- |
//! | cancelled before the start | 0 | 0 | 0 | `CANCELLED` |
//! | called off later, and an operator let that count | 0 | 0 | 0 | `CANCELLED` |
//! | no-show marked after the wait, and nothing speaks against it | 1/2 | 9/10 of it | the rest | `NO_SHOW_STUDENT` |
//! | the tutor waited, and the learner was not met | 1/2 | 9/10 of it | the rest | `NO_SHOW_STUDENT` |
//! | the tutor did not come, or did not wait for a learner who came | 0 | 0 | 0 | `NO_SHOW_TUTOR` |
//! | nobody came, or the tutor did not wait and nobody else came | 0 | 0 | 0 | `NOBODY_CAME` |
//! | they met, and the lesson ended before its time | 0 | 0 | 0 | `EARLY_END_SHORT` |
//! | … after the minimum, where that pays | all | 9/10 of it | the rest | `COMPLETED_ASSUMED` |
//! | it reached its end, or nothing to the contrary is known | all | 9/10 of it | the rest | `COMPLETED_ASSUMED` |
//!
//! Each row counts before those below it. Who was there and when the lesson ended is read by [`crate::prove::attendance`].
//!
//! **Money waits for final evidence.** A cancellation is final at once, and a mark at the planned end. So is a lesson
//! that is known to have reached its planned end. Everything else waits until the room has closed and its provider has
//! been asked once more; if the provider does not answer for a day, what is known by then decides, and says so.
//!
//! Rules: [settlement-outcomes](../../RULES.md#settlement-outcomes), [money-waits](../../RULES.md#money-waits),
//! [corrections](../../RULES.md#corrections), [charge-parts](../../RULES.md#charge-parts).

use crate::charge::session::{Presumption, Session, SessionStatus};
use crate::money::{Money, Share};
use crate::prove::attendance::{Attendance, Presence, Stay, Until, tolerance};
use crate::prove::evidence::Evidence;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// For so long after its room has closed a session waits for a provider that does not answer.
pub const WAITS_FOR_PROVIDER: SignedDuration = SignedDuration::from_hours(24);

/// What is known of how a session went. Learning a fact twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Who was in the room, and when.
    pub evidence: Evidence,
    /// When the provider was last asked, and answered.
    pub asked_at: Option<Timestamp>,
    /// When the tutor marked the student absent, unless that was taken back.
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
    /// The tutor marked the student absent.
    StudentNoShow,
    /// The tutor waited, and the student is known not to have come while they did.
    ProvenStudentNoShow,
    /// The tutor is known not to have come, or not to have waited.
    TutorNoShow,
    /// Nobody came.
    NobodyCame,
    /// Ended early.
    EndedEarly,
    /// Ended early, but after the minimum, and the policy pays from there.
    EndedAfterMinimum,
    /// The planned end was reached, but for the tolerance.
    ReachedEnd,
    /// Held outside its planned time, at its full length.
    HeldInFull,
    /// Nothing to the contrary is known.
    NothingContrary,
}

/// What was known, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Who was there: by the provider's list, or by our launches where a side merely `came`.
    #[serde(flatten)]
    pub attendance: Attendance,
    /// When the lesson ended, where that is known.
    pub lesson_ended_at: Option<Timestamp>,
    /// When the provider was last asked, and answered.
    pub provider_asked_at: Option<Timestamp>,
    /// The provider did not say the last word in time: what was known by then decided.
    pub is_assumed: bool,
    /// When the tutor marked the student absent.
    pub no_show_marked_at: Option<Timestamp>,
    /// When it was called off.
    pub cancelled_at: Option<Timestamp>,
    /// When an operator let a late cancellation count.
    pub waived_at: Option<Timestamp>,
}

/// Why this amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The rule that decided.
    pub rule: Rule,
    /// What was known.
    pub known: Known,
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

/// What to do about a session now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has an outcome, or another one than before.
    Decided(Box<Settlement>),
    /// What is known is not final: look again then, or as soon as more is known.
    Wait(Timestamp),
    /// It has its outcome, and nothing changes that.
    Stands,
}

/// Decides about a session: the first outcome when what is known is final; another one only where later news changes
/// it and the policy corrects.
pub fn settle(session: &Session, facts: &Facts, status: SessionStatus, now: Timestamp) -> Verdict {
    let is_correction = status.is_final();
    if is_correction && !session.policy.corrects_late_news {
        return Verdict::Stands;
    }
    let reading = Reading::of(session, facts);
    if let Some(due) = reading.not_before(now) {
        return Verdict::Wait(due);
    }
    let settlement = reading.conclude(now);
    if settlement.status == status {
        Verdict::Stands
    } else {
        Verdict::Decided(Box::new(settlement))
    }
}

/// The outcome that a session would have if nothing more became known, whenever its money moves.
pub fn foresee(session: &Session, facts: &Facts, now: Timestamp) -> Settlement {
    Reading::of(session, facts).conclude(now)
}

/// A session with what is known of it, read once.
struct Reading<'a> {
    session: &'a Session,
    facts: &'a Facts,
    attendance: Attendance,
    lesson: Option<Stay>,
    rule: Rule,
}

impl<'a> Reading<'a> {
    fn of(session: &'a Session, facts: &'a Facts) -> Self {
        let attendance = Attendance::of(session, &facts.evidence, facts.asked_at);
        // Where everybody is assumed to have come, whoever was seen together stayed as long as anybody did.
        let lesson = attendance
            .lesson(session)
            .and_then(|stay| match session.policy.attendance {
                Presumption::Proven => Some(stay),
                Presumption::Assumed => attendance.room.last().copied(),
            });
        let mut reading = Self {
            session,
            facts,
            attendance,
            lesson,
            rule: Rule::NothingContrary,
        };
        reading.rule = reading.rule();
        reading
    }

    fn rule(&self) -> Rule {
        let facts = self.facts;
        let starts_at = self.session.schedule.starts_at();
        if facts.cancelled_at.is_some_and(|at| at < starts_at) {
            return Rule::CancelledBeforeStart;
        }
        if facts.waived_at.is_some() {
            return Rule::Waived;
        }
        if facts.no_show_marked_at.is_some_and(|at| self.mark_counts(at)) {
            return Rule::StudentNoShow;
        }
        match self.lesson {
            Some(stay) => self.rule_of_end(&stay),
            None if self.session.policy.attendance == Presumption::Assumed => Rule::NothingContrary,
            None => self.rule_of_absence(),
        }
    }

    fn mark_counts(&self, at: Timestamp) -> bool {
        let is_in_time = at >= self.session.no_show_from() && at <= self.session.schedule.ends_at();
        is_in_time && !contradicts_mark(self.session, self.facts, at)
    }

    /// The lesson was held; when did it end?
    fn rule_of_end(&self, lesson: &Stay) -> Rule {
        let (policy, schedule) = (&self.session.policy, &self.session.schedule);
        let tolerance = tolerance(self.session);
        let planned = schedule.ends_at().duration_since(schedule.starts_at());
        let is_long_enough = |length: SignedDuration| length.saturating_add(tolerance) >= planned;
        match lesson.until {
            Until::Idled => Rule::NothingContrary,
            Until::Running | Until::Unsure => Rule::ReachedEnd,
            Until::Left | Until::GoneBy if is_long_enough(lesson.to.duration_since(schedule.starts_at())) => {
                Rule::ReachedEnd
            }
            Until::Left | Until::GoneBy if is_long_enough(self.attendance.together()) => Rule::HeldInFull,
            Until::Left | Until::GoneBy
                if policy.pays_from_minimum && lesson.to >= self.session.payable_from() =>
            {
                Rule::EndedAfterMinimum
            }
            Until::Left | Until::GoneBy => Rule::EndedEarly,
        }
    }

    /// They did not meet, as far as is known; who did not come?
    fn rule_of_absence(&self) -> Rule {
        let attendance = &self.attendance;
        match (&attendance.tutor, &attendance.learner) {
            (Presence::Present(_) | Presence::Came, Presence::Absent | Presence::Present(_))
                if attendance.tutor_waited(self.session) =>
            {
                Rule::ProvenStudentNoShow
            }
            (Presence::Absent | Presence::Present(_), Presence::Absent) => Rule::NobodyCame,
            (Presence::Absent, _) | (Presence::Present(_), Presence::Present(_)) => Rule::TutorNoShow,
            _ => Rule::NothingContrary,
        }
    }

    /// The next instant at which this may be decided; `None` if it may be now.
    fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        if matches!(self.rule, Rule::CancelledBeforeStart | Rule::Waived) {
            return None;
        }
        let (ends_at, closes_at) = (self.session.schedule.ends_at(), self.session.window().closes_at);
        let gives_up_at = closes_at
            .saturating_add(WAITS_FOR_PROVIDER)
            .unwrap_or(Timestamp::MAX);
        let final_from = if self.is_final_at_end() {
            ends_at
        } else if self.has_last_word(closes_at) {
            closes_at
        } else {
            gives_up_at
        };
        (now < final_from).then(|| {
            let looks = [ends_at, closes_at, gives_up_at];
            looks.into_iter().find(|at| *at > now).unwrap_or(final_from)
        })
    }

    /// Whether nothing that may still come can change the outcome once the planned end has passed.
    fn is_final_at_end(&self) -> bool {
        let ends_at = self.session.schedule.ends_at();
        let is_known_to_reach = |stay: &Stay| match stay.until {
            Until::Left | Until::Running => stay.from <= ends_at && stay.to >= ends_at,
            Until::Idled | Until::Unsure | Until::GoneBy => false,
        };
        match self.rule {
            Rule::StudentNoShow => true,
            Rule::ReachedEnd => self.lesson.as_ref().is_some_and(is_known_to_reach),
            Rule::NothingContrary => {
                self.session.policy.attendance == Presumption::Assumed && self.has_last_word(ends_at)
            }
            _ => false,
        }
    }

    /// Whether the provider was asked at `instant` or later, and owes nothing.
    fn has_last_word(&self, instant: Timestamp) -> bool {
        let was_asked = self.facts.asked_at.is_some_and(|at| at >= instant);
        !self.has_provider_to_ask() || (was_asked && !self.attendance.is_unsure)
    }

    /// Nobody can ask about a room that nobody could enter.
    fn has_provider_to_ask(&self) -> bool {
        !(self.session.is_entered_through_us && self.facts.evidence.is_empty())
    }

    fn conclude(&self, now: Timestamp) -> Settlement {
        let (session, rule) = (self.session, self.rule);
        let (status, share) = outcome(rule, session.policy.no_show_charge);
        let charge = session.price.share(share);
        let (payout, fee) = charge.split(session.policy.payout);
        let arithmetic = [
            format!("charge = {share} of {} = {charge}", session.price),
            format!("payout = {} of {charge} = {payout}", session.policy.payout),
            format!("fee = {charge} - {payout} = {fee}"),
        ];
        let explanation = Explanation {
            rule,
            known: self.known(now),
            scheduled_start_at: session.schedule.starts_at(),
            scheduled_end_at: session.schedule.ends_at(),
            duration_minutes: session.duration_minutes(),
            no_show_wait_minutes: session.no_show_wait_minutes(),
            min_payable_minutes: session.min_payable_minutes(),
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

    fn known(&self, now: Timestamp) -> Known {
        let closes_at = self.session.window().closes_at;
        let lesson_ended_at = self
            .lesson
            .filter(|stay| stay.until == Until::Left)
            .map(|stay| stay.to);
        let is_called_off = matches!(self.rule, Rule::CancelledBeforeStart | Rule::Waived);
        Known {
            attendance: self.attendance.clone(),
            lesson_ended_at,
            provider_asked_at: self.facts.asked_at,
            is_assumed: !is_called_off
                && !self.is_final_at_end()
                && !self.has_last_word(closes_at)
                && now >= closes_at,
            no_show_marked_at: self.facts.no_show_marked_at,
            cancelled_at: self.facts.cancelled_at,
            waived_at: self.facts.waived_at,
        }
    }
}

fn outcome(rule: Rule, no_show_charge: Share) -> (SessionStatus, Share) {
    match rule {
        Rule::CancelledBeforeStart | Rule::Waived => (SessionStatus::Cancelled, Share::NONE),
        Rule::StudentNoShow | Rule::ProvenStudentNoShow => (SessionStatus::NoShowStudent, no_show_charge),
        Rule::TutorNoShow => (SessionStatus::NoShowTutor, Share::NONE),
        Rule::NobodyCame => (SessionStatus::NobodyCame, Share::NONE),
        Rule::EndedEarly => (SessionStatus::EarlyEndShort, Share::NONE),
        Rule::EndedAfterMinimum | Rule::ReachedEnd | Rule::HeldInFull | Rule::NothingContrary => {
            (SessionStatus::CompletedAssumed, Share::ALL)
        }
    }
}

/// Whether what is known speaks against a mark, made at `at`, that the student did not come. Where everybody is assumed
/// to have come, only the tutor's word is asked for.
pub fn contradicts_mark(session: &Session, facts: &Facts, at: Timestamp) -> bool {
    let attendance = Attendance::of(session, &facts.evidence, facts.asked_at);
    session.policy.attendance == Presumption::Proven && attendance.contradicts_mark(session, at)
}

/// Whether tutor and learner are known to have met.
pub fn have_met(session: &Session, facts: &Facts) -> bool {
    Attendance::of(session, &facts.evidence, facts.asked_at).have_met(session)
}

#[cfg(test)]
mod tests;
