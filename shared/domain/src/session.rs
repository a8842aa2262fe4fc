//! A session: a booking that is held and paid for. Source: iTutor seed, "Product Rules (Locked)", and the
//! product page, "Sessions and money", which settles what the seed leaves open.

use crate::ids::{BookingId, ProfileId};
use crate::money::{Money, Share};
use crate::window::Schedule;
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
    /// Ended before its time: nothing, unless the policy says otherwise.
    EarlyEndShort,
    /// Called off before the start: nothing.
    Cancelled,
}

impl SessionStatus {
    /// Every status, in the order of a session's life.
    pub const ALL: [Self; 6] = [
        Self::Scheduled,
        Self::JoinOpen,
        Self::CompletedAssumed,
        Self::NoShowStudent,
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

/// The rules of one platform, with the seed's values as defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// This part of the planned time the tutor waits before a no-show.
    pub no_show_wait: Share,
    /// This part of the planned time is the least that is paid, where `pays_from_minimum`.
    pub min_payable: Share,
    /// Whether an early end at or after the minimum is charged in full. The seed: it is not.
    pub pays_from_minimum: bool,
    /// What a no-show costs.
    pub no_show_charge: Share,
    /// The tutor's part of what is charged; the rest is the fee.
    pub payout: Share,
    /// Whether an early end that is learnt of after the settlement corrects it.
    pub corrects_late_news: bool,
}

impl Default for SessionPolicy {
    /// The seed writes 33 % and 66 % but locks 60 -> 20/40 and 100 -> 33/66, which only thirds give.
    fn default() -> Self {
        let share = |numerator, denominator| Share::new(numerator, denominator).unwrap_or(Share::NONE);
        Self {
            no_show_wait: share(1, 3),
            min_payable: share(2, 3),
            pays_from_minimum: false,
            no_show_charge: share(1, 2),
            payout: share(9, 10),
            corrects_late_news: true,
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
    /// When it is planned; it is settled at its end.
    pub schedule: Schedule,
    /// Its price, pinned when the booking was made.
    pub price: Money,
}

impl Session {
    /// The planned length in whole minutes.
    pub fn duration_minutes(&self) -> u32 {
        let length = self.schedule.ends_at().duration_since(self.schedule.starts_at());
        u32::try_from(length.as_mins()).unwrap_or(0)
    }

    /// How long the tutor waits for the student, in minutes.
    pub fn no_show_wait_minutes(&self, policy: &SessionPolicy) -> u32 {
        policy.no_show_wait.of_minutes(self.duration_minutes())
    }

    /// The least that is paid where the policy pays from a minimum, in minutes.
    pub fn min_payable_minutes(&self, policy: &SessionPolicy) -> u32 {
        policy.min_payable.of_minutes(self.duration_minutes())
    }

    /// When a no-show may first be marked.
    pub fn no_show_from(&self, policy: &SessionPolicy) -> Timestamp {
        let wait = SignedDuration::from_mins(self.no_show_wait_minutes(policy).into());
        self.schedule
            .starts_at()
            .saturating_add(wait)
            .unwrap_or(Timestamp::MAX)
    }

    /// When it is settled.
    pub fn charge_scheduled_at(&self) -> Timestamp {
        self.schedule.ends_at()
    }
}

/// Why a person may not do something with a session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// The tutor has to wait longer.
    #[error("the student may still come")]
    TooEarly(Timestamp),
    /// The planned time is over, or the session has begun.
    #[error("it is too late for that")]
    TooLate,
    /// It has an outcome already.
    #[error("the session is settled")]
    Settled(SessionStatus),
}

impl Session {
    /// Allows marking a no-show: after the wait, until the planned end. A mark that came later would make
    /// the outcome depend on when the settlement happened to run.
    pub fn allow_no_show(
        &self,
        status: SessionStatus,
        policy: &SessionPolicy,
        now: Timestamp,
    ) -> Result<(), SessionRefusal> {
        let from = self.no_show_from(policy);
        match status {
            status if status.is_final() => Err(SessionRefusal::Settled(status)),
            _ if now < from => Err(SessionRefusal::TooEarly(from)),
            _ if now > self.charge_scheduled_at() => Err(SessionRefusal::TooLate),
            _ => Ok(()),
        }
    }

    /// Allows cancelling: before the start.
    pub fn allow_cancel(&self, status: SessionStatus, now: Timestamp) -> Result<(), SessionRefusal> {
        match status {
            status if status.is_final() => Err(SessionRefusal::Settled(status)),
            _ if now >= self.schedule.starts_at() => Err(SessionRefusal::TooLate),
            _ => Ok(()),
        }
    }
}
