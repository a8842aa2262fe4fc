//! The tutor marks that the student did not come, after having waited. By default that costs half. The mark
//! shows at once, but its money moves only at the planned end, so that a mark which is taken back has cost
//! nobody anything.
//!
//! Rules: [no-show-mark](../../../../shared/domain/RULES.md#no-show-mark),
//! [no-show-contradiction](../../../../shared/domain/RULES.md#no-show-contradiction).

use domain::charge::session::SessionRefusal;
use domain::charge::settlement::{Facts, Settlement, contradicts_mark, foresee};
use domain::ids::ProfileId;
use jiff::Timestamp;
use jobs::refusals;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::problem::Problem;
use serde::Serialize;
use serde_json::json;
use store::charge::sessions::{self, StoredSession};
use uuid::Uuid;

pub(crate) struct MarkNoShow {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) clock: Clock,
}

#[derive(Serialize)]
struct Answer {
    /// What the session comes to, unless the mark is taken back or something else becomes known.
    #[serde(flatten)]
    outcome: Settlement,
    /// When its money moves, until when the mark can be taken back.
    settles_at: Timestamp,
}

impl Route for MarkNoShow {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;

        let stored = sessions::seen_by(&self.database, id, person)
            .await?
            .ok_or_else(Problem::forbidden)?;
        stored.session.allow_tutor(person).map_err(refusals::of_session)?;

        let now = self.clock.now();
        // A call that is repeated because its answer was lost finds its own mark.
        if stored.facts.no_show_marked_at.is_none() {
            allow(&stored, now).map_err(refusals::of_session)?;
        }

        let by = json!({"by": "tutor", "person": person});
        match sessions::mark_no_show(&self.database, &stored, &by, now).await? {
            Some(marked_at) => Ok(Reply::ok(answer(&stored, marked_at, now))),
            None => Err(self.overtaken(id, person).await?),
        }
    }
}

impl MarkNoShow {
    /// Why the mark does not count: the session has an outcome by now, or what the platform says of its booking, which
    /// may be that it was called off, is still to be followed.
    async fn overtaken(&self, id: Uuid, person: ProfileId) -> Result<Problem, Problem> {
        let stored = sessions::seen_by(&self.database, id, person).await?;
        let outcome = stored
            .map(|stored| stored.status)
            .filter(|status| status.is_final());
        Ok(outcome.map_or_else(
            || {
                let detail = "The booking is being changed. Please try again.";
                Problem::unavailable("booking-changing", detail, 60)
            },
            |status| refusals::of_session(SessionRefusal::Settled(status)),
        ))
    }
}

fn allow(stored: &StoredSession, now: Timestamp) -> Result<(), SessionRefusal> {
    stored.session.allow_no_show(stored.status, now)?;
    // Evidence that was there before the mark counts against it, as later evidence would.
    if contradicts_mark(&stored.session, &stored.facts, now) {
        return Err(SessionRefusal::Contradicted);
    }
    Ok(())
}

fn answer(stored: &StoredSession, marked_at: Timestamp, now: Timestamp) -> Answer {
    let facts = Facts {
        no_show_marked_at: Some(marked_at),
        ..stored.facts.clone()
    };
    Answer {
        outcome: foresee(&stored.session, &facts, now),
        settles_at: stored.session.charge_scheduled_at(),
    }
}
