//! The injected clock. Nothing else in the project asks the machine for the time of a rule.

use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Tells the time, in UTC.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// The machine's clock, shifted by the whole seconds written in a file that may change while the
    /// process runs. This is how the local stack lets an hour pass in an instant; `template.yaml` never
    /// sets it.
    pub fn shifted_by(file: PathBuf) -> Self {
        Self(Arc::new(move || {
            let seconds = std::fs::read_to_string(&file)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            let shift = SignedDuration::from_secs(seconds.unwrap_or(0));
            Timestamp::now().saturating_add(shift).unwrap_or(Timestamp::MAX)
        }))
    }

    /// A clock that stands still until its hand is moved.
    pub fn manual(start: Timestamp) -> (Self, ClockHand) {
        let hand = Arc::new(Mutex::new(start));
        let face = Arc::clone(&hand);
        let clock = Self(Arc::new(move || {
            *face.lock().unwrap_or_else(PoisonError::into_inner)
        }));
        (clock, ClockHand(hand))
    }

    /// The current instant.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// Moves the clock that [`Clock::manual`] gave out with it.
pub struct ClockHand(Arc<Mutex<Timestamp>>);

impl ClockHand {
    /// Lets so much time pass.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}
