//! The door for Lessonspace's webhooks: verify, queue, answer. No database and no vendor call, so that a
//! webhook is not lost because either is down. Source: Lessonspace seed v5.2, section 4.2; the provider's
//! README for what is verified where.

use domain::ids::BookingId;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::clock::Clock;
use platform::ids::Ids;
use platform::invocation;
use platform::problem::Problem;
use platform::queue::{Envelope, Queue};
use platform::secrets::Secret;
use providers::lessonspace::{Delivery, Headers, WebhookToken};
use serde_json::json;

/// The largest body taken, in bytes.
const LARGEST_BODY: usize = 256 * 1024;

pub(crate) struct WebhookLessonspace {
    pub(crate) secret: Secret,
    pub(crate) events: Queue,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

impl Route for WebhookLessonspace {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let booking = self.authenticate(&call).await?;
        let delivery = read(&call, booking)?;
        let dedupe_key = format!("lessonspace/{}", delivery.event_id());
        let envelope = Envelope::new("lessonspace_event", dedupe_key, delivery, &self.clock, &self.ids);
        self.events.send(&envelope).await.map_err(|_| {
            // The vendor tries again on a 5xx.
            Problem::unavailable("queue-unavailable", "Not taken. Please deliver again.", 5)
        })?;
        Ok(Reply::with_status(
            StatusCode::ACCEPTED,
            json!({"received": true}),
        ))
    }
}

impl WebhookLessonspace {
    /// The booking that the URL's token proves we gave this URL out for. A known and an unknown booking
    /// answer alike.
    async fn authenticate(&self, call: &Call) -> Result<BookingId, Problem> {
        let booking = call.query("booking").and_then(|id| id.parse::<BookingId>().ok());
        let token = call.query("token").map(WebhookToken);
        let secrets = self.secret.all().await?;
        match (booking, token) {
            (Some(booking), Some(token)) if token.is_for(booking, &secrets) => {
                invocation::note("booking_id", booking);
                Ok(booking)
            }
            _ => Err(refused("token")),
        }
    }
}

fn read(call: &Call, booking: BookingId) -> Result<Delivery, Problem> {
    let headers = Headers::read(call.headers()).map_err(|_| refused("signature"))?;
    let body = call.raw_body();
    if body.len() > LARGEST_BODY {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large.",
        ));
    }
    let unreadable = || Problem::bad_request("malformed-body", "The body is not an event about a room.");
    let body = std::str::from_utf8(body).map_err(|_| unreadable())?.to_owned();
    let delivery = Delivery {
        booking,
        headers,
        body,
    };
    delivery.is_readable().then_some(delivery).ok_or_else(unreadable)
}

fn refused(reason: &'static str) -> Problem {
    tracing::warn!(provider = "lessonspace", reason, "webhook refused");
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "webhook-not-authentic",
        "Not authentic.",
    )
}
