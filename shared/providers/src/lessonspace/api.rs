//! What we ask of Lessonspace.

use crate::address::below;
use crate::error::{VendorError, read};
use domain::evidence::ProviderSession;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::people::Role;
use domain::window::JoinWindow;
use jiff::Timestamp;
use platform::config::Env;
use platform::secrets::Secret;
use platform::{invocation, outbound};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

/// Where and as whom Lessonspace is called.
pub struct LessonspaceConfig {
    /// `https://api.thelessonspace.com/v2/`, or the simulator's.
    pub base_url: Url,
    /// The organisation's number, which the session list is under.
    pub organisation: String,
    /// The organisation's API key.
    pub api_key: Secret,
}

impl LessonspaceConfig {
    /// Reads `LESSONSPACE_API_URL`, `LESSONSPACE_ORGANISATION` and the secret `LESSONSPACE_API_KEY`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (base_url, organisation) = (
            env.required("LESSONSPACE_API_URL"),
            env.required("LESSONSPACE_ORGANISATION"),
        );
        let api_key = env.secret("LESSONSPACE_API_KEY");
        Some(Self {
            base_url: base_url?,
            organisation: organisation?,
            api_key: api_key?,
        })
    }
}

/// The vendor's API.
pub struct Lessonspace {
    config: LessonspaceConfig,
}

/// A room to open, or to open again.
pub struct RoomRequest<'a> {
    /// Identifies the room: the same booking is always the same room.
    pub booking: BookingId,
    /// When people may be in it.
    pub window: JoinWindow,
    /// Whether sound and picture may be recorded.
    pub record: bool,
    /// Where the vendor is to report to from now on; without it, where it was told before.
    pub webhook: Option<&'a Url>,
}

/// The person who enters.
pub struct Visitor<'a> {
    /// Who.
    pub profile: ProfileId,
    /// The name shown in the room.
    pub name: &'a str,
    /// Tutors lead.
    pub role: Role,
}

/// An open room.
pub struct Launched {
    /// The vendor's id of the room.
    pub room: RoomId,
    /// This visitor's personal way in. Never stored, never logged.
    pub personal_url: Url,
    /// The key with which the vendor signs this room's webhooks.
    pub signing_key: Option<SecretString>,
}

impl Launched {
    /// The room's address without the visitor's personal access.
    pub fn room_url(&self) -> Url {
        let mut url = self.personal_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url
    }
}

#[derive(Deserialize)]
struct LaunchAnswer {
    room_id: RoomId,
    client_url: Url,
    secret: Option<SecretString>,
}

#[derive(Deserialize)]
struct SessionPage {
    results: Vec<SessionAnswer>,
}

#[derive(Deserialize)]
struct SessionAnswer {
    #[serde(alias = "id")]
    uuid: String,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct PlaybackAnswer {
    recording_url: Option<Url>,
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Tutor => "teacher",
        Role::Learner => "student",
        Role::Guardian | Role::Payer => "guardian",
    }
}

impl Lessonspace {
    /// The API described by `config`; connects to nothing yet.
    pub fn new(config: LessonspaceConfig) -> Self {
        Self { config }
    }

    /// Opens the booking's room, or opens it again, for one visitor. Safe to repeat: the vendor creates a
    /// room per id once. E-mail addresses are not sent: the room works without them.
    pub async fn launch(
        &self,
        room: &RoomRequest<'_>,
        visitor: &Visitor<'_>,
    ) -> Result<Launched, VendorError> {
        let mut body = json!({
            "id": room.booking,
            "name": "Lesson",
            "allow_guests": false,
            "record_av": room.record,
            "user": {
                "id": visitor.profile,
                "name": visitor.name,
                "role": role_name(visitor.role),
                "leader": visitor.role == Role::Tutor,
            },
            "timeouts": {"not_before": room.window.opens_at, "not_after": room.window.closes_at},
        });
        // Left out rather than null: null would take back what the vendor was told before.
        if let (Some(webhook), Some(fields)) = (room.webhook, body.as_object_mut()) {
            let webhooks = json!({"session": {"start": webhook, "end": webhook}});
            fields.insert("webhooks".into(), webhooks);
        }
        let request = self
            .request(reqwest::Method::POST, "spaces/launch/")
            .await?
            .json(&body);
        let answer: LaunchAnswer = read(invocation::phase("vendor_ms", request.send()).await).await?;
        Ok(Launched {
            room: answer.room_id,
            personal_url: answer.client_url,
            signing_key: answer.secret,
        })
    }

    /// Every span for which the vendor held `room` open, as its session list says.
    pub async fn sessions(&self, room: &RoomId) -> Result<Vec<ProviderSession>, VendorError> {
        let path = format!("organisations/{}/sessions/", self.config.organisation);
        let filter = [("space", room.0.as_str()), ("include_single_user", "true")];
        let request = self.request(reqwest::Method::GET, &path).await?.query(&filter);
        let page: SessionPage = read(invocation::phase("vendor_ms", request.send()).await).await?;
        page.results
            .into_iter()
            .map(|session| self.read_session(session))
            .collect()
    }

    fn read_session(&self, session: SessionAnswer) -> Result<ProviderSession, VendorError> {
        let recording_url = self.playback_url(&session.uuid)?.to_string();
        Ok(ProviderSession {
            id: session.uuid,
            started_at: session.start_time,
            ended_at: session.end_time,
            recording_url: Some(recording_url),
        })
    }

    /// The stable address of a session's recording, which [`Self::recording`] turns into a link. Worthless
    /// without our key.
    fn playback_url(&self, session: &str) -> Result<Url, VendorError> {
        below(
            &self.config.base_url,
            &format!(
                "organisations/{}/sessions/{session}/playback/",
                self.config.organisation
            ),
        )
    }

    /// A fresh link to the recording behind `playback_url`; [`VendorError::NotFound`] while there is none.
    /// An address that is not the vendor's own is never called: our key goes with the call.
    pub async fn recording(&self, playback_url: &str) -> Result<Url, VendorError> {
        let base = self.config.base_url.as_str();
        let path = playback_url.strip_prefix(base).ok_or(VendorError::NotFound)?;
        let request = self.request(reqwest::Method::GET, path).await?;
        let answer: PlaybackAnswer = read(invocation::phase("vendor_ms", request.send()).await).await?;
        answer.recording_url.ok_or(VendorError::NotFound)
    }

    async fn request(&self, method: reqwest::Method, path: &str) -> Result<RequestBuilder, VendorError> {
        let unavailable = VendorError::Transient {
            status: None,
            retry_after_seconds: None,
        };
        let client = outbound::client().await.map_err(|_| unavailable)?;
        let key = self.config.api_key.get().await.map_err(|_| unavailable)?;
        let authorization = format!("Organisation {}", key.expose_secret());
        let request = client
            .request(method, below(&self.config.base_url, path)?)
            .timeout(outbound::budget());
        Ok(request.header(http::header::AUTHORIZATION, authorization))
    }
}
