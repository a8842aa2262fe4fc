//! `POST /api/bookings/{id}/launch`.

mod handler;

use domain::launch::window::JoinPolicy;
use jobs::policy::classroom;
use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::classrooms::Classrooms;

fn configure(mut env: Env) -> Result<handler::Launch, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let (classrooms, classroom) = (Classrooms::from_env(&mut env), classroom(&mut env));
    let opens = env.or("JOIN_OPENS_MINUTES", JoinPolicy::DEFAULT_MINUTES);
    let closes = env.or("JOIN_CLOSES_MINUTES", JoinPolicy::DEFAULT_MINUTES);

    env.finish(|| {
        Some(handler::Launch {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            classrooms: classrooms?,
            classroom: classroom?,
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
