//! Consumes `snapshot-uploads`, the artifacts bucket's events.

mod handler;

use platform::batch::{self, BatchPolicy};
use platform::blobs::Bucket;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, handler::RecordSnapshot), ConfigError> {
    let database = Database::from_env(&mut env);
    let artifacts: Option<String> = env.required("ARTIFACTS_BUCKET");
    let policy = BatchPolicy::from_env(&mut env, 4, Duration::from_secs(10));

    env.finish(|| {
        Some((
            policy?,
            handler::RecordSnapshot {
                database: database?,
                artifacts: Bucket::named(artifacts?),
            },
        ))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("record-snapshot", policy, job).await
}
