//! A booking: what may be done with it, by whom and when.
//!
//! Rules: [launch-refusals](../../RULES.md#launch-refusals), [status-unknown](../../RULES.md#status-unknown),
//! [join-state](../../RULES.md#join-state), [student-assignment](../../RULES.md#student-assignment).

use crate::ids::{BookingId, ProfileId};
use crate::launch::classroom::Classroom;
use crate::launch::window::{JoinPolicy, JoinWindow, Phase, Schedule};
use crate::people::{Parties, Role};
use crate::prove::evidence::Proof;
use jiff::Timestamp;
use serde::Serialize;

/// `bookings.status`, as far as it matters to a lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingStatus {
    /// Agreed and to be held.
    Confirmed,
    /// Held, as the platform says.
    Completed,
    /// Called off.
    Cancelled,
    /// Asked for, and not agreed yet.
    Pending,
    /// In a state for which the platform has a word that its view does not translate. Nothing can be done with it
    /// before somebody says what the word means: to guess would let people into rooms, or take their money.
    Unknown,
}

impl From<&str> for BookingStatus {
    /// Reads the word of our copy.
    fn from(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "confirmed" => Self::Confirmed,
            "completed" => Self::Completed,
            "cancelled" => Self::Cancelled,
            _ => Self::Unknown,
        }
    }
}

/// A booking as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Its id.
    pub id: BookingId,
    /// Who takes part.
    pub parties: Parties,
    /// Its status.
    pub status: BookingStatus,
    /// When it is planned; `None` for a row that has no usable time yet.
    pub schedule: Option<Schedule>,
    /// Where its room is, once it is opened.
    pub classroom: Option<Classroom>,
    /// What the provider saw so far.
    pub proof: Proof,
}

/// What a person's card shows on the Join button. Rule: `RULES.md#join-state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinState {
    /// Not open yet: "Scheduled for …".
    Upcoming,
    /// Join works and nobody is known to be in the room.
    Ready,
    /// Join works and the provider has seen the lesson begin.
    Live,
    /// Over: the window has closed, or the platform says so.
    Completed,
    /// Called off.
    Cancelled,
}

/// Why a person may not enter now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not on this booking at all.
    #[error("not on this booking")]
    Stranger,
    /// Pays, but holds no GUARDIAN link to the student.
    #[error("a client joins a student's lesson only as guardian")]
    GuardianLinkRequired,
    /// Cancelled.
    #[error("the booking is cancelled")]
    Cancelled,
    /// The platform's status word means nothing here.
    #[error("the booking is in a state that is not known here")]
    UnknownStatus,
    /// Not confirmed, or without a usable time.
    #[error("the booking is not confirmed")]
    NotConfirmed,
    /// Before the window.
    #[error("the room is not open yet")]
    TooEarly(JoinWindow),
    /// After the window, or already completed.
    #[error("the lesson is over")]
    TooLate(Option<JoinWindow>),
}

/// Why a student may not be assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentRefusal {
    /// Only the client assigns.
    #[error("only the client of the booking assigns its student")]
    NotTheClient,
    /// The client holds no GUARDIAN link to that student.
    #[error("a GUARDIAN link to the student is required")]
    GuardianLinkRequired,
    /// The lesson has started, or its room is already in use.
    #[error("the lesson has started")]
    Started,
    /// Cancelled or completed.
    #[error("the booking is closed")]
    Closed,
}

impl Booking {
    /// The span in which Join works.
    pub fn window(&self, policy: JoinPolicy) -> Option<JoinWindow> {
        self.schedule.map(|schedule| JoinWindow::of(&schedule, policy))
    }

    /// The role `person` has here; `None` for a stranger.
    pub fn role_of(&self, person: ProfileId, is_guardian: bool) -> Option<Role> {
        self.parties.role_of(person, is_guardian)
    }

    /// Lets a person in, or says why not. Access comes before status, status before time, so that a
    /// stranger learns nothing about the booking.
    pub fn admit(&self, role: Option<Role>, policy: JoinPolicy, now: Timestamp) -> Result<Role, Refusal> {
        let role = role.ok_or(Refusal::Stranger)?;
        if !role.may_join() {
            return Err(Refusal::GuardianLinkRequired);
        }
        let window = self.window(policy);
        match self.status {
            BookingStatus::Cancelled => return Err(Refusal::Cancelled),
            BookingStatus::Completed => return Err(Refusal::TooLate(window)),
            BookingStatus::Pending => return Err(Refusal::NotConfirmed),
            BookingStatus::Unknown => return Err(Refusal::UnknownStatus),
            BookingStatus::Confirmed => {}
        }
        let window = window.ok_or(Refusal::NotConfirmed)?;
        match window.phase(now) {
            Phase::Before => Err(Refusal::TooEarly(window)),
            Phase::Open => Ok(role),
            Phase::After => Err(Refusal::TooLate(Some(window))),
        }
    }

    /// The state of the Join button; `None` where the booking's status is not known.
    pub fn join_state(&self, policy: JoinPolicy, now: Timestamp) -> Option<JoinState> {
        match self.status {
            BookingStatus::Cancelled => return Some(JoinState::Cancelled),
            BookingStatus::Completed => return Some(JoinState::Completed),
            BookingStatus::Pending => return Some(JoinState::Upcoming),
            BookingStatus::Unknown => return None,
            BookingStatus::Confirmed => {}
        }
        let Some((schedule, window)) = self.schedule.zip(self.window(policy)) else {
            return Some(JoinState::Upcoming);
        };
        Some(match window.phase(now) {
            Phase::Before => JoinState::Upcoming,
            Phase::After => JoinState::Completed,
            Phase::Open if self.proof.ended_after(schedule.ends_at()) => JoinState::Completed,
            Phase::Open if self.proof.is_live() => JoinState::Live,
            Phase::Open => JoinState::Ready,
        })
    }

