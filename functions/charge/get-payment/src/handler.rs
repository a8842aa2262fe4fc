//! Tells the client who makes a payment where it stands. An open payment is looked up at its gateway first,
//! since what a gateway tells by itself may come late, or never.

use domain::charge::finding::Finding;
use domain::charge::payment::{Method, PaymentStatus};
use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::money::Money;
use jiff::Timestamp;
use jobs::messages::LookAtTab;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::problem::Problem;
use providers::gateways::Gateways;
use serde::Serialize;
use store::charge::books::{self, Entered};
use store::charge::paying::{self, ClientPayment};

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
    /// Why it was refused or given up; null while neither has happened.
    reason: Option<String>,
    amount: Money,
    /// How much of `amount` went back to the client.
    refunded: Money,
    /// Where to pay; null once the page has run out or the payment has ended.
    url: Option<String>,
    created_at: Timestamp,
    paid_at: Option<Timestamp>,
    /// When the card is tried again; null if no further try is planned.
    next_try_at: Option<Timestamp>,
    is_disputed: bool,
}

impl Route for GetPayment {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: PaymentId = call.path_id("payment_id")?;
        let now = self.clock.now();

        let seen = paying::seen_by(&self.database, id, person, now).await?;
        let mut seen = seen.ok_or_else(Problem::forbidden)?;

        if seen.is_looking {
            seen = self.brought_up_to_date(seen, now).await?;
        }
        Ok(Reply::ok(answer(seen, now)))
    }
}

impl GetPayment {
    /// The payment as its gateway has it, if that answers in time; otherwise as we have it.
    async fn brought_up_to_date(
        &self,
        seen: ClientPayment,
        now: Timestamp,
    ) -> Result<ClientPayment, Problem> {
        let name = seen.gateway_id.as_deref();
        let Some(found) = self.gateways.end_in_time(seen.gateway, seen.id, name).await else {
            return Ok(seen);
        };

        let finding = Finding::Payment(seen.id, found.clone());
        let look = LookAtTab::draft(&self.ids, now);
        match books::enter(&self.database, &finding, &look, now).await? {
            Entered::Yes => Ok(seen.after(found, now)),
            entered @ (Entered::Unknown | Entered::Disagrees) => {
                tracing::error!(payment_id = %seen.id, ?entered, "the gateway and the books disagree about a payment");
                Ok(seen)
            }
        }
    }
}

fn answer(seen: ClientPayment, now: Timestamp) -> Answer {
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
