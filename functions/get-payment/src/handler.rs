//! Where a payment stands, for the client who makes it.

use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::money::Money;
use domain::payment::{Method, PaymentStatus};
use jiff::Timestamp;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::problem::Problem;
use serde::Serialize;
use store::payments::{self, Seen};

pub(crate) struct GetPayment {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
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
        let seen = payments::seen_by(&self.database, id, person).await?;
        let seen = seen.ok_or_else(Problem::forbidden)?;
        Ok(Reply::ok(answer(seen, self.clock.now())))
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
