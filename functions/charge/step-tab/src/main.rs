//! Consumes `payments`.

use domain::charge::payment::Collects;
use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::gateways::Gateways;
use std::time::Duration;
use step_tab::StepTab;

fn configure(mut env: Env) -> Result<(BatchPolicy, StepTab), ConfigError> {
    let clock = env.clock();
    let policy = BatchPolicy::from_env(&mut env, 5, Duration::from_secs(25));
    // Read before any `?`, so that one failed start names everything that is missing.
    let (database, gateways) = (Database::from_env(&mut env), Gateways::from_env(&mut env));
    let collects = env.or("COLLECTS", Collects::default());
    let review_above_minor = env.or("REFUND_REVIEW_ABOVE", i64::MAX);

    env.finish(|| {
        let job = StepTab {
            database: database?,
            gateways: gateways?,
            collects: collects?,
            review_above_minor: review_above_minor?,
            ids: Ids::random(clock.clone()),
            clock,
        };
        Some((policy?, job))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("step-tab", policy, job).await
}
