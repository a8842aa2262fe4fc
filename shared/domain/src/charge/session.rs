//! A session: a booking that is held and paid for.
//!
//! Rules: [session-made](../../RULES.md#session-made), [terms-pinned](../../RULES.md#terms-pinned),
//! [no-show-mark](../../RULES.md#no-show-mark), [cancellation](../../RULES.md#cancellation).

use crate::ids::{BookingId, ProfileId};
use crate::launch::booking::BookingStatus;
use crate::launch::classroom::Classroom;
use crate::launch::window::{JoinPolicy, JoinWindow, Schedule};
use crate::money::{Money, Share};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Where a session stands. The first two may change, the rest are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SessionStatus {
    /// Planned.
    Scheduled,
    /// The join window is open.
    JoinOpen,
    /// Held, as far as anybody knows: charged in full.
    CompletedAssumed,
    /// The student did not come: half.
    NoShowStudent,
    /// The tutor did not come, or did not wait: nothing.
    NoShowTutor,
    /// Neither came: nothing.
    NobodyCame,
    /// Ended before its time: nothing, unless the policy says otherwise.
    EarlyEndShort,
    /// Called off before the start: nothing.
    Cancelled,
}

impl SessionStatus {
    /// Every status, in the order of a session's life.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::JoinOpen,
        Self::CompletedAssumed,
        Self::NoShowStudent,
        Self::NoShowTutor,
        Self::NobodyCame,
        Self::EarlyEndShort,
        Self::Cancelled,
    ];

    /// The word in the database and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::JoinOpen => "JOIN_OPEN",
            Self::CompletedAssumed => "COMPLETED_ASSUMED",
            Self::NoShowStudent => "NO_SHOW_STUDENT",
            Self::NoShowTutor => "NO_SHOW_TUTOR",
            Self::NobodyCame => "NOBODY_CAME",
            Self::EarlyEndShort => "EARLY_END_SHORT",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether the session's outcome stands.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::JoinOpen)
    }
}

/// A word that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session status")]
pub struct UnknownStatus;

impl FromStr for SessionStatus {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.word() == word)
            .ok_or(UnknownStatus)
    }
}

/// Whether what is known of people's presence decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presumption {
    /// Proof beats assumption.
    #[default]
    Proven,
    /// Everybody is assumed to have come: only marks, and the room's last end, say otherwise.
    Assumed,
}

impl FromStr for Presumption {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        match word {
            "proven" => Ok(Self::Proven),
            "assumed" => Ok(Self::Assumed),
            _ => Err(UnknownStatus),
        }
    }
}

/// The rules of one platform, with their defaults. A session keeps those under which it was sold, in
/// `sessions.policy`: what is missing there has its default (`RULES.md#terms-pinned`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionPolicy {
    /// This part of the planned time the tutor waits before a no-show.
    pub no_show_wait: Share,
    /// This part of the planned time is the least that is paid, where `pays_from_minimum`.
    pub min_payable: Share,
    /// Whether an early end at or after the minimum is charged in full (`RULES.md#min-payable`).
    pub pays_from_minimum: bool,
    /// What a no-show costs.
    pub no_show_charge: Share,
    /// The tutor's part of what is charged; the rest is the fee.
    pub payout: Share,
    /// Whether what is learnt of after the settlement corrects it.
    pub corrects_late_news: bool,
    /// Whether presence decides.
    pub attendance: Presumption,
    /// An end that is early by no more than this is none: clocks differ, and people say goodbye.
    pub tolerance_minutes: u16,
    /// Who is away for less than this has not left.
    pub gap_minutes: u16,
    /// The room opens so long before the start.
    pub opens_before_minutes: u16,
    /// The room closes so long after the end; until then, whoever dropped out may be back.
    pub closes_after_minutes: u16,
}

