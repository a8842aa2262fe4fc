//! `relay-outbox`: sends what the outbox holds and is due. Scheduled each minute.

use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::outbox::{self, Routes};
use platform::queue::Queue;
use platform::schedule::{self, Counts, Scheduled};

struct RelayOutbox {
    database: Database,
    routes: Routes,
    clock: Clock,
}

impl Scheduled for RelayOutbox {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        let swept = outbox::sweep(&self.database, &self.routes, &self.clock).await?;
        Ok(vec![("sent", swept.sent), ("left", swept.left)])
    }
}

fn configure(mut env: Env) -> Result<RelayOutbox, ConfigError> {
    let (clock, database) = (env.clock(), Database::from_env(&mut env));
    let events: Option<String> = env.required("PROVIDER_EVENTS_QUEUE_URL");
    let payments: Option<String> = env.required("PAYMENTS_QUEUE_URL");
    let refunds: Option<String> = env.required("REFUNDS_QUEUE_URL");
    env.finish(|| {
        let routes = Routes::from([
            ("provider-events".into(), Queue::at(events?)),
            ("payments".into(), Queue::at(payments?)),
            ("refunds".into(), Queue::at(refunds?)),
        ]);
        Some(RelayOutbox {
            database: database?,
            routes,
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("relay-outbox", configure(Env::process())?).await
}
