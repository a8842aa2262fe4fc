//! Consumes `gateway-events`.

use apply_gateway_event::ApplyGatewayEvent;
use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::gateways::Gateways;
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, ApplyGatewayEvent), ConfigError> {
    let clock = env.clock();
    let policy = BatchPolicy::from_env(&mut env, 4, Duration::from_secs(15));
    // Read before any `?`, so that one failed start names everything that is missing.
    let (database, gateways) = (Database::from_env(&mut env), Gateways::from_env(&mut env));

    env.finish(|| {
        let job = ApplyGatewayEvent {
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
    batch::serve("apply-gateway-event", policy, job).await
}
