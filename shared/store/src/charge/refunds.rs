//! Refunds on their way: looked at before a gateway is asked, withdrawn, or refused for now.

use crate::rows::{amount, word};
use domain::charge::gateway::Gateway;
use domain::charge::retry::{refund_again_at, under_way_since};
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::outbox::Draft;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Loads a refund that has no end yet: what to ask of its gateway, since when the gateway may have been asked
/// before this look, and whether the refund is still due.
pub const LOOK_AT: &str = include_str!("refunds/look_at.sql");

/// A refund that has no end yet, with all that is needed to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRefund {
    /// The refund's id, `refunds.id`.
    pub id: RefundId,
    /// How much goes back.
    pub amount: Money,
    /// Since when its gateway may have been asked for it before this look; `None` if it cannot have been.
    pub asked_at: Option<Timestamp>,
    /// The same, once this look has written down that the gateway may be asked now.
    pub asked_since: Option<Timestamp>,
    /// Whether its gateway has taken it already. Then it is only looked up, and never asked for again.
    pub is_pending: bool,
    /// Whether the client has still paid so much too much.
    pub is_due: bool,
    /// How often its gateway has refused it so far, for reasons that may pass.
    pub refusals: i32,
    /// The payment out of which it goes back.
    pub payment: PaymentId,
    /// The gateway's name: `stripe` or `fapshi`.
    pub gateway: Gateway,
    /// The payment intent at Stripe that is refunded; `None` for a gateway that has none.
    pub intent: Option<String>,
    /// The phone that mobile money goes back to; `None` for a card.
    pub phone: Option<String>,
}

/// Loads a refund, as `message` has asked for it, and writes down that its gateway may be asked from now on;
/// `None` if nothing is to be done about it now, because it has its end, or waits for an operator or for its
/// next try.
pub async fn look_at(
    database: &Database,
    refund: RefundId,
    message: Uuid,
    now: Timestamp,
) -> Result<Option<PendingRefund>, DatabaseError> {
    let under_way_since = under_way_since(now);
    let params: [Param<'_>; 4] = [
        (&refund.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&under_way_since, Type::TIMESTAMPTZ),
        (&message, Type::UUID),
    ];
    let row = database.query_opt(LOOK_AT, &params).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<PendingRefund, DatabaseError> {
    Ok(PendingRefund {
        id: RefundId(column(row, "id")?),
        amount: amount(row, "amount_minor")?,
        asked_at: column(row, "asked_at")?,
        asked_since: column(row, "written_down_at")?,
        is_pending: column(row, "is_pending")?,
        is_due: column(row, "is_due")?,
        refusals: column(row, "refusals")?,
        payment: PaymentId(column(row, "payment_id")?),
        gateway: word(row, "gateway")?,
        intent: column(row, "intent_id")?,
        phone: column(row, "payer_phone")?,
    })
}

/// Withdraws a refund that is not due any more and that its gateway was not asked for, and asks for another look at the
/// tab. $1 refund, $2 since when it was written down that it may be asked, $3 now, $4 draft of the job that looks at a
/// booking's tab.
pub const WITHDRAW: &str = "
    WITH withdrawn AS (
        UPDATE refunds SET status = 'closed', reason = 'not_due', settled_at = $3, look_at = NULL
        WHERE id = $1 AND status = 'opening' AND asked_at = $2 RETURNING booking_id),
    job AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT gen_random_uuid(), $4::jsonb ->> 'queue', about($4, booking_id), $3, senders_turn($3) FROM withdrawn RETURNING *)
    SELECT jsonb_agg(as_posted(id, queue, envelope)) AS posted FROM job";

/// Withdraws a refund that is not due any more, and that nobody has asked for since `due` was read.
pub async fn withdraw(
    database: &Database,
    due: &PendingRefund,
    look: &Draft,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let params: [Param<'_>; 4] = [
        (&due.id.0, Type::UUID),
        (&due.asked_since, Type::TIMESTAMPTZ),
        (&now, Type::TIMESTAMPTZ),
        (look.json(), Type::JSONB),
    ];
    database.query(WITHDRAW, &params).await.map(drop)
}

/// Enters that a gateway refused a refund that it may accept later: with the time of the next try, or with
/// what the client is told if there is none.
pub const REFUSED: &str = include_str!("refunds/refused.sql");

/// Enters that a gateway refused a refund that it may accept later: it is tried again, or left to a person.
pub async fn refused(
    database: &Database,
    due: &PendingRefund,
    reason: &str,
    give_back: &Draft,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let next_try_at = refund_again_at(due.refusals, now);

    let params: [Param<'_>; 6] = [
        (&due.id.0, Type::UUID),
        (&due.refusals, Type::INT4),
        (&reason, Type::TEXT),
        (&next_try_at, Type::TIMESTAMPTZ),
        (&now, Type::TIMESTAMPTZ),
        (give_back.json(), Type::JSONB),
    ];

    database.query(REFUSED, &params).await.map(drop)
}
