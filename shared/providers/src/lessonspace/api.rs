//! What we ask of Lessonspace: rooms and recordings. What was seen in a room is asked in [`super::sessions`].

use super::id_text;
use crate::address::below;
use crate::answer::{Answer, read};
use crate::classrooms::Visitor;
use domain::ids::{BookingId, RoomId};
use domain::launch::window::JoinWindow;
use domain::people::Role;
use platform::config::Env;
use platform::outbound::VendorError;
use platform::secrets::Secret;
use platform::{invocation, outbound};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

/// The longest name that the vendor takes, in characters.
const LONGEST_NAME: usize = 128;

/// Where Lessonspace is called, and as which organisation.
pub struct LessonspaceConfig {
    /// `https://api.thelessonspace.com/v2/`, or the simulator's.
    pub base_url: Url,
    /// The organisation's number, which its session list is under.
    pub organisation: String,
    /// The organisation's API key.
    pub api_key: Secret,
    /// Where new rooms are hosted, in the vendor's words; `None` leaves it to the vendor, which takes the region that
    /// is nearest to our functions.
    pub region: Option<String>,
}

impl LessonspaceConfig {
    /// Reads `LESSONSPACE_API_URL`, `LESSONSPACE_ORGANISATION`, the secret `LESSONSPACE_API_KEY`, and
    /// `LESSONSPACE_REGION`, which may be empty.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
        let (base_url, organisation) = (
            env.required("LESSONSPACE_API_URL"),
            env.required("LESSONSPACE_ORGANISATION"),
        );
        let api_key = env.secret("LESSONSPACE_API_KEY");
        let region = env.or("LESSONSPACE_REGION", String::new());

        Some(Self {
            base_url: base_url?,
            organisation: organisation?,
            api_key: api_key?,
            region: region.filter(|region| !region.is_empty()),
        })
    }
}

/// Lessonspace's API.
pub struct Lessonspace {
    pub(super) config: LessonspaceConfig,
}

/// A room to open, or to open again.
pub struct RoomRequest<'a> {
    /// The booking is the room's id at the vendor, so the same booking is always the same room.
    pub booking: BookingId,
    /// When people may enter it.
    pub window: JoinWindow,
    /// Whether sound and picture may be recorded. Each launch sets it anew for the whole room.
    pub record: bool,
    /// Where the vendor is to report to. The same in every launch of a booking: by the newer editions of the vendor's
    /// page the last launch counts, by the oldest the first.
    pub webhook: &'a Url,
}

/// An open room, and one visitor's way into it.
pub struct Launched {
    /// The vendor's id of the room.
    pub room: RoomId,
    /// This visitor's personal way in. Never stored, never logged.
    pub personal_url: Url,
    /// The key with which the vendor signs this room's webhooks, and its admission tokens: a credential.
    pub signing_key: Option<SecretString>,
    /// The vendor's id of the visitor, by which its session lists name them.
    pub user: Option<String>,
    /// What the vendor says it has set for the room.
    pub granted: Granted,
}

/// What the vendor says it has set for a room; `None` where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Granted {
    /// Whether sound and picture are recorded.
    pub record_av: Option<bool>,
    /// Whether anybody who does not lead must knock and be let in.
    pub waiting_room: Option<bool>,
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
    #[serde(default)]
    user_id: Value,
    #[serde(default)]
    room_settings: Value,
}

#[derive(Deserialize)]
struct PlaybackAnswer {
    recording_url: Option<String>,
}

/// The visitor's role in the vendor's words. It knows teachers and students; it takes other words, too, but
/// what they do is not known.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Tutor => "teacher",
        Role::Learner | Role::Guardian | Role::Payer => "student",
    }
}

/// The visitor's name as the vendor takes it: not empty and not too long.
fn shown_name(name: &str) -> String {
    let name = name.trim();
    let name = if name.is_empty() { "Participant" } else { name };
    name.chars().take(LONGEST_NAME).collect()
}

impl Granted {
    fn read(settings: &Value) -> Self {
        let flag = |name| match settings.get(name)? {
            Value::Bool(is_on) => Some(*is_on),
            Value::String(text) => text.to_ascii_lowercase().parse().ok(),
            _ => None,
        };

        Self {
            record_av: flag("record_av"),
            waiting_room: flag("waiting_room"),
        }
    }

    /// Logs as an error what the vendor has set and nobody asked for.
    fn complain(self, record: bool) {
        if !record && self.record_av == Some(true) {
            tracing::error!("the vendor records a room that may not be recorded");
        }
        if self.waiting_room == Some(true) {
            tracing::error!("the vendor's waiting room is on: learners must knock");
        }
    }
}

