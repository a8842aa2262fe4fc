//! Assigns or clears the learner of a booking.
//!
//! Rules: [student-assignment](../../../../shared/domain/RULES.md#student-assignment),
//! [guardian-link](../../../../shared/domain/RULES.md#guardian-link).

use domain::ids::{BookingId, ProfileId};
use domain::launch::booking::AssignmentRefusal;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::problem::Problem;
use serde::{Deserialize, Deserializer, Serialize};
use store::launch::bookings;

pub(crate) struct AssignStudent {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) clock: Clock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    /// The student, or null when the client learns. Must be given: an empty object is a mistake.
    #[serde(deserialize_with = "given")]
    student_id: Option<ProfileId>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ProfileId>, D::Error> {
    Option::deserialize(deserializer)
}

#[derive(Serialize)]
struct Assigned {
    id: BookingId,
    student_id: Option<ProfileId>,
}

impl Route for AssignStudent {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: BookingId = call.path_id("booking_id")?;
        let student = call.json::<Assignment>()?.student_id;

        let seen = bookings::seen_by(&self.database, id, person, student)
            .await?
            .ok_or_else(Problem::forbidden)?;

        // The update repeats what was read here in its condition, so a booking that changed in between is
        // refused.
        let now = self.clock.now();
        seen.booking
            .allow_assignment(person, student, seen.guards_other, now)
            .map_err(refused)?;

        let assigned = bookings::assign_student(&self.database, &seen.booking, student).await?;
        let student_id = assigned.ok_or_else(changed)?;
        Ok(Reply::ok(Assigned { id, student_id }))
    }
}

fn changed() -> Problem {
    let detail = "The booking has changed meanwhile. Look at it again.";
    Problem::new(StatusCode::CONFLICT, "booking-changed", detail)
}

fn refused(refusal: AssignmentRefusal) -> Problem {
    let (status, kind, detail) = match refusal {
        AssignmentRefusal::NotTheClient => (
            StatusCode::FORBIDDEN,
            "not-the-client",
            "Only the client of the booking assigns its student.",
        ),
        AssignmentRefusal::GuardianLinkRequired => (
            StatusCode::FORBIDDEN,
            "guardian-link-required",
            "You are not this student's guardian.",
        ),
        AssignmentRefusal::Started => (StatusCode::CONFLICT, "lesson-started", "The lesson has started."),
        AssignmentRefusal::Closed => (StatusCode::CONFLICT, "booking-closed", "This booking is closed."),
    };
    Problem::new(status, kind, detail)
}
