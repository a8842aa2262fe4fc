//! Consumes `provider-events`.

use apply_event::ApplyEvent;
use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use platform::queue::Queue;
use providers::fapshi::{Fapshi, FapshiConfig};
use providers::lessonspace::{Lessonspace, LessonspaceConfig};
use providers::stripe::{Stripe, StripeConfig};
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, ApplyEvent), ConfigError> {
    let clock = env.clock();
    let database = Database::from_env(&mut env);
    let lessonspace = LessonspaceConfig::from_env(&mut env);
    let (stripe, fapshi) = (StripeConfig::from_env(&mut env), FapshiConfig::from_env(&mut env));
    let quarantine: Option<String> = env.required("DEAD_LETTER_QUEUE_URL");
    env.finish(|| {
        let policy = BatchPolicy {
            concurrency: 4,
            worst_case: Duration::from_secs(15),
            quarantine: Queue::at(quarantine?),
        };
        let job = ApplyEvent {
            database: database?,
            lessonspace: Lessonspace::new(lessonspace?),
            stripe: Stripe::new(stripe?),
            fapshi: Fapshi::new(fapshi?),
            ids: Ids::random(clock.clone()),
            clock,
        };
        Some((policy, job))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("apply-event", policy, job).await
}
