//! Applies a provider's event, which the door has verified. Whatever the event says, the provider is asked what
//! is true now, and that is entered. May run any number of times for the same event, in any order and side by
//! side; the end state is the same.

mod lessons;
mod payments;

use domain::ids::BookingId;
use jiff::{SignedDuration, Timestamp};
use platform::batch::{Job, JobError, Message as Readable};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbox::Message;
use platform::queue::Envelope;
use platform::secrets::Secret;
use providers::fapshi;
use providers::gateways::Gateways;
use providers::lessonspace::{self, Lessonspace};
use providers::stripe;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::jobs::{self, AskProvider};
use store::prove::inbox::{self, Event};

/// How often an event that matches nothing is tried again: after 1, 2, 4, … minutes, in all for about eight
/// and a half hours. Then it is parked for a person.
const MOST_ATTEMPTS: i32 = 9;

/// Consumes `provider-events`: one message is one event of a provider, or a request to ask a provider.
pub struct ApplyEvent {
    /// Holds the events, and the bookings, evidence and books that they change.
    pub database: Database,
    /// Lessonspace, which is asked about rooms.
    pub lessonspace: Lessonspace,
    /// Opens the sealed signing keys of rooms. While it is rotated it has the older value, too.
    pub room_secret: Secret,
    /// Stripe and Fapshi, which are asked about payments.
    pub gateways: Gateways,
    /// Makes the ids of ledger entries and jobs.
    pub ids: Ids,
    /// Tells the time at which events are applied.
    pub clock: Clock,
}

/// A message of the queue, told apart by the `type` of its envelope.
pub enum Incoming {
    /// A webhook of Lessonspace.
    Lessonspace(Envelope<lessonspace::Delivery>),
    /// A request of `reconcile` to ask the provider, because no webhook told.
    Ask(Envelope<AskProvider>),
    /// A webhook of Stripe.
    Stripe(Envelope<stripe::Delivery>),
    /// A webhook of Fapshi.
    Fapshi(Envelope<fapshi::Delivery>),
}

#[derive(Deserialize)]
struct Label {
    #[serde(rename = "type")]
    kind: String,
}

impl Readable for Incoming {
    fn read(body: &str) -> Result<Self, JobError> {
        // The type is read first, since each kind of message has a payload of its own.
        let label: Label =
            serde_json::from_str(body).map_err(|_| JobError::Permanent("the body is not an envelope"))?;
        match label.kind.as_str() {
            "lessonspace_event" => Readable::read(body).map(Self::Lessonspace),
            jobs::ASK => Readable::read(body).map(Self::Ask),
            "stripe_event" => Readable::read(body).map(Self::Stripe),
            "fapshi_event" => Readable::read(body).map(Self::Fapshi),
            _ => Err(JobError::Permanent("an event of an unknown provider")),
        }
    }

    fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Lessonspace(envelope) => envelope.correlation_id(),
            Self::Ask(envelope) => envelope.correlation_id(),
            Self::Stripe(envelope) => envelope.correlation_id(),
            Self::Fapshi(envelope) => envelope.correlation_id(),
        }
    }
}

impl Job for ApplyEvent {
    type Message = Incoming;

    async fn run(&self, incoming: Incoming) -> Result<(), JobError> {
        match incoming {
            Incoming::Lessonspace(envelope) => self.lesson(envelope).await,
            Incoming::Ask(envelope) => self.ask(envelope).await,
            Incoming::Stripe(envelope) => self.stripe(envelope).await,
            Incoming::Fapshi(envelope) => self.fapshi(envelope).await,
        }
    }
}

/// The whole message as JSON, to be kept with its event and sent again.
pub(crate) fn whole<T: Serialize>(envelope: &Envelope<T>) -> Result<Value, JobError> {
    serde_json::to_value(envelope).map_err(|_| JobError::Permanent("not JSON"))
}

/// The event as the inbox records it.
pub(crate) fn event<'a, T>(
    provider: &'static str,
    id: &'a str,
    kind: &'a str,
    booking: Option<BookingId>,
    envelope: &Envelope<T>,
    whole: &'a Value,
) -> Event<'a> {
    Event {
        provider,
        id,
        kind,
        booking,
        received_at: envelope.occurred_at,
        envelope: whole,
    }
}

impl ApplyEvent {
    /// Keeps an event that matches nothing yet and tries it again later: whoever makes what it is about may
    /// still be saving it.
    pub(crate) async fn wait(&self, event: &Event<'_>, attempts: i32, reason: &str) -> Result<(), JobError> {
        let now = self.clock.now();
        let again = (attempts < MOST_ATTEMPTS).then(|| self.again(event.envelope, attempts, now));
        let is_parked = again.is_none();
        tracing::warn!(reason, attempts, is_parked, "event matches nothing");
        Ok(inbox::postpone(&self.database, event, reason, again.as_ref(), now).await?)
    }

    /// Keeps an event for a person, since no time would mend it.
    pub(crate) async fn park(&self, event: &Event<'_>, reason: &str) -> Result<(), JobError> {
        tracing::error!(reason, "event parked");
        let now = self.clock.now();
        Ok(inbox::postpone(&self.database, event, reason, None, now).await?)
    }

    fn again(&self, envelope: &Value, attempts: i32, now: Timestamp) -> Message {
        let minutes = 1_i64 << attempts.clamp(0, MOST_ATTEMPTS);
        let due_at = now
            .saturating_add(SignedDuration::from_mins(minutes))
            .unwrap_or(Timestamp::MAX);

        Message {
            id: self.ids.next(),
            queue: jobs::PROVIDER_EVENTS,
            envelope: envelope.clone(),
            due_at,
        }
    }
}
