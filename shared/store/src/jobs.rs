//! What functions ask of each other, as rows of the outbox hold it.

use crate::rows::as_json;
use domain::ids::{BookingId, RefundId};
use jiff::Timestamp;
use platform::ids::Ids;
use platform::queue::Envelope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the queue of [`LookAtTab`], which `step-tab` consumes.
pub const TABS: &str = "payments";

/// The name of the queue of [`GiveBack`], which `refund-payment` consumes.
pub const REFUNDS: &str = "refunds";

/// The job of `step-tab`: take the next step on a booking's tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAtTab {
    /// The booking whose tab is to be looked at. Some statements put it in themselves, by its JSON path.
    pub booking_id: BookingId,
}

impl LookAtTab {
    /// The job as an outbox row holds it.
    pub fn envelope(booking_id: BookingId, ids: &Ids, now: Timestamp) -> Value {
        let key = format!("tab/{booking_id}");
        as_json(&Envelope::at(
            "look_at_tab",
            key,
            Self { booking_id },
            now,
            ids.next(),
        ))
    }
}

/// The job of `refund-payment`: give back what is still due of one refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// The refund to be made. Some statements put it in themselves, by its JSON path.
    pub refund_id: RefundId,
}

impl GiveBack {
    /// The job as an outbox row holds it.
    pub fn envelope(refund_id: RefundId, ids: &Ids, now: Timestamp) -> Value {
        let key = format!("refund/{refund_id}");
        as_json(&Envelope::at(
            "give_back",
            key,
            Self { refund_id },
            now,
            ids.next(),
        ))
    }
}

/// The name of the queue of [`AskProvider`], which `apply-event` consumes.
pub const PROVIDER_EVENTS: &str = "provider-events";

/// The `type` of [`AskProvider`]'s envelope.
pub const ASK: &str = "ask_provider";

/// The job of `apply-event` that no webhook gives: ask the provider what it saw of a booking's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskProvider {
    /// The booking whose room is to be asked about. The statement puts it in, by its JSON path.
    pub booking_id: BookingId,
}
