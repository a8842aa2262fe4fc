//! Events on their way: as Pub/Sub wraps them, and in every shape in which they may not be what they should.

use super::Google;
use super::books::Books;
use super::ids;
use super::keys::Forgery;
use super::quirks::Quirk;
use super::subscriptions::Subscription;
use jiff::Timestamp;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

/// Deliveries are tried so often, waiting twice as long each time. The vendor goes on for days.
const DELIVERY_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A delivery that is not answered in this time has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// These say that a message was taken, and no others.
const TAKEN: [u16; 5] = [102, 200, 201, 202, 204];

/// The subscription by which the topic is pushed: its name in every push.
pub const PUSH_SUBSCRIPTION: &str = "projects/firstbell/subscriptions/meet-events-push";

/// A push that the vendor has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to, if somebody said so.
    pub url: Option<Url>,
    /// `authorization` and what else goes with it.
    pub headers: Vec<(&'static str, String)>,
    /// The wrapped message.
    pub body: String,
}

/// A push that is another than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Published a second time: another message, the same event.
    Republished,
    /// Without data.
    NoData,
    /// With data that is not base64.
    BadBase64,
    /// With data that is not JSON.
    DataNotJson,
    /// With data that names nothing.
    EmptyData,
    /// With names in snake case only.
    SnakeCase,
    /// With names in camel case only.
    CamelCase,
    /// Of a type that nobody knows.
    UnknownType,
    /// Of a subscription that nobody knows.
    UnknownSource,
    /// Without any attribute.
    NoAttributes,
    /// Pushed by another subscription.
    ForeignSubscription,
    /// With fields that nobody knows.
    MoreFields,
    /// Not wrapped at all: only the data.
    Unwrapped,
    /// Not JSON.
    NotJson,
}

impl Webhook {
    fn message(&self) -> Value {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.get("message").cloned().unwrap_or_default()
    }

    /// The number of its message.
    pub fn message_id(&self) -> String {
        let message = self.message();
        let id = message.get("messageId").or_else(|| message.get("message_id"));
        id.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn attribute(&self, name: &str) -> String {
        let message = self.message();
        let value = message.pointer(&format!("/attributes/{name}"));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The id of its event, which stays the same when it is published again.
    pub fn event_id(&self) -> String {
        self.attribute("ce-id")
    }

    /// The type of its event, in full.
    pub fn event_type(&self) -> String {
        self.attribute("ce-type")
    }

    /// The subscription that it comes from, as a full resource name.
    pub fn source(&self) -> String {
        self.attribute("ce-source")
    }

    /// The same with another `Authorization`, or none.
    fn authorised(&self, authorization: Option<String>) -> Self {
        let mut other = self.clone();
        other.headers.retain(|(name, _)| *name != "authorization");
        other
            .headers
            .extend(authorization.map(|value| ("authorization", value)));
        other
    }
}

/// An event before it is wrapped.
pub(super) struct Published {
    attributes: Value,
    data: Value,
    source: String,
    at: Timestamp,
}

impl Subscription {
    /// An event for whoever made it.
    pub(super) fn publishes(&self, kind: &str, subject: &str, about: &Value, at: Timestamp) -> Published {
        let source = self.source();
        let attributes = json!({
            "ce-id": format!("{}/events/{}", self.name(), ids::opaque(20)),
            "ce-type": kind,
            "ce-source": source,
            "ce-subject": subject,
            "ce-time": at,
            "ce-specversion": "1.0",
            "ce-datacontenttype": "application/json",
        });
        Published {
            attributes,
            data: about.clone(),
            source,
            at,
        }
    }

    /// An event about the subscription itself.
    pub(super) fn publishes_of_itself(&self, what: &str, about: &Value, at: Timestamp) -> Published {
        let kind = format!("google.workspace.events.subscription.v1.{what}");
        self.publishes(&kind, &self.source(), about, at)
    }
}

impl Books {
    /// Wraps and signs events, unless nothing is pushed.
    pub(super) fn pushed(&mut self, events: &[Published]) -> Vec<Webhook> {
        if self.is(Quirk::Silent) || !self.subscriptions.may_publish {
            return Vec::new();
        }
        events.iter().map(|event| self.wrapped(event)).collect()
    }

    fn wrapped(&mut self, event: &Published) -> Webhook {
        let id = ids::message();
        let mut body = json!({
            "message": {
                "attributes": event.attributes,
                "data": ids::base64(event.data.to_string().as_bytes()),
                "messageId": id,
                "message_id": id,
                "publishTime": event.at,
                "publish_time": event.at,
                "orderingKey": event.source,
            },
            "subscription": PUSH_SUBSCRIPTION,
        });
        if let Some(body) = body.as_object_mut().filter(|_| self.is(Quirk::DeadLetters)) {
            body.insert("deliveryAttempt".into(), 1.into());
        }

        let now = self.now();
        let token = self.keys.push_token(&self.push, now);
        Webhook {
            url: self.subscriptions.pushes_to.clone(),
            headers: vec![
                ("content-type", "application/json".into()),
                (
                    "user-agent",
                    "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)".into(),
                ),
                ("authorization", format!("Bearer {token}")),
            ],
            body: body.to_string(),
        }
    }

    /// The same push once more: with a token of now, if its own was good, and its attempt counted.
    fn again(&mut self, webhook: &Webhook) -> Webhook {
        let now = self.now();
        let mut headers = webhook.headers.iter();
        let given = headers.find(|(name, _)| *name == "authorization");
        let is_ours = given.is_some_and(|(_, value)| self.keys.has_issued(value));
        let mut next = if is_ours {
            let token = self.keys.push_token(&self.push, now);
            webhook.authorised(Some(format!("Bearer {token}")))
        } else {
            webhook.clone()
        };

        let body = serde_json::from_str::<Value>(&next.body);
        if let Ok(Value::Object(mut body)) = body
            && let Some(attempt) = body.get("deliveryAttempt").and_then(Value::as_u64)
        {
            body.insert("deliveryAttempt".into(), (attempt + 1).into());
            next.body = Value::Object(body).to_string();
        }
        next
    }
}

impl Google {
    /// An `Authorization` that must not be accepted; `None` for none at all.
    pub fn forged(&self, kind: Forgery) -> Option<String> {
        let books = self.books();
        books.keys.forged(&books.push, books.now(), kind)
    }

    /// The same push with such an `Authorization`.
    pub fn forge(&self, webhook: &Webhook, kind: Forgery) -> Webhook {
        webhook.authorised(self.forged(kind))
    }

    /// The same push as another try would bring it: with a token of now, and its attempt counted.
    pub fn again(&self, webhook: &Webhook) -> Webhook {
        self.books().again(webhook)
    }

    /// The same push in another shape.
    pub fn reshaped(&self, webhook: &Webhook, shape: Shape) -> Webhook {
        let body: Value = serde_json::from_str(&webhook.body).unwrap_or_default();
        let mut other = webhook.clone();
        other.body = reshaped(body, shape);
        other
    }

    /// Sends a push as the vendor does: again until it is taken, a few times. Returns the last status, or 0.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let Some(url) = webhook.url.clone() else {
            return 0;
        };
        let mut status = 0;
        let mut next = webhook.clone();
        for attempt in 0..DELIVERY_TRIES {
            if attempt > 0 {
                tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt - 1)).await;
                next = self.again(&next);
            }
            status = self.try_once(url.clone(), &next).await;
            self.books().deliveries.push((webhook.message_id(), status));
            if TAKEN.contains(&status) {
                break;
            }
        }
        status
    }

    async fn try_once(&self, url: Url, webhook: &Webhook) -> u16 {
        let mut request = self.http().post(url).timeout(PATIENCE);
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        let sent = request.body(webhook.body.clone()).send().await;
        sent.map_or(0, |answer| answer.status().as_u16())
    }
}

