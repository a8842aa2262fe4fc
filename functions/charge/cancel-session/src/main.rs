//! `POST /api/sessions/{id}/cancel`.

mod handler;

use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use store::charge::charging::Charging;

fn configure(mut env: Env) -> Result<handler::CancelSession, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, charging) = (AuthConfig::from_env(&mut env), Charging::from_env(&mut env));

    env.finish(|| {
        Some(handler::CancelSession {
            authenticator: Authenticator::new(auth?, clock),
            charging: charging?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("cancel-session", configure(Env::process())?).await
}
