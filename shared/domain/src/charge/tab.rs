//! Paying: what still has to move so that a client has paid what their lesson costs, and not a unit more.
//! Rules: [tab-next](../../RULES.md#tab-next), [refund-order](../../RULES.md#refund-order),
//! [refund-stuck](../../RULES.md#refund-stuck), [card-agreement](../../RULES.md#card-agreement).
//!
//! A booking's tab holds what is due and everything that was paid and given back. [`Tab::next`] looks at it and
//! names the one next step. Each step changes the tab, and the next look at it starts afresh; so it does not
//! matter how often, in which order or by how many workers the steps are taken.

use crate::charge::payment::{Payment, PaymentStatus};
use crate::ids::{PaymentId, ProfileId};
use crate::money::{Money, MoneyError};
use jiff::Timestamp;

/// Everything about one booking's money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab {
    /// Who pays.
    pub client: ProfileId,
    /// What the lesson costs: its charge once settled, its price before.
    pub due: Money,
    /// The charge, once settled, by the id that its collection has.
    pub charge: Option<PaymentId>,
    /// The client's card on file.
    pub card: CardOnFile,
    /// The payments, in the order in which they were paid.
    pub payments: Vec<Payment>,
}

impl Tab {
    /// What came and stayed, against what is due. What a bank took back is not asked of a card again, for its owner has
    /// said no; nor can it be given back once more. What could not be given back is left to a person. The database
    /// counts, under its locks, what a client may still pay by themselves: `still_to_pay`, of the same money.
    pub fn balance(&self) -> Result<Balance, MoneyError> {
        let nothing = Money::zero(self.due.currency());
        let (mut held, mut out_of_reach) = (nothing, nothing);
        for payment in self.paid() {
            held = held.plus(payment.amount.minus(payment.refunded)?)?;
            out_of_reach = out_of_reach.plus(payment.out_of_reach()?)?;
        }

        let missing = self.due.minus(held)?;
        let too_much = held.minus(self.due)?.minus(out_of_reach)?;
        Ok(if missing.minor() > 0 {
            Balance::Short(missing)
        } else if too_much.minor() > 0 {
            Balance::Over(too_much)
        } else {
            Balance::Even
        })
    }

    /// The next step. `is_fresh` says that the gateways have just been asked about everything open.
    pub fn next(&self, is_fresh: bool, now: Timestamp) -> Result<Next, MoneyError> {
        let balance = self.balance()?;
        let unclear: Vec<PaymentId> = self.unclear().collect();
        if !is_fresh && !unclear.is_empty() {
            return Ok(Next::LookUp(unclear));
        }

        let is_unasked = |payment: &Payment| payment.unasked.minor() > 0;
        if matches!(balance, Balance::Short(_)) && self.paid().any(is_unasked) {
            return Ok(Next::Withdraw);
        }

        let is_short = matches!(balance, Balance::Short(_)) && self.charge.is_some();
        // What a correction overtook may still be on its way: nothing is charged, or given back, beside it.
        let idle: Vec<&Payment> = self.idle(is_short).collect();
        if idle.iter().any(|payment| payment.may_be_under_way(now)) {
            return Ok(Next::Wait);
        }
        // One that failed, or waits for its next try, does not keep the others from being given up.
        if let (Balance::Short(missing), Some(collection)) = (balance, self.collection()) {
            let next = self.collect(collection, missing);
            if next != Next::Rest {
                return Ok(next);
            }
        }

        let refund = match balance {
            Balance::Over(amount) => self.refund(amount)?,
            Balance::Even | Balance::Short(_) => None,
        };
        if idle.is_empty() && refund.is_none() {
            return Ok(Next::Rest);
        }
        Ok(Next::Close(
            idle.iter().map(|payment| payment.id).collect(),
            refund,
        ))
    }

    fn collect(&self, collection: &Payment, missing: Money) -> Next {
        match collection.status {
            PaymentStatus::Opening => match self.card {
                CardOnFile::None => Next::AskClient(Ask::ForCard),
                CardOnFile::NotAgreed => Next::AskClient(Ask::ForAgreement),
                // The amount of an attempt never changes: its key at the gateway stands for it.
                CardOnFile::Agreed if collection.asked_at.is_some() => Next::Collect(collection.amount),
                CardOnFile::Agreed => Next::Collect(missing),
            },
            _ => Next::Rest,
        }
    }

