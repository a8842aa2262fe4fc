//! Payments and refunds of which no gateway has told the end: looked at again, and counted.

use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::outbox::Draft;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Claims payments and refunds that have no end yet and are due for a look, asks for that look, and sets when
/// the next is due. Each wait is twice as long as the one before, up to a day.
pub const RECONCILE: &str = include_str!("overdue/reconcile.sql");

/// What [`reconcile`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Payments and refunds for which a look was asked.
    pub asked: u64,
    /// How many of these were given up, because their gateway never said what became of them. A person was
    /// told of each.
    pub given_up: u64,
}

/// Asks for a look at up to `most` payments and `most` refunds that have no end yet, and gives up those of which their
/// gateway has not told for a month. One round trip; any number of these may run at once.
pub async fn reconcile(
    database: &Database,
    most: i64,
    look: &Draft,
    give_back: &Draft,
    now: Timestamp,
) -> Result<Reconciled, DatabaseError> {
    let params: [Param<'_>; 4] = [
        (&now, Type::TIMESTAMPTZ),
        (&most, Type::INT8),
        (look.json(), Type::JSONB),
        (give_back.json(), Type::JSONB),
    ];

    let row = database.query_opt(RECONCILE, &params).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;
    Ok(Reconciled {
        asked: count(&row, "asked")?,
        given_up: count(&row, "given_up")?,
    })
}

/// What waits, for whoever watches: for how many seconds the oldest payment has been open, and the oldest
/// refund without an end, of those that were due for a look at least once; and how many refunds have failed.
/// $1: now.
pub const OVERVIEW: &str = "
    SELECT coalesce((
               SELECT extract(epoch FROM $1::timestamptz - min(created_at)) FROM payments
               WHERE look_at IS NOT NULL AND looks > 0 AND status IN ('opening', 'open')), 0)::bigint AS open_payment_seconds,
           coalesce((
               SELECT extract(epoch FROM $1::timestamptz - min(since)) FROM (
                   SELECT min(created_at) AS since FROM refunds
                   WHERE look_at IS NOT NULL AND looks > 0 AND status IN ('opening', 'pending')
                   UNION ALL SELECT min(created_at) FROM refunds WHERE status = 'held') AS waiting), 0)::bigint
               AS open_refund_seconds,
           (SELECT count(*) FROM refunds WHERE status = 'failed') AS failed_refunds";

/// What waits for gateways and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overview {
    /// Age in seconds of the oldest payment without an end; 0 if there is none.
    pub open_payment_seconds: u64,
    /// Age in seconds of the oldest refund that is neither made nor failed; those that wait for an operator
    /// count, too.
    pub open_refund_seconds: u64,
    /// Refunds that failed and that nobody has retried or settled.
    pub failed_refunds: u64,
}

/// Counts what waits for gateways and for people.
pub async fn overview(database: &Database, now: Timestamp) -> Result<Overview, DatabaseError> {
    let row = database.query_opt(OVERVIEW, &[(&now, Type::TIMESTAMPTZ)]).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;
    Ok(Overview {
        open_payment_seconds: count(&row, "open_payment_seconds")?,
        open_refund_seconds: count(&row, "open_refund_seconds")?,
        failed_refunds: count(&row, "failed_refunds")?,
    })
}

fn count(row: &Row, name: &'static str) -> Result<u64, DatabaseError> {
    Ok(u64::try_from(column::<i64>(row, name)?).unwrap_or(0))
}
