//! The door for Lessonspace's webhooks: verify, queue, answer. No database and no vendor call, so that a
//! webhook is not lost because either is down. Source: Lessonspace seed v5.2, section 4.2; the provider's README.

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
use secrecy::SecretString;
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
        let (booking, key) = self.open(&call).await?;
        let delivery = verify(&call, booking, &key)?;
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
    /// The booking that we gave this URL out for, and its room's key. A known and an unknown booking answer
    /// alike.
    async fn open(&self, call: &Call) -> Result<(BookingId, SecretString), Problem> {
        let secrets = self.secret.all().await?;
        let booking = call
            .query("booking")
            .and_then(|id| id.parse::<BookingId>().ok())
            .ok_or_else(|| refused("booking"))?;
        let key = call
            .query("token")
            .and_then(|token| WebhookToken(token).open(booking, &secrets));
        let key = key.ok_or_else(|| refused("token"))?;
        invocation::note("booking_id", booking);
        Ok((booking, key))
    }
}

fn verify(call: &Call, booking: BookingId, key: &SecretString) -> Result<Delivery, Problem> {
    let headers = Headers::read(call.headers()).map_err(|_| refused("no signature"))?;
    let body = call.raw_body();
    if body.len() > LARGEST_BODY {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large.",
        ));
    }
    let body = std::str::from_utf8(body)
        .map_err(|_| refused("not text"))?
        .to_owned();
    let delivery = Delivery {
        booking,
        headers,
        body,
    };
    if !delivery.is_signed_with(key) {
        return Err(refused("signature"));
    }
    let unreadable = || Problem::bad_request("malformed-body", "The body is not an event about a room.");
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
