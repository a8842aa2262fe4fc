//! What Stripe takes for its work, and how little it takes at all. Every charge settles in its own currency.

use super::{Answer, Form, invalid, wanted};

/// Minor units for a dollar, about as in 2025. Others are not traded here.
const RATES: [(&str, i64); 22] = [
    ("aed", 367),
    ("aud", 153),
    ("bbd", 200),
    ("brl", 545),
    ("cad", 138),
    ("chf", 80),
    ("eur", 86),
    ("gbp", 74),
    ("ghs", 1_100),
    ("gyd", 20_900),
    ("inr", 8_750),
    ("jmd", 16_000),
    ("jpy", 148),
    ("kes", 12_900),
    ("mxn", 1_870),
    ("ngn", 153_000),
    ("nzd", 170),
    ("ttd", 679),
    ("usd", 100),
    ("xaf", 565),
    ("xof", 565),
    ("zar", 1_770),
];

fn per_dollar(currency: &str) -> Result<i64, Answer> {
    let found = RATES.iter().find(|(other, _)| *other == currency);
    let unknown = || {
        invalid(
            "parameter_invalid_string",
            &format!("Invalid currency: {currency}"),
        )
    };
    found.map(|(_, rate)| *rate).ok_or_else(unknown)
}

/// An amount to be charged: at least the worth of half a dollar.
pub(super) fn amount_of(form: &Form, name: &str, currency: &str) -> Result<i64, Answer> {
    let amount: i64 = wanted(form, name)?
        .parse()
        .map_err(|_| invalid("parameter_invalid_integer", "Invalid integer"))?;
    let is_enough = amount.saturating_mul(100) >= per_dollar(currency)? * 50;
    let small = || invalid("amount_too_small", "Amount must convert to at least 50 cents.");
    is_enough.then_some(amount).ok_or_else(small)
}

/// What a charge costs: 2.9 % and thirty cents, rounded to whole units.
pub(super) fn charge_fee(amount: i64, currency: &str) -> i64 {
    let share = amount.saturating_mul(29).saturating_add(500) / 1_000;
    let fixed = (per_dollar(currency).unwrap_or(0) * 30 + 50) / 100;
    share.saturating_add(fixed)
}

/// What a dispute costs, won or lost: fifteen dollars.
pub(super) fn dispute_fee(currency: &str) -> i64 {
    per_dollar(currency).unwrap_or(0) * 15
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(amount: &str, currency: &str) -> Result<i64, Answer> {
        let form = Form::from([("amount".to_owned(), amount.to_owned())]);
        amount_of(&form, "amount", currency)
    }

    #[test]
    fn less_than_half_a_dollar_is_refused_in_every_currency() {
        for (least, currency) in [("50", "usd"), ("340", "ttd"), ("283", "xaf"), ("37", "gbp")] {
            assert!(asked(least, currency).is_ok(), "{least} {currency}");
            let less = (least.parse::<i64>().unwrap() - 1).to_string();
            assert!(asked(&less, currency).is_err(), "{less} {currency}");
        }
        assert!(asked("1000", "xxx").is_err(), "no currency");
    }

    #[test]
    fn a_charge_costs_a_share_and_thirty_cents() {
        assert_eq!(charge_fee(10_000, "usd"), 320);
        assert_eq!(charge_fee(10_000, "ttd"), 290 + 204);
        assert_eq!(charge_fee(5_000, "xaf"), 145 + 170);
    }
}
