//! What would break without a word, over HTTP.

mod accounts;
mod calendar;
mod meetings;

use super::*;
use jiff::{SignedDuration, Timestamp};
use platform::clock::ClockHand;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const BACK: &str = "https://firstbell.example/google/callback";
const TOPIC: &str = "projects/firstbell/topics/meet-events";
const EVENT: &str = "fb0192f0c47b1e7cc398c4dc0c0c07398f";

const ALL: &str = "openid email https://www.googleapis.com/auth/calendar.events \
    https://www.googleapis.com/auth/meetings.space.readonly https://www.googleapis.com/auth/meetings.space.created \
    https://www.googleapis.com/auth/drive.meet.readonly";

struct Play {
    google: Google,
    base: String,
    http: Client,
    hand: ClockHand,
    tutor: String,
}

fn at(minute: i64) -> Timestamp {
    let start: Timestamp = "2026-10-01T10:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minute)
}

fn user(sub: &str) -> Who {
    Who::User(sub.into())
}

impl Play {
    async fn begins() -> Self {
        let (clock, hand) = Clock::manual(at(0));
        let identity = PushIdentity {
            audience: "https://firstbell.example/push".into(),
            service_account_email: "push@firstbell.iam.gserviceaccount.com".into(),
        };
        let google = Google::new("http://simulated", "client", "secret", identity, clock);
        let address = crate::serve(Router::new().nest("/google", google.router()))
            .await
            .unwrap();
        let tutor = google.add_user("tutor@school.example", "Tara Tutor", Account::Workspace);
        google.sign_in(&tutor);
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            google,
            base: format!("http://{address}/google"),
            http: http.unwrap(),
            hand,
            tutor,
        }
    }

    /// Where the consent page sends the browser.
    async fn consent(&self, more: &[(&str, &str)]) -> Url {
        let mut query = vec![
            ("client_id", "client"),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("scope", ALL),
            ("state", "some-state"),
            ("access_type", "offline"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        query.extend(more);
        let page = format!("{}/o/oauth2/v2/auth", self.base);
        let answer = self.http.get(page).query(&query).send().await.unwrap();
        let location = answer.headers().get("location").expect("a redirect");
        location.to_str().unwrap().parse().unwrap()
    }

    async fn code(&self, more: &[(&str, &str)]) -> String {
        let back = self.consent(more).await;
        let mut pairs = back.query_pairs();
        pairs.find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let mut all = vec![("client_id", "client"), ("client_secret", "secret")];
        all.extend(form);
        let asked = self.http.post(format!("{}/token", self.base)).form(&all);
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn redeem(&self, code: &str, verifier: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
            ("code_verifier", verifier),
        ];
        self.token(&form).await
    }

    async fn refresh(&self, token: &str) -> (u16, Value) {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    async fn connect(&self) -> String {
        let code = self.code(&[]).await;
        let (_, tokens) = self.redeem(&code, VERIFIER).await;
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    async fn send(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Response {
        let asked = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token);
        let asked = match body {
            Some(body) => asked.json(&body),
            None => asked,
        };
        asked.send().await.unwrap()
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.send(token, method, path, body).await;
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        self.ask(token, Method::GET, path, None).await
    }

    async fn book(&self, token: &str) -> (u16, Value) {
        self.ask(token, Method::POST, BOOK, Some(lesson(EVENT))).await
    }

    async fn subscribe(&self, token: &str) -> (u16, Value) {
        let wanted = json!({
            "targetResource": format!("//cloudidentity.googleapis.com/users/{}", self.tutor),
            "eventTypes": [
                "google.workspace.meet.conference.v2.started",
                "google.workspace.meet.conference.v2.ended",
                "google.workspace.meet.participant.v2.joined",
                "google.workspace.meet.participant.v2.left",
            ],
            "notificationEndpoint": {"pubsubTopic": TOPIC},
            "payloadOptions": {"includeResource": false},
            "ttl": "604800s",
        });
        self.ask(token, Method::POST, SUBSCRIPTIONS, Some(wanted)).await
    }
}

const EVENTS: &str = "/calendar/v3/calendars/primary/events";
const BOOK: &str = "/calendar/v3/calendars/primary/events?conferenceDataVersion=1&sendUpdates=none";
const SUBSCRIPTIONS: &str = "/workspaceevents/v1/subscriptions";

fn lesson(id: &str) -> Value {
    json!({
        "id": id,
        "summary": "Mathematics",
        "start": {"dateTime": "2026-10-01T12:00:00+02:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": "2026-10-01T13:00:00+02:00", "timeZone": "Europe/Berlin"},
        "attendees": [{"email": "student@home.example"}],
        "extendedProperties": {"private": {"booking": "b1"}},
        "conferenceData": {"createRequest": {
            "requestId": "r1", "conferenceSolutionKey": {"type": "hangoutsMeet"},
        }},
    })
}

fn kinds(webhooks: &[Webhook]) -> Vec<String> {
    let kind = |webhook: &Webhook| {
        let full = webhook.event_type();
        full.rsplit(".v2.").next().unwrap_or_default().to_owned()
    };
    webhooks.iter().map(kind).collect()
}
