//! What schedules do, for which nobody calls.

pub mod following;
pub mod overdue;
pub mod tending;
pub mod tidying;
