//! Prove: what was seen of a lesson, and what that means.

pub mod attendance;
pub mod evidence;
pub mod insights;
pub mod snapshot;
