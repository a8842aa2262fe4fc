//! Launch: whether this person may enter this booking's room now.

pub mod booking;
pub mod classroom;
pub mod window;
