//! Applies what a classroom's provider tells, which the door has verified, and asks it without being told. Where the
//! provider keeps a record, that is asked, whatever an event says; where it keeps none, its events are the record.
//! What was seen is merged into the booking and its session. May run any number of times for the same event, in any order and side by side; the end state is the
//! same.

mod lessonspace;
mod livekit;
mod pencilspaces;

use domain::ids::{BookingId, ProfileId};
use domain::launch::classroom::Classroom;
use domain::prove::evidence::Side;
use jobs::events::{Shelf, told_by};
use jobs::messages::{AskProvider, CLASSROOM_EVENTS};
use platform::batch::{Job, JobError, Message};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::queue::Envelope;
use platform::secrets::Secret;
use providers::lessonspace::{Delivery, Lessonspace};
use providers::livekit::LiveKit;
use providers::pencilspaces::PencilSpaces;
use serde::Deserialize;
use store::prove::evidence::{self, About, Report, Room};

/// A room is kept for this deployment at a vendor that it is not connected to any more. An operator mends that.
const NOT_CONNECTED: JobError = JobError::Transient("this deployment is not connected to the vendor");

/// Consumes `classroom-events`: one message is one event of a provider, or a request to ask a provider.
pub struct ApplyClassroomEvent {
    /// Holds the events, and the bookings and evidence that they change.
    pub database: Database,
    /// Lessonspace, which is asked about rooms.
    pub lessonspace: Lessonspace,
    /// LiveKit, which is asked about rooms; `None` where this deployment has none.
    pub livekit: Option<LiveKit>,
    /// Pencil Spaces, likewise.
    pub pencilspaces: Option<PencilSpaces>,
    /// Opens the sealed signing keys of rooms. While it is rotated it has the older value, too.
    pub room_secret: Secret,
    /// Makes the ids of messages.
    pub ids: Ids,
    /// Tells the time at which events are applied.
    pub clock: Clock,
}

/// A message of the queue, told apart by the `type` of its envelope.
pub enum Incoming {
    /// A webhook of Lessonspace.
    Lessonspace(Envelope<Delivery>),
    /// A webhook of LiveKit.
    LiveKit(Envelope<providers::livekit::Told>),
    /// A webhook of Pencil Spaces.
    PencilSpaces(Envelope<providers::pencilspaces::Told>),
    /// A request of `reconcile` to ask the provider, because no webhook told.
    Ask(Envelope<AskProvider>),
}

#[derive(Deserialize)]
struct Label {
    #[serde(rename = "type")]
    kind: String,
}

impl Message for Incoming {
    fn read(body: &str) -> Result<Self, JobError> {
        // The type is read first, since each kind of message has a payload of its own.
        let label: Label =
            serde_json::from_str(body).map_err(|_| JobError::Permanent("the body is not an envelope"))?;
        if label.kind == AskProvider::KIND {
            return Message::read(body).map(Self::Ask);
        }
        match told_by(&label.kind) {
            Some(Classroom::Lessonspace) => Message::read(body).map(Self::Lessonspace),
            Some(Classroom::LiveKit) => Message::read(body).map(Self::LiveKit),
            Some(Classroom::PencilSpaces) => Message::read(body).map(Self::PencilSpaces),
            None => Err(JobError::Permanent("an event of an unknown provider")),
        }
    }

    fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Lessonspace(envelope) => envelope.correlation_id(),
            Self::LiveKit(envelope) => envelope.correlation_id(),
            Self::PencilSpaces(envelope) => envelope.correlation_id(),
            Self::Ask(envelope) => envelope.correlation_id(),
        }
    }
}

impl Job for ApplyClassroomEvent {
    type Message = Incoming;

    async fn run(&self, incoming: Incoming) -> Result<(), JobError> {
        match incoming {
            Incoming::Lessonspace(envelope) => self.told_by_lessonspace(envelope).await,
            Incoming::LiveKit(envelope) => self.told_by_livekit(envelope).await,
            Incoming::PencilSpaces(envelope) => self.told_by_pencilspaces(envelope).await,
            Incoming::Ask(envelope) => self.ask(envelope).await,
        }
    }
}

impl ApplyClassroomEvent {
    /// Asks the vendor about a room when its time has come, although nobody told us anything.
    async fn ask(&self, envelope: Envelope<AskProvider>) -> Result<(), JobError> {
        let booking = envelope.payload.booking_id;
        invocation::note("booking_id", booking);

        let (message, now) = (envelope.id, self.clock.now());
        let known = evidence::load(&self.database, None, About::Booking(booking), message, now).await?;
        let Some(room) = known.room else {
            return Ok(());
        };

        if !room.has_reported {
            tracing::warn!("no webhook has ever come for this room");
        }

        let report = self.report(booking, &room).await?;
        evidence::apply(&self.database, booking, None, &report, self.clock.now()).await?;
        Ok(())
    }

    fn shelf(&self) -> Shelf<'_> {
        Shelf {
            database: &self.database,
            queue: CLASSROOM_EVENTS,
            ids: &self.ids,
            now: self.clock.now(),
        }
    }

    /// What the vendor's own list says of the room and its recordings.
    async fn report(&self, booking: BookingId, room: &Room) -> Result<Report, JobError> {
        match room.classroom {
            Classroom::Lessonspace => self.report_of_lessonspace(booking, room).await,
            Classroom::LiveKit => self.report_of_livekit(room).await,
            Classroom::PencilSpaces => self.report_of_pencilspaces(room, None).await,
        }
    }
}

/// The side that a person of ours is on. Whoever has no part in this lesson counts for neither.
fn side_of(room: &Room, person: ProfileId) -> Side {
    if person == room.tutor {
        Side::Tutor
    } else if room.learners.contains(&person) {
        Side::Learner
    } else {
        Side::Nobody
    }
}
