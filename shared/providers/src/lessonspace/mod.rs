//! Lessonspace: rooms by `POST spaces/launch/`, proof by its webhooks and its session list. The facts
//! behind every line are in the README beside this file.

mod api;
mod webhook;

pub use api::{Launched, Lessonspace, LessonspaceConfig, RoomRequest, Visitor};
pub use webhook::{Delivery, Headers, Kind, NoSignature, WebhookToken};

/// `provider_events.provider` and `bookings.meeting_provider`.
pub const NAME: &str = "lessonspace";
