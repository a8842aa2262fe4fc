//! `GET /api/sessions/{id}/charge`.

mod handler;

use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;

fn configure(mut env: Env) -> Result<handler::ExplainCharge, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));

    env.finish(|| {
        Some(handler::ExplainCharge {
            authenticator: Authenticator::new(auth?, clock),
            database: database?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("explain-charge", configure(Env::process())?).await
}
