//! Sessions, what they cost, and the money.

pub mod books;
pub mod explaining;
pub mod paying;
pub mod refunds;
pub mod sessions;
pub mod settling;
pub mod tab;
