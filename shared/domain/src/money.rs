//! Money: whole minor units with a currency, and exact shares of it. No floats anywhere.
//!
//! Rules: [money-exact](../RULES.md#money-exact), [charge-parts](../RULES.md#charge-parts).

use iso_currency::Currency;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// An amount in the smallest unit of its currency: cents of TTD, francs of XAF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Two amounts that cannot be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Different currencies.
    #[error("{0} and {1} are different currencies")]
    Mismatch(Currency, Currency),
    /// Outside of what 64 bits hold.
    #[error("the amount is too large")]
    Overflow,
}

impl Money {
    /// So many minor units of `currency`.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The minor units.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// This and `other` together.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// This minus `other`.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(self, other: Self, with: impl Fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mismatch(self.currency, other.currency));
        }
        let minor = with(self.minor, other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// A share of it, rounded towards zero: what does not divide stays with the other party.
    #[must_use]
    pub fn share(self, share: Share) -> Self {
        let exact =
            i128::from(self.minor) * i128::from(share.numerator) / i128::from(share.denominator.get());
        // A share is at most the whole, so it fits.
        Self::new(i64::try_from(exact).unwrap_or(self.minor), self.currency)
    }

    /// Splits into a share and the rest; the two always add up to the whole.
    pub fn split(self, share: Share) -> (Self, Self) {
        let part = self.share(share);
        (part, Self::new(self.minor - part.minor, self.currency))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.exponent().unwrap_or(0));
        let sign = if self.minor < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", self.minor.unsigned_abs(), width = digits + 1);
        let (whole, fraction) = text.split_at(text.len() - digits);
        let point = if digits > 0 { "." } else { "" };
        write!(f, "{sign}{whole}{point}{fraction} {}", self.currency.code())
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut money = serializer.serialize_struct("Money", 2)?;
        money.serialize_field("amount", &self.minor)?;
        money.serialize_field("currency", self.currency.code())?;
        money.end()
    }
}

/// A share of a whole: an exact fraction from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    numerator: u32,
    denominator: NonZeroU32,
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Not a fraction from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is a fraction such as 1/3, from 0/1 to 1/1")]
pub struct ShareError;

impl Share {
    /// Nothing.
    pub const NONE: Self = Self {
        numerator: 0,
        denominator: NonZeroU32::MIN,
    };
    /// Everything.
    pub const ALL: Self = Self {
        numerator: 1,
        denominator: NonZeroU32::MIN,
    };

    /// `numerator` of `denominator` parts.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, ShareError> {
        let denominator = NonZeroU32::new(denominator).ok_or(ShareError)?;
        if numerator <= denominator.get() {
            Ok(Self {
                numerator,
                denominator,
            })
        } else {
            Err(ShareError)
        }
    }

    /// The share of a number of minutes, rounded down.
    pub fn of_minutes(self, minutes: u32) -> u32 {
        let exact = u64::from(minutes) * u64::from(self.numerator) / u64::from(self.denominator.get());
        u32::try_from(exact).unwrap_or(minutes)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (numerator, denominator) = text.split_once('/').ok_or(ShareError)?;
        let part = |text: &str| text.trim().parse().map_err(|_| ShareError);
        Self::new(part(numerator)?, part(denominator)?)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn currencies_have_their_own_decimals() {
        assert_eq!(Money::new(12_345, Currency::TTD).to_string(), "123.45 TTD");
        assert_eq!(Money::new(5, Currency::TTD).to_string(), "0.05 TTD");
        assert_eq!(Money::new(-5, Currency::TTD).to_string(), "-0.05 TTD");
        assert_eq!(Money::new(12_345, Currency::XAF).to_string(), "12345 XAF");
    }

    #[test]
    fn shares_are_fractions_and_nothing_else() {
        assert_eq!("33/100".parse::<Share>().unwrap().of_minutes(60), 19);
        for wrong in ["", "0.33", "1", "2/1", "1/0", "-1/3", "1/3/5"] {
            assert_eq!(
                wrong.parse::<Share>(),
                Err(ShareError),
                "{wrong} is taken for a share"
            );
        }
    }

    #[test]
    fn different_currencies_do_not_mix() {
        let (ttd, xaf) = (Money::new(1, Currency::TTD), Money::new(1, Currency::XAF));
        assert_eq!(
            ttd.minus(xaf),
            Err(MoneyError::Mismatch(Currency::TTD, Currency::XAF))
        );
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_whole(minor in any::<i64>(), denominator in 1..u32::MAX, part in any::<u32>()) {
            let share = Share::new(part % denominator, denominator).unwrap();
            let (part, rest) = Money::new(minor, Currency::TTD).split(share);
            prop_assert_eq!(i128::from(part.minor()) + i128::from(rest.minor()), i128::from(minor));
            prop_assert!(part.minor().unsigned_abs() <= minor.unsigned_abs());
        }
    }
}
