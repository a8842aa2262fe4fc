//! What the tests of the simulator itself play on.

use super::LiveKit;
use super::tokens::{Algorithm, sign};
use super::webhooks::Webhook;
use jiff::{SignedDuration, Timestamp};
use platform::clock::{Clock, ClockHand};
use serde_json::{Value, json};

/// A server that is reached over HTTP, with a clock that stands still.
pub(super) struct Stage {
    pub(super) livekit: LiveKit,
    pub(super) hand: ClockHand,
    base: String,
    start: Timestamp,
}

impl Stage {
    pub(super) async fn set() -> Self {
        let start = "2026-09-21T10:00:00Z".parse().unwrap();
        let (clock, hand) = Clock::manual(start);
        let livekit = LiveKit::new("http://livekit.test/", "devkey", "secret", clock);
        let address = crate::serve(livekit.router()).await.unwrap();
        Self {
            livekit,
            hand,
            base: format!("http://{address}"),
            start,
        }
    }

    /// So many seconds after the start.
    pub(super) fn at(&self, seconds: i64) -> Timestamp {
        self.start + SignedDuration::from_secs(seconds)
    }

    pub(super) fn token(&self, room: &str, identity: &str) -> String {
        self.signed(&json!({"sub": identity, "video": {"roomJoin": true, "room": room}}))
    }

    pub(super) fn signed(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        claims["iss"] = json!("devkey");
        claims["nbf"] = json!(self.start.as_second());
        claims["exp"] = json!(self.start.as_second() + 7_200);
        sign(Algorithm::Hs256, &claims, "secret")
    }

    /// Calls one of the routes of whoever directs the play.
    pub(super) async fn control(&self, route: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/_control/{route}", self.base);
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Calls a method with every right there is.
    pub(super) async fn call(&self, method: &str, body: &Value) -> (u16, Value) {
        let room = body.get("room").cloned().unwrap_or_default();
        let video = json!({
            "roomCreate": true, "roomList": true, "roomAdmin": true, "roomRecord": true,
            "room": room.as_str().unwrap_or_default(),
        });
        let token = self.signed(&json!({ "video": video }));
        let (status, text) = self.call_as(Some(&format!("Bearer {token}")), method, body).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    pub(super) async fn call_as(
        &self,
        authorization: Option<&str>,
        method: &str,
        body: &Value,
    ) -> (u16, String) {
        let service = if method.ends_with("Egress") {
            "Egress"
        } else {
            "RoomService"
        };
        let url = format!("{}/twirp/livekit.{service}/{method}", self.base);
        let mut request = reqwest::Client::new().post(url).json(body);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// What webhooks tell of, in their order.
pub(super) fn events(webhooks: &[Webhook]) -> Vec<&str> {
    webhooks.iter().map(|webhook| webhook.event.as_str()).collect()
}

/// The body of a webhook.
pub(super) fn body(webhook: &Webhook) -> Value {
    serde_json::from_str(&webhook.body).unwrap()
}

/// What starts an egress of the room `b-1` with one file.
pub(super) fn request(endpoint: &str, bucket: &str) -> Value {
    let s3 = json!({
        "access_key": "AK", "secret": "SK", "session_token": "ST", "region": "eu-central-1",
        "endpoint": endpoint, "bucket": bucket, "force_path_style": true,
    });
    let file = json!({"filepath": "lessons/{room_name}-{time}", "s3": s3});
    json!({"roomName": "b-1", "layout": "grid", "fileOutputs": [file]})
}

/// An egress of a room with a tutor who publishes; its room has ended.
pub(super) async fn recorded(stage: &Stage, request: &Value) -> String {
    let livekit = &stage.livekit;
    livekit.join(&stage.token("b-1", "tutor"), stage.at(0)).unwrap();
    livekit.publish("b-1", "tutor", stage.at(1));
    let (status, info) = stage.call("StartRoomCompositeEgress", request).await;
    assert_eq!(
        (status, &info["status"]),
        (200, &json!("EGRESS_STARTING")),
        "{info}"
    );
    livekit.leave("b-1", "tutor", stage.at(61));
    livekit.pass_time(stage.at(90));
    info["egress_id"].as_str().unwrap().to_owned()
}
