//! Fapshi: mobile money in Cameroon. Paid ahead by a link or by a request to a phone; given back by a payout. The
//! facts behind every line are in the README beside this file.

mod api;
mod webhook;

pub use api::{Fapshi, FapshiConfig, Found, LEAST_MINOR, Phone, Transaction};
pub use webhook::{Delivery, Notice};

/// The gateway's name in `payments.gateway` and `provider_events.provider`.
pub const NAME: &str = domain::charge::gateway::Gateway::Fapshi.word();
/// The only currency that Fapshi takes, the Central African franc.
pub const CURRENCY: &str = "XAF";
