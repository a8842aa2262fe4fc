//! Paying: what still has to move so that a client has paid what their lesson costs, and not a unit more.
//! Source: product page, "Sessions and money".
//!
//! A booking's tab holds what is due and everything that was paid and given back. [`Tab::next`] looks at it and
//! names the one next step. Each step changes the tab, and the next look at it starts afresh; so it does not
//! matter how often, in which order or by how many workers the steps are taken.

use crate::ids::{PaymentId, ProfileId};
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

/// A word that is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an unknown word")]
pub struct UnknownWord;

impl FromStr for Method {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|method| method.word() == word).ok_or(UnknownWord)
    }
}

impl FromStr for PaymentStatus {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.word() == word).ok_or(UnknownWord)
    }
}

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

/// Money to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refund {
    /// Out of this payment.
    pub payment: PaymentId,
    /// So much of it.
    pub amount: Money,
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
    Settle(Vec<PaymentId>, Option<Refund>),
    /// Charge the card on file.
    Collect(Money),
    /// No card may pay: ask the client.
    AskClient(Ask),
}

/// Whether what a gateway was asked at `asked_at` may still be on its way there: for five minutes. Whoever asks is done
/// within one; the rest is for clocks that differ, and for a gateway that lists late what it has taken.
pub fn may_be_under_way(asked_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(asked_at) < SignedDuration::from_mins(5)
}

