//! What the webhooks of Pencil Spaces do, and what it has counted when it is asked. Its webhooks name a space, and the booking
//! is the one whose space that is. Who came and left is taken from them; the counts fill in what none told.

use crate::{ApplyClassroomEvent, NOT_CONNECTED};
use domain::ids::BookingId;
use domain::launch::classroom::Classroom;
use domain::prove::evidence::{Did, Evidence, Side};
use domain::prove::insights::Engagement;
use jiff::{SignedDuration, Timestamp};
use jobs::events::{event, whole};
use platform::batch::JobError;
use platform::invocation;
use platform::outbound::VendorError;
use platform::queue::Envelope;
use providers::pencilspaces::{self, PencilSpaces, Told, What};
use std::collections::{BTreeMap, BTreeSet};
use store::prove::evidence::{self, About, Report, Room};
use store::prove::inbox::Event;

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

    /// What the vendor has counted of the space's sessions.
    pub(crate) async fn report_of_pencilspaces(
        &self,
        room: &Room,
        ready: Option<&str>,
    ) -> Result<Report, JobError> {
        let vendor = self.pencilspaces.as_ref().ok_or(NOT_CONNECTED)?;
        let asked_at = self.clock.now();

        let asked = sessions(vendor, room, ready).await?;
        let mut is_ready_there = ready.is_none();
        let (mut evidence, mut engagement) = (Evidence::default(), Engagement::default());
        let mut are_counted = !asked.is_empty();
        for session in asked {
            let counted = vendor.session(&room.id, &session).await?;
            is_ready_there |= counted.is_some() && ready == Some(session.as_str());
            match counted {
                Some(counted) => {
                    evidence.merge(pencilspaces::analysed(&counted, &room.evidence));
                    for attendee in counted.attendees {
                        engagement.add(attendee.user, attendee.measured);
                    }
                }
                None => are_counted &= is_before(room, &session),
            }
        }

        if !is_ready_there {
            return Err(JobError::Transient(
                "the vendor does not show what it has told of",
            ));
        }

        Ok(Report {
            evidence,
            engagement,
            asked_at: is_an_answer(room, are_counted, asked_at).then_some(asked_at),
            ..Report::default()
        })
    }
}

/// Whether what the vendor says now is its word on the lesson: it has counted all of it. Of a lesson that it has not heard
/// of an hour after its end it never will.
fn is_an_answer(room: &Room, are_counted: bool, now: Timestamp) -> bool {
    let heard_of_none = room.evidence.spans.is_empty();
    let is_long_over = room
        .schedule
        .is_some_and(|schedule| now.duration_since(schedule.ends_at()) > COUNTS_FOR);
    are_counted || (heard_of_none && is_long_over)
}

/// Whether everybody had left a session before the lesson began: nobody waits for what is counted of it.
fn is_before(room: &Room, session: &str) -> bool {
    let Some(schedule) = room.schedule else {
        return false;
    };
    let told = room.evidence.marks.iter().filter(|mark| mark.span == session);
    let mut latest = BTreeMap::new();
    for mark in told {
        let of_theirs = latest.entry(&mark.who).or_insert((mark.at, mark.did));
        *of_theirs = (*of_theirs).max((mark.at, mark.did));
    }

    let has_left = |(at, did): &(Timestamp, Did)| *did == Did::Left && *at < schedule.starts_at();
    !latest.is_empty() && latest.values().all(has_left)
}

/// The vendor's ids of the sessions that are asked for: those that are known, the one that it says is ready, and those
/// that it lists.
async fn sessions(
    vendor: &PencilSpaces,
    room: &Room,
    ready: Option<&str>,
) -> Result<BTreeSet<String>, JobError> {
    let mut asked: BTreeSet<String> = vendor.sessions(&room.id).await?.into_iter().collect();
    asked.extend(room.evidence.spans.keys().cloned());
    asked.extend(ready.map(ToOwned::to_owned));
    Ok(asked)
}
