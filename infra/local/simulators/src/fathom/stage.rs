//! A vendor on a port of its own, for the tests of this module.

use super::{Fathom, Invitee, Line, MeetingSketch, Span};
use jiff::{SignedDuration, Timestamp};
use platform::clock::{Clock, ClockHand};
use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

pub(super) const KEY: &str = "a-key-of-the-notetaker";

pub(super) struct Stage {
    pub(super) fathom: Fathom,
    pub(super) hand: ClockHand,
    pub(super) base: String,
    http: reqwest::Client,
}

/// An answer; null for a body that is no JSON.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let (clock, hand) = Clock::manual(noon());
        let fathom = Fathom::new("http://fathom.test/", KEY, clock);
        let address = crate::serve(fathom.router()).await.unwrap();
        Self {
            fathom,
            hand,
            base: format!("http://{address}/"),
            http: reqwest::Client::new(),
        }
    }

    pub(super) fn asking(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}external/v1/{path}", self.base);
        self.http.request(method.parse().unwrap(), url)
    }

    pub(super) async fn get(&self, path: &str) -> Said {
        say(self.asking("GET", path).header("X-Api-Key", KEY)).await
    }

    pub(super) async fn get_with(&self, key: &str, path: &str) -> Said {
        say(self.asking("GET", path).header("X-Api-Key", key)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Said {
        say(self.asking("POST", path).header("X-Api-Key", KEY).json(body)).await
    }

    /// A meeting with something in it, that began so many hours after noon.
    pub(super) fn lesson(&self, hours: i64) -> u64 {
        self.fathom.meeting(lesson(hours))
    }
}

pub(super) async fn say(request: RequestBuilder) -> Said {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap_or_default();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Said {
        status,
        headers,
        text,
        body,
    }
}

pub(super) fn noon() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

pub(super) fn lesson(hours: i64) -> MeetingSketch {
    let start = noon() + SignedDuration::from_hours(hours);
    let end = start + SignedDuration::from_hours(1);
    MeetingSketch {
        meeting_url: Some("https://meet.google.com/abc-defg-hij".into()),
        invitees: vec![
            Invitee::new("Amélie Ngono", "amelie@family.example"),
            Invitee::default(),
        ],
        transcript: vec![Line {
            speaker: "Amélie".into(),
            email: None,
            at_seconds: 3_725,
            text: "Ça va ?".into(),
        }],
        summary: Some("## Fractions".into()),
        ..MeetingSketch::new("Maths", Span { start, end })
    }
}
