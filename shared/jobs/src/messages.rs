//! What functions ask of each other, and over which queue.

use domain::charge::gateway::Gateway;
use domain::ids::{BookingId, RefundId};
use domain::launch::classroom::Classroom;
use jiff::Timestamp;
use platform::ids::Ids;
use platform::outbox::Draft;
use serde::{Deserialize, Serialize};

/// The queue of what classrooms tell and of [`AskProvider`], which `apply-classroom-event` consumes.
pub const CLASSROOM_EVENTS: &str = "classroom-events";

/// The queue of what gateways tell, which `apply-gateway-event` consumes.
pub const GATEWAY_EVENTS: &str = "gateway-events";

/// The queue of [`LookAtTab`], which `step-tab` consumes.
pub const TABS: &str = "payments";

/// The queue of [`GiveBack`], which `refund-payment` consumes.
pub const REFUNDS: &str = "refunds";

/// Every queue that functions send to.
pub const QUEUES: [&str; 4] = [CLASSROOM_EVENTS, GATEWAY_EVENTS, TABS, REFUNDS];

/// The queue of what a provider tells; `None` for a name that no provider has.
pub fn events_of(provider: &str) -> Option<&'static str> {
    let classroom = provider.parse::<Classroom>().map(|_| CLASSROOM_EVENTS);
    let gateway = provider.parse::<Gateway>().map(|_| GATEWAY_EVENTS);
    classroom.ok().or(gateway.ok())
}

/// The job of `step-tab`: take the next step on a booking's tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAtTab {
    /// The booking whose tab is to be looked at.
    pub booking_id: BookingId,
}

impl LookAtTab {
    /// The job of a tab that the statement knows.
    pub fn draft(ids: &Ids, now: Timestamp) -> Draft {
        Draft::new(TABS, "look_at_tab", "booking_id", now, ids)
    }
}

/// The job of `refund-payment`: give back what is still due of one refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// The refund to be made.
    pub refund_id: RefundId,
}

impl GiveBack {
    /// The job of a refund that the statement knows.
    pub fn draft(ids: &Ids, now: Timestamp) -> Draft {
        Draft::new(REFUNDS, "give_back", "refund_id", now, ids)
    }
}

/// The job of `apply-classroom-event` that no webhook gives: ask the provider what it saw of a booking's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskProvider {
    /// The booking whose room is to be asked about.
    pub booking_id: BookingId,
}

impl AskProvider {
    /// The `type` of its envelope, which tells it from a webhook on the same queue.
    pub const KIND: &str = "ask_provider";

    /// The job of a room that the statement knows.
    pub fn draft(ids: &Ids, now: Timestamp) -> Draft {
        Draft::new(CLASSROOM_EVENTS, Self::KIND, "booking_id", now, ids)
    }
}
