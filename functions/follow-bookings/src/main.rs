//! `follow-bookings`: what the platform changed and could not be followed at once is tried again, what no trigger
//! told of is found, and what waits for an operator is counted. Scheduled each minute.

use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::invocation;
use platform::schedule::{self, Counts, Scheduled};
use std::time::Duration;
use store::following;

/// Failures tried again in one transaction, which holds as many rows of the platform while it tells of them.
const A_TIME: i32 = 100;
/// Bookings walked past in one run: a million in some eight hours.
const WALK: i32 = 2_000;
/// What both may need; nothing is begun with less time left.
const BUDGET: Duration = Duration::from_secs(8);

struct FollowBookings {
    database: Database,
    clock: Clock,
}

impl Scheduled for FollowBookings {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        let mut healed = 0;
        let left = loop {
            let caught_up = following::catch_up(&self.database, A_TIME, self.clock.now()).await?;
            healed += caught_up.healed;
            if caught_up.healed == 0 || caught_up.failing == 0 || invocation::remaining() < BUDGET {
                break caught_up;
            }
        };

        following::walk_on(&self.database, WALK, self.clock.now()).await?;
        Ok(vec![
            ("healed", healed),
            ("failing", left.failing),
            ("to_decide", left.to_decide),
        ])
    }
}

fn configure(mut env: Env) -> Result<FollowBookings, ConfigError> {
    let (clock, database) = (env.clock(), Database::from_env(&mut env));
    env.finish(|| {
        Some(FollowBookings {
            database: database?,
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("follow-bookings", configure(Env::process())?).await
}