impl Tab {
    /// What came and stayed, against what is due. What a bank took back is not asked of a card again, for its owner has
    /// said no; nor can it be given back once more. What could not be given back is left to a person.
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
        Ok(Next::Settle(
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

impl Payment {
    /// What of it can still be given back.
    fn left(&self) -> Result<Money, MoneyError> {
        self.amount
            .minus(self.refunded)?
            .minus(self.stuck)?
            .minus(self.disputed)
    }

    /// What of it can neither go back nor be asked for again. What a bank took back is not stuck beside that.
    fn out_of_reach(&self) -> Result<Money, MoneyError> {
        let here = self.amount.minus(self.refunded)?;
        let both = self.stuck.plus(self.disputed)?;
        Ok(Money::new(both.minor().min(here.minor()), both.currency()))
    }

    /// Asked for by somebody else, just now.
    fn may_be_under_way(&self, now: Timestamp) -> bool {
        let is_recent = |at| may_be_under_way(at, now);
        self.status == PaymentStatus::Opening && self.asked_at.is_some_and(is_recent)
    }
}

/// What a gateway's refusal says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The same card may work later.
    TryLater,
    /// It will not: the client has to do something.
    AskClient,
}

/// Waits after the first, second and third refusal of a card; after the fourth the client is told. Gateways
/// forbid more than a handful of tries, and money comes at the beginning or the middle of a month.
pub const TRY_AGAIN_AFTER: [SignedDuration; 3] = [
    SignedDuration::from_hours(24),
    SignedDuration::from_hours(72),
    SignedDuration::from_hours(120),
];

/// When to try again after the refusal of attempt number `attempt`, counted from 1; `None` gives up.
pub fn try_again_at(attempt: i32, advice: Advice, now: Timestamp) -> Option<Timestamp> {
    if advice == Advice::AskClient {
        return None;
    }
    let wait = TRY_AGAIN_AFTER.get(usize::try_from(attempt.checked_sub(1)?).ok()?)?;
    now.checked_add(*wait).ok()
}

/// Waits after the first, second, … refusal of a refund that may be accepted later, as when our balance at the gateway
/// has run out; after the last it waits for a person.
pub const REFUND_AGAIN_AFTER: [SignedDuration; 4] = [
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// When to try a refund again that was refused `refusals` times before this one; `None` gives up.
pub fn refund_again_at(refusals: i32, now: Timestamp) -> Option<Timestamp> {
    let wait = REFUND_AGAIN_AFTER.get(usize::try_from(refusals).ok()?)?;
    now.checked_add(*wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iso_currency::Currency;
    use proptest::prelude::*;
    use uuid::Uuid;

    const CHARGE: PaymentId = PaymentId(Uuid::nil());

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn xaf(minor: i64) -> Money {
        Money::new(minor, Currency::XAF)
    }

    fn ahead(n: u128, status: PaymentStatus, amount: i64) -> Payment {
        Payment {
            id: PaymentId(Uuid::from_u128(n)),
            status,
            amount: xaf(amount),
            refunded: xaf(0),
            unasked: xaf(0),
            stuck: xaf(0),
            disputed: xaf(0),
            collects: false,
            asked_at: None,
        }
    }

    fn collection(amount: i64) -> Payment {
        Payment {
            id: CHARGE,
            collects: true,
            ..ahead(0, PaymentStatus::Opening, amount)
        }
    }

    fn asked_before(amount: i64) -> Payment {
        Payment {
            asked_at: Some(now()),
            ..collection(amount)
        }
    }

    fn settled(due: i64, payments: Vec<Payment>) -> Tab {
        let client = ProfileId(Uuid::nil());
        Tab {
            client,
            due: xaf(due),
            charge: Some(CHARGE),
            card: CardOnFile::Agreed,
            payments,
        }
    }

    fn next(tab: &Tab) -> Next {
        tab.next(false, now()).unwrap()
    }

    #[test]
    fn a_charge_that_nobody_paid_ahead_is_collected_once() {
        let tab = settled(100, vec![collection(100)]);
        assert_eq!(next(&tab), Next::Collect(xaf(100)));
        let paid = Payment {
            status: PaymentStatus::Paid,
            ..collection(100)
        };
        assert_eq!(next(&settled(100, vec![paid])), Next::Rest);
    }

    #[test]
    fn who_does_not_know_whether_they_asked_looks_before_they_ask_again() {
        let tab = settled(100, vec![asked_before(100)]);
        assert_eq!(next(&tab), Next::LookUp(vec![CHARGE]));
        assert_eq!(tab.next(true, now()).unwrap(), Next::Collect(xaf(100)));
    }

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
        let asked = [Ask::ForCard, Ask::ForAgreement].map(Ask::word);
        assert_eq!(asked, ["no_card", "card_not_agreed"]);
    }

    #[test]
    fn a_page_lives_an_hour_a_link_almost_a_day_and_a_request_ten_minutes() {
        let minutes = Method::ALL.map(|method| method.lives().as_mins());
        assert_eq!(minutes, [60, 60, 60, 23 * 60, 10]);
    }

    #[test]
    fn an_attempt_keeps_its_amount_and_one_that_nobody_was_asked_for_takes_what_is_missing() {
        let next = |attempt| {
            let tab = settled(100, vec![ahead(7, PaymentStatus::Paid, 40), attempt]);
            tab.next(true, now()).unwrap()
        };
        assert_eq!(next(asked_before(100)), Next::Collect(xaf(100)));
        assert_eq!(next(collection(100)), Next::Collect(xaf(60)));
    }

    #[test]
    fn a_link_that_may_have_been_paid_is_looked_at_before_a_card_is_charged() {
        let link = ahead(7, PaymentStatus::Open, 100);
        let tab = settled(100, vec![collection(100), link.clone()]);
        assert_eq!(next(&tab), Next::LookUp(vec![link.id]));
        assert_eq!(tab.next(true, now()).unwrap(), Next::Collect(xaf(100)));
    }

    #[test]
    fn a_link_that_may_have_been_paid_is_looked_at_when_nothing_is_missing_or_nothing_is_due_yet() {
        for status in [PaymentStatus::Open, PaymentStatus::Opening] {
            let link = ahead(7, status, 100);
            let called_off = settled(0, vec![link.clone()]);
            assert_eq!(next(&called_off), Next::LookUp(vec![link.id]));
            assert_eq!(called_off.next(true, now()).unwrap(), Next::Rest);

            let before = Tab {
                charge: None,
                ..settled(100, vec![link.clone()])
            };
            assert_eq!(next(&before), Next::LookUp(vec![link.id]));
        }
    }

    #[test]
    fn what_could_not_be_given_back_is_still_here_and_left_to_a_person() {
        let paid = Payment {
            stuck: xaf(100),
            ..ahead(7, PaymentStatus::Paid, 100)
        };
        let tab = |due| settled(due, vec![paid.clone()]);
        assert_eq!(next(&tab(0)), Next::Rest, "it is not tried again by itself");
        assert_eq!(tab(100).balance().unwrap(), Balance::Even, "nobody pays twice");

        // What is too much beside it goes back.
        let refund = Refund {
            payment: PaymentId(Uuid::from_u128(8)),
            amount: xaf(30),
        };
        let both = settled(0, vec![paid.clone(), ahead(8, PaymentStatus::Paid, 30)]);
        assert_eq!(next(&both), Next::Settle(vec![], Some(refund)));
    }

    #[test]
    fn a_refund_that_was_only_decided_is_withdrawn_before_a_card_is_charged_for_it() {
        let paid = Payment {
            refunded: xaf(50),
            unasked: xaf(50),
            ..ahead(7, PaymentStatus::Paid, 100)
        };
        let tab = |due| settled(due, vec![paid.clone()]);
        assert_eq!(next(&tab(100)), Next::Withdraw);
        assert_eq!(next(&tab(50)), Next::Rest);
    }

    #[test]
    fn what_a_bank_took_back_is_neither_given_back_again_nor_taken_from_a_card() {
        let disputed = Payment {
            disputed: xaf(100),
            ..ahead(7, PaymentStatus::Paid, 100)
        };
        assert_eq!(next(&settled(0, vec![disputed.clone()])), Next::Rest);
        let tab = settled(100, vec![disputed, collection(100)]);
        assert_eq!(next(&tab), Next::Settle(vec![CHARGE], None));
    }

    #[test]
    fn what_a_bank_took_back_is_not_also_stuck() {
        // It could not go back because it was disputed, and was lost then. What another payment has too much goes back.
        let lost = Payment {
            stuck: xaf(100),
            disputed: xaf(100),
            ..ahead(7, PaymentStatus::Paid, 100)
        };
        let other = ahead(8, PaymentStatus::Paid, 100);
        let refund = Refund {
            payment: other.id,
            amount: xaf(100),
        };
        let tab = settled(0, vec![lost, other]);
        assert_eq!(next(&tab), Next::Settle(vec![], Some(refund)));
    }

    #[test]
    fn a_refused_refund_is_tried_again_four_times_with_growing_gaps() {
        let minutes = |refusals| Some(refund_again_at(refusals, now())?.duration_since(now()).as_mins());
        let tried: Vec<_> = (0..=4).map(minutes).collect();
        assert_eq!(tried, [Some(10), Some(60), Some(360), Some(1_440), None]);
        assert_eq!(minutes(-1), None);
    }

    #[test]
    fn what_was_paid_ahead_is_kept_and_the_difference_given_back() {
        let paid = ahead(7, PaymentStatus::Paid, 100);
        let refund = Refund {
            payment: paid.id,
            amount: xaf(50),
        };
        let tab = settled(50, vec![paid.clone(), collection(50)]);
        assert_eq!(next(&tab), Next::Settle(vec![CHARGE], Some(refund)));
        let done = Payment {
            refunded: xaf(50),
            ..paid
        };
        let closed = Payment {
            status: PaymentStatus::Closed,
            ..collection(50)
        };
        assert_eq!(next(&settled(50, vec![done, closed])), Next::Rest);
    }

    #[test]
    fn a_collection_that_a_correction_overtook_is_given_up_only_when_nobody_is_at_it() {
        let old = Payment {
            id: PaymentId(Uuid::from_u128(9)),
            ..asked_before(100)
        };
        let tab = settled(0, vec![old.clone()]);
        assert_eq!(next(&tab), Next::LookUp(vec![old.id]));
        let later = now() + SignedDuration::from_mins(5);
        let just_before = later - SignedDuration::from_secs(1);
        assert_eq!(tab.next(true, now()).unwrap(), Next::Wait);
        assert_eq!(tab.next(true, just_before).unwrap(), Next::Wait);
        assert_eq!(tab.next(true, later).unwrap(), Next::Settle(vec![old.id], None));
    }

    #[test]
    fn a_collection_that_a_correction_overtook_is_given_up_although_the_new_one_failed() {
        let overtaken = Payment {
            id: PaymentId(Uuid::from_u128(9)),
            ..collection(50)
        };
        let failed = Payment {
            status: PaymentStatus::Failed,
            ..collection(100)
        };
        let tab = settled(100, vec![failed, overtaken.clone()]);
        assert_eq!(next(&tab), Next::Settle(vec![overtaken.id], None));
    }

    #[test]
    fn nothing_is_collected_before_the_outcome_and_nobody_is_charged_without_a_card() {
        let mut tab = settled(100, vec![]);
        tab.charge = None;
        assert_eq!(next(&tab), Next::Rest);
        let mut tab = settled(100, vec![collection(100)]);
        tab.card = CardOnFile::None;
        assert_eq!(next(&tab), Next::AskClient(Ask::ForCard));
    }

    #[test]
    fn a_card_pays_only_what_its_owner_agreed_to() {
        let mut tab = settled(100, vec![collection(100)]);
        tab.card = CardOnFile::of(true, xaf(100), None);
        assert_eq!(next(&tab), Next::AskClient(Ask::ForAgreement));

        let eur = Money::new(100, Currency::EUR);
        assert_eq!(
            CardOnFile::of(true, xaf(101), Some(xaf(100))),
            CardOnFile::NotAgreed
        );
        assert_eq!(CardOnFile::of(true, xaf(100), Some(eur)), CardOnFile::NotAgreed);
        assert_eq!(CardOnFile::of(true, xaf(100), Some(xaf(100))), CardOnFile::Agreed);
        assert_eq!(CardOnFile::of(false, xaf(1), Some(xaf(100))), CardOnFile::None);
    }

    #[test]
    fn declines_are_tried_again_after_one_three_and_five_days() {
        let hours = |attempt, advice| {
            let at = try_again_at(attempt, advice, now())?;
            Some(at.duration_since(now()).as_hours())
        };
        let tried: Vec<_> = (1..=5).map(|n| hours(n, Advice::TryLater)).collect();
        assert_eq!(tried, [Some(24), Some(72), Some(120), None, None]);
        assert_eq!(hours(1, Advice::AskClient), None);
        assert_eq!(hours(0, Advice::TryLater), None, "there is no attempt 0");
    }

    /// Does what the tab asks for, as gateways that always agree would.
    fn take(tab: &mut Tab, next: Next) {
        let find = |tab: &mut Tab, id| tab.payments.iter().position(|p| p.id == id).unwrap();
        match next {
            Next::Collect(amount) => {
                let n = find(tab, CHARGE);
                tab.payments[n].status = PaymentStatus::Paid;
                tab.payments[n].amount = amount;
            }
            Next::Settle(given_up, refund) => {
                for id in given_up {
                    let n = find(tab, id);
                    tab.payments[n].status = PaymentStatus::Closed;
                }
                if let Some(refund) = refund {
                    let n = find(tab, refund.payment);
                    tab.payments[n].refunded = tab.payments[n].refunded.plus(refund.amount).unwrap();
                }
            }
            Next::Withdraw => {
                for payment in &mut tab.payments {
                    payment.refunded = payment.refunded.minus(payment.unasked).unwrap();
                    payment.unasked = xaf(0);
                }
            }
            _ => {}
        }
    }

    /// Everything about a tab that moves money: what is due, and for each payment its amount and which thirds of it went
    /// back, are stuck and are disputed.
    type Paid = Vec<(i64, [i64; 3])>;

    fn paid_ahead(paid: &Paid) -> Vec<Payment> {
        let payment = |(n, (amount, parts)): (usize, &(i64, [i64; 3]))| {
            let [refunded, stuck, disputed] = parts.map(|part| xaf(part % (amount / 3 + 1)));
            let unasked = if n % 2 == 0 { refunded } else { xaf(0) };
            Payment {
                refunded,
                unasked,
                stuck,
                disputed,
                ..ahead(n as u128 + 1, PaymentStatus::Paid, *amount)
            }
        };
        paid.iter().enumerate().map(payment).collect()
    }

    fn any_paid() -> impl Strategy<Value = Paid> {
        proptest::collection::vec((1..1_000_i64, [0..1_000_i64, 0..1_000, 0..1_000]), 0..5)
    }

    proptest! {
        #[test]
        fn every_tab_ends_without_a_unit_too_much_in_either_direction(due in 0..1_000_i64, paid in any_paid()) {
            let mut payments = paid_ahead(&paid);
            payments.push(collection(due));
            let mut tab = settled(due, payments);
            for _ in 0..10 {
                let next = tab.next(true, now()).unwrap();
                if next == Next::Rest {
                    break;
                }
                take(&mut tab, next);
                for payment in &tab.payments {
                    let gone = payment.refunded.minor() + payment.stuck.minor() + payment.disputed.minor();
                    prop_assert!(gone <= payment.amount.minor());
                }
            }
            prop_assert_eq!(tab.next(true, now()).unwrap(), Next::Rest);
            prop_assert_eq!(tab.balance().unwrap(), Balance::Even);
        }

        #[test]
        fn whatever_is_open_is_looked_up_first_and_a_fresh_look_asks_for_no_other(
            due in 0..1_000_i64, paid in any_paid(), is_settled: bool, opening: bool,
        ) {
            let status = if opening { PaymentStatus::Opening } else { PaymentStatus::Open };
            let open = ahead(99, status, 50);
            let mut payments = paid_ahead(&paid);
            payments.push(open.clone());
            let tab = Tab { charge: is_settled.then_some(CHARGE), ..settled(due, payments) };
            prop_assert_eq!(tab.next(false, now()).unwrap(), Next::LookUp(vec![open.id]));
            prop_assert!(!matches!(tab.next(true, now()).unwrap(), Next::LookUp(_)));
        }
    }
}