/// Who pushes: a redirect is an answer like any other.
pub(super) fn pusher() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(Policy::none()).build();
    client.unwrap_or_default()
}

const CAMEL: [&str; 3] = ["messageId", "publishTime", "orderingKey"];
const SNAKE: [&str; 3] = ["message_id", "publish_time", "ordering_key"];

fn reshaped(mut body: Value, shape: Shape) -> String {
    if shape == Shape::ForeignSubscription {
        put(
            &mut body,
            "subscription",
            "projects/elsewhere/subscriptions/theirs",
        );
        return body.to_string();
    }
    let Some(message) = body.get_mut("message") else {
        return body.to_string();
    };
    match shape {
        Shape::Republished => {
            let id = ids::message();
            put(message, "messageId", &id);
            put(message, "message_id", &id);
        }
        Shape::NoData => take(message, &["data"]),
        Shape::BadBase64 => put(message, "data", "%%% not base64 %%%"),
        Shape::DataNotJson => put(message, "data", &ids::base64(b"not json")),
        Shape::EmptyData => put(message, "data", &ids::base64(b"{}")),
        Shape::SnakeCase => {
            let key = message
                .get("orderingKey")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned);
            put(message, "ordering_key", &key.unwrap_or_default());
            take(message, &CAMEL);
        }
        Shape::CamelCase => take(message, &SNAKE),
        Shape::UnknownType => put_attribute(message, "ce-type", "google.workspace.meet.hologram.v3.appeared"),
        Shape::UnknownSource => {
            let source = "//workspaceevents.googleapis.com/subscriptions/meet-users-nobody";
            put_attribute(message, "ce-source", source);
            put(message, "orderingKey", source);
        }
        Shape::NoAttributes => take(message, &["attributes"]),
        Shape::MoreFields => put(message, "somethingNew", "yes"),
        Shape::Unwrapped => return r#"{"conferenceRecord":{"name":"conferenceRecords/unwrapped"}}"#.into(),
        Shape::NotJson => return "message=not+json".into(),
        Shape::ForeignSubscription => {}
    }
    body.to_string()
}

fn put(object: &mut Value, name: &str, value: &str) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.into(), value.into());
    }
}

fn put_attribute(message: &mut Value, name: &str, value: &str) {
    if let Some(attributes) = message.get_mut("attributes") {
        put(attributes, name, value);
    }
}

fn take(object: &mut Value, names: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|name, _| !names.contains(&name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        json!({
            "message": {
                "attributes": {"ce-id": "e1", "ce-type": "t", "ce-source": "s"},
                "data": "e30=", "messageId": "1", "message_id": "1", "publishTime": "p", "publish_time": "p",
                "orderingKey": "s",
            },
            "subscription": PUSH_SUBSCRIPTION,
        })
    }

    fn webhook(shape: Shape) -> Webhook {
        Webhook {
            url: None,
            headers: Vec::new(),
            body: reshaped(sample(), shape),
        }
    }

    #[test]
    fn an_event_that_is_published_again_keeps_its_id() {
        let again = webhook(Shape::Republished);
        assert_eq!(again.event_id(), "e1");
        assert_ne!(again.message_id(), "1");
    }

    #[test]
    fn a_message_in_snake_case_has_no_other_names() {
        let body: Value = serde_json::from_str(&webhook(Shape::SnakeCase).body).unwrap();
        let names: Vec<&String> = body["message"].as_object().unwrap().keys().collect();
        assert!(
            !names.iter().any(|name| CAMEL.contains(&name.as_str())),
            "{names:?}"
        );
        assert_eq!(body["message"]["ordering_key"], "s");
    }
}
