//! Bookings as people see them, and the opening of their rooms.

pub mod accounts;
pub mod bookings;
pub mod rooms;
