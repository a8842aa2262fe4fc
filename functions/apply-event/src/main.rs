//! Consumes `provider-events`.

mod handler;

use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use platform::queue::Queue;
use providers::lessonspace::{Lessonspace, LessonspaceConfig};
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, handler::ApplyEvent), ConfigError> {
    let clock = env.clock();
    let (database, lessonspace) = (
        Database::from_env(&mut env),
        LessonspaceConfig::from_env(&mut env),
    );
    let quarantine: Option<String> = env.required("DEAD_LETTER_QUEUE_URL");
    env.finish(|| {
        let quarantine = Queue::at(quarantine?);
        let policy = BatchPolicy {
            concurrency: 4,
            worst_case: Duration::from_secs(15),
            quarantine,
        };
        let (database, lessonspace) = (database?, Lessonspace::new(lessonspace?));
        Some((
            policy,
            handler::ApplyEvent {
                database,
                lessonspace,
                ids: Ids::random(clock.clone()),
                clock,
            },
        ))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("apply-event", policy, job).await
}
