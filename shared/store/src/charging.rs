//! Settling: one session at once, by what somebody just did, or batch after batch of what is due.

use crate::sessions::{self, Decision, Stored, Unsettled};
use domain::payment::Collects;
use domain::settlement::{Facts, Settlement, Verdict, settle};
use platform::clock::Clock;
use platform::config::Env;
use platform::database::{Database, DatabaseError};
use platform::ids::Ids;
use platform::invocation;
use serde_json::Value;
use std::time::Duration;

/// Sessions settled in one transaction: large enough to be set-based, small enough to hold locks briefly.
const BATCH: i64 = 2_000;
/// What a batch may take; none is begun with less time left.
const BATCH_BUDGET: Duration = Duration::from_secs(10);

/// Settles sessions by the platform's rules.
pub struct Charging {
    /// Where sessions are.
    pub database: Database,
    /// Who collects what is charged.
    pub collects: Collects,
    /// Ids of charges.
    pub ids: Ids,
    /// What is due.
    pub clock: Clock,
}

impl Charging {
    /// Reads what [`Database`] needs, and `COLLECTS`. The rules are those under which each session was sold.
    pub fn from_env(env: &mut Env) -> Option<Self> {
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
        stored: &Stored,
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
        let is_first = sessions::decide(&self.database, decision, by, self.collects, &self.ids, now).await?;
        Ok(is_first.then_some(*settlement))
    }

    /// Settles until nothing is due, oldest first, or until the invocation's time is up; returns how many sessions were
    /// looked at. A batch that fails is tried again with a quarter of it; the one session that then is left, and that the
    /// database refuses, is set aside.
    pub async fn run(&self) -> Result<u64, DatabaseError> {
        let (mut settled, mut most) = (0, BATCH);
        while invocation::remaining() > BATCH_BUDGET {
            let now = self.clock.now();
            let decide = |stored: &Stored| settle(&stored.session, &stored.facts, stored.status, now);
            let taken = Box::pin(sessions::settle_due(
                &self.database,
                decide,
                most,
                self.collects,
                &self.ids,
                now,
            ));
            match taken.await {
                Ok(taken) if taken < usize::try_from(most).unwrap_or(usize::MAX) => {
                    return Ok(settled + taken as u64);
                }
                Ok(taken) => settled += taken as u64,
                Err(Unsettled {
                    error: DatabaseError::Refused { .. },
                    first: Some(session),
                }) if most == 1 => sessions::set_aside(&self.database, session, now).await?,
                Err(Unsettled { error, .. }) if most == 1 => return Err(error),
                Err(Unsettled { error, .. }) => {
                    tracing::error!(%error, most, "a batch cannot be settled; trying a smaller one");
                    most = (most / 4).max(1);
                }
            }
        }
        Ok(settled)
    }
}
