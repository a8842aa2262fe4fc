//! The student came after all, and the tutor takes the mark back. That is possible until the planned end,
//! when the money would move.
//!
//! Rules: [no-show-withdrawal](../../../../shared/domain/RULES.md#no-show-withdrawal).

use domain::charge::session::SessionRefusal;
use domain::ids::ProfileId;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::problem::Problem;
use serde_json::json;
use store::charge::sessions;
use uuid::Uuid;

pub(crate) struct WithdrawNoShow {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) clock: Clock,
}

impl Route for WithdrawNoShow {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;
        let stored = sessions::seen_by(&self.database, id, person)
            .await?
            .ok_or_else(Problem::forbidden)?;
        if stored.session.tutor != person {
            let detail = "Only the tutor takes a mark back.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-the-tutor", detail));
        }

        let now = self.clock.now();
        stored
            .session
            .allow_withdrawal(stored.status, now)
            .map_err(refused)?;

        let by = json!({"by": "tutor", "person": person});
        if sessions::withdraw_no_show(&self.database, id, &by, now).await? {
            Ok(Reply::ok(json!({"session_id": id, "status": stored.status})))
        } else {
            Err(settled())
        }
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
        SessionRefusal::TooLate | SessionRefusal::TooEarly(_) | SessionRefusal::Contradicted => {
            Problem::new(StatusCode::CONFLICT, "no-show-too-late", "The session is over.")
        }
    }
}
