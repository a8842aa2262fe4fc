//! `POST /api/bookings/{id}/snapshot`.

mod handler;

use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::blobs::Bucket;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;

fn configure(mut env: Env) -> Result<handler::CreateSnapshotUpload, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let artifacts: Option<String> = env.required("ARTIFACTS_BUCKET");

    env.finish(|| {
        Some(handler::CreateSnapshotUpload {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            artifacts: Bucket::named(artifacts?),
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("create-snapshot-upload", configure(Env::process())?).await
}
