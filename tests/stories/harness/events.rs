//! The events that AWS would hand to a function.

use super::World;
use serde_json::{Value, json};
use simulators::lessonspace::Webhook;
use simulators::mailbox::Letter;
use simulators::{lessonspace, livekit, pencilspaces};
use std::collections::HashMap;
use stories::stack::root;
use url::Url;
use uuid::Uuid;

/// A sample of `events/`, with its placeholders filled.
pub(crate) fn request(sample: &str, token: &str, booking: Uuid) -> Value {
    let text = std::fs::read_to_string(root().join("events").join(sample)).unwrap();
    serde_json::from_str(
        &text
            .replace("{TOKEN}", token)
            .replace("{BOOKING}", &booking.to_string()),
    )
    .unwrap()
}

/// A vendor's delivery as API Gateway hands it to the door.
pub(crate) fn webhook_event(webhook: &Webhook) -> Value {
    let mut event = request("webhook-lessonspace/session-end.json", "", Uuid::nil());
    let headers: HashMap<_, _> = webhook.headers.iter().cloned().collect();
    event["headers"] = json!(headers);
    event["body"] = webhook.body.clone().into();
    set_query(&mut event, &webhook.url);
    event
}

/// What a classroom's vendor tells.
#[derive(Clone)]
pub(crate) enum Told {
    Lessonspace(lessonspace::Webhook),
    LiveKit(livekit::Webhook),
    PencilSpaces(pencilspaces::Webhook),
}

impl Told {
    /// The delivery as API Gateway hands it to the vendor's door, signed now where a signature has a time.
    pub(crate) fn event(&self, world: &World) -> Value {
        match self {
            Self::Lessonspace(webhook) => webhook_event(webhook),
            Self::LiveKit(webhook) => {
                let signed = world.livekit.sign_again(webhook);
                sealed_event(
                    "webhook-livekit/participant-left.json",
                    &signed.headers,
                    &signed.body,
                )
            }
            Self::PencilSpaces(webhook) => {
                sealed_event("webhook-pencilspaces/join.json", &webhook.headers, &webhook.body)
            }
        }
    }
}

/// A delivery whose headers prove it, as API Gateway hands it to its door.
pub(crate) fn sealed_event(sample: &str, headers: &[(&'static str, String)], body: &str) -> Value {
    let mut event = request(sample, "", Uuid::nil());
    let headers: HashMap<_, _> = headers.iter().cloned().collect();
    event["headers"] = json!(headers);
    event["body"] = body.into();
    event
}

/// A gateway's webhook as API Gateway hands it to its door.
pub(crate) fn letter_event(sample: &str, letter: &Letter) -> Value {
    let mut event = request(sample, "", Uuid::nil());
    for (name, value) in &letter.headers {
        event["headers"][*name] = value.clone().into();
    }
    event["body"] = letter.body.clone().into();
    event
}

pub(crate) fn set_query(event: &mut Value, url: &Url) {
    event["rawQueryString"] = url.query().unwrap_or_default().into();
    event["queryStringParameters"] = json!(url.query_pairs().collect::<HashMap<_, _>>());
}

pub(super) fn sqs_record(message: &aws_sdk_sqs::types::Message, arn: &str) -> Value {
    record(
        message.message_id().unwrap(),
        message.body().unwrap(),
        message.receipt_handle().unwrap(),
        arn,
    )
}

pub(crate) fn record(id: &str, body: &str, receipt: &str, arn: &str) -> Value {
    json!({
        "messageId": id, "body": body, "receiptHandle": receipt, "eventSourceARN": arn, "awsRegion": "us-east-1",
        "eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {},
    })
}

pub(crate) fn batch(records: &[Value]) -> Value {
    json!({ "Records": records })
}
