//! Letting somebody into a booking's room: the room is made, or kept, by us, and the token opens it to one person until
//! it closes.

use super::api::{LiveKit, LiveKitConfig};
use super::token::{Claims, Grant};
use crate::classrooms::{Room, RoomError, Visitor, WayIn};
use domain::ids::{BookingId, RoomId};
use jiff::Timestamp;
use platform::config::Env;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The longest name that the vendor takes, in bytes.
const LONGEST_NAME: usize = 256;

/// The rooms at LiveKit.
pub struct LiveKitRooms {
    livekit: LiveKit,
    /// Where browsers reach the vendor, over a web socket.
    server: String,
    /// The page on which people meet.
    page: Url,
}

impl LiveKitRooms {
    /// Reads what [`LiveKitConfig::from_env`] needs and `LIVEKIT_PAGE_URL`, the page that opens a room in the browser.
    /// The inner `None` is a deployment without LiveKit.
    #[allow(clippy::option_option, reason = "wrong, absent and there are three things")]
    pub fn from_env(env: &mut Env) -> Option<Option<Self>> {
        let Some(config) = LiveKitConfig::from_env(env)? else {
            return Some(None);
        };

        let page = env.required("LIVEKIT_PAGE_URL");
        Some(Some(Self {
            server: over_a_socket(&config.base_url),
            livekit: LiveKit::new(config),
            page: page?,
        }))
    }

    /// Makes the booking's room, or keeps it, and opens it to this visitor until its window closes. The room's name is
    /// the booking's id, so an answer that got lost leaves no second room.
    pub async fn let_in(
        &self,
        room: &Room,
        visitor: &Visitor<'_>,
        now: Timestamp,
    ) -> Result<WayIn, RoomError> {
        let name = room_of(room.booking);
        self.livekit.keep_room(&name, room.window.closes_at, now).await?;

        let identity = visitor.profile.to_string();
        let claims = Claims {
            identity: Some(&identity),
            name: Some(shown(visitor.name)),
            exp: room.window.closes_at.as_second(),
            video: Grant::Join(&name.0),
        };
        let key = self
            .livekit
            .keys()
            .first()
            .await?
            .ok_or(RoomError::Configuration)?;
        let token = key.sign(&claims).ok_or(RoomError::Configuration)?;

        Ok(WayIn {
            personal_url: self.personal(&token),
            address: self.page.clone(),
            room: name,
            sealed_key: None,
            user: None,
        })
    }

    /// The page with this visitor's token. What stands behind a `#` is not sent to the page's server: a page that reads
    /// it there is given as an address that ends in one.
    fn personal(&self, token: &SecretString) -> Url {
        let parameters = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("liveKitUrl", &self.server)
            .append_pair("token", token.expose_secret())
            .finish();

        let mut url = self.page.clone();
        if url.fragment().is_some() {
            url.set_fragment(Some(&parameters));
        } else {
            url.set_query(Some(&parameters));
        }
        url
    }
}

/// The name of a booking's room.
fn room_of(booking: BookingId) -> RoomId {
    RoomId(booking.to_string())
}

fn over_a_socket(address: &Url) -> String {
    let text = address.as_str().trim_end_matches('/');
    text.strip_prefix("http")
        .map_or_else(|| text.to_owned(), |rest| format!("ws{rest}"))
}

/// The visitor's name as the vendor takes it: not empty and not too long.
fn shown(name: &str) -> &str {
    let name = name.trim();
    let name = if name.is_empty() { "Participant" } else { name };
    let end = name.floor_char_boundary(LONGEST_NAME);
    name.get(..end).unwrap_or(name)
}