    /// Allows assigning or clearing the student (`RULES.md#student-assignment`). `holds_link` speaks of the student
    /// to be assigned and is not asked for when the client learns: when the student is cleared, or is the client.
    pub fn allow_assignment(
        &self,
        person: ProfileId,
        student: Option<ProfileId>,
        holds_link: bool,
        now: Timestamp,
    ) -> Result<(), AssignmentRefusal> {
        if person != self.parties.client {
            return Err(AssignmentRefusal::NotTheClient);
        }
        let is_another = student.is_some_and(|student| student != self.parties.client);
        if is_another && !holds_link {
            return Err(AssignmentRefusal::GuardianLinkRequired);
        }
        match self.status {
            BookingStatus::Cancelled | BookingStatus::Completed | BookingStatus::Unknown => {
                return Err(AssignmentRefusal::Closed);
            }
            BookingStatus::Pending | BookingStatus::Confirmed => {}
        }
        let started = self.schedule.is_some_and(|schedule| now >= schedule.starts_at());
        if started || self.proof.has_begun() {
            Err(AssignmentRefusal::Started)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOON: &str = "2026-03-01T12:00:00Z";

    fn person(n: u128) -> ProfileId {
        ProfileId(Uuid::from_u128(n))
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    fn noon_lesson() -> Booking {
        Booking {
            id: BookingId(Uuid::from_u128(9)),
            parties: Parties {
                client: person(1),
                tutor: person(2),
                student: Some(person(3)),
            },
            status: BookingStatus::Confirmed,
            schedule: Schedule::new(NOON.parse().unwrap(), 60),
            classroom: None,
            proof: Proof::default(),
        }
    }

    #[test]
    fn a_stranger_learns_nothing_but_that_they_are_one() {
        let mut booking = noon_lesson();
        booking.status = BookingStatus::Cancelled;
        assert_eq!(
            booking.admit(None, JoinPolicy::default(), at("12:00:00")),
            Err(Refusal::Stranger)
        );
    }

    #[test]
    fn the_tutor_is_told_when_the_room_opens() {
        let refusal = noon_lesson()
            .admit(Some(Role::Tutor), JoinPolicy::default(), at("11:44:59"))
            .unwrap_err();
        let Refusal::TooEarly(window) = refusal else {
            panic!("expected too early, got {refusal:?}")
        };
        assert_eq!(window.opens_at, at("11:45:00"));
    }

    #[test]
    fn a_late_student_still_gets_in_until_the_window_closes() {
        let (booking, policy) = (noon_lesson(), JoinPolicy::default());
        assert!(booking.admit(Some(Role::Learner), policy, at("13:14:59")).is_ok());
        assert!(matches!(
            booking.admit(Some(Role::Learner), policy, at("13:15:00")),
            Err(Refusal::TooLate(Some(_)))
        ));
    }

    #[test]
    fn the_card_follows_the_lesson() {
        let (mut booking, policy) = (noon_lesson(), JoinPolicy::default());
        let state = |booking: &Booking, time| booking.join_state(policy, at(time));
        assert_eq!(state(&booking, "11:00:00"), Some(JoinState::Upcoming));
        assert_eq!(state(&booking, "11:50:00"), Some(JoinState::Ready));

        booking.proof.started_at = Some(at("11:58:00"));
        assert_eq!(state(&booking, "12:10:00"), Some(JoinState::Live));

        booking.proof.ended_at = Some(at("12:20:00"));
        assert_eq!(
            state(&booking, "12:21:00"),
            Some(JoinState::Ready),
            "dropped: may rejoin"
        );

        booking.proof.ended_at = Some(at("13:01:00"));
        assert_eq!(state(&booking, "13:02:00"), Some(JoinState::Completed));

        booking.status = BookingStatus::Cancelled;
        assert_eq!(state(&booking, "13:02:00"), Some(JoinState::Cancelled));
    }

    #[test]
    fn a_status_that_nobody_translated_opens_nothing() {
        let mut booking = noon_lesson();
        booking.status = BookingStatus::from("Declined");
        assert_eq!(
            booking.admit(Some(Role::Tutor), JoinPolicy::default(), at("12:00:00")),
            Err(Refusal::UnknownStatus)
        );
        assert_eq!(booking.join_state(JoinPolicy::default(), at("11:00:00")), None);
    }

    #[test]
    fn a_student_is_assigned_by_a_guardian_before_the_start() {
        let booking = noon_lesson();
        let child = Some(person(3));
        let assign = |by, link, time| booking.allow_assignment(by, child, link, at(time));
        assert_eq!(assign(person(1), true, "11:59:59"), Ok(()));
        assert_eq!(
            assign(person(1), true, "12:00:00"),
            Err(AssignmentRefusal::Started)
        );
        assert_eq!(
            assign(person(1), false, "11:00:00"),
            Err(AssignmentRefusal::GuardianLinkRequired)
        );
        assert_eq!(
            assign(person(2), true, "11:00:00"),
            Err(AssignmentRefusal::NotTheClient)
        );
        assert_eq!(
            booking.allow_assignment(person(1), None, false, at("11:00:00")),
            Ok(())
        );
        assert_eq!(
            booking.allow_assignment(person(1), Some(person(1)), false, at("11:00:00")),
            Ok(()),
            "the client learns: nobody to guard"
        );
    }
}
