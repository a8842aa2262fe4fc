//! Consumes `payments`.

use capture_payment::CapturePayment;
use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use platform::queue::Queue;
use providers::fapshi::{Fapshi, FapshiConfig};
use providers::stripe::{Stripe, StripeConfig};
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, CapturePayment), ConfigError> {
    let clock = env.clock();
    let database = Database::from_env(&mut env);
    let (stripe, fapshi) = (StripeConfig::from_env(&mut env), FapshiConfig::from_env(&mut env));
    let quarantine: Option<String> = env.required("DEAD_LETTER_QUEUE_URL");
    env.finish(|| {
        let policy = BatchPolicy {
            concurrency: 5,
            worst_case: Duration::from_secs(25),
            quarantine: Queue::at(quarantine?),
        };
        let job = CapturePayment {
            database: database?,
            stripe: Stripe::new(stripe?),
            fapshi: Fapshi::new(fapshi?),
            ids: Ids::random(clock.clone()),
            clock,
        };
        Some((policy, job))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("capture-payment", policy, job).await
}
