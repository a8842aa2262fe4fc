//! Payments: how a client pays, and where one payment stands.
//!
//! Rules: [payment-methods](../../RULES.md#payment-methods), [payment-lifetime](../../RULES.md#payment-lifetime),
//! [paid-is-final](../../RULES.md#paid-is-final), [who-collects](../../RULES.md#who-collects).

use crate::charge::retry::may_be_under_way;
use crate::ids::PaymentId;
use crate::money::{Money, MoneyError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How a client pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Ahead, on the card gateway's own page; the card is kept for later lessons.
    Card,
    /// Nothing now: the card is kept, and charged when a lesson is settled.
    CardOnFile,
    /// By the card on file, when the lesson is settled, without the client.
    SavedCard,
    /// Ahead, on the mobile-money gateway's own page.
    MobileMoneyLink,
    /// Ahead, by a request to the client's phone.
    MobileMoney,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [
        Self::Card,
        Self::CardOnFile,
        Self::SavedCard,
        Self::MobileMoneyLink,
        Self::MobileMoney,
    ];

    /// The word in the database and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::CardOnFile => "card_on_file",
            Self::SavedCard => "saved_card",
            Self::MobileMoneyLink => "mobile_money_link",
            Self::MobileMoney => "mobile_money",
        }
    }

    /// For how long a client may still use what they were given, before a new one is made: the page that we
    /// let end after an hour, the link that its gateway ends after a day, the request on a phone.
    pub fn lives(self) -> SignedDuration {
        match self {
            Self::Card | Self::CardOnFile | Self::SavedCard => SignedDuration::from_hours(1),
            Self::MobileMoneyLink => SignedDuration::from_hours(23),
            Self::MobileMoney => SignedDuration::from_mins(10),
        }
    }
}

impl FromStr for Method {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|method| method.word() == word).ok_or(UnknownWord)
    }
}

/// Where a payment stands. Only money that came is final: a gateway may tell of it after everybody had given
/// the payment up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Written down; the gateway may or may not have heard of it.
    Opening,
    /// The gateway waits for the client.
    Open,
    /// The money came.
    Paid,
    /// Refused, and tried again later.
    Declined,
    /// Refused for good; the client was told.
    Failed,
    /// Not needed any more, expired, or never answered.
    Closed,
}

impl PaymentStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Opening,
        Self::Open,
        Self::Paid,
        Self::Declined,
        Self::Failed,
        Self::Closed,
    ];

    /// The word in the database and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for PaymentStatus {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.word() == word).ok_or(UnknownWord)
    }
}

/// A word that is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an unknown word")]
pub struct UnknownWord;

/// One payment on a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its id; the collection of a charge has the charge's id.
    pub id: PaymentId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// How much.
    pub amount: Money,
    /// How much of it was given back or is on its way back. What could not be given back is not in it.
    pub refunded: Money,
    /// How much of [`Self::refunded`] no gateway was asked for yet, so that it can be withdrawn.
    pub unasked: Money,
    /// How much of it should have gone back and could not: it is still here, and waits for a person.
    pub stuck: Money,
    /// How much of it the client's bank has taken back, for now or for good.
    pub disputed: Money,
    /// Whether it collects a charge, rather than pays ahead.
    pub collects: bool,
    /// When its gateway was last about to be asked for it, in this attempt and before this look.
    pub asked_at: Option<Timestamp>,
}

impl Payment {
    /// What of it can still be given back.
    pub(crate) fn left(&self) -> Result<Money, MoneyError> {
        self.amount
            .minus(self.refunded)?
            .minus(self.stuck)?
            .minus(self.disputed)
    }

    /// What of it can neither go back nor be asked for again. What a bank took back is not stuck beside that. A bank may
    /// take the whole of a payment of which a part went back before; then more has gone than came.
    pub(crate) fn out_of_reach(&self) -> Result<Money, MoneyError> {
        let here = self.amount.minus(self.refunded)?.minus(self.disputed)?;
        let stuck = self.stuck.minor().min(here.minor().max(0));
        self.disputed.plus(Money::new(stuck, here.currency()))
    }

    /// Asked for by somebody else, just now.
    pub(crate) fn may_be_under_way(&self, now: Timestamp) -> bool {
        let is_recent = |at| may_be_under_way(at, now);
        self.status == PaymentStatus::Opening && self.asked_at.is_some_and(is_recent)
    }
}

/// Who takes the clients' money in this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collects {
    /// We do.
    #[default]
    Firstbell,
    /// The platform does, its own way: here lessons are settled and explained, and nothing is collected.
    Platform,
}

impl FromStr for Collects {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "firstbell" => Ok(Self::Firstbell),
            "platform" => Ok(Self::Platform),
            _ => Err(UnknownWord),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_what_it_was_written_for() {
        for method in Method::ALL {
            assert_eq!(method.word().parse(), Ok(method));
        }
        for status in PaymentStatus::ALL {
            assert_eq!(status.word().parse(), Ok(status));
        }
        assert_eq!("firstbell".parse(), Ok(Collects::Firstbell));
        assert_eq!("platform".parse(), Ok(Collects::Platform));
        assert_eq!("cash".parse::<Method>(), Err(UnknownWord));
        assert_eq!("lost".parse::<PaymentStatus>(), Err(UnknownWord));
        assert_eq!("nobody".parse::<Collects>(), Err(UnknownWord));
    }

    #[test]
    fn a_page_lives_an_hour_a_link_almost_a_day_and_a_request_ten_minutes() {
        let minutes = Method::ALL.map(|method| method.lives().as_mins());
        assert_eq!(minutes, [60, 60, 60, 23 * 60, 10]);
    }
}
