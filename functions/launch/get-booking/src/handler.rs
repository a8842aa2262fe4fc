//! The booking card.
//!
//! Rules: [who-may-see](../../../../shared/domain/RULES.md#who-may-see),
//! [join-state](../../../../shared/domain/RULES.md#join-state).

use domain::ids::{BookingId, ProfileId};
use domain::launch::booking::JoinState;
use domain::launch::window::JoinPolicy;
use domain::people::Role;
use jiff::Timestamp;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::blobs::Bucket;
use platform::clock::Clock;
use platform::database::Database;
use platform::problem::Problem;
use serde::Serialize;
use std::time::Duration;
use store::launch::bookings::{self, VisibleBooking};

/// How long a link to a whiteboard snapshot works.
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
    /// A link that works for five minutes; null if there is no snapshot.
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
    fn card(&self, seen: &VisibleBooking, join_state: JoinState, artifacts: Artifacts) -> Card {
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

    /// The links on the card. A card without one is better than no card, so trouble with making a link is not
    /// reported.
    async fn artifacts_of(&self, seen: &VisibleBooking) -> Artifacts {
        let stored = seen
            .artifacts
            .get("whiteboard_snapshot_url")
            .and_then(|url| url.as_str());

        let own = format!("s3://{}/", self.artifacts.name());
        // Only an object of our own bucket gets a link; anything else that stands there is not ours to share.
        let whiteboard_snapshot_url = match stored.and_then(|url| url.strip_prefix(&own)) {
            Some(key) => self.artifacts.link(key, LINK_LASTS).await.ok(),
            None => None,
        };

        Artifacts {
            whiteboard_snapshot_url,
        }
    }
}
