//! The vendors. One module each: its requests, its events turned into ours, its signature, and a README
//! with every fact it relies on and where that fact comes from.

mod address;
mod answer;
pub mod classrooms;
pub mod fapshi;
pub mod gateways;
pub mod lessonspace;
pub mod livekit;
pub mod pencilspaces;
pub mod signature;
pub mod stripe;
