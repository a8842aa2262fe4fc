//! What the vendor has counted in a session, once it has: minutes after everybody has left.

use super::api::PencilSpaces;
use super::webhook::instant;
use domain::ids::RoomId;
use domain::prove::insights::Measured;
use jiff::Timestamp;
use platform::outbound::VendorError;
use serde::Deserialize;
use serde_json::{Value, json};

/// A time for which a space was in use, as the vendor has counted it.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The vendor's id of it.
    pub id: String,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// Who was in it; empty where the vendor does not say.
    pub attendees: Vec<Attendee>,
}

/// What the vendor has counted of one person. It says when they came first and left last, and nothing of between.
#[derive(Debug, Clone, PartialEq)]
pub struct Attendee {
    /// The vendor's id of them.
    pub user: String,
    /// When they came first.
    pub came_at: Timestamp,
    /// When they left last; `None` if the vendor does not know.
    pub left_at: Option<Timestamp>,
    /// What was measured of them.
    pub measured: Measured,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    session_id: String,
    space_id: RoomId,
    #[serde(default)]
    status: String,
    #[serde(default)]
    session_start_time: Value,
    #[serde(default)]
    session_end_time: Value,
    #[serde(default)]
    attendees: Option<Vec<AttendeeAnswer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    session_id: String,
    space_id: RoomId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttendeeAnswer {
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    time_joined: Value,
    #[serde(default)]
    time_left: Value,
    #[serde(default)]
    space_duration: Value,
    #[serde(default)]
    space_duration_in_background: Value,
    #[serde(default)]
    speaking_time: Value,
}

impl PencilSpaces {
    /// What was counted of a session of this space; `None` as long as it is not there, and for one of another space.
    pub async fn session(&self, space: &RoomId, session: &str) -> Result<Option<Session>, VendorError> {
        let path = format!("analytics/sessions/{session}");
        match self.get::<Answer>(&path).await {
            Ok(answer) if answer.space_id == *space => Ok(answer.read()),
            Ok(_) | Err(VendorError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The ids of the space's sessions that have been counted.
    pub async fn sessions(&self, space: &RoomId) -> Result<Vec<String>, VendorError> {
        let is_its = |row: &Row| row.space_id == *space;
        let rows = self
            .all("analytics/sessions", &json!({"spaceId": space}), is_its)
            .await?;
        Ok(rows.into_iter().map(|row| row.session_id).collect())
    }
}

impl Answer {
    fn read(self) -> Option<Session> {
        // What it is still counting it may show all the same.
        if matches!(self.status.as_str(), "ongoing" | "processing") {
            return None;
        }
        let began_at = instant(&self.session_start_time)?;
        let ended_at = instant(&self.session_end_time).map(|end| end.max(began_at));
        let attendees = self.attendees.unwrap_or_default().into_iter();

        Some(Session {
            id: self.session_id,
            began_at,
            ended_at,
            attendees: attendees.filter_map(AttendeeAnswer::read).collect(),
        })
    }
}

impl AttendeeAnswer {
    fn read(self) -> Option<Attendee> {
        let came_at = instant(&self.time_joined).filter(|_| !self.user_id.is_empty())?;
        Some(Attendee {
            user: self.user_id,
            came_at,
            left_at: instant(&self.time_left).map(|left| left.max(came_at)),
            measured: Measured {
                there: seconds(&self.space_duration),
                in_background: seconds(&self.space_duration_in_background),
                speaking: seconds(&self.speaking_time),
            },
        })
    }
}

/// A length of time in whole seconds; `None` for what is none.
fn seconds(length: &Value) -> Option<u32> {
    let whole = length
        .as_u64()
        .or_else(|| format!("{:.0}", length.as_f64()?).parse().ok())?;
    u32::try_from(whole).ok()
}
