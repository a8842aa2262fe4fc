//! The harness: a world per story (its own database, vendors, queues, bucket and clock), and the function
//! binaries themselves, run against a simulated Runtime API.

mod aws;
mod events;
mod function;
mod postgres;
mod vendors;
mod world;

pub(crate) use aws::*;
pub(crate) use events::*;
pub(crate) use function::*;
pub(crate) use postgres::*;
pub(crate) use world::*;

pub(crate) const API_KEY: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const WEBHOOK_SECRET: &str = "the-secret-of-the-webhook-urls";
pub(crate) const LEGACY_SECRET: &str = "a-legacy-token-secret-of-supabase";
pub(crate) const LIVEKIT_KEY: &str = "APIofTheStories";
pub(crate) const LIVEKIT_SECRET: &str = "the-secret-of-the-livekit-of-the-stories";
pub(crate) const PENCIL_KEY: &str = "pencil-key-of-the-stories";
pub(crate) const PENCIL_WEBHOOK_SECRET: &str = "the-bearer-of-pencils-webhooks";
pub(crate) const CRON_SECRET: &str = "the-secret-of-the-platforms-cron";
pub(crate) const STRIPE_KEY: &str = "sk_test_of-the-stories";
pub(crate) const STRIPE_WEBHOOK_SECRET: &str = "whsec_of-the-stories";
pub(crate) const FAPSHI_KEY: &str = "FAK_TEST_of-the-stories";
pub(crate) const FAPSHI_PAYOUT_KEY: &str = "FAK_TEST_of-the-payouts";
pub(crate) const FAPSHI_WEBHOOK_SECRET: &str = "a-secret-agreed-with-fapshi";
const TEMPLATE: &str = "stories_template";

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the stories by `make test`"))
}
