//! What a lesson costs, and how that is paid and given back.

mod agreement;
mod collecting;
mod disputes;
mod histories;
mod paying;
mod reconciling;
mod refunding;
mod settling;
pub(crate) mod till;
