//! Pencil Spaces: spaces that stay, people who have accounts there, links that work once, and proof by its webhooks and
//! its analytics. The facts behind every line are in the README beside this file.

mod analytics;
mod api;
mod presence;
mod rooms;
mod webhook;

pub use analytics::{Attendee, Session};
pub use api::{Account, PencilSpaces, PencilSpacesConfig};
pub use presence::{analysed, told};
pub use rooms::PencilRooms;
pub use webhook::{Told, What, read_webhook};

/// The vendor's name in `provider_events.provider` and `bookings.meeting_provider`.
pub const NAME: &str = domain::launch::classroom::Classroom::PencilSpaces.word();
