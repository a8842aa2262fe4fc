//! The door for Lessonspace's webhooks.
//!
//! Rules: [webhook-door](../../../../shared/domain/RULES.md#webhook-door),
//! [webhook-wakes](../../../../shared/domain/RULES.md#webhook-wakes).
//!
//! It lets in whoever holds an address that we gave out, and asks neither a database nor the vendor. Nothing that is let
//! in is believed: it only says where to look, so the signature is checked later, where the room's key is at hand.

use domain::ids::BookingId;
use platform::api::{Call, Reply, Route};
use platform::invocation;
use platform::problem::Problem;
use platform::secrets::Secret;
use platform::webhook::Door;
use providers::lessonspace::{Delivery, Headers, WebhookToken};

pub(crate) struct WebhookLessonspace {
    pub(crate) secret: Secret,
    pub(crate) door: Door,
}

impl Route for WebhookLessonspace {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let booking = self.recognise(&call).await?;
        let delivery = self.read(&call, booking)?;

        self.door.take(&delivery).await
    }
}

impl WebhookLessonspace {
    /// The booking that we gave this URL out for. A known and an unknown booking answer alike.
    async fn recognise(&self, call: &Call) -> Result<BookingId, Problem> {
        let secrets = self.secret.all().await?;
        let booking: BookingId = call
            .query("booking")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| self.door.refused("booking"))?;

        let token = call.query("token").map(WebhookToken);
        if !token.is_some_and(|token| token.is_for(booking, &secrets)) {
            return Err(self.door.refused("token"));
        }

        invocation::note("booking_id", booking);
        Ok(booking)
    }

    /// The delivery as it came. One that says nothing we know is taken, too: the vendor keeps the order of a URL's
    /// events, so a refusal would hold up the later ones.
    fn read(&self, call: &Call, booking: BookingId) -> Result<Delivery, Problem> {
        let delivery = Delivery {
            booking,
            headers: Headers::read(call.headers()),
            body: self.door.body(call)?,
        };

        delivery
            .is_readable()
            .then_some(delivery)
            .ok_or_else(Door::unreadable)
    }
}
