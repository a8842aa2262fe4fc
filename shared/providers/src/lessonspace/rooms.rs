//! Letting somebody into a booking's room, with everything that this vendor wants done on the way: where it is to
//! report to, and the room's key, which is sealed before anybody else sees it.

use super::api::{Launched, Lessonspace, LessonspaceConfig, RoomRequest};
use super::key::{SealedKey, WebhookToken};
use crate::classrooms::{Room, RoomError, Visitor, WayIn};
use domain::ids::BookingId;
use platform::config::Env;
use platform::secrets::Secret;
use url::Url;

/// The rooms at Lessonspace.
pub struct LessonspaceRooms {
    lessonspace: Lessonspace,
    secret: Secret,
    public_base: Url,
}

impl LessonspaceRooms {
    /// Reads what [`LessonspaceConfig::from_env`] needs, `LESSONSPACE_SECRET` and `PUBLIC_BASE_URL`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
        let (config, secret) = (LessonspaceConfig::from_env(env), env.secret("LESSONSPACE_SECRET"));
        let public_base = env.required("PUBLIC_BASE_URL");

        Some(Self {
            lessonspace: Lessonspace::new(config?),
            secret: secret?,
            public_base: public_base?,
        })
    }

    /// Launches for this visitor, by one call. Each launch tells the vendor anew where to report, always the same, so that
    /// it does not matter which of them the vendor goes by.
    pub async fn let_in(&self, room: &Room, visitor: &Visitor<'_>) -> Result<WayIn, RoomError> {
        let token = WebhookToken::of(&self.secret, room.booking).await?;
        let webhook = token.url(&self.public_base, room.booking);
        let webhook = webhook.ok_or(RoomError::Configuration)?;

        let request = RoomRequest {
            booking: room.booking,
            window: room.window,
            record: room.record,
            webhook: &webhook,
        };
        let launched = self.lessonspace.launch(&request, visitor).await?;

        self.way_in(room.booking, launched).await
    }

    async fn way_in(&self, booking: BookingId, launched: Launched) -> Result<WayIn, RoomError> {
        let sealed_key = match &launched.signing_key {
            Some(key) => SealedKey::seal(&self.secret, booking, key).await?,
            None => None,
        };

        Ok(WayIn {
            address: launched.room_url(),
            room: launched.room,
            personal_url: launched.personal_url,
            sealed_key: sealed_key.map(|key| key.0),
            user: launched.user,
        })
    }
}
