//! Which currencies Stripe takes from us, and how little of each.

use iso_currency::Currency;

/// Whether Stripe counts this currency in the units that ISO 4217 gives it. It counts some in others (UGX
/// and ISK in hundredths, MGA in whole units), and rounds those with three digits.
pub fn takes(currency: Currency) -> bool {
    match currency.exponent() {
        Some(0) => !matches!(currency, Currency::UGX | Currency::ISK),
        Some(2) => currency != Currency::MGA,
        _ => false,
    }
}

/// The least that Stripe charges, in minor units, by currency. Source: docs.stripe.com/currencies, "Minimum and
/// maximum charge amounts". The published amounts hold for an account that is paid out in that same currency; one
/// that is paid out in dollars needs the worth of half a dollar. Which it is, we do not know, so the greater of the
/// two stands here, with rates of 2025.
const LEAST: [(Currency, i64); 24] = [
    (Currency::AED, 200),
    (Currency::AUD, 90),
    (Currency::BGN, 100),
    (Currency::BRL, 300),
    (Currency::CAD, 75),
    (Currency::CHF, 50),
    (Currency::CZK, 1_500),
    (Currency::DKK, 350),
    (Currency::EUR, 50),
    (Currency::GBP, 45),
    (Currency::HKD, 400),
    (Currency::HUF, 20_000),
    (Currency::INR, 5_000),
    (Currency::JPY, 90),
    (Currency::MXN, 1_100),
    (Currency::MYR, 250),
    (Currency::NOK, 600),
    (Currency::NZD, 100),
    (Currency::PLN, 200),
    (Currency::RON, 250),
    (Currency::SEK, 550),
    (Currency::SGD, 75),
    (Currency::THB, 2_000),
    (Currency::USD, 50),
];

/// The same for currencies in which Stripe pays nobody out: the worth of half a dollar, and about a quarter more for
/// the rates to move. Those that have no smaller unit stand last.
const CONVERTED: [(i64, &[Currency]); 27] = {
    #[allow(clippy::enum_glob_use, reason = "a hundred names of currencies")]
    use Currency::*;

    [
        (75, &[BMD, BSD, FKP, GIP, KYD, PAB, SHP]),
        (150, &[AWG, AZN, BAM, BBD, BND, BZD, FJD, TOP, XCG]),
        (250, &[BYN, GEL, ILS, PEN, PGK, QAR, SAR, WST, XCD]),
        (500, &[BOB, CNY, GTQ, MOP, SBD, TTD]),
        (1_000, &[BWP, GHS, MAD, MDL, MVR, SCR, TJS]),
        (2_000, &[HNL, LSL, NAD, SLE, SZL, ZAR, ZMW]),
        (4_000, &[DOP, EGP, MKD, MUR, NIO, PHP, SRD, TRY, TWD, UAH, UYU]),
        (7_500, &[AFN, ALL, CVE, GMD, KGS, MZN, RSD, RUB]),
        (15_000, &[BDT, DZD, ETB, GYD, HTG, JMD, KES, LRD, NPR, YER]),
        (40_000, &[AMD, CRC, KZT, LKR, PKR, SOS]),
        (125_000, &[AOA, ARS, NGN]),
        (250_000, &[CDF, COP, KHR, MMK, MNT, MWK, TZS]),
        (800_000, &[UZS]),
        (1_500_000, &[IDR, LAK]),
        (6_000_000, &[LBP]),
        (75, &[XPF]),
        (80, &[VUV]),
        (120, &[DJF]),
        (300, &[KMF]),
        (400, &[XAF, XOF]),
        (650, &[CLP]),
        (950, &[KRW]),
        (1_000, &[RWF]),
        (2_000, &[BIF]),
        (5_000, &[PYG]),
        (6_000, &[GNF]),
        (17_000, &[VND]),
    ]
};

/// The least that a card can be charged in a currency, in its minor units. On the safe side: less than that may be
/// refused, and would be a debt that nobody can pay. Stripe takes no currency that stands in neither table.
pub fn least_minor(currency: Currency) -> i64 {
    let published = LEAST.iter().find(|(other, _)| *other == currency);
    let converted = || CONVERTED.iter().find(|(_, others)| others.contains(&currency));
    match published {
        Some((_, least)) => *least,
        None => converted().map_or(1, |(least, _)| *least),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_stripe_takes_is_charged_below_its_least() {
        let cases = [
            (Currency::USD, 50),
            (Currency::TTD, 500),
            (Currency::XAF, 400),
            (Currency::HUF, 20_000),
            (Currency::JPY, 90),
        ];

        for (currency, least) in cases {
            assert!(takes(currency));
            assert_eq!(least_minor(currency), least, "{currency}");
        }
    }

    #[test]
    fn each_currency_stands_in_one_table_once() {
        let converted = CONVERTED.iter().flat_map(|(_, currencies)| currencies.iter());
        let mut all: Vec<&str> = LEAST
            .iter()
            .map(|(currency, _)| currency)
            .chain(converted)
            .map(Currency::code)
            .collect();

        let count = all.len();
        all.sort_unstable();
        all.dedup();

        assert_eq!(all.len(), count);
    }

    #[test]
    fn currencies_that_stripe_counts_otherwise_are_not_taken() {
        for currency in [Currency::UGX, Currency::ISK, Currency::MGA, Currency::KWD] {
            assert!(!takes(currency), "{currency}");
        }
    }
}
