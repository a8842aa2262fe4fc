//! Enters into the books what gateways told: once, and together with its ledger entries, what the client is
//! told and the next look at the booking's tab.

use crate::prove::inbox::{self, Event};
use domain::charge::finding::{Declined, Dispute, Finding, Outcome, Paid, Refunded};
use domain::charge::gateway::Gateway;
use domain::charge::payment::PaymentStatus;
use domain::charge::retry::try_again_at;
use domain::ids::{PaymentId, RefundId};
use domain::money::Money;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::outbox::Draft;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// Whether a finding could be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is in the books, since now or since an earlier time.
    Yes,
    /// Nothing here is what it is about: perhaps that is still being saved.
    Unknown,
    /// It names another amount or currency than the books, and was not entered.
    Disagrees,
}

impl Entered {
    fn read(rows: &[Row]) -> Result<Self, DatabaseError> {
        let row = rows.first().ok_or(DatabaseError::Unexpected("no row"))?;
        Ok(match (column(row, "is_known")?, column(row, "agrees")?) {
            (true, true) => Self::Yes,
            (true, false) => Self::Disagrees,
            (false, _) => Self::Unknown,
        })
    }
}

/// Enters what a gateway found, and writes `look` for each tab that it may change. Entering it again changes
/// nothing.
pub async fn enter(
    database: &Database,
    finding: &Finding,
    look: &Draft,
    now: Timestamp,
) -> Result<Entered, DatabaseError> {
    match Entry::of(finding, look, now) {
        Some(entry) => Entered::read(&database.query(entry.sql, &entry.params()).await?),
        None => Ok(Entered::Yes),
    }
}

/// Enters what a gateway found and records the event that told of it, in one transaction. An event that matches
/// nothing is not recorded.
pub async fn enter_with(
    database: &Database,
    finding: &Finding,
    event: &Event<'_>,
    look: &Draft,
    now: Timestamp,
) -> Result<Entered, DatabaseError> {
    let Some(entry) = Entry::of(finding, look, now) else {
        inbox::record_alone(database, event, now).await?;
        return Ok(Entered::Yes);
    };

    let (transaction, rows) = database.begin(entry.sql, &entry.params()).await?;
    let entered = Entered::read(&rows)?;

    if entered == Entered::Yes {
        inbox::record(transaction, event, now).await?;
    }

    Ok(entered)
}

