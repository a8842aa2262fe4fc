//! A short-lived link to the recording, for people on the booking only.

use domain::ids::{BookingId, ProfileId};
use domain::launch::classroom::Classroom;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::database::Database;
use platform::outbound::VendorError;
use platform::problem::Problem;
use providers::lessonspace::Lessonspace;
use serde::Serialize;
use store::launch::bookings;

/// For how long Lessonspace's links work; see its README.
const LINK_LASTS_SECONDS: u32 = 3 * 60 * 60;

pub(crate) struct GetRecording {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) lessonspace: Lessonspace,
}

#[derive(Serialize)]
struct Answer {
    url: String,
    /// How long the link works at the most; ask again afterwards.
    expires_in_seconds: u32,
    duration_actual_seconds: Option<i32>,
}

impl Route for GetRecording {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: BookingId = call.path_id("booking_id")?;
        let seen = bookings::seen_by(&self.database, id, person, None)
            .await?
            .ok_or_else(Problem::forbidden)?;

        let (proof, classroom) = (seen.booking.proof, seen.booking.classroom);
        let stored = proof.recording_url.ok_or_else(not_ready)?;
        let url = match classroom.ok_or_else(not_ready)? {
            Classroom::Lessonspace => self.lessonspace.recording(&stored).await,
            // Nothing is recorded there so far.
            Classroom::LiveKit | Classroom::PencilSpaces => Err(VendorError::NotFound),
        };
        let url = url.map_err(vendor_problem)?;

        Ok(Reply::ok(Answer {
            url: url.into(),
            expires_in_seconds: LINK_LASTS_SECONDS,
            duration_actual_seconds: proof.duration_seconds,
        }))
    }
}

fn not_ready() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "recording-not-ready",
        "There is no recording of this lesson (yet).",
    )
}

fn vendor_problem(error: VendorError) -> Problem {
    if error == VendorError::NotFound {
        return not_ready();
    }
    tracing::error!(%error, "recording");
    Problem::unavailable(
        "provider-unavailable",
        "The recording is not reachable right now.",
        5,
    )
}
