//! Settling: one session at once, by what somebody just did, or batch after batch of what is due.

use crate::messages::LookAtTab;
use domain::charge::payment::Collects;
use domain::charge::settlement::{Facts, Settlement, Verdict, settle};
use platform::clock::Clock;
use platform::config::Env;
use platform::database::{Database, DatabaseError};
use platform::ids::Ids;
use platform::invocation;
use serde_json::Value;
use std::time::Duration;
use store::charge::sessions::StoredSession;
use store::charge::settling::{self, Decision, FailedBatch};

/// How many sessions one transaction settles: enough for one statement to do much, and few enough to hold
/// locks only briefly.
const BATCH: i64 = 2_000;

/// How long one batch may take; none is begun with less time left.
const BATCH_BUDGET: Duration = Duration::from_secs(10);

/// Settles sessions by the platform's rules.
pub struct Settling {
    /// Holds the sessions, and the books that settling writes.
    pub database: Database,
    /// Whether we collect what is charged, or the platform does.
    pub collects: Collects,
    /// Makes the ids of charges, ledger entries and jobs.
    pub ids: Ids,
    /// Tells which sessions are due.
    pub clock: Clock,
}

impl Settling {
    /// Reads what [`Database::from_env`] needs, and `COLLECTS`. The rules are not read here: each session
    /// keeps those under which it was sold.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
        let (clock, database) = (env.clock(), Database::from_env(env));
        let collects = env.or("COLLECTS", Collects::default());
        Some(Self {
            database: database?,
            collects: collects?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    }

    /// Settles one session at once, by facts that settle at once; `None` if it has an outcome by now.
    pub async fn conclude(
        &self,
        stored: &StoredSession,
        facts: &Facts,
        by: &Value,
    ) -> Result<Option<Settlement>, DatabaseError> {
        let now = self.clock.now();
        let Verdict::Decided(settlement) = settle(&stored.session, facts, stored.status, now) else {
            return Ok(None);
        };

        let decision = Decision {
            stored,
            settlement: (*settlement).clone(),
        };
        let is_first = settling::decide(
            &self.database,
            decision,
            by,
            self.collects,
            &LookAtTab::draft(&self.ids, now),
            &self.ids,
            now,
        )
        .await?;

        Ok(is_first.then_some(*settlement))
    }

    /// Settles until nothing is due, oldest first, or until the invocation's time is up; returns how many sessions were
    /// looked at. A batch that fails is tried again with a quarter of it; the one session that then is left, and that the
    /// database refuses, is set aside.
    pub async fn run(&self) -> Result<u64, DatabaseError> {
        let (mut settled, mut most) = (0, BATCH);

        while invocation::remaining() > BATCH_BUDGET {
            let now = self.clock.now();
            let look = LookAtTab::draft(&self.ids, now);
            let decide = |stored: &StoredSession| settle(&stored.session, &stored.facts, stored.status, now);

            // Boxed, so that a run's own future does not grow by a whole batch.
            let taken = Box::pin(settling::settle_due(
                &self.database,
                decide,
                most,
                self.collects,
                &look,
                &self.ids,
                now,
            ));

            match taken.await {
                // Fewer than asked for means that nothing else is due.
                Ok(taken) if taken < usize::try_from(most).unwrap_or(usize::MAX) => {
                    return Ok(settled + taken as u64);
                }
                Ok(taken) => settled += taken as u64,
                // One session alone is left, and the database refuses it: it is set aside, so that it does
                // not hold up the others.
                Err(FailedBatch {
                    error: DatabaseError::Refused { .. },
                    first: Some(session),
                }) if most == 1 => {
                    settling::set_aside(&self.database, session, &look, now).await?;
                    most = BATCH;
                }
                Err(FailedBatch { error, .. }) if most == 1 => return Err(error),
                Err(FailedBatch { error, .. }) => {
                    tracing::error!(%error, most, "a batch cannot be settled; trying a smaller one");
                    most = (most / 4).max(1);
                }
            }
        }

        Ok(settled)
    }
}
