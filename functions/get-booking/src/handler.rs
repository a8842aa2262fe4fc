//! The booking card. Source: Lessonspace seed v5.2, section 5.1.

use domain::booking::JoinState;
use domain::ids::{BookingId, ProfileId};
use domain::people::Role;
use domain::window::JoinPolicy;
use jiff::Timestamp;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::blobs::Bucket;
use platform::clock::Clock;
use platform::database::Database;
use platform::problem::Problem;
use serde::Serialize;
use std::time::Duration;
use store::bookings::{self, Seen};

/// How long a link to a snapshot works.
const LINK_LASTS: Duration = Duration::from_mins(5);

pub(crate) struct GetBooking {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) artifacts: Bucket,
    pub(crate) policy: JoinPolicy,
    pub(crate) clock: Clock,
}

#[derive(Serialize)]
struct Card {
    id: BookingId,
    role: Role,
    join_state: JoinState,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    opens_at: Option<Timestamp>,
    closes_at: Option<Timestamp>,
    client_id: ProfileId,
    tutor_id: ProfileId,
    student_id: Option<ProfileId>,
    meeting_started_at: Option<Timestamp>,
    meeting_ended_at: Option<Timestamp>,
    duration_actual_seconds: Option<i32>,
    /// Whether `GET /api/bookings/{id}/recording` has something to give.
    recording_available: bool,
    artifacts: Artifacts,
}

#[derive(Serialize)]
struct Artifacts {
    /// A link that works for some minutes.
    whiteboard_snapshot_url: Option<String>,
}

impl Route for GetBooking {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: BookingId = call.path_id("booking_id")?;
        let seen = bookings::seen_by(&self.database, id, person, None).await?;
        let seen = seen.ok_or_else(Problem::forbidden)?;
        let join_state = seen.booking.join_state(self.policy, self.clock.now());
        let join_state = join_state.ok_or_else(Problem::unknown_status)?;
        let artifacts = self.artifacts_of(&seen).await;
        Ok(Reply::ok(self.card(&seen, join_state, artifacts)))
    }
}

impl GetBooking {
    fn card(&self, seen: &Seen, join_state: JoinState, artifacts: Artifacts) -> Card {
        let booking = &seen.booking;
        let window = booking.window(self.policy);
        Card {
            id: booking.id,
            role: seen.role,
            join_state,
            starts_at: booking.schedule.map(|schedule| schedule.starts_at()),
            ends_at: booking.schedule.map(|schedule| schedule.ends_at()),
            opens_at: window.map(|window| window.opens_at),
            closes_at: window.map(|window| window.closes_at),
            client_id: booking.parties.client,
            tutor_id: booking.parties.tutor,
            student_id: booking.parties.student,
            meeting_started_at: booking.proof.started_at,
            meeting_ended_at: booking.proof.ended_at,
            duration_actual_seconds: booking.proof.duration_seconds,
            recording_available: booking.proof.recording_url.is_some(),
            artifacts,
        }
    }

    /// A card without a link is better than none: trouble with links is not the caller's.
    async fn artifacts_of(&self, seen: &Seen) -> Artifacts {
        let stored = seen
            .artifacts
            .get("whiteboard_snapshot_url")
            .and_then(|url| url.as_str());
        let own = format!("s3://{}/", self.artifacts.name());
        let whiteboard_snapshot_url = match stored.and_then(|url| url.strip_prefix(&own)) {
            Some(key) => self.artifacts.link(key, LINK_LASTS).await.ok(),
            None => None,
        };
        Artifacts {
            whiteboard_snapshot_url,
        }
    }
}
