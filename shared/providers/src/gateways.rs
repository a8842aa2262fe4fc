//! The payment gateways, for functions that talk to all of them.

use crate::error::VendorError;
use crate::fapshi::{self, Fapshi, FapshiConfig};
use crate::stripe::{self, Stripe, StripeConfig};
use domain::gateway::{Finding, Outcome};
use domain::ids::PaymentId;
use iso_currency::Currency;
use platform::config::Env;
use std::time::Duration;
use tokio::time::timeout;

/// For so long somebody who asks about a payment waits for its gateway.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every payment gateway.
pub struct Gateways {
    /// Cards.
    pub stripe: Stripe,
    /// Mobile money.
    pub fapshi: Fapshi,
}

impl Gateways {
    /// Reads what [`StripeConfig`] and [`FapshiConfig`] need.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (stripe, fapshi) = (StripeConfig::from_env(env), FapshiConfig::from_env(env));
        Some(Self {
            stripe: Stripe::new(stripe?),
            fapshi: Fapshi::new(fapshi?),
        })
    }

    /// What became of what a client was given to pay with; `None` if the gateway knows of nothing, and for a page without a
    /// `name`, which was given to nobody.
    pub async fn find(
        &self,
        gateway: &str,
        payment: PaymentId,
        name: Option<&str>,
    ) -> Result<Option<Outcome>, VendorError> {
        match (gateway, name) {
            (fapshi::NAME, _) => self.fapshi.find(payment).await,
            (_, Some(page)) => match self.stripe.checkout(page).await {
                Ok(Finding::Payment(id, outcome)) if id == payment => Ok(Some(outcome)),
                Ok(_) | Err(VendorError::NotFound) => Ok(None),
                Err(error) => Err(error),
            },
            (_, None) => Ok(None),
        }
    }

    /// The end that it came to, for somebody who waits for the answer: `None` if it has none yet, or the gateway does not
    /// say so within two seconds.
    pub async fn end_in_time(
        &self,
        gateway: &str,
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
        gateway: &str,
        payment: PaymentId,
        name: Option<&str>,
    ) -> Result<Option<Outcome>, VendorError> {
        match (gateway, name) {
            (fapshi::NAME, _) => self.fapshi.expire(payment).await,
            (_, Some(page)) => match self.stripe.expire(page).await? {
                Finding::Payment(id, outcome) if id == payment => Ok(Some(outcome)),
                _ => Ok(None),
            },
            (_, None) => Ok(None),
        }
    }
}

/// The least that a gateway takes in a currency, in its minor units.
pub fn least_minor(gateway: &str, currency: Currency) -> i64 {
    match gateway {
        fapshi::NAME => fapshi::LEAST_MINOR,
        _ => stripe::least_minor(currency),
    }
}