impl Default for SessionPolicy {
    /// Wait and minimum are exact thirds: of 60 minutes 20 and 40, of 100 minutes 33 and 66 (`RULES.md#no-show-wait`).
    fn default() -> Self {
        let share = |numerator, denominator| Share::new(numerator, denominator).unwrap_or(Share::NONE);
        Self {
            no_show_wait: share(1, 3),
            min_payable: share(2, 3),
            pays_from_minimum: false,
            no_show_charge: share(1, 2),
            payout: share(9, 10),
            corrects_late_news: true,
            attendance: Presumption::Proven,
            tolerance_minutes: 2,
            gap_minutes: 10,
            opens_before_minutes: JoinPolicy::DEFAULT_MINUTES,
            closes_after_minutes: JoinPolicy::DEFAULT_MINUTES,
        }
    }
}

/// A session as the rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The booking it holds.
    pub booking: BookingId,
    /// Who pays.
    pub client: ProfileId,
    /// Who teaches.
    pub tutor: ProfileId,
    /// When it is planned; it is settled at its end, or when its room has closed.
    pub schedule: Schedule,
    /// Its price, pinned when the booking was made.
    pub price: Money,
    /// The rules under which it was sold.
    pub policy: SessionPolicy,
    /// Whether nobody can enter its room but through our launch, so that who never pressed Join was absent.
    pub is_entered_through_us: bool,
}

impl Session {
    /// The planned length in whole minutes.
    pub fn duration_minutes(&self) -> u32 {
        let length = self.schedule.ends_at().duration_since(self.schedule.starts_at());
        u32::try_from(length.as_mins()).unwrap_or(0)
    }

    /// How long the tutor waits for the student, in minutes.
    pub fn no_show_wait_minutes(&self) -> u32 {
        self.policy.no_show_wait.of_minutes(self.duration_minutes())
    }

    /// The least that is paid where the policy pays from a minimum, in minutes.
    pub fn min_payable_minutes(&self) -> u32 {
        self.policy.min_payable.of_minutes(self.duration_minutes())
    }

    /// When a no-show may first be marked: the end of the wait.
    pub fn no_show_from(&self) -> Timestamp {
        later(self.schedule.starts_at(), self.no_show_wait_minutes())
    }

    /// When the least that is paid is reached.
    pub fn payable_from(&self) -> Timestamp {
        later(self.schedule.starts_at(), self.min_payable_minutes())
    }

    /// When it is settled, if what is known by then is final.
    pub fn charge_scheduled_at(&self) -> Timestamp {
        self.schedule.ends_at()
    }

    /// When its room is open.
    pub fn window(&self) -> JoinWindow {
        let policy =
            JoinPolicy::from_minutes(self.policy.opens_before_minutes, self.policy.closes_after_minutes);
        JoinWindow::of(&self.schedule, policy)
    }
}

/// So many minutes later, or the end of the calendar.
fn later(instant: Timestamp, minutes: u32) -> Timestamp {
    instant
        .saturating_add(SignedDuration::from_mins(minutes.into()))
        .unwrap_or(Timestamp::MAX)
}

/// A booking, as far as a session is made from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bookable {
    /// The client, who pays.
    pub client: ProfileId,
    /// The tutor, who teaches and is paid.
    pub tutor: ProfileId,
    /// The booking's status, from `bookings.status`.
    pub status: BookingStatus,
    /// When the lesson is planned; `None` if the booking has no time.
    pub schedule: Option<Schedule>,
    /// The lesson's price; `None` if the booking has none yet.
    pub price: Option<Money>,
    /// Whether the booking was confirmed before its start, or an operator let a later confirmation count.
    pub is_agreed: bool,
    /// Whether the tutor has a connected meeting provider.
    pub is_connected: bool,
    /// Where the platform wants the lesson held; `None` if it leaves that to us.
    pub classroom: Option<Classroom>,
}

