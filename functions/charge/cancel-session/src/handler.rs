//! The client or the tutor calls a lesson off, before it starts and before the two have met. Nothing is
//! charged, and nobody can join any more.
//!
//! Rules: [cancellation](../../../../shared/domain/RULES.md#cancellation).

use domain::charge::session::SessionStatus;
use domain::charge::settlement::{Facts, foresee, have_met};
use domain::ids::ProfileId;
use jobs::refusals;
use jobs::settling::Settling;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::problem::Problem;
use serde_json::json;
use store::charge::sessions;
use uuid::Uuid;

pub(crate) struct CancelSession {
    pub(crate) authenticator: Authenticator,
    pub(crate) settling: Settling,
}

impl Route for CancelSession {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;

        let stored = sessions::seen_by(&self.settling.database, id, person)
            .await?
            .ok_or_else(Problem::forbidden)?;

        // A call that is repeated because its answer was lost finds its own work done.
        if stored.status == SessionStatus::Cancelled {
            let outcome = foresee(&stored.session, &stored.facts, self.settling.clock.now());
            return Ok(Reply::ok(outcome));
        }

        let now = self.settling.clock.now();
        let have_met = have_met(&stored.session, &stored.facts);
        stored
            .session
            .allow_cancel(stored.status, have_met, now)
            .map_err(refusals::of_session)?;
        let facts = Facts {
            cancelled_at: Some(now),
            ..stored.facts.clone()
        };

        let role = if person == stored.session.tutor {
            "tutor"
        } else {
            "client"
        };
        let by = json!({"by": role, "person": person});

        let settlement = self.settling.conclude(&stored, &facts, &by).await?;
        settlement.map(Reply::ok).ok_or_else(refusals::settled_meanwhile)
    }
}
