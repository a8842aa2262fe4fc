//! What a lesson looked like, for the people on it: for how long they were together, who was there when, how long the
//! learner's side spoke and had the lesson before them. What is not known is said to be so.
//!
//! Rules: [insights](../../RULES.md#insights).

use crate::charge::session::Session;
use crate::prove::attendance::{Attendance, Presence};
use crate::prove::evidence::{Evidence, Side};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a provider has measured of one person in a lesson, in seconds; `None` where it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// For how long they were in the room.
    pub there: Option<u32>,
    /// For how long of that something else was before the room on their screen.
    pub in_background: Option<u32>,
    /// For how long they spoke.
    pub speaking: Option<u32>,
}

/// What a provider has measured, by its ids of people: `bookings.engagement_metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Engagement(pub BTreeMap<String, Measured>);

/// How much of the time that somebody was there they had the lesson before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// Whole percent, 0 to 100.
    pub percent: u32,
    /// No provider measures attention: from what it was worked out.
    pub derived_from: &'static str,
}

/// What is known of a lesson.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Insights {
    /// For how many whole minutes tutor and learner were there at once; `None` where nobody knows who was there when.
    pub minutes_together: Option<i64>,
    /// When the tutor was there.
    pub tutor: Presence,
    /// When the learner's side was there.
    pub learner: Presence,
    /// For how many whole minutes the learner's side spoke; `None` where it is not measured.
    pub learner_speaking_minutes: Option<u32>,
    /// How attentive the learner's side was; `None` where nothing says so.
    pub learner_attention: Option<Attention>,
}

impl Engagement {
    /// Adds what was measured in another part of the same lesson.
    pub fn add(&mut self, person: String, more: Measured) {
        let whole = self.0.entry(person).or_default();
        let sum = |one: Option<u32>, other: Option<u32>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        *whole = Measured {
            there: sum(whole.there, more.there),
            in_background: sum(whole.in_background, more.in_background),
            speaking: sum(whole.speaking, more.speaking),
        };
    }

    /// What was measured of everybody on one side.
    fn of(&self, side: Side, evidence: &Evidence) -> Measured {
        let mut all = Self::default();
        for (person, measured) in &self.0 {
            if evidence.people.get(person) == Some(&side) {
                all.add(String::new(), *measured);
            }
        }
        all.0.remove("").unwrap_or_default()
    }
}

impl Insights {
    /// Reads what is known of a session whose provider was last asked at `asked_at`.
    pub fn of(
        session: &Session,
        evidence: &Evidence,
        engagement: &Engagement,
        asked_at: Option<Timestamp>,
    ) -> Self {
        let attendance = Attendance::of(session, evidence, asked_at);
        let learner = engagement.of(Side::Learner, evidence);
        let is_timed = matches!(
            (&attendance.tutor, &attendance.learner),
            (Presence::Present(_), Presence::Present(_))
        );

        Self {
            minutes_together: is_timed.then(|| attendance.together().as_mins()),
            learner_speaking_minutes: learner.speaking.map(|seconds| seconds / 60),
            learner_attention: attention(learner),
            tutor: attendance.tutor,
            learner: attendance.learner,
        }
    }
}

fn attention(measured: Measured) -> Option<Attention> {
    let (there, away) = (measured.there?, measured.in_background?);
    let before_them = u64::from(there.saturating_sub(away)) * 100;
    let percent = before_them.checked_div(u64::from(there))?;

    Some(Attention {
        percent: u32::try_from(percent).ok()?,
        derived_from: "the share of their time in the room in which nothing else was before it on their screen",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(there: u32, in_background: u32) -> Measured {
        Measured {
            there: Some(there),
            in_background: Some(in_background),
            speaking: None,
        }
    }

    #[test]
    fn attention_is_worked_out_only_from_what_was_measured() {
        let percent = |measured| attention(measured).map(|attention| attention.percent);

        assert_eq!(percent(measured(3_600, 900)), Some(75));
        assert_eq!(
            percent(measured(60, 90)),
            Some(0),
            "a vendor counts more than there was"
        );
        assert_eq!(percent(measured(0, 0)), None, "of nobody nothing is known");
        assert_eq!(percent(Measured::default()), None);
    }

    #[test]
    fn what_two_people_of_one_side_did_is_added_and_nobody_elses() {
        let mut engagement = Engagement::default();
        engagement.add("student".into(), measured(600, 0));
        engagement.add("student".into(), measured(300, 60));
        engagement.add("parent".into(), measured(100, 100));
        engagement.add("tutor".into(), measured(9_000, 0));
        let sides = [
            ("student", Side::Learner),
            ("parent", Side::Learner),
            ("tutor", Side::Tutor),
        ];
        let evidence = Evidence {
            people: sides.map(|(who, side)| (who.to_owned(), side)).into(),
            ..Evidence::default()
        };

        assert_eq!(engagement.of(Side::Learner, &evidence), measured(1_000, 160));
    }
}