impl Lessonspace {
    /// The API described by `config`; connects to nothing yet.
    pub fn new(config: LessonspaceConfig) -> Self {
        Self { config }
    }

    /// Opens the booking's room, or opens it again, for one visitor. Safe to repeat: the vendor makes a room per id
    /// once. E-mail addresses are not sent: they would tie the visitor to whatever account the vendor has for them.
    pub async fn launch(
        &self,
        room: &RoomRequest<'_>,
        visitor: &Visitor<'_>,
    ) -> Result<Launched, VendorError> {
        let request = self
            .request(Method::POST, "spaces/launch/")
            .await?
            .json(&self.launch_body(room, visitor));
        let answer: LaunchAnswer = read(invocation::phase("vendor_ms", request.send()).await).await?;

        let granted = Granted::read(&answer.room_settings);
        granted.complain(room.record);

        Ok(Launched {
            room: answer.room_id,
            personal_url: answer.client_url,
            signing_key: answer.secret.filter(|key| !key.expose_secret().is_empty()),
            user: id_text(&answer.user_id),
            granted,
        })
    }

    fn launch_body(&self, room: &RoomRequest<'_>, visitor: &Visitor<'_>) -> Value {
        let (webhook, window) = (room.webhook, room.window);
        let mut body = json!({
            "id": room.booking,
            "name": "Lesson",
            "allow_guests": false,
            // Each launch says these anew. Left out, they would be what the organisation or the last launch
            // said.
            "record_av": room.record,
            "transcribe": false,
            "summarise": false,
            "user": {
                "id": visitor.profile,
                "name": shown_name(visitor.name),
                "role": role_name(visitor.role),
                "leader": visitor.role == Role::Tutor,
            },
            "timeouts": {"not_before": window.opens_at, "not_after": window.closes_at},
            // All of them are known keys: one unknown key is said to void the rest.
            "webhooks": {
                "session": {"start": webhook, "end": webhook, "idle": webhook},
                "user": {"join": webhook, "leave": webhook, "idle": webhook},
            },
        });

        if let (Some(region), Some(fields)) = (&self.config.region, body.as_object_mut()) {
            fields.insert("server".into(), json!(region));
        }

        body
    }

    /// The stable address of a span's recording, which [`Self::recording`] turns into a link. Worthless without our
    /// key. `span` is the vendor's uuid of it.
    pub fn playback_address(&self, span: &str) -> Result<Url, VendorError> {
        let path = format!(
            "organisations/{}/sessions/{span}/playback/",
            self.config.organisation
        );
        below(&self.config.base_url, &path)
    }

    /// A fresh link to the recording behind `playback_url`; [`VendorError::NotFound`] while there is none: the vendor
    /// may answer 404, nothing, or null. An address that is not the vendor's own is never called: our key goes with
    /// the call.
    pub async fn recording(&self, playback_url: &str) -> Result<Url, VendorError> {
        let base = self.config.base_url.as_str();
        let path = playback_url.strip_prefix(base).ok_or(VendorError::NotFound)?;
        let request = self.request(Method::GET, path).await?;

        let answer = Answer::wait(invocation::phase("vendor_ms", request.send()).await).await?;
        if answer.status.is_success() && answer.is_empty() {
            return Err(VendorError::NotFound);
        }

        let link = answer.json::<Option<PlaybackAnswer>>()?;
        let link = link.and_then(|answer| answer.recording_url).unwrap_or_default();
        link.parse().map_err(|_| VendorError::NotFound)
    }

