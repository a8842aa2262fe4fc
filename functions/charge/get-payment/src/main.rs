//! `GET /api/payments/{id}`.

mod handler;

use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::gateways::Gateways;

fn configure(mut env: Env) -> Result<handler::GetPayment, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let gateways = Gateways::from_env(&mut env);

    env.finish(|| {
        Some(handler::GetPayment {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            gateways: gateways?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("get-payment", configure(Env::process())?).await
}
