//! `POST /api/sessions/{id}/cancel`.

mod handler;

use jobs::settling::Settling;
use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};

fn configure(mut env: Env) -> Result<handler::CancelSession, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, settling) = (AuthConfig::from_env(&mut env), Settling::from_env(&mut env));

    env.finish(|| {
        Some(handler::CancelSession {
            authenticator: Authenticator::new(auth?, clock),
            settling: settling?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("cancel-session", configure(Env::process())?).await
}
