//! The door for Lessonspace's webhooks. Source: Lessonspace seed v5.2, section 4.2; the provider's README.

use domain::ids::BookingId;
use platform::api::{Call, Reply, Route};
use platform::invocation;
use platform::problem::Problem;
use platform::secrets::Secret;
use platform::webhook::Door;
use providers::lessonspace::{Delivery, Headers, WebhookToken};
use secrecy::SecretString;

pub(crate) struct WebhookLessonspace {
    pub(crate) secret: Secret,
    pub(crate) door: Door,
}

impl Route for WebhookLessonspace {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let (booking, key) = self.open(&call).await?;
        let delivery = self.verify(&call, booking, &key)?;
        self.door.take(&delivery.event_id(), &delivery).await
    }
}

impl WebhookLessonspace {
    /// The booking that we gave this URL out for, and its room's key. A known and an unknown booking answer
    /// alike.
    async fn open(&self, call: &Call) -> Result<(BookingId, SecretString), Problem> {
        let secrets = self.secret.all().await?;
        let booking = call
            .query("booking")
            .and_then(|id| id.parse::<BookingId>().ok())
            .ok_or_else(|| self.door.refused("booking"))?;
        let key = call
            .query("token")
            .and_then(|token| WebhookToken(token).open(booking, &secrets));
        let key = key.ok_or_else(|| self.door.refused("token"))?;
        invocation::note("booking_id", booking);
        Ok((booking, key))
    }

    fn verify(&self, call: &Call, booking: BookingId, key: &SecretString) -> Result<Delivery, Problem> {
        let headers = Headers::read(call.headers()).map_err(|_| self.door.refused("no signature"))?;
        let delivery = Delivery {
            booking,
            headers,
            body: self.door.body(call)?,
        };
        if !delivery.is_signed_with(key) {
            return Err(self.door.refused("signature"));
        }
        delivery
            .is_readable()
            .then_some(delivery)
            .ok_or_else(Door::unreadable)
    }
}
