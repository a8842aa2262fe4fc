//! What every applier does with a provider's event that cannot be applied now.

use domain::ids::BookingId;
use jiff::{SignedDuration, Timestamp};
use platform::batch::JobError;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbox::Message;
use platform::queue::Envelope;
use serde::Serialize;
use serde_json::Value;
use std::str::FromStr;
use store::prove::inbox::{self, Event};

/// How often an event that matches nothing is tried again: after 1, 2, 4, … minutes, in all for about eight
/// and a half hours. Then it is parked for a person.
const MOST_ATTEMPTS: i32 = 9;

/// Whose event a message is, by its `type`: a provider's word, and `_event`, as its door puts it there. `None` if no
/// provider of this kind has that word.
pub fn told_by<T: FromStr>(kind: &str) -> Option<T> {
    kind.strip_suffix("_event")?.parse().ok()
}

/// The whole message as JSON, to be kept with its event and sent again.
pub fn whole<T: Serialize>(envelope: &Envelope<T>) -> Result<Value, JobError> {
    serde_json::to_value(envelope).map_err(|_| JobError::Permanent("not JSON"))
}

/// The event as the inbox records it.
pub fn event<'a, T>(
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

/// Where events are kept that cannot be applied now.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    /// Keeps the events.
    pub database: &'a Database,
    /// The queue over which they come back.
    pub queue: &'static str,
    /// Makes the ids of their messages.
    pub ids: &'a Ids,
    /// When they are put here.
    pub now: Timestamp,
}

impl Shelf<'_> {
    /// Keeps an event that matches nothing yet and tries it again later: whoever makes what it is about may
    /// still be saving it.
    pub async fn wait(&self, event: &Event<'_>, attempts: i32, reason: &str) -> Result<(), JobError> {
        let again = (attempts < MOST_ATTEMPTS).then(|| self.again(event.envelope, attempts));
        let is_parked = again.is_none();
        tracing::warn!(reason, attempts, is_parked, "event matches nothing");
        Ok(inbox::postpone(self.database, event, reason, again.as_ref(), self.now).await?)
    }

    /// Keeps an event for a person, since no time would mend it.
    pub async fn park(&self, event: &Event<'_>, reason: &str) -> Result<(), JobError> {
        tracing::error!(reason, "event parked");
        Ok(inbox::postpone(self.database, event, reason, None, self.now).await?)
    }

    fn again(&self, envelope: &Value, attempts: i32) -> Message {
        let minutes = 1_i64 << attempts.clamp(0, MOST_ATTEMPTS);
        let later = self.now.saturating_add(SignedDuration::from_mins(minutes));

        Message {
            id: self.ids.next(),
            queue: self.queue,
            envelope: envelope.clone(),
            due_at: later.unwrap_or(Timestamp::MAX),
        }
    }
}
