//! Whether a client may pay a booking in the way they want, and what speaks against it.
//!
//! Rules: [who-may-pay](../../RULES.md#who-may-pay), [card-agreement](../../RULES.md#card-agreement).
//!
//! The statement that begins a payment asks the same under the booking's lock, so that nothing changes between the
//! answer and the payment. What is decided here is why there is none.

use crate::charge::payment::Method;
use crate::ids::ProfileId;
use crate::launch::booking::BookingStatus;
use crate::money::Money;

/// A booking and its price, as somebody who wants to pay finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The booking's client, who alone may pay.
    pub client: ProfileId,
    /// The booking's status.
    pub status: BookingStatus,
    /// Whether the booking is agreed, so that its price stands.
    pub is_agreed: bool,
    /// The lesson's price; `None` if the booking has none yet.
    pub price: Option<Money>,
}

/// What is known of a booking's money when somebody wants to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payable {
    /// The booking and its price.
    pub offer: Offer,
    /// Whether the lesson will not be held: its time has passed, and nobody had agreed to it.
    pub is_off: bool,
    /// Whether the booking has a start and a duration.
    pub is_timed: bool,
    /// What is still missing: of the charge, or of the price while there is no charge. Zero or less if everything is
    /// paid; `None` without a price.
    pub missing: Option<Money>,
}

/// How somebody wants to pay, and what that way can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Who wants to pay.
    pub person: ProfileId,
    /// How.
    pub method: Method,
    /// The highest price, in minor units, that they agree to; `None` if they named none.
    pub up_to_minor: Option<i64>,
    /// The only currency that the gateway takes; `None` if it takes any.
    pub only_currency: Option<&'static str>,
    /// The least amount that the gateway takes, in minor units.
    pub least_minor: i64,
}

/// Why there is no payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// Somebody else than the client wants to pay.
    #[error("only the client pays")]
    NotTheClient,
    /// The booking is called off.
    #[error("the booking is cancelled")]
    Cancelled,
    /// The platform gave the booking a status that we do not know.
    #[error("the booking's status is unknown")]
    UnknownStatus,
    /// The booking has no price.
    #[error("the booking has no price")]
    WithoutPrice,
    /// Its time has passed, and nobody had agreed to it.
    #[error("the lesson will not be held")]
    Closed,
    /// Without a time a lesson is never held, nor ever found not to have been, so it takes no money.
    #[error("the booking has no time")]
    WithoutTime,
    /// It costs this by now, which is more than the client has seen.
    #[error("the price has changed")]
    PriceChanged(Money),
    /// It costs this now, which may change while the client says yes.
    #[error("the price may still change")]
    PriceNotAgreed(Money),
    /// Everything is paid.
    #[error("nothing is missing")]
    NothingToPay,
    /// This way of paying does not take the currency.
    #[error("another currency")]
    OtherCurrency,
    /// This way of paying does not take so little.
    #[error("too little")]
    TooLittle,
    /// There is no card on file that could pay.
    #[error("no card")]
    NoCard,
    /// Nothing speaks against it, so another call has just begun it and is talking to the gateway.
    #[error("the payment is being started")]
    BeingStarted,
}

impl Offer {
    /// The price, if this person may pay it.
    pub fn price_for(&self, person: ProfileId) -> Result<Money, PaymentRefusal> {
        if self.client != person {
            return Err(PaymentRefusal::NotTheClient);
        }
        match self.status {
            BookingStatus::Cancelled => return Err(PaymentRefusal::Cancelled),
            BookingStatus::Unknown => return Err(PaymentRefusal::UnknownStatus),
            BookingStatus::Pending | BookingStatus::Confirmed | BookingStatus::Completed => {}
        }
        self.price.ok_or(PaymentRefusal::WithoutPrice)
    }

    /// The price, if this person may let a card pay it later. One that is not agreed yet may change between their
    /// looking and their saying yes, so they must say which it was.
    pub fn price_seen_by(
        &self,
        person: ProfileId,
        up_to_minor: Option<i64>,
    ) -> Result<Money, PaymentRefusal> {
        let price = self.price_for(person)?;
        match up_to_minor {
            Some(seen) if seen < price.minor() => Err(PaymentRefusal::PriceChanged(price)),
            None if !self.is_agreed => Err(PaymentRefusal::PriceNotAgreed(price)),
            Some(_) | None => Ok(price),
        }
    }
}

impl Payable {
    /// What speaks against a payment that was not begun.
    pub fn refusal(&self, wish: &Wish) -> PaymentRefusal {
        let refused = self.allow(wish).err();
        refused.unwrap_or(PaymentRefusal::BeingStarted)
    }

