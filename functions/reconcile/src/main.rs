//! `reconcile`: nothing waits for ever. Bookings get their sessions without anybody calling for it; providers are asked
//! about rooms, payments and refunds of which no webhook has told the end, by the same jobs that a webhook causes; and
//! what is late is counted for the operator. Scheduled each minute; any number may run at once.

use domain::session::SessionPolicy;
use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use platform::schedule::{self, Counts, Scheduled};
use store::payments::{self, Overview, Reconciled};
use store::policy::session_policy;
use store::tending::{self, Tended};

/// Of each kind in one run; what is left over is next.
const MOST: i64 = 1_000;

struct Reconcile {
    database: Database,
    policy: SessionPolicy,
    ids: Ids,
    clock: Clock,
}

impl Scheduled for Reconcile {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        let now = self.clock.now();
        let provider = providers::lessonspace::NAME;
        let tended = tending::tend(&self.database, provider, &self.policy, MOST, &self.ids, now).await;
        let looked = payments::reconcile(&self.database, MOST, &self.ids, now).await;
        let waiting = payments::overview(&self.database, now).await;

        // Only now: what fails of lessons must not stop the money, nor the reverse.
        Ok(counts(&tended?, &looked?, &waiting?))
    }
}

/// What the summary line says; the template's alarms look at it by these names.
fn counts(tended: &Tended, looked: &Reconciled, waiting: &Overview) -> Counts {
    vec![
        ("made", tended.made),
        ("rooms_asked", tended.asked),
        ("looks_asked", looked.asked),
        ("given_up", tended.given_up + tended.set_aside + looked.given_up),
        ("events_waiting", tended.waiting),
        ("events_parked", tended.parked),
        ("sessions_overdue_seconds", tended.overdue_seconds),
        ("rooms_unasked_seconds", tended.unasked_seconds),
        ("payments_open_seconds", waiting.open_payment_seconds),
        ("refunds_open_seconds", waiting.open_refund_seconds),
        ("refunds_failed", waiting.failed_refunds),
    ]
}

fn configure(mut env: Env) -> Result<Reconcile, ConfigError> {
    let clock = env.clock();
    let (database, policy) = (Database::from_env(&mut env), session_policy(&mut env));
    env.finish(|| {
        Some(Reconcile {
            database: database?,
            policy: policy?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("reconcile", configure(Env::process())?).await
}
