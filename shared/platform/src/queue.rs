//! SQS: the envelope every message of ours travels in, and the sender.

use crate::clock::Clock;
use crate::ids::Ids;
use crate::{aws, invocation};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// The version of [`Envelope`] this build writes and reads.
pub const ENVELOPE_VERSION: u32 = 1;

/// The most messages that SQS takes at once.
const LARGEST_BATCH: usize = 10;

/// How many calls to SQS are under way at once when there is much to send.
const CALLS_AT_ONCE: usize = 8;

/// One message: what it is, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// The version of the envelope's own shape.
    pub v: u32,
    /// What it asks for, such as `provider_event`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The message's own id.
    pub id: Uuid,
    /// When that happened which it tells of, or when we received it.
    pub occurred_at: Timestamp,
    /// Links all messages and log lines of one chain of causes.
    pub correlation_id: String,
    /// The message or request that caused it; `None` if nothing did.
    pub causation_id: Option<String>,
    /// Functions of the release before insist on it, and work beside these for the time of a deployment. Nobody
    /// else reads it: it goes with the next release.
    #[serde(default)]
    dedupe_key: String,
    /// What the receiver works on.
    pub payload: T,
}

impl<T> Envelope<T> {
    /// A message about something that happens now, caused by the current invocation.
    pub fn new(kind: &str, payload: T, clock: &Clock, ids: &Ids) -> Self {
        Self::at(kind, payload, clock.now(), ids.next())
    }

    /// A message about what happened at `now`.
    pub fn at(kind: &str, payload: T, now: Timestamp, id: Uuid) -> Self {
        let correlation_id = invocation::correlation_id();
        Self {
            v: ENVELOPE_VERSION,
            kind: kind.into(),
            id,
            occurred_at: now,
            // Outside an invocation nothing caused the message: it begins a chain of causes, which is named
            // after it.
            correlation_id: correlation_id.clone().unwrap_or_else(|| id.to_string()),
            causation_id: correlation_id,
            dedupe_key: String::new(),
            payload,
        }
    }
}

/// The queue did not take a message. Transient: the caller fails, and whoever called it tries again.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not take the message")]
pub struct QueueError;

/// One queue, by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    url: String,
}

fn correlation(id: &str) -> Result<MessageAttributeValue, QueueError> {
    let attribute = MessageAttributeValue::builder()
        .data_type("String")
        .string_value(id);
    attribute.build().map_err(|_| QueueError)
}

impl Queue {
    /// The queue at `url`.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// The queue that an event source ARN names (`arn:aws:sqs:region:account:name`).
    pub fn from_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':').skip(3);
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self::at(format!(
            "https://sqs.{region}.amazonaws.com/{account}/{name}"
        )))
    }

    /// Sends one message. It is on the queue when this returns.
    pub async fn send<T: Serialize>(&self, envelope: &Envelope<T>) -> Result<(), QueueError> {
        let body = serde_json::to_string(envelope).map_err(|_| QueueError)?;
        self.send_raw(&body, &envelope.correlation_id).await
    }

    /// Sends a body as it is, such as a record that is set aside.
    pub async fn send_raw(&self, body: &str, correlation_id: &str) -> Result<(), QueueError> {
        let request = aws::sqs()
            .await
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_attributes("correlation_id", correlation(correlation_id)?);
        let sent = invocation::phase("queue_ms", request.send()).await;
        sent.map(drop).map_err(|error| log_failure(&error, "send"))
    }

    /// Sends many bodies; returns, for each in order, whether the queue took it.
    pub async fn send_all(&self, bodies: &[String]) -> Vec<bool> {
        // Collected before anything is sent: a closure over borrowed chunks would not let callers be `Send`.
        let calls: Vec<_> = bodies
            .chunks(LARGEST_BATCH)
            .map(|chunk| self.send_chunk(chunk))
            .collect();
        let taken: Vec<Vec<bool>> = stream::iter(calls).buffered(CALLS_AT_ONCE).collect().await;
        taken.concat()
    }

    /// Sends the bodies by one call, or one by one if SQS finds them too long together: its limit is for
    /// their sum.
    async fn send_chunk(&self, bodies: &[String]) -> Vec<bool> {
        let entries: Result<Vec<_>, _> = bodies
            .iter()
            .enumerate()
            .map(|(n, body)| {
                SendMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .message_body(body)
                    .build()
            })
            .collect();
        let Ok(entries) = entries else {
            return vec![false; bodies.len()];
        };

        let request = aws::sqs()
            .await
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries));

        match invocation::phase("queue_ms", request.send()).await {
            Ok(answer) => {
                // The answer lists what was taken in any order, so every message is looked up by its number.
                let took = |n: usize| answer.successful().iter().any(|sent| sent.id() == n.to_string());
                (0..bodies.len()).map(took).collect()
            }
            Err(error) => {
                let too_long = error
                    .as_service_error()
                    .is_some_and(SendMessageBatchError::is_batch_request_too_long);
                log_failure(&error, "send batch");

                if too_long {
                    self.send_singly(bodies).await
                } else {
                    vec![false; bodies.len()]
                }
            }
        }
    }

    async fn send_singly(&self, bodies: &[String]) -> Vec<bool> {
        let mut taken = Vec::with_capacity(bodies.len());
        for body in bodies {
            let request = aws::sqs()
                .await
                .send_message()
                .queue_url(&self.url)
                .message_body(body);
            let sent = invocation::phase("queue_ms", request.send()).await;
            taken.push(sent.map_err(|error| log_failure(&error, "send")).is_ok());
        }
        taken
    }

    /// Hides a received message for `delay` before it is delivered again.
    pub(crate) async fn delay(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        let seconds = i32::try_from(delay.as_secs()).unwrap_or(i32::MAX);
        let request = aws::sqs()
            .await
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds);

        request
            .send()
            .await
            .map(drop)
            .map_err(|error| log_failure(&error, "delay"))
    }
}

fn log_failure<E>(error: &aws_sdk_sqs::error::SdkError<E>, action: &'static str) -> QueueError
where
    E: aws_sdk_sqs::error::ProvideErrorMetadata,
{
    let code = error
        .as_service_error()
        .and_then(|error| error.code())
        .unwrap_or("no answer");
    tracing::error!(action, code, "SQS");
    QueueError
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_envelope_has_the_shape_that_other_versions_rely_on() {
        let (clock, _) = Clock::manual("2026-03-01T12:00:00Z".parse().unwrap());
        let envelope = Envelope::new("lesson_ended", json!({"n": 7}), &clock, &Ids::sequence());

        let id = "00000000-0000-0000-0000-000000000001";
        let expected = json!({
            "v": 1, "type": "lesson_ended", "id": id, "occurred_at": "2026-03-01T12:00:00Z",
            "correlation_id": id, "causation_id": null, "dedupe_key": "", "payload": {"n": 7},
        });

        assert_eq!(serde_json::to_value(&envelope).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<Envelope<serde_json::Value>>(expected).unwrap(),
            envelope
        );
    }

    #[test]
    fn a_queue_is_found_by_the_arn_of_its_events() {
        let queue = Queue::from_arn("arn:aws:sqs:eu-west-1:123456789012:classroom-events");
        assert_eq!(
            queue,
            Some(Queue::at(
                "https://sqs.eu-west-1.amazonaws.com/123456789012/classroom-events"
            ))
        );
        assert_eq!(Queue::from_arn("classroom-events"), None);
    }
}