    fn allow(&self, wish: &Wish) -> Result<(), PaymentRefusal> {
        self.offer.price_for(wish.person)?;
        if self.is_off {
            return Err(PaymentRefusal::Closed);
        }

        let missing = self.missing.ok_or(PaymentRefusal::WithoutPrice)?;
        let takes_it = wish
            .only_currency
            .is_none_or(|code| code == missing.currency().code());

        // Whoever leaves a card pays nothing now, but agrees to a price.
        if wish.method == Method::CardOnFile {
            self.offer.price_seen_by(wish.person, wish.up_to_minor)?;
            return if takes_it {
                Ok(())
            } else {
                Err(PaymentRefusal::OtherCurrency)
            };
        }

        match missing.minor() {
            _ if !self.is_timed => Err(PaymentRefusal::WithoutTime),
            ..=0 => Err(PaymentRefusal::NothingToPay),
            _ if !takes_it => Err(PaymentRefusal::OtherCurrency),
            minor if minor < wish.least_minor => Err(PaymentRefusal::TooLittle),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iso_currency::Currency;
    use uuid::Uuid;

    const CLIENT: ProfileId = ProfileId(Uuid::from_u128(1));

    fn francs(minor: i64) -> Money {
        Money::new(minor, Currency::XAF)
    }

    fn payable() -> Payable {
        Payable {
            offer: Offer {
                client: CLIENT,
                status: BookingStatus::Confirmed,
                is_agreed: true,
                price: Some(francs(5_000)),
            },
            is_off: false,
            is_timed: true,
            missing: Some(francs(5_000)),
        }
    }

    fn by(method: Method) -> Wish {
        Wish {
            person: CLIENT,
            method,
            up_to_minor: None,
            only_currency: None,
            least_minor: 1,
        }
    }

    #[test]
    fn what_speaks_against_a_payment_is_named() {
        let card = by(Method::Card);
        let francs_only = Wish {
            only_currency: Some("XAF"),
            least_minor: 100,
            ..by(Method::MobileMoney)
        };
        let in_dollars = Some(Money::new(5_000, Currency::TTD));
        let offer = |change: fn(&mut Offer)| {
            let mut payable = payable();
            change(&mut payable.offer);
            payable
        };

        for (payable, wish, refusal) in [
            (payable(), card, PaymentRefusal::BeingStarted),
            (
                payable(),
                Wish {
                    person: ProfileId(Uuid::from_u128(2)),
                    ..card
                },
                PaymentRefusal::NotTheClient,
            ),
            (
                offer(|offer| offer.status = BookingStatus::Cancelled),
                card,
                PaymentRefusal::Cancelled,
            ),
            (
                offer(|offer| offer.status = BookingStatus::Unknown),
                card,
                PaymentRefusal::UnknownStatus,
            ),
            (
                offer(|offer| offer.price = None),
                card,
                PaymentRefusal::WithoutPrice,
            ),
            (
                Payable {
                    is_off: true,
                    ..payable()
                },
                card,
                PaymentRefusal::Closed,
            ),
            (
                Payable {
                    is_timed: false,
                    ..payable()
                },
                card,
                PaymentRefusal::WithoutTime,
            ),
            (
                Payable {
                    missing: Some(francs(0)),
                    ..payable()
                },
                card,
                PaymentRefusal::NothingToPay,
            ),
            (
                Payable {
                    missing: in_dollars,
                    ..payable()
                },
                francs_only,
                PaymentRefusal::OtherCurrency,
            ),
            (
                Payable {
                    missing: Some(francs(99)),
                    ..payable()
                },
                francs_only,
                PaymentRefusal::TooLittle,
            ),
            (payable(), francs_only, PaymentRefusal::BeingStarted),
        ] {
            assert_eq!(payable.refusal(&wish), refusal, "{payable:?} by {wish:?}");
        }
    }

    #[test]
    fn whoever_leaves_a_card_agrees_to_a_price_and_pays_nothing_now() {
        let price = francs(5_000);
        let leave = |up_to_minor, is_agreed| {
            let mut paid = payable();
            (paid.missing, paid.is_timed, paid.offer.is_agreed) = (Some(francs(0)), false, is_agreed);
            paid.refusal(&Wish {
                up_to_minor,
                ..by(Method::CardOnFile)
            })
        };

        assert_eq!(leave(None, true), PaymentRefusal::BeingStarted);
        assert_eq!(leave(None, false), PaymentRefusal::PriceNotAgreed(price));
        assert_eq!(leave(Some(5_000), false), PaymentRefusal::BeingStarted);
        assert_eq!(leave(Some(4_999), true), PaymentRefusal::PriceChanged(price));
    }
}