/// Why no session can be made from a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookingRefusal {
    /// The platform gave it a status that we do not know.
    #[error("the booking's status is unknown")]
    UnknownStatus,
    /// It is still to be confirmed, or it is over or called off.
    #[error("the booking is not confirmed")]
    NotConfirmed,
    /// It was confirmed only after its start, and an operator has not accepted that.
    #[error("the booking was confirmed too late")]
    ConfirmedLate,
    /// Its tutor has no connected meeting provider.
    #[error("the tutor is not connected")]
    NotConnected,
    /// It has no start or no length.
    #[error("the booking has no time")]
    WithoutTime,
    /// It has no price.
    #[error("the booking has no price")]
    WithoutPrice,
}

impl Bookable {
    /// The session of this booking, sold under `policy` and held in `otherwise`, if the platform wants it in no other
    /// classroom; or why it has none.
    pub fn session(
        &self,
        booking: BookingId,
        policy: SessionPolicy,
        otherwise: Classroom,
    ) -> Result<Session, BookingRefusal> {
        match self.status {
            BookingStatus::Confirmed => {}
            BookingStatus::Unknown => return Err(BookingRefusal::UnknownStatus),
            BookingStatus::Pending | BookingStatus::Completed | BookingStatus::Cancelled => {
                return Err(BookingRefusal::NotConfirmed);
            }
        }
        if !self.is_agreed {
            return Err(BookingRefusal::ConfirmedLate);
        }
        if !self.is_connected {
            return Err(BookingRefusal::NotConnected);
        }

        Ok(Session {
            booking,
            client: self.client,
            tutor: self.tutor,
            schedule: self.schedule.ok_or(BookingRefusal::WithoutTime)?,
            price: self.price.ok_or(BookingRefusal::WithoutPrice)?,
            policy,
            is_entered_through_us: self.classroom.unwrap_or(otherwise).is_entered_through_us(),
        })
    }
}

/// Why a person may not do something with a session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// The tutor has to wait longer.
    #[error("the student may still come")]
    TooEarly(Timestamp),
    /// The planned time is over.
    #[error("the session is over")]
    Over,
    /// Its time has come, or tutor and learner have met.
    #[error("the session has begun")]
    Begun,
    /// Somebody else than its tutor asks for what only the tutor may do.
    #[error("only the tutor may do that")]
    NotTheTutor,
    /// It has an outcome already.
    #[error("the session is settled")]
    Settled(SessionStatus),
    /// What is known speaks against it.
    #[error("what is known speaks against it")]
    Contradicted,
}

impl Session {
    /// Allows what only the tutor may do.
    pub fn allow_tutor(&self, person: ProfileId) -> Result<(), SessionRefusal> {
        if person == self.tutor {
            Ok(())
        } else {
            Err(SessionRefusal::NotTheTutor)
        }
    }

    /// Allows marking a no-show: after the wait, until the planned end. Whether anything that is known speaks against
    /// the mark is for [`crate::charge::settlement::contradicts_mark`].
    pub fn allow_no_show(&self, status: SessionStatus, now: Timestamp) -> Result<(), SessionRefusal> {
        let from = self.no_show_from();
        match status {
            status if status.is_final() => Err(SessionRefusal::Settled(status)),
            _ if now < from => Err(SessionRefusal::TooEarly(from)),
            _ if now > self.charge_scheduled_at() => Err(SessionRefusal::Over),
            _ => Ok(()),
        }
    }

    /// Allows taking a mark back: until the planned end, at which its money moves.
    pub fn allow_withdrawal(&self, status: SessionStatus, now: Timestamp) -> Result<(), SessionRefusal> {
        match status {
            status if status.is_final() => Err(SessionRefusal::Settled(status)),
            _ if now >= self.charge_scheduled_at() => Err(SessionRefusal::Over),
            _ => Ok(()),
        }
    }

    /// Allows cancelling: before the start, and before tutor and learner have met in the room.
    pub fn allow_cancel(
        &self,
        status: SessionStatus,
        have_met: bool,
        now: Timestamp,
    ) -> Result<(), SessionRefusal> {
        match status {
            status if status.is_final() => Err(SessionRefusal::Settled(status)),
            _ if have_met || now >= self.schedule.starts_at() => Err(SessionRefusal::Begun),
            _ => Ok(()),
        }
    }
}