/// A statement with its parameters. It owns them, because it goes out either alone or as the first of a
/// transaction.
struct Entry {
    sql: &'static str,
    params: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Entry {
    /// The statement for what a gateway found; `None` if that changes nothing here.
    fn of(finding: &Finding, look: &Draft, now: Timestamp) -> Option<Self> {
        match finding {
            Finding::Payment(payment, outcome) => Self::payment(*payment, outcome, look, now),
            Finding::Refund(refund, refunded) => Some(Self::refund(*refund, refunded, now)),
            Finding::Dispute(dispute) => Some(Self::dispute(dispute, look, now)),
            Finding::NotOurs => None,
        }
    }

    fn payment(payment: PaymentId, outcome: &Outcome, look: &Draft, now: Timestamp) -> Option<Self> {
        match outcome {
            Outcome::Paid(paid) => Some(Self::paid(payment, paid, look, now)),
            Outcome::Declined(declined) => Some(Self::declined(payment, declined, look, now)),
            Outcome::Expired => Some(Self::given_up(payment, PaymentStatus::Closed, "expired", now)),
            Outcome::Failed(reason) => Some(Self::given_up(payment, PaymentStatus::Failed, reason, now)),
            Outcome::Open => None,
        }
    }

    fn paid(payment: PaymentId, paid: &Paid, look: &Draft, now: Timestamp) -> Self {
        let card = paid.card.as_ref();
        let (fee, fee_currency) = parts(paid.fee);

        Self {
            sql: PAID,
            params: vec![
                (Box::new(payment.0), Type::UUID),
                (Box::new(paid.amount.minor()), Type::INT8),
                (Box::new(paid.amount.currency().code()), Type::TEXT),
                (Box::new(paid.gateway_id.clone()), Type::TEXT),
                (Box::new(paid.intent.clone()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(card.map(|card| card.customer.clone())), Type::TEXT),
                (Box::new(card.map(|card| card.card.clone())), Type::TEXT),
                (Box::new(look.json().clone()), Type::JSONB),
                (Box::new(fee), Type::INT8),
                (Box::new(fee_currency), Type::TEXT),
            ],
        }
    }

    fn declined(payment: PaymentId, declined: &Declined, look: &Draft, now: Timestamp) -> Self {
        let next_try_at = try_again_at(declined.attempt, declined.advice, now);
        Self {
            sql: DECLINED,
            params: vec![
                (Box::new(payment.0), Type::UUID),
                (Box::new(declined.attempt), Type::INT4),
                (Box::new(declined.reason.clone()), Type::TEXT),
                (Box::new(next_try_at), Type::TIMESTAMPTZ),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(look.json().clone()), Type::JSONB),
            ],
        }
    }

    fn given_up(payment: PaymentId, status: PaymentStatus, reason: &str, now: Timestamp) -> Self {
        Self {
            sql: GIVE_UP,
            params: vec![
                (Box::new(payment.0), Type::UUID),
                (Box::new(status.word()), Type::TEXT),
                (Box::new(reason.to_owned()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
            ],
        }
    }

    fn refund(refund: RefundId, refunded: &Refunded, now: Timestamp) -> Self {
        let (status, gateway_id, reason, fee) = match refunded {
            Refunded::Pending { gateway_id } => ("pending", Some(gateway_id), None, None),
            Refunded::Done { gateway_id, fee } => ("done", Some(gateway_id), None, *fee),
            Refunded::Failed { gateway_id, reason } => ("failed", gateway_id.as_ref(), Some(reason), None),
        };
        let (fee, fee_currency) = parts(fee);

        Self {
            sql: REFUNDED,
            params: vec![
                (Box::new(refund.0), Type::UUID),
                (Box::new(status), Type::TEXT),
                (Box::new(gateway_id.cloned()), Type::TEXT),
                (Box::new(reason.cloned()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(fee), Type::INT8),
                (Box::new(fee_currency), Type::TEXT),
            ],
        }
    }

    fn dispute(dispute: &Dispute, look: &Draft, now: Timestamp) -> Self {
        let (fee, fee_currency) = parts(dispute.fee);

        Self {
            sql: DISPUTED,
            params: vec![
                (Box::new(Gateway::OF_CARDS.word()), Type::TEXT),
                (Box::new(dispute.gateway_id.clone()), Type::TEXT),
                (Box::new(dispute.payment.0), Type::UUID),
                (Box::new(dispute.amount.minor()), Type::INT8),
                (Box::new(dispute.amount.currency().code()), Type::TEXT),
                (Box::new(dispute.status.clone()), Type::TEXT),
                (Box::new(dispute.reason.clone()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(dispute.is_lost), Type::BOOL),
                (Box::new(dispute.withdrawn.minor()), Type::INT8),
                (Box::new(dispute.reinstated.minor()), Type::INT8),
                (Box::new(fee), Type::INT8),
                (Box::new(fee_currency), Type::TEXT),
                (Box::new(look.json().clone()), Type::JSONB),
            ],
        }
    }

    fn params(&self) -> Vec<Param<'_>> {
        self.params
            .iter()
            .map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// An amount as its two columns: minor units, and the ISO 4217 code.
fn parts(money: Option<Money>) -> (Option<i64>, Option<&'static str>) {
    (
        money.map(Money::minor),
        money.map(|money| money.currency().code()),
    )
}

/// Enters money that came: the payment, its ledger entries, the card to keep with what its owner agreed to by
/// paying, and the next look at every tab that this may change.
pub const PAID: &str = include_str!("books/paid.sql");

/// Enters that one attempt to collect was declined: with the time of the next attempt, or with what the
/// client is told if there is none.
pub const DECLINED: &str = include_str!("books/declined.sql");

/// Gives up a payment that was begun and not paid, and tells the client if it failed.
///
/// $1: the payment's id. $2: 'failed' or 'closed'. $3: the reason. $4: now.
pub const GIVE_UP: &str = "
    WITH given_up AS (
        UPDATE payments SET status = $2, reason = $3, look_at = NULL
        WHERE id = $1 AND charge_id IS NULL AND status IN ('opening', 'open') RETURNING *),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'payment_failed', 'payment/' || id, booking_id,
               jsonb_build_object('payment_id', id, 'reason', reason), $4
        FROM given_up WHERE status = 'failed' ON CONFLICT (source) DO NOTHING)
    SELECT EXISTS (SELECT FROM payments WHERE id = $1) AS is_known, true AS agrees";

/// Enters what became of a refund: its status, its ledger entries with the gateway's fee, and what the client
/// is told.
pub const REFUNDED: &str = include_str!("books/refunded.sql");

/// Records a dispute, and enters into the books what it moved since it was last seen: what the bank took
/// back, what it returned, and what the gateway takes for it.
pub const DISPUTED: &str = include_str!("books/disputed.sql");
