//! Applies a provider's event, which the door has verified, to its booking: ask the vendor, merge. May run any number of times
//! for the same event, in any order and side by side; the end state is the same.

use domain::evidence::Evidence;
use domain::ids::RoomId;
use jiff::{SignedDuration, Timestamp};
use platform::batch::{Job, JobError};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::outbox::Message;
use platform::queue::Envelope;
use providers::error::VendorError;
use providers::lessonspace::{self, Delivery, Kind, Lessonspace};
use serde_json::Value;
use store::lessons::{self, Event, Known};

/// An event whose booking or room is not there yet is tried again after 1, 2, 4, … minutes, in all for
/// about eight and a half hours; then it is parked for a person.
const MOST_ATTEMPTS: i32 = 9;

pub(crate) struct ApplyEvent {
    pub(crate) database: Database,
    pub(crate) lessonspace: Lessonspace,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

impl Job for ApplyEvent {
    type Message = Envelope<Delivery>;

    async fn run(&self, envelope: Envelope<Delivery>) -> Result<(), JobError> {
        let whole = serde_json::to_value(&envelope).map_err(|_| JobError::Permanent("not JSON"))?;
        let (delivery, id) = (&envelope.payload, envelope.payload.event_id());
        invocation::note("booking_id", delivery.booking);
        let event = Event {
            provider: lessonspace::NAME,
            id: &id,
            kind: delivery.headers.event.as_deref().unwrap_or("unnamed"),
            booking: delivery.booking,
            received_at: envelope.occurred_at,
            envelope: &whole,
        };
        let known = lessons::load(&self.database, &event).await?;
        if known.is_settled {
            return Ok(());
        }
        match &known.room {
            Some(room) => self.apply(&event, delivery, room).await,
            None => self.wait(&event, &known).await,
        }
    }
}

impl ApplyEvent {
    async fn apply(&self, event: &Event<'_>, delivery: &Delivery, room: &RoomId) -> Result<(), JobError> {
        let now = self.clock.now();
        let Some(kind) = delivery.kind(room) else {
            // Signed for this booking and about another room: nothing that time would mend.
            tracing::warn!("the event is about another room");
            let reason = "the event is about another room";
            return Ok(lessons::postpone(&self.database, event, reason, None, now).await?);
        };
        let evidence = self.evidence(kind, room).await?;
        let is_new = lessons::apply(&self.database, event, &evidence, now).await?;
        tracing::info!(kind = event.kind, is_new, "event applied");
        Ok(())
    }

    /// What the vendor itself says of the room, whatever the event says.
    async fn evidence(&self, kind: Kind, room: &RoomId) -> Result<Evidence, JobError> {
        if kind == Kind::Other {
            return Ok(Evidence::default());
        }
        let sessions = self.lessonspace.sessions(room).await.map_err(vendor_error)?;
        let evidence = Evidence::from_sessions(&sessions);
        let is_listed = if kind == Kind::SessionEnd {
            evidence.ended_at.is_some()
        } else {
            evidence.has_begun()
        };
        is_listed
            .then_some(evidence)
            .ok_or(JobError::Transient("the vendor does not list the session yet"))
    }

    /// Keeps an event that came before its room: the launch that opens it may still be saving it.
    async fn wait(&self, event: &Event<'_>, known: &Known) -> Result<(), JobError> {
        let reason = if known.booking_exists {
            "the room is not known yet"
        } else {
            "no such booking"
        };
        let now = self.clock.now();
        let again = (known.attempts < MOST_ATTEMPTS).then(|| self.again(event.envelope, known.attempts, now));
        tracing::warn!(
            reason,
            attempts = known.attempts,
            is_parked = again.is_none(),
            "event matches nothing"
        );
        Ok(lessons::postpone(&self.database, event, reason, again.as_ref(), now).await?)
    }

    fn again(&self, envelope: &Value, attempts: i32, now: Timestamp) -> Message {
        let minutes = 1_i64 << attempts.clamp(0, MOST_ATTEMPTS);
        let due_at = now
            .saturating_add(SignedDuration::from_mins(minutes))
            .unwrap_or(Timestamp::MAX);
        Message {
            id: self.ids.next(),
            queue: "provider-events",
            envelope: envelope.clone(),
            due_at,
        }
    }
}

fn vendor_error(error: VendorError) -> JobError {
    tracing::warn!(%error, "session list");
    match error {
        VendorError::Transient { .. } | VendorError::NotFound => {
            JobError::Transient("the vendor does not answer")
        }
        // Our key or our organisation is wrong: an operator mends that, and the event must survive until then.
        VendorError::Permanent { .. } => JobError::Transient("the vendor refuses us"),
    }
}
