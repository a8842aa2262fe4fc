//! What the demo and the stories share: the people of a lesson and the deployed stack.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a story that cannot go on says so and stops"
)]

pub mod cast;
pub mod stack;
