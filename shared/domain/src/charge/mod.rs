//! Charge: what a lesson costs, and what still has to move so that its client has paid that.

pub mod finding;
pub mod gateway;
pub mod order;
pub mod payment;
pub mod retry;
pub mod session;
pub mod settlement;
pub mod tab;
