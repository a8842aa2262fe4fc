//! `POST /api/bookings/{id}/launch`.

mod handler;

use domain::launch::window::JoinPolicy;
use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::lessonspace::Rooms;

fn configure(mut env: Env) -> Result<handler::Launch, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let lessonspace = Rooms::from_env(&mut env);
    let opens = env.or("JOIN_OPENS_MINUTES", JoinPolicy::DEFAULT_MINUTES);
    let closes = env.or("JOIN_CLOSES_MINUTES", JoinPolicy::DEFAULT_MINUTES);

    env.finish(|| {
        Some(handler::Launch {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            lessonspace: lessonspace?,
            policy: JoinPolicy::from_minutes(opens?, closes?),
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("launch", configure(Env::process())?).await
}
