//! `POST /api/sessions/create-for-booking`.

mod handler;

use jobs::policy::{classroom, session_policy};
use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;

fn configure(mut env: Env) -> Result<handler::CreateSession, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let (policy, classroom) = (session_policy(&mut env), classroom(&mut env));

    env.finish(|| {
        Some(handler::CreateSession {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            policy: policy?,
            classroom: classroom?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("create-session", configure(Env::process())?).await
}
