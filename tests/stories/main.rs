//! Stories: given a booking, when …, then …. They start the function binaries themselves, against a real
//! Postgres, SQS and S3 spoken over their protocols, and vendors simulated at their HTTP boundary. Run
//! them by `make test`, which starts what they need.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a story that cannot go on says so and stops"
)]

mod charge;
mod harness;
mod house;
mod keep;
mod launch;
mod prove;
