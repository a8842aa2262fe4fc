//! What functions say to each other, and what several of them do: the messages and their queues, settling, the
//! platform's rules from the environment, and what a refusal is called.

pub mod events;
pub mod messages;
pub mod policy;
pub mod refusals;
pub mod settling;
