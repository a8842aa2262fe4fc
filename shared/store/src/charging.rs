//! Settling: one session at once, by what somebody just did, or batch after batch of what is due.

use crate::policy::session_policy;
use crate::sessions::{self, Decision, Stored};
use domain::payment::Collects;
use domain::session::SessionPolicy;
use domain::settlement::{Facts, Settlement, resettle, settle};
use platform::clock::Clock;
use platform::config::Env;
use platform::database::{Database, DatabaseError};
use platform::ids::Ids;
use platform::invocation;
use std::time::Duration;

/// Sessions settled in one transaction: large enough to be set-based, small enough to hold locks briefly.
const BATCH: i64 = 2_000;
/// What a batch may take; none is begun with less time left.
const BATCH_BUDGET: Duration = Duration::from_secs(10);

/// Settles sessions by the platform's rules.
pub struct Charging {
    /// Where sessions are.
    pub database: Database,
    /// The platform's rules.
    pub policy: SessionPolicy,
    /// Who collects what is charged.
    pub collects: Collects,
    /// Ids of charges.
    pub ids: Ids,
    /// What is due.
    pub clock: Clock,
}

impl Charging {
    /// Reads what [`Database`] and [`session_policy`] need, and `COLLECTS`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (clock, database, policy) = (env.clock(), Database::from_env(env), session_policy(env));
        let collects = env.or("COLLECTS", Collects::default());
        Some(Self {
            database: database?,
            policy: policy?,
            collects: collects?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    }

    /// Settles one session at once, by facts that settle at once; `None` if it has an outcome by now.
    pub async fn conclude(&self, stored: &Stored, facts: Facts) -> Result<Option<Settlement>, DatabaseError> {
        let now = self.clock.now();
        let Some(settlement) = settle(&stored.session, &facts, &self.policy, now) else {
            return Ok(None);
        };
        let decision = Decision {
            stored,
            settlement: settlement.clone(),
        };
        let is_first = sessions::decide(&self.database, decision, self.collects, &self.ids, now).await?;
        Ok(is_first.then_some(settlement))
    }

    /// Settles until nothing is due, oldest first, or until the invocation's time is up; returns how many
    /// sessions were looked at.
    pub async fn run(&self) -> Result<u64, DatabaseError> {
        let mut settled = 0;
        while invocation::remaining() > BATCH_BUDGET {
            let now = self.clock.now();
            let decide = |stored: &Stored| -> Option<Settlement> {
                resettle(&stored.session, &stored.facts, stored.status, &self.policy, now)
            };
            let taken = Box::pin(sessions::settle_due(
                &self.database,
                decide,
                BATCH,
                self.collects,
                &self.ids,
                now,
            ))
            .await?;
            settled += taken as u64;
            if taken < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(settled)
    }
}
