//! What is seen of a lesson, and what that comes to.

mod events;
mod insights;
mod livekit;
mod patterns;
mod presence;
mod snapshot;
