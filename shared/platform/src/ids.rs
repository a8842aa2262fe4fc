//! The injected source of new ids.

use crate::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::{NoContext, Uuid};

/// Makes ids that sort by the time they were made (UUID version 7).
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> Uuid + Send + Sync>);

impl Ids {
    /// Random ids, stamped by `clock`.
    pub fn random(clock: Clock) -> Self {
        Self(Arc::new(move || {
            let now = clock.now();
            let second = u64::try_from(now.as_second()).unwrap_or(0);
            let nanosecond = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
            Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, second, nanosecond))
        }))
    }

    /// Ids 1, 2, 3, … for tests that compare what came out.
    pub fn sequence() -> Self {
        let next = AtomicU64::new(1);
        Self(Arc::new(move || {
            Uuid::from_u128(u128::from(next.fetch_add(1, Ordering::Relaxed)))
        }))
    }

    /// Makes the next id.
    pub fn next(&self) -> Uuid {
        (self.0)()
    }
}
