//! `PUT /api/bookings/{id}/student`.

mod handler;

use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;

fn configure(mut env: Env) -> Result<handler::AssignStudent, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));

    env.finish(|| {
        Some(handler::AssignStudent {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("assign-student", configure(Env::process())?).await
}
