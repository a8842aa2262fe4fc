//! The student came after all, and the tutor takes the mark back. That is possible until the planned end,
//! when the money would move.
//!
//! Rules: [no-show-withdrawal](../../../../shared/domain/RULES.md#no-show-withdrawal).

use domain::ids::ProfileId;
use jobs::refusals;
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

        let (session, now) = (&stored.session, self.clock.now());
        session
            .allow_tutor(person)
            .and_then(|()| session.allow_withdrawal(stored.status, now))
            .map_err(refusals::of_session)?;

        let by = json!({"by": "tutor", "person": person});
        if sessions::withdraw_no_show(&self.database, id, &by, now).await? {
            Ok(Reply::ok(json!({"session_id": id, "status": stored.status})))
        } else {
            Err(refusals::settled_meanwhile())
        }
    }
}
