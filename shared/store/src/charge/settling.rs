//! Writes down what sessions cost. Every decision is part of one statement: its status, charge, event and
//! ledger entries stand or fall together, and they count only if nobody else has decided meanwhile.

use super::sessions::{StoredSession, read};
use domain::charge::gateway::Gateway;
use domain::charge::payment::Collects;
use domain::charge::settlement::{Settlement, Verdict};
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::ids::Ids;
use platform::outbox::Draft;
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Takes the sessions that are due, oldest first, and leaves those that another runner has taken. A booking
/// whose changes cannot be followed may have been called off, so its session waits until somebody has looked.
///
/// $1: now. $2: how many sessions at most.
pub const CLAIM_DUE: &str = "
    SELECT * FROM sessions s
    WHERE due_at <= $1 AND NOT EXISTS (
        SELECT FROM follow_failures f WHERE f.booking_id = s.booking_id AND f.direction = 'follow')
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED";

/// The error of a batch that could not be settled. Nothing of the batch was written.
#[derive(Debug)]
pub struct FailedBatch {
    /// Why the batch failed.
    pub error: DatabaseError,
    /// The session that was taken first; `None` if none was.
    pub first: Option<Uuid>,
}

/// Settles up to `most` due sessions in one transaction of two round trips: take the sessions, decide each by
/// `settle`, write. Any number of these may run at once. Returns how many sessions were taken; an error names
/// the one that was taken first.
pub async fn settle_due(
    database: &Database,
    settle: impl Fn(&StoredSession) -> Verdict,
    most: i64,
    collects: Collects,
    look: &Draft,
    ids: &Ids,
    now: Timestamp,
) -> Result<usize, FailedBatch> {
    let (transaction, rows) = database
        .begin(CLAIM_DUE, &[(&now, Type::TIMESTAMPTZ), (&most, Type::INT8)])
        .await
        .map_err(|error| FailedBatch { error, first: None })?;

    let first = rows.first().and_then(|row| column(row, "id").ok());
    let unsettled = |error| FailedBatch { error, first };

    let (mut due, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::<Uuid>::new());
    for row in &rows {
        match read(row) {
            Ok(stored) => due.push(stored),
            Err(error) => {
                // What cannot even be identified cannot be set aside, so then the batch fails.
                let id = column(row, "id").map_err(unsettled)?;
                tracing::error!(session_id = %id, %error, "a session cannot be read");
                unreadable.push(id);
            }
        }
    }

    let (mut decisions, mut later) = (Vec::with_capacity(due.len()), (Vec::new(), Vec::new()));
    for stored in &due {
        let again = match settle(stored) {
            Verdict::Decided(settlement) => {
                let settlement = *settlement;
                decisions.push(Decision { stored, settlement });
                continue;
            }
            Verdict::Wait(until) => Some(until),
            Verdict::Stands => None,
        };

        later.0.push(stored.id);
        later.1.push(again);
    }

    let (by, gateway) = (
        serde_json::json!({"by": "schedule"}),
        collecting_gateway(collects),
    );

    let columns = Columns {
        later,
        aside: unreadable,
        ..Columns::of(&decisions, &by, ids)
    };

    transaction
        .commit(DECIDE, &columns.params(look, &now, &gateway))
        .await
        .map_err(unsettled)?;
    Ok(rows.len())
}

/// Writes decisions, a row each: status, charge, event and ledger entries, what the client is told and, if
/// money may have to move, the payment that collects the charge and the job that looks at the booking's tab.
pub const DECIDE: &str = include_str!("settling/decide.sql");

/// A decision about a session that was read as `stored`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<'a> {
    /// The session as it was read.
    pub stored: &'a StoredSession,
    /// Its outcome, with the facts that led to it.
    pub settlement: Settlement,
}

/// Writes one decision, made by whoever `by` says; `false` if somebody else decided since the session was
/// read.
pub async fn decide(
    database: &Database,
    decision: Decision<'_>,
    by: &Value,
    collects: Collects,
    look: &Draft,
    ids: &Ids,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let decisions = [decision];
    let (columns, gateway) = (Columns::of(&decisions, by, ids), collecting_gateway(collects));
    let decided = database
        .query(DECIDE, &columns.params(look, &now, &gateway))
        .await?;
    Ok(!decided.is_empty())
}

/// Sets aside a session that the database refuses to settle, for a person to look at.
pub async fn set_aside(
    database: &Database,
    session: Uuid,
    look: &Draft,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    tracing::error!(session_id = %session, "a session cannot be settled");
    let columns = Columns {
        aside: vec![session],
        ..Columns::default()
    };
    database
        .query(DECIDE, &columns.params(look, &now, &None))
        .await
        .map(drop)
}

/// The parameters of [`DECIDE`], column by column: the same index in each belongs to the same decision.
#[derive(Default)]
struct Columns<'a> {
    sessions: Vec<Uuid>,
    decisions: Vec<i32>,
    charges: Vec<Uuid>,
    statuses: Vec<&'static str>,
    charge: Vec<i64>,
    payout: Vec<i64>,
    fee: Vec<i64>,
    explanations: Vec<Value>,
    by: Vec<&'a Value>,
    cancellations: Vec<Option<Timestamp>>,
    later: (Vec<Uuid>, Vec<Option<Timestamp>>),
    aside: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    fn of(decisions: &'a [Decision<'a>], by: &'a Value, ids: &Ids) -> Self {
        let mut columns = Self::default();

        for Decision { stored, settlement } in decisions {
            columns.sessions.push(stored.id);
            columns.decisions.push(stored.decisions);
            columns.charges.push(ids.next());
            columns.statuses.push(settlement.status.word());
            columns.charge.push(settlement.charge.minor());
            columns.payout.push(settlement.payout.minor());
            columns.fee.push(settlement.fee.minor());
            columns
                .explanations
                .push(serde_json::to_value(&settlement.explanation).unwrap_or_default());
            columns.by.push(by);
            columns
                .cancellations
                .push(settlement.explanation.known.cancelled_at);
        }

        columns
    }

    fn params<'b>(
        &'b self,
        look: &'b Draft,
        now: &'b Timestamp,
        gateway: &'b CollectingGateway,
    ) -> [Param<'b>; 16] {
        [
            (&self.sessions, Type::UUID_ARRAY),
            (&self.decisions, Type::INT4_ARRAY),
            (&self.charges, Type::UUID_ARRAY),
            (&self.statuses, Type::TEXT_ARRAY),
            (&self.charge, Type::INT8_ARRAY),
            (&self.payout, Type::INT8_ARRAY),
            (&self.fee, Type::INT8_ARRAY),
            (&self.explanations, Type::JSONB_ARRAY),
            (&self.by, Type::JSONB_ARRAY),
            (&self.cancellations, Type::TIMESTAMPTZ_ARRAY),
            (look.json(), Type::JSONB),
            (now, Type::TIMESTAMPTZ),
            (gateway, Type::TEXT),
            (&self.later.0, Type::UUID_ARRAY),
            (&self.later.1, Type::TIMESTAMPTZ_ARRAY),
            (&self.aside, Type::UUID_ARRAY),
        ]
    }
}

/// The gateway that collects charges; `None` if the platform collects them itself.
type CollectingGateway = Option<&'static str>;

fn collecting_gateway(collects: Collects) -> CollectingGateway {
    match collects {
        Collects::Firstbell => Some(Gateway::OF_CARDS.word()),
        Collects::Platform => None,
    }
}
