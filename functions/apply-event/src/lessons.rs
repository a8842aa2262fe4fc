//! Events about lessons: ask the vendor what it saw, merge that into the booking and its session.

use crate::{ApplyEvent, event, whole};
use domain::evidence::Evidence;
use domain::ids::RoomId;
use platform::batch::JobError;
use platform::invocation;
use platform::queue::Envelope;
use providers::lessonspace::{self, Delivery, Kind};
use store::events::Event;
use store::lessons;

impl ApplyEvent {
    pub(crate) async fn lesson(&self, envelope: Envelope<Delivery>) -> Result<(), JobError> {
        let whole = whole(&envelope)?;
        let (delivery, id) = (&envelope.payload, envelope.payload.event_id());
        invocation::note("booking_id", delivery.booking);
        let kind = delivery.headers.event.as_deref().unwrap_or("unnamed");
        let booking = delivery.booking;
        let event = event(lessonspace::NAME, &id, kind, Some(booking), &envelope, &whole);
        let known = lessons::load(&self.database, &event, booking).await?;
        if known.is_settled {
            return Ok(());
        }
        match &known.room {
            Some(room) => self.merge(&event, delivery, room).await,
            None if known.booking_exists => {
                self.wait(&event, known.attempts, "the room is not known yet")
                    .await
            }
            None => self.wait(&event, known.attempts, "no such booking").await,
        }
    }

    async fn merge(&self, event: &Event<'_>, delivery: &Delivery, room: &RoomId) -> Result<(), JobError> {
        let Some(kind) = delivery.kind(room) else {
            // Signed for this booking and about another room: nothing that time would mend.
            return self.park(event, "the event is about another room").await;
        };
        let evidence = self.evidence(kind, room).await?;
        let is_new = lessons::apply(&self.database, event, &evidence, self.clock.now()).await?;
        tracing::info!(kind = event.kind, is_new, "event applied");
        Ok(())
    }

    /// What the vendor itself says of the room, whatever the event says.
    async fn evidence(&self, kind: Kind, room: &RoomId) -> Result<Evidence, JobError> {
        if kind == Kind::Other {
            return Ok(Evidence::default());
        }
        let sessions = self.lessonspace.sessions(room).await?;
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
}
