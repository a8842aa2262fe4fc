//! The transactional outbox: a message that must follow a change is written in the change's own
//! transaction and sent afterwards, so neither is ever without the other.
//!
//! A store's statement inserts the row (`outbox(id, queue, envelope, due_at)`), and the sweeper `relay-outbox`
//! sends each minute what is due. A message may be sent twice, never lost.

use crate::clock::Clock;
use crate::database::{Database, DatabaseError, column};
use crate::invocation;
use crate::queue::Queue;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// How many rows one round claims.
const CLAIM_SIZE: i64 = 100;
/// How long a claim holds. One that was not confirmed by then belongs to a process that died.
const CLAIM_LEASE: SignedDuration = SignedDuration::from_secs(60);
/// How long one round of claim, send and confirm may take; no round is begun with less time left.
const ROUND_BUDGET: Duration = Duration::from_secs(5);

/// Claims rows that are due and not claimed by another sweeper. $1: now. $2: until when they are claimed. $3:
/// how many at most.
pub const CLAIM: &str = "
    UPDATE outbox SET locked_until = $2, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM outbox
        WHERE sent_at IS NULL AND due_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING id, queue, envelope::text AS envelope";

/// Confirms rows that were sent. $1: their ids. $2: now.
pub const CONFIRM: &str =
    "UPDATE outbox SET sent_at = $2, locked_until = NULL WHERE id = ANY($1) RETURNING id";

/// The queues by the names that outbox rows give them.
pub type Routes = HashMap<String, Queue>;

/// What one sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many messages their queues took.
    pub sent: u64,
    /// How many messages stay for a later sweep, because their queue did not take them.
    pub left: u64,
}

struct Due {
    id: Uuid,
    queue: String,
    envelope: String,
}

/// Sends everything that is due. Any number of sweepers may run at once.
pub async fn sweep(database: &Database, routes: &Routes, clock: &Clock) -> Result<Swept, DatabaseError> {
    let mut swept = Swept::default();
    while invocation::remaining() > ROUND_BUDGET {
        let due = claim(database, clock.now()).await?;
        if due.is_empty() {
            break;
        }

        // Boxed to keep the sweep's own future small. What its queue did not take stays claimed until the
        // lease ends.
        let sent = Box::pin(send(routes, &due)).await;
        confirm(database, &sent, clock.now()).await?;

        swept.sent += sent.len() as u64;
        swept.left += (due.len() - sent.len()) as u64;
    }
    Ok(swept)
}

async fn claim(database: &Database, now: Timestamp) -> Result<Vec<Due>, DatabaseError> {
    let until = now.saturating_add(CLAIM_LEASE).unwrap_or(Timestamp::MAX);
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] = [
        (&now, Type::TIMESTAMPTZ),
        (&until, Type::TIMESTAMPTZ),
        (&CLAIM_SIZE, Type::INT8),
    ];

    let rows = database.query(CLAIM, &params).await?;
    rows.iter()
        .map(|row| {
            Ok(Due {
                id: column(row, "id")?,
                queue: column(row, "queue")?,
                envelope: column(row, "envelope")?,
            })
        })
        .collect()
}

async fn send(routes: &Routes, due: &[Due]) -> Vec<Uuid> {
    let mut by_queue: HashMap<&str, Vec<&Due>> = HashMap::new();
    for message in due {
        by_queue.entry(&message.queue).or_default().push(message);
    }

    let mut sent = Vec::with_capacity(due.len());
    for (name, messages) in by_queue {
        let Some(queue) = routes.get(name) else {
            tracing::error!(
                queue = name,
                waiting = messages.len(),
                "outbox rows name an unknown queue"
            );
            continue;
        };

        let bodies: Vec<String> = messages.iter().map(|message| message.envelope.clone()).collect();
        let taken = queue.send_all(&bodies).await;
        sent.extend(
            messages
                .iter()
                .zip(taken)
                .filter(|(_, taken)| *taken)
                .map(|(message, _)| message.id),
        );
    }

    sent
}

async fn confirm(database: &Database, sent: &[Uuid], now: Timestamp) -> Result<(), DatabaseError> {
    if sent.is_empty() {
        return Ok(());
    }
    database
        .query(CONFIRM, &[(&sent, Type::UUID_ARRAY), (&now, Type::TIMESTAMPTZ)])
        .await
        .map(drop)
}

/// An outbox row to be inserted by a store's statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The row's id. A statement that inserts the same id again does nothing.
    pub id: Uuid,
    /// The name of its queue in [`Routes`].
    pub queue: &'static str,
    /// The [`crate::queue::Envelope`], as JSON.
    pub envelope: Value,
    /// From when on it is to be sent.
    pub due_at: Timestamp,
}
