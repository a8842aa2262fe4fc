//! Where a payment stands, for the client who makes it. One that is open is looked up at its gateway first: what a
//! gateway tells by itself may come late, or never.

use domain::gateway::Finding;
use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::money::Money;
use domain::payment::{Method, PaymentStatus};
use jiff::Timestamp;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::problem::Problem;
use providers::gateways::Gateways;
use serde::Serialize;
use store::payments::{self, Entered, Seen};

pub(crate) struct GetPayment {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) gateways: Gateways,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

#[derive(Serialize)]
struct Answer {
    id: PaymentId,
    booking_id: BookingId,
    method: Method,
    status: PaymentStatus,
    /// Why it was refused or given up.
    reason: Option<String>,
    amount: Money,
    /// What went back.
    refunded: Money,
    /// Where to pay, while that works.
    url: Option<String>,
    created_at: Timestamp,
    paid_at: Option<Timestamp>,
    /// When the card is tried again.
    next_try_at: Option<Timestamp>,
    is_disputed: bool,
}

impl Route for GetPayment {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: PaymentId = call.path_id("payment_id")?;
        let now = self.clock.now();
        let seen = payments::seen_by(&self.database, id, person, now).await?;
        let mut seen = seen.ok_or_else(Problem::forbidden)?;

        if seen.is_looking {
            seen = self.brought_up_to_date(seen, now).await?;
        }
        Ok(Reply::ok(answer(seen, now)))
    }
}

impl GetPayment {
    /// As the gateway has it, if it says so in time.
    async fn brought_up_to_date(&self, seen: Seen, now: Timestamp) -> Result<Seen, Problem> {
        let name = seen.gateway_id.as_deref();
        let Some(found) = self.gateways.end_in_time(&seen.gateway, seen.id, name).await else {
            return Ok(seen);
        };

        let finding = Finding::Payment(seen.id, found.clone());
        match payments::enter(&self.database, &finding, &self.ids, now).await? {
            Entered::Yes => Ok(seen.after(found, now)),
            Entered::Unknown | Entered::Disagrees => {
                tracing::error!(payment_id = %seen.id, "the gateway took another amount than was asked for");
                Ok(seen)
            }
        }
    }
}

fn answer(seen: Seen, now: Timestamp) -> Answer {
    let works =
        seen.status == PaymentStatus::Open && now.duration_since(seen.created_at) < seen.method.lives();
    Answer {
        id: seen.id,
        booking_id: seen.booking,
        method: seen.method,
        status: seen.status,
        reason: seen.reason,
        amount: seen.amount,
        refunded: seen.refunded,
        url: seen.link.filter(|_| works),
        created_at: seen.created_at,
        paid_at: seen.paid_at,
        next_try_at: seen.next_try_at,
        is_disputed: seen.is_disputed,
    }
}
