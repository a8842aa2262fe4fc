//! `follow-bookings`: tries again what the platform changed and could not be followed at once, looks for
//! changes that no trigger told of, and counts what waits for an operator. Scheduled each minute.

use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::invocation;
use platform::schedule::{self, Counts, Scheduled};
use std::time::Duration;
use store::keep::following;

/// How many noted failures one transaction tries again. It holds as many of the platform's rows for as long.
const A_TIME: i32 = 100;
/// How many bookings one run walks past: a million bookings take some eight hours.
const WALK: i32 = 2_000;
/// How long one round of catching up or the walk may take; no round is begun with less time left.
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

        // The walk finds changes that no trigger told of.
        following::walk_on(&self.database, WALK, self.clock.now()).await?;
        Ok(vec![
            ("healed", healed),
            ("failing", left.failing),
            ("to_decide", left.to_decide),
        ])
    }
}

fn configure(mut env: Env) -> Result<FollowBookings, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
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