    fn paid(&self) -> impl Iterator<Item = &Payment> {
        self.payments
            .iter()
            .filter(|payment| payment.status == PaymentStatus::Paid)
    }

    /// The collection of the charge that counts.
    fn collection(&self) -> Option<&Payment> {
        let charge = self.charge?;
        self.payments.iter().find(|payment| payment.id == charge)
    }

    /// What a gateway may have been paid for without our knowing, however the tab stands: collections that were asked
    /// for before and whose answer never came, and what the client was given to pay with.
    fn unclear(&self) -> impl Iterator<Item = PaymentId> {
        let is_unclear = |payment: &&Payment| match payment.status {
            PaymentStatus::Opening if payment.collects => payment.asked_at.is_some(),
            PaymentStatus::Opening | PaymentStatus::Open => true,
            PaymentStatus::Paid | PaymentStatus::Declined | PaymentStatus::Failed | PaymentStatus::Closed => {
                false
            }
        };
        self.payments.iter().filter(is_unclear).map(|payment| payment.id)
    }

    /// Collections that are not to be made any more.
    fn idle(&self, is_short: bool) -> impl Iterator<Item = &Payment> {
        self.payments.iter().filter(move |payment| {
            let is_waiting = matches!(payment.status, PaymentStatus::Opening | PaymentStatus::Declined);
            let is_wanted = is_short && Some(payment.id) == self.charge;
            payment.collects && is_waiting && !is_wanted
        })
    }

    /// Out of the last payment first: what was paid first stays.
    fn refund(&self, amount: Money) -> Result<Option<Refund>, MoneyError> {
        let paid: Vec<&Payment> = self.paid().collect();
        for payment in paid.into_iter().rev() {
            let left = payment.left()?;
            if left.minor() > 0 {
                let amount = Money::new(left.minor().min(amount.minor()), amount.currency());
                let payment = payment.id;
                return Ok(Some(Refund { payment, amount }));
            }
        }
        Ok(None)
    }
}

/// How a tab stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Nothing is to be moved.
    Even,
    /// So much is missing.
    Short(Money),
    /// So much is too much, beside what waits for a person already.
    Over(Money),
}

/// What to do about a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Rest,
    /// Learn from the gateways what became of these, then look again.
    LookUp(Vec<PaymentId>),
    /// Somebody may be talking to a gateway about what is to be given up: look again in a while.
    Wait,
    /// Withdraw the refunds that no gateway was asked for yet, then look again: what they give back is due by now.
    Withdraw,
    /// Give up these, which were never paid, and give money back.
    Close(Vec<PaymentId>, Option<Refund>),
    /// Charge the card on file.
    Collect(Money),
    /// No card may pay: ask the client.
    AskClient(Ask),
}

/// Money to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refund {
    /// Out of this payment.
    pub payment: PaymentId,
    /// So much of it.
    pub amount: Money,
}

/// Whether a card may pay for a lesson without its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardOnFile {
    /// There is none.
    None,
    /// Its owner has not agreed to this tutor, or only up to a lower price.
    NotAgreed,
    /// Its owner agreed, by a call of their own.
    Agreed,
}

impl CardOnFile {
    /// What a card may do for a lesson at `price`, whose owner agreed to lessons with its tutor `up_to` a price.
    /// What a platform's booking says is not enough: whoever can write one names whom he likes as its client.
    pub fn of(is_kept: bool, price: Money, up_to: Option<Money>) -> Self {
        let covers = |up_to: Money| up_to.currency() == price.currency() && price.minor() <= up_to.minor();
        match (is_kept, up_to) {
            (false, _) => Self::None,
            (true, Some(up_to)) if covers(up_to) => Self::Agreed,
            (true, _) => Self::NotAgreed,
        }
    }
}

/// What a client is asked for when a charge cannot be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A card, or a payment.
    ForCard,
    /// That the card on file may pay for this tutor's lessons, at this price.
    ForAgreement,
}

impl Ask {
    /// The word in the database and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::ForCard => "no_card",
            Self::ForAgreement => "card_not_agreed",
        }
    }
}

#[cfg(test)]
mod tests;
