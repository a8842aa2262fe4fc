//! What every function needs and no rule cares about.
//!
//! A function's `main` reads its [`config`], builds its handler and gives it to [`api::serve`] (HTTP),
//! [`batch::serve`] (queues) or [`schedule::serve`] (timers). Those wrap every call in an
//! [`invocation`], which carries the ids that appear in every log line and ends in one summary line with
//! metrics. Clients are built on first use, never at start: [`database`], [`queue`], [`blobs`],
//! [`outbound`], [`secrets`].
//!
//! What must be told after a commit goes through the [`outbox`].

pub mod api;
pub mod auth;
mod aws;
pub mod batch;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod database;
mod freshness;
pub mod ids;
pub mod invocation;
pub mod logs;
pub mod outbound;
pub mod outbox;
pub mod problem;
pub mod queue;
pub mod redaction;
pub mod schedule;
pub mod secrets;
mod tls;
pub mod webhook;
