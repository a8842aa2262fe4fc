//! What providers report, and what it adds up to.

pub mod evidence;
pub mod inbox;
pub mod insights;
pub mod snapshots;
