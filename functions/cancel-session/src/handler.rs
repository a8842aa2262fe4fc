//! Called off by client or tutor before the start: nothing is charged, and nobody joins any more. Source:
//! product page, "HTTP API".

use domain::ids::ProfileId;
use domain::session::SessionRefusal;
use domain::settlement::Facts;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::problem::Problem;
use store::charging::Charging;
use store::sessions;
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
        let now = self.charging.clock.now();
        stored.session.allow_cancel(stored.status, now).map_err(refused)?;
        let facts = Facts {
            cancelled_at: Some(now),
            ..stored.facts
        };
        let settlement = self
            .charging
            .conclude(&stored, facts)
            .await?
            .ok_or_else(settled)?;
        Ok(Reply::ok(settlement))
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
        SessionRefusal::TooEarly(_) | SessionRefusal::TooLate => Problem::new(
            StatusCode::CONFLICT,
            "session-started",
            "The session has started.",
        ),
    }
}