    pub(super) async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, VendorError> {
        let client = outbound::client().await.map_err(|_| VendorError::SILENT)?;
        let key = self.config.api_key.get().await.map_err(|_| VendorError::SILENT)?;

        let authorization = format!("Organisation {}", key.expose_secret());
        let request = client
            .request(method, below(&self.config.base_url, path)?)
            .timeout(outbound::budget());

        Ok(request.header(http::header::AUTHORIZATION, authorization))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::ProfileId;
    use uuid::Uuid;

    fn lessonspace(region: &'static str) -> Lessonspace {
        let mut env = Env::from_lookup(move |name| {
            let value = match name {
                "LESSONSPACE_API_URL" => "https://vendor.example/v2/",
                "LESSONSPACE_ORGANISATION" => "20001",
                "LESSONSPACE_API_KEY" => "a key of a test",
                "LESSONSPACE_REGION" => region,
                _ => return None,
            };
            Some(value.to_owned())
        });
        Lessonspace::new(LessonspaceConfig::from_env(&mut env).unwrap())
    }

    fn body(lessonspace: &Lessonspace, name: &str, role: Role) -> Value {
        let webhook: Url = "https://api.example/hook".parse().unwrap();
        let room = RoomRequest {
            booking: BookingId(Uuid::from_u128(1)),
            window: JoinWindow {
                opens_at: "2026-03-02T16:45:00Z".parse().unwrap(),
                closes_at: "2026-03-02T18:15:00Z".parse().unwrap(),
            },
            record: true,
            webhook: &webhook,
        };
        let profile = ProfileId(Uuid::from_u128(2));

        lessonspace.launch_body(
            &room,
            &Visitor {
                profile,
                name,
                role,
                account: None,
            },
        )
    }

    #[test]
    fn every_launch_says_everything() {
        let hook = "https://api.example/hook";
        let expected = json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "name": "Lesson",
            "allow_guests": false,
            "record_av": true,
            "transcribe": false,
            "summarise": false,
            "server": "eu-west-2",
            "user": {
                "id": "00000000-0000-0000-0000-000000000002",
                "name": "Cleo",
                "role": "teacher",
                "leader": true,
            },
            "timeouts": {"not_before": "2026-03-02T16:45:00Z", "not_after": "2026-03-02T18:15:00Z"},
            "webhooks": {
                "session": {"start": hook, "end": hook, "idle": hook},
                "user": {"join": hook, "leave": hook, "idle": hook},
            },
        });

        assert_eq!(body(&lessonspace("eu-west-2"), " Cleo ", Role::Tutor), expected);
        assert_eq!(body(&lessonspace(""), "Cleo", Role::Tutor).get("server"), None);
    }

    #[test]
    fn whoever_does_not_teach_is_a_student_who_does_not_lead() {
        for role in [Role::Learner, Role::Guardian, Role::Payer] {
            let user = body(&lessonspace(""), "Ben", role)["user"].clone();
            assert_eq!(
                (&user["role"], &user["leader"]),
                (&json!("student"), &json!(false))
            );
        }
    }

    #[test]
    fn a_name_is_never_empty_nor_too_long() {
        assert_eq!(shown_name("  "), "Participant");
        assert_eq!(shown_name(&"é".repeat(200)).chars().count(), 128);
    }

    #[test]
    fn what_was_granted_is_read_from_words_and_flags() {
        let granted = Granted::read(&json!({"record_av": true, "waiting_room": "False", "transcribe": 7}));
        assert_eq!(
            (granted.record_av, granted.waiting_room),
            (Some(true), Some(false))
        );

        for nothing in [
            json!(null),
            json!({}),
            json!("x"),
            json!({"record_av": null, "waiting_room": "?"}),
        ] {
            assert_eq!(Granted::read(&nothing), Granted::default());
        }
    }

    #[test]
    fn an_answer_is_read_with_numbers_and_without_what_may_be_missing() {
        let full = r#"{"client_url": "https://go.room.sh/?user=jwt", "room_id": "r", "secret": "s", "session_id": "x",
            "user_id": 4711, "room_settings": {"record_av": false}, "api_base": "https://zah.room.sh/v1/room/r"}"#;
        let answer: LaunchAnswer = serde_json::from_str(full).unwrap();
        assert_eq!(id_text(&answer.user_id).as_deref(), Some("4711"));

        let bare: LaunchAnswer =
            serde_json::from_str(r#"{"client_url": "https://go.room.sh/", "room_id": "r"}"#).unwrap();
        assert_eq!(id_text(&bare.user_id), None);
        assert!(bare.secret.is_none());
    }

    #[test]
    fn the_rooms_address_lets_nobody_in() {
        let launched = Launched {
            room: RoomId("r".into()),
            personal_url: "https://go.room.sh/r?user=jwt#fragment".parse().unwrap(),
            signing_key: None,
            user: None,
            granted: Granted::default(),
        };
        assert_eq!(launched.room_url().as_str(), "https://go.room.sh/r");
    }

    #[test]
    fn a_recording_is_asked_for_below_the_vendor_only() {
        let address = lessonspace("").playback_address("5b0f").unwrap();
        assert_eq!(
            address.as_str(),
            "https://vendor.example/v2/organisations/20001/sessions/5b0f/playback/"
        );
        assert!(lessonspace("").playback_address("../../../../keys/?").is_err());
    }
}
