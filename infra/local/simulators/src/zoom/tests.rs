//! The vendor over HTTP: one refusal per check, and what would break silently.

mod api;
mod play;

use super::encoding::{base64, base64_url};
use super::{Consent, Faults, Operation, Plan, Quirk, Standing, Webhook, Who, Zoom, ZoomUser};
use jiff::{SignedDuration, Timestamp};
use platform::clock::{Clock, ClockHand};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BACK: &str = "https://example.org/back?from=zoom";
const VERIFIER: &str = "a-verifier-of-more-than-forty-three-characters";

struct World {
    zoom: Zoom,
    base: String,
    hand: ClockHand,
    now: Timestamp,
    http: reqwest::Client,
}

struct Tutor {
    id: String,
    access: String,
    refresh: String,
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn guest() -> Who {
    Who::Guest("Léa".into())
}

fn events(webhooks: &[Webhook]) -> Vec<&str> {
    let names = webhooks.iter().map(|webhook| webhook.event.as_str());
    names.map(|name| name.trim_start_matches("meeting.")).collect()
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn code_of(request: RequestBuilder) -> (u16, i64) {
    let (status, body) = json_of(request).await;
    (status, body["code"].as_i64().unwrap_or_default())
}

impl World {
    async fn new() -> Self {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let (clock, hand) = Clock::manual(now);
        let zoom = Zoom::new("http://zoom.example/", "app", "secret", "webhook-secret", clock);
        zoom.allow_redirect(BACK);
        let address = crate::serve(zoom.router()).await.unwrap();
        zoom.reached_at(&format!("http://{address}/"));
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            zoom,
            base: format!("http://{address}"),
            hand,
            now,
            http: http.build().unwrap(),
        }
    }

    fn ask(&self, changes: &[(&str, &str)]) -> RequestBuilder {
        let challenge = base64_url(&Sha256::digest(VERIFIER));
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", BACK),
            ("state", "s/t+a te"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        query.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        query.extend(changes);
        self.http
            .get(format!("{}/oauth/authorize", self.base))
            .query(&query)
    }

    fn post_form(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let shown = base64(b"app:secret");
        self.http
            .post(format!("{}{path}", self.base))
            .header("authorization", format!("Basic {shown}"))
            .form(form)
    }

    async fn code(&self) -> String {
        let answer = self.ask(&[]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND);
        let url: url::Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
        let pairs: Vec<_> = url.query_pairs().collect();
        assert_eq!(pairs[0], ("from".into(), "zoom".into()));
        assert_eq!(pairs[2], ("state".into(), "s/t+a te".into()));
        pairs[1].1.to_string()
    }

    async fn redeem(&self, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
            ("code_verifier", VERIFIER),
        ];
        json_of(self.post_form("/oauth/token", &form)).await
    }

    async fn refresh(&self, token: &str) -> (u16, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        json_of(self.post_form("/oauth/token", &form)).await
    }

    async fn connect(&self, user: &str) -> Tutor {
        self.zoom.sign_in(user);
        let (status, tokens) = self.redeem(&self.code().await).await;
        assert_eq!(status, 200);
        Tutor {
            id: user.into(),
            access: tokens["access_token"].as_str().unwrap().into(),
            refresh: tokens["refresh_token"].as_str().unwrap().into(),
        }
    }

    async fn tutor(&self, plan: Plan) -> Tutor {
        let user = self.zoom.add_user(ZoomUser::new(plan, "tutor@example.org"));
        self.connect(&user).await
    }

    fn call(&self, tutor: &Tutor, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/v2{path}", self.base);
        self.http.request(method, url).bearer_auth(&tutor.access)
    }

    fn get(&self, tutor: &Tutor, path: &str) -> RequestBuilder {
        self.call(tutor, Method::GET, path)
    }

    fn creation(&self, tutor: &Tutor, settings: &Value) -> RequestBuilder {
        let body = json!({
            "topic": "Leçon", "agenda": "booking-1", "type": 2, "start_time": "2026-03-02T17:00:00Z",
            "timezone": "Europe/Paris", "duration": 60, "settings": settings,
        });
        self.call(tutor, Method::POST, "/users/me/meetings").json(&body)
    }

    async fn meeting(&self, tutor: &Tutor, settings: &Value) -> u64 {
        let (status, made) = json_of(self.creation(tutor, settings)).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_u64().unwrap()
    }
}

fn open() -> Value {
    json!({"waiting_room": false, "join_before_host": false})
}
