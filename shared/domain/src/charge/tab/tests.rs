//! A tab ends without a unit too much, whatever happened on the way.

use super::*;
use iso_currency::Currency;
use jiff::SignedDuration;
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
    assert_eq!(next(&both), Next::Close(vec![], Some(refund)));
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
    assert_eq!(next(&tab), Next::Close(vec![CHARGE], None));
}

#[test]
fn what_was_paid_ahead_is_kept_and_the_difference_given_back() {
    let paid = ahead(7, PaymentStatus::Paid, 100);
    let refund = Refund {
        payment: paid.id,
        amount: xaf(50),
    };
    let tab = settled(50, vec![paid.clone(), collection(50)]);
    assert_eq!(next(&tab), Next::Close(vec![CHARGE], Some(refund)));
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
    assert_eq!(tab.next(true, later).unwrap(), Next::Close(vec![old.id], None));
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
    assert_eq!(next(&tab), Next::Close(vec![overtaken.id], None));
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
    assert_eq!(next(&tab), Next::Close(vec![], Some(refund)));
}

#[test]
fn a_bank_may_take_more_than_was_left_and_what_its_owner_then_pays_does_not_go_back() {
    // Half of it went back, then the bank took the whole; the client has paid that again.
    let taken = Payment {
        refunded: xaf(50),
        disputed: xaf(100),
        ..ahead(7, PaymentStatus::Paid, 100)
    };
    let tab = settled(50, vec![taken, ahead(8, PaymentStatus::Paid, 100)]);
    assert_eq!(next(&tab), Next::Rest);
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
fn what_a_client_is_asked_for_has_a_word() {
    let asked = [Ask::ForCard, Ask::ForAgreement].map(Ask::word);
    assert_eq!(asked, ["no_card", "card_not_agreed"]);
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

/// Does what the tab asks for, as gateways that always agree would.
fn take(tab: &mut Tab, next: Next) {
    let find = |tab: &mut Tab, id| tab.payments.iter().position(|p| p.id == id).unwrap();
    match next {
        Next::Collect(amount) => {
            let n = find(tab, CHARGE);
            tab.payments[n].status = PaymentStatus::Paid;
            tab.payments[n].amount = amount;
        }
        Next::Close(given_up, refund) => {
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
