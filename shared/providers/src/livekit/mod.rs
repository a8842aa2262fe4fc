//! LiveKit: rooms made by our server before anybody enters, tokens that open one room to one person until it closes, and
//! proof by its signed webhooks. The facts behind every line are in the README beside this file.

mod api;
mod presence;
mod rooms;
mod token;
mod webhook;

pub use api::{LiveKit, LiveKitConfig, LiveRoom, Present};
pub use presence::{seen, told};
pub use rooms::LiveKitRooms;
pub use webhook::{Participant, Seals, Told, What, read_webhook};

use serde::{Deserialize, Deserializer};

/// The vendor's name in `provider_events.provider` and `bookings.meeting_provider`.
pub const NAME: &str = domain::launch::classroom::Classroom::LiveKit.word();

/// A whole number, which the vendor writes as text where it has 64 bits and leaves out where it is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Number(i64),
            Text(String),
            Other(serde::de::IgnoredAny),
        }

        Ok(Self(match Spelling::deserialize(from)? {
            Spelling::Number(number) => number,
            Spelling::Text(text) => text.trim().parse().unwrap_or(0),
            Spelling::Other(_) => 0,
        }))
    }
}
