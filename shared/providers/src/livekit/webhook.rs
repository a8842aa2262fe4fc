//! What LiveKit tells. Its webhooks are signed over their bytes with our own key and are believed: what was, the vendor
//! says by them alone. Only what is needed of a body is kept, which is no name.

use super::Whole;
use super::api::{instant, is_person};
use super::token::{Keys, check_seal};
use domain::ids::BookingId;
use jiff::Timestamp;
use platform::secrets::Secret;
use platform::webhook::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The longest id that is kept, in bytes.
const LONGEST: usize = 256;

/// What happened in a booking's room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The booking whose room it is.
    pub booking: BookingId,
    /// The vendor's id of the event, the same whenever it is sent again.
    pub id: String,
    /// The event in the vendor's words.
    pub kind: String,
    /// What it means to us.
    pub what: What,
    /// When it happened, by the vendor's clock, to the second.
    pub at: Timestamp,
    /// The vendor's id of the room, which another of the same name does not have.
    pub room: String,
    /// Who it is about; `None` if it is about nobody, or about a recorder or a program.
    pub who: Option<Participant>,
}

/// What an event means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The room is gone.
    RoomFinished,
    /// Somebody is in the room, with sound and picture on their way.
    Joined,
    /// Somebody has left, by themselves or not.
    Left,
    /// Somebody who is in the room begins or ends to speak or to show something.
    Active,
    /// Nothing that we use.
    Other,
}

impl What {
    fn read(word: &str) -> Self {
        match word {
            "room_finished" => Self::RoomFinished,
            "participant_joined" => Self::Joined,
            "participant_left" => Self::Left,
            "track_published" | "track_unpublished" => Self::Active,
            _ => Self::Other,
        }
    }
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// The vendor's id of this one stay: who drops out and comes back has another.
    pub sid: String,
    /// Who it is, as the token said that let them in: our id.
    pub identity: String,
    /// When they came; `None` if the event does not say.
    pub joined_at: Option<Timestamp>,
}

/// Checks the door's deliveries.
pub struct Seals(Keys);

impl Seals {
    /// By the secret `LIVEKIT_API_KEYS`.
    pub fn new(secret: Secret) -> Self {
        Self(Keys::new(secret))
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    event: String,
    id: String,
    created_at: Whole,
    room: RoomBody,
    participant: Option<ParticipantBody>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RoomBody {
    sid: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ParticipantBody {
    sid: String,
    identity: String,
    kind: Value,
    joined_at: Whole,
    joined_at_ms: Whole,
}

/// What a delivery tells, once `authorization` is shown to seal its very bytes. `None` if it is about a room that is
/// no booking's: others may use the same account.
pub async fn read_webhook(
    seals: &Seals,
    authorization: Option<&str>,
    body: &str,
    now: Timestamp,
) -> Result<Option<Told>, Refusal> {
    let keys = seals.0.all().await.map_err(Refusal::Secret)?;
    let token = authorization.ok_or(Refusal::NotTheirs("no token"))?;
    check_seal(token, body.as_bytes(), &keys, now).map_err(Refusal::NotTheirs)?;

    let read: Body = serde_json::from_str(body).map_err(|_| Refusal::Unreadable)?;
    Ok(read.told(body, now))
}

impl Body {
    fn told(self, whole: &str, now: Timestamp) -> Option<Told> {
        let booking = self.room.name.parse().ok()?;
        let is_readable = |id: &str| !id.is_empty() && id.len() <= LONGEST;
        let id = Some(self.id).filter(|id| is_readable(id));

        Some(Told {
            booking,
            id: id.unwrap_or_else(|| hex::encode(Sha256::digest(whole))),
            what: What::read(&self.event),
            kind: self.event.chars().take(LONGEST).collect(),
            at: instant(self.created_at, Whole(0)).unwrap_or(now),
            room: self.room.sid,
            who: self.participant.and_then(ParticipantBody::person),
        })
    }
}

impl ParticipantBody {
    fn person(self) -> Option<Participant> {
        is_person(&self.kind, &self.identity).then(|| Participant {
            joined_at: instant(self.joined_at, self.joined_at_ms),
            sid: self.sid,
            identity: self.identity,
        })
    }
}
