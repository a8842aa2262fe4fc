//! Consumes `refunds`.

use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::gateways::Gateways;
use refund_payment::RefundPayment;
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, RefundPayment), ConfigError> {
    let clock = env.clock();
    let policy = BatchPolicy::from_env(&mut env, 5, Duration::from_secs(25));
    // Read before any `?`, so that one failed start names everything that is missing.
    let (database, gateways) = (Database::from_env(&mut env), Gateways::from_env(&mut env));

    env.finish(|| {
        let job = RefundPayment {
            database: database?,
            gateways: gateways?,
            ids: Ids::random(clock.clone()),
            clock,
        };
        Some((policy?, job))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("refund-payment", policy, job).await
}
