//! The payment gateways. What each can do is data in its own module of `providers`; where one is chosen, or asked, the
//! compiler sees to it that every gateway is thought of.

use crate::charge::payment::{Method, UnknownWord};
use std::str::FromStr;

/// Who takes the money, and gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gateway {
    /// Cards.
    Stripe,
    /// Mobile money.
    Fapshi,
}

impl Gateway {
    /// Every gateway.
    pub const ALL: [Self; 2] = [Self::Stripe, Self::Fapshi];
    /// The one that keeps cards and charges them later.
    pub const OF_CARDS: Self = Self::Stripe;

    /// The word in the database, in accounts of the ledger and in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Fapshi => "fapshi",
        }
    }

    /// The gateway that takes payments of a method.
    pub fn of(method: Method) -> Self {
        match method {
            Method::Card | Method::CardOnFile | Method::SavedCard => Self::OF_CARDS,
            Method::MobileMoneyLink | Method::MobileMoney => Self::Fapshi,
        }
    }
}

impl FromStr for Gateway {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|gateway| gateway.word() == word).ok_or(UnknownWord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The compiler asks for each new one here, and the story below for it in `ALL`.
    fn after(gateway: Option<Gateway>) -> Option<Gateway> {
        match gateway {
            None => Some(Gateway::Stripe),
            Some(Gateway::Stripe) => Some(Gateway::Fapshi),
            Some(Gateway::Fapshi) => None,
        }
    }

    #[test]
    fn all_of_them_are_listed() {
        let all = std::iter::successors(after(None), |gateway| after(Some(*gateway)));
        assert_eq!(all.collect::<Vec<_>>(), Gateway::ALL);
    }

    #[test]
    fn a_gateway_that_nobody_knows_is_none_of_ours() {
        for gateway in Gateway::ALL {
            assert_eq!(gateway.word().parse(), Ok(gateway));
        }
        assert_eq!("paypal".parse::<Gateway>(), Err(UnknownWord));
    }
}
