//! `GET /api/bookings/{id}`.

mod handler;

use domain::launch::window::JoinPolicy;
use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::blobs::Bucket;
use platform::config::{ConfigError, Env};
use platform::database::Database;

fn configure(mut env: Env) -> Result<handler::GetBooking, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let artifacts: Option<String> = env.required("ARTIFACTS_BUCKET");
    let opens = env.or("JOIN_OPENS_MINUTES", JoinPolicy::DEFAULT_MINUTES);
    let closes = env.or("JOIN_CLOSES_MINUTES", JoinPolicy::DEFAULT_MINUTES);

    env.finish(|| {
        Some(handler::GetBooking {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            artifacts: Bucket::named(artifacts?),
            policy: JoinPolicy::from_minutes(opens?, closes?),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("get-booking", configure(Env::process())?).await
}
