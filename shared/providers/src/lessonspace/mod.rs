//! Lessonspace: rooms by `POST spaces/launch/`, proof by its session lists, which its webhooks tell us to ask. The
//! facts behind every line are in the README beside this file.

mod api;
mod key;
mod rooms;
mod sessions;
mod webhook;

pub use api::{Granted, Launched, Lessonspace, LessonspaceConfig, RoomRequest};
pub use key::WebhookToken;
pub use rooms::LessonspaceRooms;
pub use webhook::{Delivery, Headers, Kind, Signature};

/// The vendor's name in `provider_events.provider` and `bookings.meeting_provider`.
pub const NAME: &str = domain::launch::classroom::Classroom::Lessonspace.word();

/// An id as the vendor writes it: a number in most places, text in some.
fn id_text(id: &serde_json::Value) -> Option<String> {
    match id {
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        _ => None,
    }
}
