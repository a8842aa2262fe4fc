//! `follow-bookings`: what the platform changed and could not be followed at once is tried again, what no trigger
//! told of is found, and what waits for an operator is counted. Scheduled each minute.

use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::schedule::{self, Counts, Scheduled};
use store::following;

/// So many failures are tried again, and so many bookings walked past, in one run: a million in some eight hours.
const MOST: i32 = 2_000;

struct FollowBookings {
    database: Database,
    clock: Clock,
}

impl Scheduled for FollowBookings {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        let caught_up = following::catch_up(&self.database, MOST, self.clock.now()).await?;
        Ok(vec![
            ("healed", caught_up.healed),
            ("failing", caught_up.failing),
            ("to_decide", caught_up.to_decide),
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
