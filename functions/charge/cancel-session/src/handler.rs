//! The client or the tutor calls a lesson off, before it starts and before the two have met. Nothing is
//! charged, and nobody can join any more.
//!
//! Rules: [cancellation](../../../../shared/domain/RULES.md#cancellation).

use domain::charge::session::{SessionRefusal, SessionStatus};
use domain::charge::settlement::{Facts, foresee, have_met};
use domain::ids::ProfileId;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::problem::Problem;
use serde_json::json;
use store::charge::charging::Charging;
use store::charge::sessions;
use uuid::Uuid;

pub(crate) struct CancelSession {
    pub(crate) authenticator: Authenticator,
    pub(crate) charging: Charging,
}

impl Route for CancelSession {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;

        let stored = sessions::seen_by(&self.charging.database, id, person)
            .await?
            .ok_or_else(Problem::forbidden)?;

        // A call that is repeated because its answer was lost finds its own work done.
        if stored.status == SessionStatus::Cancelled {
            let outcome = foresee(&stored.session, &stored.facts, self.charging.clock.now());
            return Ok(Reply::ok(outcome));
        }

        let now = self.charging.clock.now();
        let have_met = have_met(&stored.session, &stored.facts);
        stored
            .session
            .allow_cancel(stored.status, have_met, now)
            .map_err(refused)?;
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

        let settlement = self.charging.conclude(&stored, &facts, &by).await?;
        settlement.map(Reply::ok).ok_or_else(settled)
    }
}

fn settled() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "session-settled",
        "The session has an outcome already.",
    )
}

fn refused(refusal: SessionRefusal) -> Problem {
    match refusal {
        SessionRefusal::Settled(status) => settled().with("outcome", status.word()),
        SessionRefusal::TooEarly(_) | SessionRefusal::TooLate | SessionRefusal::Contradicted => Problem::new(
            StatusCode::CONFLICT,
            "session-started",
            "The session has started.",
        ),
    }
}
