//! What the webhooks of Pencil Spaces do, and what it has counted when it is asked. Its webhooks name a space, and the booking
//! is the one whose space that is. Who came and left is taken from them; the counts fill in what none told.

use crate::{ApplyClassroomEvent, NOT_CONNECTED};
use domain::ids::BookingId;
use domain::launch::classroom::Classroom;
use domain::prove::evidence::{Evidence, Side};
use jiff::{SignedDuration, Timestamp};
use jobs::events::{event, whole};
use platform::batch::JobError;
use platform::invocation;
use platform::outbound::VendorError;
use platform::queue::Envelope;
use providers::pencilspaces::{self, PencilSpaces, Told, What};
use std::collections::BTreeSet;
use store::prove::evidence::{self, About, Report, Room};
use store::prove::inbox::Event;

/// A lesson may still go on for so long after its planned end.
const STILL_GOING_ON: SignedDuration = SignedDuration::from_mins(5);
/// For so long after a lesson the vendor may still be counting it.
const COUNTS_FOR: SignedDuration = SignedDuration::from_hours(1);

impl ApplyClassroomEvent {
    /// Enters what a webhook tells, or asks for what it says can be asked for.
    pub(crate) async fn told_by_pencilspaces(&self, envelope: Envelope<Told>) -> Result<(), JobError> {
        let told = envelope.payload.clone();
        let whole = whole(&envelope)?;
        let event = event(pencilspaces::NAME, &told.id, &told.kind, None, &envelope, &whole);

        let (about, now) = (
            About::Room(Classroom::PencilSpaces, &told.space),
            self.clock.now(),
        );
        let known = evidence::load(&self.database, Some(&event), about, envelope.id, now).await?;
        if known.is_settled {
            return Ok(());
        }

        let Some((booking, room)) = known.booking.zip(known.room.as_ref()) else {
            return self.about_no_room(&told, &event, known.attempts).await;
        };
        invocation::note("booking_id", booking);
        let event = Event {
            booking: Some(booking),
            ..event
        };

        let report = match told.what {
            What::Analysed => self.report_of_pencilspaces(room, told.session.as_deref()).await?,
            What::Came | What::Left | What::Active | What::Other => {
                let side = self.side_in(room, &told).await?;
                Report {
                    evidence: pencilspaces::told(&told, side),
                    ..Report::default()
                }
            }
        };
        let is_new = evidence::apply(&self.database, booking, Some(&event), &report, now).await?;
        tracing::info!(kind = event.kind, is_new, "event applied");
        Ok(())
    }

    /// The side of whom an event is about. Whoever owns the space is there to look after it; anybody else whom no launch of
    /// ours let in is not known.
    async fn side_in(&self, room: &Room, told: &Told) -> Result<Option<Side>, JobError> {
        let Some((user, _)) = &told.who else {
            return Ok(None);
        };
        if let Some(side) = room.evidence.people.get(user) {
            return Ok(Some(*side));
        }

        let vendor = self.pencilspaces.as_ref().ok_or(NOT_CONNECTED)?;
        let space = vendor.space(&room.id).await?;
        let is_owner = space.owner_id.as_ref() == Some(user);
        Ok(is_owner.then_some(Side::Nobody))
    }

    /// A space whose room is no booking's. If it was made by us it is still to be saved; the institution has others, too,
    /// whose events are nothing of ours.
    async fn about_no_room(&self, told: &Told, event: &Event<'_>, attempts: i32) -> Result<(), JobError> {
        let vendor = self.pencilspaces.as_ref().ok_or(NOT_CONNECTED)?;
        let is_ours = match vendor.space(&told.space).await {
            Ok(space) => space
                .external_id
                .is_some_and(|id| id.parse::<BookingId>().is_ok()),
            Err(VendorError::NotFound) => false,
            Err(error) => return Err(error.into()),
        };

        if is_ours {
            let why = "the room is not known yet";
            return self.shelf().wait(event, attempts, why).await;
        }
        tracing::info!("an event of a space that is not ours");
        Ok(())
    }

    /// What the vendor has counted, of the session that it says is ready and of those that are known, or of all that it
    /// lists where none is known.
    pub(crate) async fn report_of_pencilspaces(
        &self,
        room: &Room,
        ready: Option<&str>,
    ) -> Result<Report, JobError> {
        let vendor = self.pencilspaces.as_ref().ok_or(NOT_CONNECTED)?;
        let asked_at = self.clock.now();

        let asked = sessions(vendor, room, ready).await?;
        let (mut evidence, mut are_counted) = (Evidence::default(), !asked.is_empty());
        for session in asked {
            match vendor.session(&room.id, &session).await? {
                Some(counted) => evidence.merge(pencilspaces::analysed(&counted, &room.evidence)),
                None => are_counted = false,
            }
        }

        Ok(Report {
            evidence,
            asked_at: is_an_answer(room, are_counted, asked_at).then_some(asked_at),
            ..Report::default()
        })
    }
}

/// Whether what the vendor says now is its word on the lesson. While that goes on there is nothing to say yet. Afterwards
/// it counts for some minutes, and says nothing of what it has not counted; of a lesson that it has not heard of in an
/// hour it will not.
fn is_an_answer(room: &Room, are_counted: bool, now: Timestamp) -> bool {
    let Some(schedule) = room.schedule else {
        return are_counted;
    };
    let since_end = now.duration_since(schedule.ends_at());
    are_counted || since_end < STILL_GOING_ON || (since_end > COUNTS_FOR && room.evidence.spans.is_empty())
}

/// The vendor's ids of the sessions that are asked for.
async fn sessions(
    vendor: &PencilSpaces,
    room: &Room,
    ready: Option<&str>,
) -> Result<BTreeSet<String>, JobError> {
    let known = room.evidence.spans.keys().cloned();
    let asked: BTreeSet<String> = known.chain(ready.map(ToOwned::to_owned)).collect();
    if asked.is_empty() {
        return Ok(vendor.sessions(&room.id).await?.into_iter().collect());
    }
    Ok(asked)
}
