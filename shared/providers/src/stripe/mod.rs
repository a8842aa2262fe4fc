//! Stripe: cards. Paid ahead on Checkout's page, kept there, charged off session when a lesson is settled. The
//! facts behind every line are in the README beside this file.

mod api;
mod currencies;
mod objects;
mod webhook;

pub use api::{Checkout, SavedCardCharge, Stripe, StripeConfig};
pub use currencies::{least_minor, takes};
pub use webhook::{Delivery, Notice, Refusal, Subject, sign, verify};

/// The gateway's name in `payments.gateway` and `provider_events.provider`.
pub const NAME: &str = domain::charge::gateway::Gateway::Stripe.word();
