//! Why a session costs what it costs.

use crate::rows::currency;
use domain::ids::ProfileId;
use domain::money::Money;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Loads why a session costs what it costs: its decisions, latest first, with their ledger entries and, for
/// the client, how it was paid.
pub const EXPLAIN: &str = include_str!("explaining/explain.sql");

/// A decision about a session's cost, as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedDecision {
    /// The outcome, in the word of `sessions.status`.
    pub status: String,
    /// 1 for the first decision of the session, more for each correction.
    pub decision: i32,
    /// What the client is charged, what the tutor gets, and what the platform keeps, in this order.
    pub amounts: [Money; 3],
    /// The domain's explanation, as it was stored.
    pub explanation: Value,
    /// The ledger entries of this decision.
    pub entries: Value,
    /// The payments of the session's booking, for the client; empty for the tutor.
    pub payments: Value,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// Loads a session's decisions, latest first; `None` for strangers, empty before the first.
pub async fn explain(
    database: &Database,
    session: Uuid,
    person: ProfileId,
) -> Result<Option<Vec<RecordedDecision>>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&session, Type::UUID), (&person.0, Type::UUID)];
    let rows = database.query(EXPLAIN, &params).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    // A session that was never decided has one row, without a decision in it.
    let mut decided = Vec::with_capacity(rows.len());
    for row in &rows {
        if column::<Option<i32>>(row, "decision")?.is_some() {
            decided.push(read(row)?);
        }
    }
    Ok(Some(decided))
}

fn read(row: &Row) -> Result<RecordedDecision, DatabaseError> {
    let currency = currency(column(row, "currency")?)?;
    let amount = |name| Ok::<_, DatabaseError>(Money::new(column(row, name)?, currency));

    Ok(RecordedDecision {
        status: column(row, "status")?,
        decision: column(row, "decision")?,
        amounts: [
            amount("charge_minor")?,
            amount("payout_minor")?,
            amount("fee_minor")?,
        ],
        explanation: column(row, "explanation")?,
        entries: column(row, "entries")?,
        payments: column(row, "payments")?,
        decided_at: column(row, "decided_at")?,
    })
}
