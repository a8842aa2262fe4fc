//! What Pencil Spaces tells. Its webhooks carry the secret itself and sign nothing, so whoever has it can say anything:
//! who came and left is taken from them, for nothing else says it, and everything else is asked.

use crate::signature::is_signed;
use domain::ids::RoomId;
use jiff::Timestamp;
use platform::secrets::Secret;
use platform::webhook::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The longest id that is kept, in bytes.
const LONGEST: usize = 256;
/// From here on a number is milliseconds since 1970 and no seconds: 1973 in the one, the year 5138 in the other.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// What happened in a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The space.
    pub space: RoomId,
    /// A hash of what was told: the vendor gives its events no ids.
    pub id: String,
    /// The event in the vendor's words.
    pub kind: String,
    /// What it means to us.
    pub what: What,
    /// When it happened, by the vendor's clock; when it arrived, if the vendor does not say.
    pub at: Timestamp,
    /// The vendor's id of the time for which the space was in use; `None` if the event does not say.
    pub session: Option<String>,
    /// The vendor's id of whom it is about, and of that person's tab in the browser; `None` if it is about nobody.
    pub who: Option<(String, String)>,
}

/// What an event means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Somebody entered with one more tab.
    Came,
    /// One of somebody's tabs is gone.
    Left,
    /// Somebody hid or showed a tab.
    Active,
    /// What was seen in a session can be asked for.
    Analysed,
    /// Nothing that we use.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    space_id: RoomId,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    event_type: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    user_tab_id: Option<String>,
    #[serde(default, rename = "_type")]
    about: Option<String>,
}

/// What a delivery tells, once it has shown the secret. `signature` is a header that the vendor is not known to send:
/// where it comes, it has to be right.
pub async fn read_webhook(
    secret: &Secret,
    authorization: Option<&str>,
    signature: Option<&str>,
    body: &str,
    now: Timestamp,
) -> Result<Told, Refusal> {
    let given = authorization.and_then(|header| header.strip_prefix("Bearer "));
    let given = given.ok_or(Refusal::NotTheirs("no bearer"))?;
    if !secret.is(given.trim()).await.map_err(Refusal::Secret)? {
        return Err(Refusal::NotTheirs("another bearer"));
    }

    if let Some(signature) = signature {
        let keys = secret.all().await.map_err(Refusal::Secret)?;
        if !is_signed(&keys, &[body.as_bytes()], signature) {
            return Err(Refusal::NotTheirs("signature"));
        }
    }

    let read: Body = serde_json::from_str(body).map_err(|_| Refusal::Unreadable)?;
    read.told(body, now).ok_or(Refusal::Unreadable)
}

impl Body {
    fn told(self, whole: &str, now: Timestamp) -> Option<Told> {
        let short = |text: Option<String>| text.filter(|text| !text.is_empty() && text.len() <= LONGEST);
        let space = short(Some(self.space_id.0)).map(RoomId)?;
        let event = self.event_type.unwrap_or_default();
        let kind = format!("{}/{event}", self.about.as_deref().unwrap_or_default());

        Some(Told {
            space,
            id: hex::encode(Sha256::digest(whole)),
            what: What::read(self.about.as_deref(), &event),
            kind: kind.chars().take(LONGEST).collect(),
            at: instant(&self.timestamp).unwrap_or(now),
            session: short(self.session_id),
            who: short(self.user_id).map(|user| {
                let tab = short(self.user_tab_id).unwrap_or_else(|| user.clone());
                (user, tab)
            }),
        })
    }
}

impl What {
    fn read(about: Option<&str>, event: &str) -> Self {
        match (about, event) {
            (Some("SPACE_USER"), "joinSpace") => Self::Came,
            (Some("SPACE_USER"), "leaveSpace") => Self::Left,
            (Some("SPACE_USER"), "hideTab" | "unhideTab") => Self::Active,
            (Some("SPACE_SESSION"), "SESSION_ENDED") => Self::Analysed,
            _ => Self::Other,
        }
    }
}

/// A time in any of the spellings that the vendor may use, which are not established.
pub(super) fn instant(time: &Value) -> Option<Timestamp> {
    let number = match time {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(at) => return Some(at),
            Err(_) => text.parse().ok(),
        },
        _ => None,
    }?;
    if number.abs() >= MILLISECONDS_FROM {
        Timestamp::from_millisecond(number).ok()
    } else {
        Timestamp::from_second(number).ok()
    }
}
