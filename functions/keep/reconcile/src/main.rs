//! `reconcile`: sees to it that nothing waits for ever. It makes the sessions of bookings for which nobody
//! calls. It has providers asked about rooms, payments and refunds of which no webhook has told the end, by
//! the same jobs that a webhook causes. It counts what is late for the operator. Scheduled each minute; any
//! number may run at once.

use domain::charge::session::SessionPolicy;
use domain::launch::classroom::Classroom;
use jobs::messages::{AskProvider, GiveBack, LookAtTab};
use jobs::policy::{classroom, session_policy};
use platform::clock::Clock;
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use platform::schedule::{self, Counts, Scheduled};
use store::keep::overdue::{self, Overview, Reconciled};
use store::keep::tending::{self, TendingReport};

/// How many of each kind one run takes; the next run takes what is left.
const MOST: i64 = 1_000;

struct Reconcile {
    database: Database,
    policy: SessionPolicy,
    classroom: Classroom,
    ids: Ids,
    clock: Clock,
}

impl Scheduled for Reconcile {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        let now = self.clock.now();

        let tended = tending::tend(
            &self.database,
            self.classroom,
            &self.policy,
            MOST,
            &AskProvider::draft(&self.ids, now),
            now,
        )
        .await;
        let (look, give_back) = (LookAtTab::draft(&self.ids, now), GiveBack::draft(&self.ids, now));
        let looked = overdue::reconcile(&self.database, MOST, &look, &give_back, now).await;
        let waiting = overdue::overview(&self.database, now).await;

        // Only now: what fails of lessons must not stop the money, nor the reverse.
        Ok(counts(&tended?, &looked?, &waiting?))
    }
}

/// The figures of the summary line. The template's alarms read them by these names, so a name changes in both
/// places.
fn counts(tended: &TendingReport, looked: &Reconciled, waiting: &Overview) -> Counts {
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
    // Read before any `?`, so that one failed start names everything that is missing.
    let (database, policy) = (Database::from_env(&mut env), session_policy(&mut env));
    let classroom = classroom(&mut env);

    env.finish(|| {
        Some(Reconcile {
            database: database?,
            policy: policy?,
            classroom: classroom?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("reconcile", configure(Env::process())?).await
}
