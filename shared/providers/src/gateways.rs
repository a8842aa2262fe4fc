//! The payment gateways, for functions that talk to all of them.

use crate::fapshi::{Fapshi, FapshiConfig};
use crate::stripe::{Stripe, StripeConfig};
use platform::config::Env;

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
}
