//! What is seen of a lesson, and what that comes to.

mod events;
mod presence;
mod snapshot;
