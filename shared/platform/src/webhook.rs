//! What every webhook's door has in common: read the body as it came, refuse without telling why, put what
//! was verified on the queue, answer. No database and no vendor call, so that a webhook is not lost because
//! either is down.

use crate::api::{Call, Reply};
use crate::clock::Clock;
use crate::config::Env;
use crate::ids::Ids;
use crate::outbox::Routes;
use crate::problem::Problem;
use crate::queue::{Envelope, Queue};
use crate::secrets::SecretError;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

/// The largest body that is taken, in bytes.
const LARGEST_BODY: usize = 256 * 1024;

/// Why a delivery is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// Our secret is out of reach: try again.
    Secret(SecretError),
    /// It is not the provider's, for this reason.
    NotTheirs(&'static str),
    /// It is, and says nothing that can be read.
    Unreadable,
}

/// The door of one provider: what its webhook function does after it has verified a delivery.
pub struct Door {
    provider: &'static str,
    events: Queue,
    ids: Ids,
    clock: Clock,
}

impl Door {
    /// The door of `provider`, whose deliveries go to `queue`; reads `QUEUES`.
    pub fn from_env(provider: &'static str, queue: &str, env: &mut Env) -> Option<Self> {
        let clock = env.clock();
        Some(Self {
            provider,
            events: Routes::require(env, queue)?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    }

    /// The clock by which the age of a signature is judged.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The body exactly as it came, since signatures are over its bytes; refused if it is not text or too
    /// large.
    pub fn body(&self, call: &Call) -> Result<String, Problem> {
        let body = call.raw_body();
        if body.len() > LARGEST_BODY {
            let detail = "The body is too large.";
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                detail,
            ));
        }

        let text = std::str::from_utf8(body).map_err(|_| self.refused("not text"))?;
        Ok(text.to_owned())
    }

    /// The value of a header; `None` if it is missing or stands there several times.
    pub fn header<'a>(&self, call: &'a Call, name: &str) -> Option<&'a str> {
        let mut values = call.headers().get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The answer 401. The reason is only logged, so that nobody can feel their way to a good signature.
    pub fn refused(&self, reason: &str) -> Problem {
        tracing::warn!(provider = self.provider, reason, "webhook refused");
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "webhook-not-authentic",
            "Not authentic.",
        )
    }

    /// The answer to a delivery that is not taken.
    pub fn turned_away(&self, refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Secret(error) => error.into(),
            Refusal::NotTheirs(reason) => self.refused(reason),
            Refusal::Unreadable => Self::unreadable(),
        }
    }

    /// The answer 400, for a delivery that is authentic but is no event.
    pub fn unreadable() -> Problem {
        Problem::bad_request("malformed-body", "The body is not an event.")
    }

    /// Puts a verified delivery on the queue and answers 202.
    pub async fn take(&self, delivery: impl Serialize) -> Result<Reply, Problem> {
        let kind = format!("{}_event", self.provider);
        let envelope = Envelope::new(&kind, delivery, &self.clock, &self.ids);

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
