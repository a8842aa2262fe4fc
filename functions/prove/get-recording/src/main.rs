//! `GET /api/bookings/{id}/recording`.

mod handler;

use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use providers::lessonspace::{Lessonspace, LessonspaceConfig};

fn configure(mut env: Env) -> Result<handler::GetRecording, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let lessonspace = LessonspaceConfig::from_env(&mut env);

    env.finish(|| {
        Some(handler::GetRecording {
            authenticator: Authenticator::new(auth?, clock),
            database: database?,
            lessonspace: Lessonspace::new(lessonspace?),
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("get-recording", configure(Env::process())?).await
}
