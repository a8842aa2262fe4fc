//! The payment gateways, for functions that talk to all of them.

use crate::fapshi::{self, Fapshi, FapshiConfig};
use crate::stripe::{self, Stripe, StripeConfig};
use domain::charge::finding::{Finding, Outcome};
use domain::charge::gateway::Gateway;
use domain::ids::PaymentId;
use iso_currency::Currency;
use platform::config::Env;
use platform::outbound::VendorError;
use std::time::Duration;
use tokio::time::timeout;

/// How long somebody who asks about a payment waits for its gateway.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every payment gateway, to be asked by its name.
pub struct Gateways {
    /// Payments by card.
    pub stripe: Stripe,
    /// Payments by mobile money.
    pub fapshi: Fapshi,
}

impl Gateways {
    /// Reads what [`StripeConfig::from_env`] and [`FapshiConfig::from_env`] need.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
        let (stripe, fapshi) = (StripeConfig::from_env(env), FapshiConfig::from_env(env));
        Some(Self {
            stripe: Stripe::new(stripe?),
            fapshi: Fapshi::new(fapshi?),
        })
    }

    /// What became of a page or request that a client was given to pay with. `name` is the gateway's name for
    /// it. `None` if the gateway knows of nothing; a Stripe page without a name was given to nobody, so
    /// Stripe is not asked.
    pub async fn find(
        &self,
        gateway: Gateway,
        payment: PaymentId,
        name: Option<&str>,
    ) -> Result<Option<Outcome>, VendorError> {
        match (gateway, name) {
            (Gateway::Fapshi, _) => self.fapshi.find(payment).await,
            (Gateway::Stripe, Some(page)) => match self.stripe.checkout(page).await {
                Ok(Finding::Payment(id, outcome)) if id == payment => Ok(Some(outcome)),
                Ok(_) | Err(VendorError::NotFound) => Ok(None),
                Err(error) => Err(error),
            },
            (Gateway::Stripe, None) => Ok(None),
        }
    }

    /// How a payment ended, for somebody who waits for the answer. `None` if it has not ended, or if the
    /// gateway does not say so within two seconds.
    pub async fn end_in_time(
        &self,
        gateway: Gateway,
        payment: PaymentId,
        name: Option<&str>,
    ) -> Option<Outcome> {
        let found = match timeout(PATIENCE, self.find(gateway, payment, name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the gateway does not say where the payment stands");
                None
            }
            Err(_) => {
                tracing::warn!("the gateway takes too long to say where the payment stands");
                None
            }
        };

        found.filter(|outcome| *outcome != Outcome::Open)
    }

    /// Closes what a client was given to pay with, where the gateway can, and tells what became of the payment: it may
    /// have been paid before, and a request on a phone stays open until its owner answers. Harmless if repeated. `name`
    /// is the gateway's name for the page; a page without one was given to nobody. `None` if the gateway knows of
    /// nothing.
    pub async fn expire(
        &self,
        gateway: Gateway,
        payment: PaymentId,
        name: Option<&str>,
    ) -> Result<Option<Outcome>, VendorError> {
        match (gateway, name) {
            (Gateway::Fapshi, _) => self.fapshi.expire(payment).await,
            (Gateway::Stripe, Some(page)) => match self.stripe.expire(page).await? {
                Finding::Payment(id, outcome) if id == payment => Ok(Some(outcome)),
                _ => Ok(None),
            },
            (Gateway::Stripe, None) => Ok(None),
        }
    }
}

/// The least that a gateway takes in a currency, in the currency's smallest unit.
pub fn least_minor(gateway: Gateway, currency: Currency) -> i64 {
    match gateway {
        Gateway::Fapshi => fapshi::LEAST_MINOR,
        Gateway::Stripe => stripe::least_minor(currency),
    }
}

/// The only currency that a gateway takes; `None` if it takes any.
pub fn only_currency(gateway: Gateway) -> Option<&'static str> {
    match gateway {
        Gateway::Fapshi => Some(fapshi::CURRENCY),
        Gateway::Stripe => None,
    }
}
