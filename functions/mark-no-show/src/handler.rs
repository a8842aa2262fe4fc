//! The tutor waited, the student did not come: half. Source: iTutor seed, "No-Show Resolution".

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

pub(crate) struct MarkNoShow {
    pub(crate) authenticator: Authenticator,
    pub(crate) charging: Charging,
}

impl Route for MarkNoShow {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;
        let stored = sessions::seen_by(&self.charging.database, id, person)
            .await?
            .ok_or_else(Problem::forbidden)?;
        if stored.session.tutor != person {
            let detail = "Only the tutor marks a no-show.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-the-tutor", detail));
        }
        let now = self.charging.clock.now();
        stored
            .session
            .allow_no_show(stored.status, &self.charging.policy, now)
            .map_err(refused)?;
        let facts = Facts {
            no_show_marked_at: Some(now),
            ..stored.facts
        };
        match self.charging.conclude(&stored, facts).await? {
            Some(settlement) => Ok(Reply::ok(settlement)),
            None => Err(self.overtaken(id, person).await?),
        }
    }
}

impl MarkNoShow {
    /// Why the mark does not count: the session has an outcome by now, or what the platform says of its booking, which
    /// may be that it was called off, is still to be followed.
    async fn overtaken(&self, id: Uuid, person: ProfileId) -> Result<Problem, Problem> {
        let stored = sessions::seen_by(&self.charging.database, id, person).await?;
        let is_settled = stored.is_some_and(|stored| stored.status.is_final());
        Ok(if is_settled {
            settled()
        } else {
            let detail = "The booking is being changed. Please try again.";
            Problem::unavailable("booking-changing", detail, 60)
        })
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
        SessionRefusal::TooEarly(from) => Problem::new(
            StatusCode::CONFLICT,
            "no-show-too-early",
            "The student may still come.",
        )
        .with_time("no_show_from", from),
        SessionRefusal::TooLate => {
            Problem::new(StatusCode::CONFLICT, "no-show-too-late", "The session is over.")
        }
        SessionRefusal::Settled(status) => settled().with("outcome", status.word()),
    }
}
