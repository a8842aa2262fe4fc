//! What every function keeps: its contract, its connection, its secrets.

mod bad_input;
mod batch;
pub(crate) mod contract;
mod database;
mod front_door;
mod pooler;
mod round_trips;
mod samples;
mod schema;
mod secrecy;
mod tokens;
