//! What LiveKit's webhooks do, and what it shows when it is asked. Its webhooks are sealed by our own key and are believed:
//! of what was, the vendor keeps nothing that could be asked for. It shows only who is there now.

use crate::{ApplyClassroomEvent, NOT_CONNECTED, side_of};
use domain::launch::classroom::Classroom;
use jobs::events::{event, whole};
use platform::batch::JobError;
use platform::invocation;
use platform::queue::Envelope;
use providers::livekit::{self, Told};
use store::prove::evidence::{self, About, Report, Room};

impl ApplyClassroomEvent {
    /// Enters what a webhook tells.
    pub(crate) async fn told_by_livekit(&self, envelope: Envelope<Told>) -> Result<(), JobError> {
        let told = envelope.payload.clone();
        let booking = told.booking;
        invocation::note("booking_id", booking);

        let whole = whole(&envelope)?;
        let event = event(
            livekit::NAME,
            &told.id,
            &told.kind,
            Some(booking),
            &envelope,
            &whole,
        );
        let now = self.clock.now();
        let known = evidence::load(
            &self.database,
            Some(&event),
            About::Booking(booking),
            envelope.id,
            now,
        )
        .await?;
        if known.is_settled {
            return Ok(());
        }

        match &known.room {
            Some(room) if room.classroom == Classroom::LiveKit => {
                let side = |person| side_of(room, person);
                let report = Report {
                    evidence: livekit::told(&told, &room.evidence, side),
                    ..Report::default()
                };
                let is_new = evidence::apply(&self.database, booking, Some(&event), &report, now).await?;
                tracing::info!(kind = event.kind, is_new, "event applied");
                Ok(())
            }
            Some(_) => {
                let why = "the lesson is held in another classroom";
                self.shelf().park(&event, why).await
            }
            // The room is made before it is saved, and the vendor is quick.
            None if known.booking.is_some() => {
                let why = "the room is not known yet";
                self.shelf().wait(&event, known.attempts, why).await
            }
            None => self.shelf().wait(&event, known.attempts, "no such booking").await,
        }
    }

    /// What the vendor shows now.
    pub(crate) async fn report_of_livekit(&self, room: &Room) -> Result<Report, JobError> {
        let livekit = self.livekit.as_ref().ok_or(NOT_CONNECTED)?;
        let asked_at = self.clock.now();

        let live = livekit.live_room(&room.id, asked_at).await?;
        let present = match live {
            Some(_) => livekit.present(&room.id, asked_at).await?,
            None => Vec::new(),
        };

        let known = (&room.evidence, room.has_reported);
        let side = |person| side_of(room, person);
        Ok(Report {
            evidence: livekit::seen(live.as_ref(), &present, known, asked_at, side),
            asked_at: Some(asked_at),
            ..Report::default()
        })
    }
}
