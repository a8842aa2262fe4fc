//! Living beside a platform, and what schedules do.

pub(crate) mod adoption;
mod following;
mod outbox;
