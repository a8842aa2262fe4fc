//! What we ask of LiveKit, over its Twirp interface: JSON by POST, one path for each method.

use super::Whole;
use super::token::{Claims, Grant, Keys};
use crate::address::below;
use crate::answer::read;
use domain::ids::RoomId;
use jiff::{SignedDuration, Timestamp};
use platform::config::Env;
use platform::outbound::VendorError;
use platform::{invocation, outbound};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

/// For how long the token of one call of ours is good. The vendor's clock may be behind or ahead by a minute.
const CALL_LASTS: SignedDuration = SignedDuration::from_mins(5);

/// Where LiveKit is called, and with which keys.
pub struct LiveKitConfig {
    /// `https://<project>.livekit.cloud/`, a server of one's own, or the simulator's.
    pub(super) base_url: Url,
    keys: Keys,
}

impl LiveKitConfig {
    /// Reads `LIVEKIT_URL`, which may begin with `wss` as the vendor shows it, and the secret `LIVEKIT_API_KEYS`. The
    /// inner `None` is a deployment without LiveKit: there is no address.
    #[allow(clippy::option_option, reason = "wrong, absent and there are three things")]
    pub fn from_env(env: &mut Env) -> Option<Option<Self>> {
        let given = env.or("LIVEKIT_URL", String::new())?;
        if given.is_empty() {
            return Some(None);
        }

        // Read before any `?`, so that one failed start names everything that is missing.
        let (address, keys) = (env.required::<Url>("LIVEKIT_URL"), env.secret("LIVEKIT_API_KEYS"));
        Some(Some(Self {
            base_url: over_http(&address?),
            keys: Keys::new(keys?),
        }))
    }
}

/// The address under which the API is called: the vendor shows the one for browsers, which speak over a web socket.
fn over_http(address: &Url) -> Url {
    let text = address.as_str();
    let http = text.strip_prefix("ws").map(|rest| format!("http{rest}"));
    http.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| address.clone())
}

/// LiveKit's API.
pub struct LiveKit {
    config: LiveKitConfig,
}

/// A room that is live at the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRoom {
    /// The vendor's id of this room, which another of the same name does not have.
    pub sid: String,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The vendor's id of this one stay.
    pub sid: String,
    /// Who it is, as the token said that let them in.
    pub identity: String,
    /// When they came.
    pub joined_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Rooms {
    #[serde(default)]
    rooms: Vec<RoomAnswer>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RoomAnswer {
    sid: String,
    name: String,
    creation_time: Whole,
    creation_time_ms: Whole,
}

#[derive(Deserialize)]
struct Participants {
    #[serde(default)]
    participants: Vec<ParticipantAnswer>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ParticipantAnswer {
    sid: String,
    identity: String,
    kind: Value,
    state: Value,
    joined_at: Whole,
    joined_at_ms: Whole,
}

impl LiveKit {
    /// The API described by `config`; connects to nothing yet.
    pub fn new(config: LiveKitConfig) -> Self {
        Self { config }
    }

    /// The keys in force, which sign the tokens of visitors, too.
    pub(super) fn keys(&self) -> &Keys {
        &self.config.keys
    }

    /// Makes the room, or keeps the one of that name that is live. It stays at least until `until`, whoever leaves it: a
    /// lesson in which everybody drops out for a minute is one room.
    pub async fn keep_room(
        &self,
        room: &RoomId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), VendorError> {
        let seconds = until.duration_since(now).as_secs().max(60);
        let body = json!({"name": room, "empty_timeout": seconds, "departure_timeout": seconds});
        let grant = Grant::CreateRooms;

        let answer: RoomAnswer = self.call("RoomService/CreateRoom", grant, &body, now).await?;
        // A room without an id is none.
        (!answer.sid.is_empty())
            .then_some(())
            .ok_or(VendorError::Permanent { status: 200 })
    }

    /// The room of that name that is live now; `None` if there is none.
    pub async fn live_room(&self, room: &RoomId, now: Timestamp) -> Result<Option<LiveRoom>, VendorError> {
        let grant = Grant::ListRooms;
        let answer: Rooms = self
            .call("RoomService/ListRooms", grant, &json!({"names": [room]}), now)
            .await?;

        let same = answer.rooms.into_iter().find(|live| live.name == room.0);
        Ok(same.and_then(|live| {
            Some(LiveRoom {
                made_at: instant(live.creation_time, live.creation_time_ms)?,
                sid: live.sid,
            })
        }))
    }

    /// Who is in the room now. Recorders and programs are nobody.
    pub async fn present(&self, room: &RoomId, now: Timestamp) -> Result<Vec<Present>, VendorError> {
        let grant = Grant::Administer(&room.0);
        let body = json!({ "room": room });
        let asked = self.call("RoomService/ListParticipants", grant, &body, now);
        let answer: Participants = match asked.await {
            // It closed between two questions.
            Err(VendorError::NotFound) => return Ok(Vec::new()),
            answer => answer?,
        };

        let people = answer.participants.into_iter();
        Ok(people
            .filter(|person| is_person(&person.kind, &person.identity) && is_through(&person.state))
            .map(|person| Present {
                joined_at: instant(person.joined_at, person.joined_at_ms),
                sid: person.sid,
                identity: person.identity,
            })
            .collect())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        grant: Grant<'_>,
        body: &Value,
        now: Timestamp,
    ) -> Result<T, VendorError> {
        let url = below(&self.config.base_url, &format!("twirp/livekit.{method}"))?;
        let claims = Claims {
            identity: None,
            name: None,
            exp: now.saturating_add(CALL_LASTS).unwrap_or(now).as_second(),
            video: grant,
        };

        let key = self.config.keys.first().await.ok().flatten();
        let token = key.and_then(|key| key.sign(&claims)).ok_or(VendorError::SILENT)?;
        let client = outbound::client().await.map_err(|_| VendorError::SILENT)?;
        let request = client
            .post(url)
            .bearer_auth(token.expose_secret())
            .timeout(outbound::budget())
            .json(body);

        let answer = read(invocation::phase("vendor_ms", request.send()).await).await;
        if matches!(answer, Err(VendorError::Barred { .. })) {
            self.config.keys.forget().await;
        }
        answer
    }
}

/// Whether somebody in a room is a person: neither a recorder nor a program.
pub(super) fn is_person(kind: &Value, identity: &str) -> bool {
    let is_machine = match kind {
        Value::String(word) => matches!(word.as_str(), "EGRESS" | "AGENT" | "INGRESS"),
        // In the order of the vendor's protocol: standard, ingress, egress, SIP, agent.
        Value::Number(number) => matches!(number.as_i64(), Some(1 | 2 | 4)),
        _ => false,
    };
    !is_machine && !identity.is_empty() && !identity.starts_with("EG_")
}

/// Whether somebody's sound and picture are on their way, as a webhook of their coming would mean. Whoever is only
/// trying to get in is not there.
fn is_through(state: &Value) -> bool {
    *state == "ACTIVE" || *state == 2
}

/// A time that the vendor gives in seconds and, if it is new enough, in milliseconds; `None` if it gives neither.
pub(super) fn instant(seconds: Whole, milliseconds: Whole) -> Option<Timestamp> {
    match (milliseconds.0, seconds.0) {
        (0, 0) => None,
        (0, seconds) => Timestamp::from_second(seconds).ok(),
        (milliseconds, _) => Timestamp::from_millisecond(milliseconds).ok(),
    }
}
