//! `relay-outbox`: sends what the outbox holds and nobody else has sent, and once an hour removes what was kept long enough.
//! Scheduled each minute.

use jiff::{SignedDuration, Timestamp};
use jobs::messages::QUEUES;
use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::{Database, DatabaseError};
use platform::invocation;
use platform::outbox::{self, Routes};
use platform::schedule::{self, Counts, Scheduled};
use std::time::Duration;
use store::keep::tidying;
use tokio::sync::Mutex;

/// How often each environment looks for rows that have been kept long enough.
const TIDY_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How long one step of tidying may take; no step is begun with less time left.
const TIDY_BUDGET: Duration = Duration::from_secs(10);

struct RelayOutbox {
    database: Database,
    clock: Clock,
    /// When tidying last found nothing more to remove; `None` until then.
    tidied_at: Mutex<Option<Timestamp>>,
}

impl Scheduled for RelayOutbox {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        let swept = outbox::sweep(&self.database, self.database.routes(), &self.clock).await?;
        let tidied = self.tidy().await?;

        Ok(vec![
            ("sent", swept.sent),
            ("left", swept.left),
            ("tidied", tidied),
        ])
    }
}

impl RelayOutbox {
    /// Step by step until nothing is left, or no time; then the next run goes on.
    async fn tidy(&self) -> Result<u64, DatabaseError> {
        let (now, mut tidied_at) = (self.clock.now(), self.tidied_at.lock().await);
        if tidied_at.is_some_and(|at| now.duration_since(at).abs() < TIDY_EVERY) {
            return Ok(0);
        }

        let mut tidied = 0;
        while invocation::remaining() > TIDY_BUDGET {
            let step = tidying::tidy(&self.database, now).await?;
            if step == 0 {
                *tidied_at = Some(now);
                break;
            }
            tidied += step;
        }
        Ok(tidied)
    }
}

fn configure(mut env: Env) -> Result<RelayOutbox, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (clock, database) = (env.clock(), Database::from_env(&mut env));
    // It is the net under everybody else's sending, so it has to know every queue.
    let queues: Vec<_> = QUEUES.map(|name| Routes::require(&mut env, name)).into();

    env.finish(|| {
        queues.into_iter().collect::<Option<Vec<_>>>()?;
        Some(RelayOutbox {
            database: database?,
            clock,
            tidied_at: Mutex::new(None),
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("relay-outbox", configure(Env::process())?).await
}
