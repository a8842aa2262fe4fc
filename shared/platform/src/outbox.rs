//! The transactional outbox: a message that must follow a change is written in the change's own transaction,
//! so neither is ever without the other, and is sent right after the commit.
//!
//! 1. A store's statement inserts rows for its [`Draft`]s and returns those that are due at once, in a column
//!    that is called `posted`. For a minute these are left to whoever wrote them.
//! 2. Once that is committed, [`Database`] sends it, as far as the time suffices and the queues take it.
//! 3. Whoever receives a message marks its row, in the statement with which it begins its work. So nobody
//!    needs a round trip more than without an outbox.
//! 4. Each minute the sweeper, `relay-outbox`, sends what is due and not marked: what the database's own
//!    functions wrote, what was due later, and what its writer could not send.
//!
//! A message may be sent twice, never lost: once more for instance if so much waits in its queue that nobody has
//! received it after a minute.

use crate::clock::Clock;
use crate::config::Env;
use crate::database::{Database, DatabaseError, column};
use crate::ids::Ids;
use crate::invocation;
use crate::queue::{Envelope, Queue};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

/// How many rows one round claims.
const CLAIM_SIZE: i64 = 100;
/// How long a claim holds. One that was not confirmed by then belongs to a process that died. It ends before the next
/// minute's sweep, which so finds, and counts, what could not be sent.
const CLAIM_LEASE: SignedDuration = SignedDuration::from_secs(45);
/// How long one round of claim, send and confirm may take; no round is begun with less time left.
const ROUND_BUDGET: Duration = Duration::from_secs(5);
/// How long sending right after a commit may take. What was not sent by then is left to the sweeper.
const SEND_BUDGET: Duration = Duration::from_secs(3);

/// Claims rows that are due and that neither their writer nor another sweeper is sending. $1: now. $2: until
/// when they are claimed. $3: how many at most.
pub const CLAIM: &str = "
    UPDATE outbox SET locked_until = $2, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM outbox
        WHERE sent_at IS NULL AND due_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING as_posted(id, queue, envelope) AS due";

/// Confirms rows that were sent. $1: their ids. $2: now.
pub const CONFIRM: &str =
    "UPDATE outbox SET sent_at = $2, locked_until = NULL WHERE id = ANY($1) RETURNING id";

/// A message as a statement writes it into the outbox, of which only its subject is still open: many a
/// statement alone knows which booking or refund it is about. The statement gives each its own id, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft(Value);

impl Draft {
    /// A message for `queue`, caused by the current invocation. `subject` is the field of its payload that
    /// names what it is about.
    pub fn new(queue: &str, kind: &str, subject: &str, now: Timestamp, ids: &Ids) -> Self {
        let envelope = Envelope::at(kind, Map::new(), now, ids.next());
        Self(json!({"queue": queue, "subject": subject, "envelope": envelope}))
    }

    /// The draft as a statement's parameter. SQL's `about` makes an envelope of it.
    pub fn json(&self) -> &Value {
        &self.0
    }
}

/// An outbox row whose content is known as a whole, such as a webhook that is to be tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The row's id. A statement that inserts the same id again does nothing.
    pub id: Uuid,
    /// The name of its queue in [`Routes`].
    pub queue: &'static str,
    /// The [`Envelope`], as JSON.
    pub envelope: Value,
    /// From when on it is to be sent.
    pub due_at: Timestamp,
}

/// A row of the outbox that is due, as SQL's `as_posted` gives it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Posted {
    id: Uuid,
    queue: String,
    envelope: Value,
}

/// What a statement has written that is due at once: the column `posted` of its rows, if it has one.
pub(crate) fn posted(rows: &[Row]) -> Vec<Posted> {
    let has_some = |row: &Row| row.columns().iter().any(|column| column.name() == "posted");
    if !rows.first().is_some_and(has_some) {
        return Vec::new();
    }

    let read = |row: &Row| match row.try_get::<_, Option<Json<Vec<Posted>>>>("posted") {
        Ok(posted) => posted.map_or_else(Vec::new, |Json(posted)| posted),
        Err(error) => {
            tracing::error!(%error, "what was posted cannot be read; it is left to the sweeper");
            Vec::new()
        }
    };
    rows.iter().flat_map(read).collect()
}

/// The queues by the names that outbox rows give them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes(HashMap<String, Queue>);

/// The text of `QUEUES` is not a list of `name=url`, separated by commas.
#[derive(Debug, thiserror::Error)]
#[error("not a list of name=url, separated by commas")]
pub struct MalformedRoutes;

impl FromStr for Routes {
    type Err = MalformedRoutes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let route = |entry: &str| {
            let (name, url) = entry.split_once('=')?;
            (!name.is_empty() && !url.is_empty()).then(|| (name.to_owned(), Queue::at(url)))
        };
        let routes: Option<_> = text.split(',').map(|entry| route(entry.trim())).collect();
        routes.map(Self).ok_or(MalformedRoutes)
    }
}

impl Routes {
    /// Reads `QUEUES`. Without it nothing is sent right after a commit, and everything is left to the sweeper.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        env.or("QUEUES", Self::default())
    }

    /// Reads `QUEUES` for a function that cannot do without the queue of this name.
    pub fn require(env: &mut Env, name: &str) -> Option<Queue> {
        let queue = Self::from_env(env)?.queue(name).cloned();
        if queue.is_none() {
            env.complain(format!("QUEUES does not name the queue {name}"));
        }
        queue
    }

    /// The queue of this name; `None` if `QUEUES` does not name it.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.0.get(name)
    }

    /// Sends what was committed, and leaves to the sweeper what cannot be sent now.
    pub(crate) async fn post(&self, posted: &[Posted]) {
        if posted.is_empty() || self.0.is_empty() {
            return;
        }

        let budget = invocation::remaining().min(SEND_BUDGET);
        let sent = timeout(budget, Box::pin(self.send(posted))).await;
        let sent = sent.map_or(0, |sent| sent.len());
        if sent < posted.len() {
            tracing::warn!(sent, of = posted.len(), "messages are left to the sweeper");
        }
    }

    /// Sends messages; returns the ids of those that their queues took.
    async fn send(&self, due: &[Posted]) -> Vec<Uuid> {
        let mut by_queue: HashMap<&str, Vec<&Posted>> = HashMap::new();
        for message in due {
            by_queue.entry(&message.queue).or_default().push(message);
        }

        let mut sent = Vec::with_capacity(due.len());
        for (name, messages) in by_queue {
            let Some(queue) = self.queue(name) else {
                tracing::error!(
                    queue = name,
                    waiting = messages.len(),
                    "outbox rows name an unknown queue"
                );
                continue;
            };

            let bodies: Vec<String> = messages
                .iter()
                .map(|message| message.envelope.to_string())
                .collect();
            let taken = queue.send_all(&bodies).await;
            let ids = messages.iter().zip(taken).filter(|(_, taken)| *taken);
            sent.extend(ids.map(|(message, _)| message.id));
        }

        sent
    }
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many messages their queues took.
    pub sent: u64,
    /// How many messages stay for a later sweep, because their queue did not take them.
    pub left: u64,
}

/// Sends everything that is due and that nobody else is sending. Any number of sweepers may run at once.
pub async fn sweep(database: &Database, routes: &Routes, clock: &Clock) -> Result<Swept, DatabaseError> {
    let mut swept = Swept::default();
    while invocation::remaining() > ROUND_BUDGET {
        let due = claim(database, clock.now()).await?;
        if due.is_empty() {
            break;
        }

        // Boxed to keep the sweep's own future small. What its queue did not take stays claimed until the
        // lease ends.
        let sent = Box::pin(routes.send(&due)).await;
        confirm(database, &sent, clock.now()).await?;

        swept.sent += sent.len() as u64;
        swept.left += (due.len() - sent.len()) as u64;
    }
    Ok(swept)
}

async fn claim(database: &Database, now: Timestamp) -> Result<Vec<Posted>, DatabaseError> {
    let until = now.saturating_add(CLAIM_LEASE).unwrap_or(Timestamp::MAX);
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] = [
        (&now, Type::TIMESTAMPTZ),
        (&until, Type::TIMESTAMPTZ),
        (&CLAIM_SIZE, Type::INT8),
    ];

    let rows = database.query(CLAIM, &params).await?;
    let read = |row: &Row| column(row, "due").map(|Json(due)| due);
    rows.iter().map(read).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_names_and_addresses() {
        let routes: Routes = "tabs=https://sqs/1/t?a=b, refunds=https://sqs/1/r"
            .parse()
            .unwrap();
        assert_eq!(routes.queue("tabs"), Some(&Queue::at("https://sqs/1/t?a=b")));
        assert_eq!(routes.queue("refunds"), Some(&Queue::at("https://sqs/1/r")));
        assert_eq!(routes.queue("events"), None);

        for malformed in ["tabs", "=https://sqs/1/t", "tabs=", "tabs=https://sqs/1/t,"] {
            assert!(malformed.parse::<Routes>().is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_draft_says_all_but_what_it_is_about() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let draft = Draft::new("refunds", "give_back", "refund_id", now, &Ids::sequence());

        assert_eq!(draft.json()["queue"], "refunds");
        assert_eq!(draft.json()["subject"], "refund_id");
        assert_eq!(draft.json()["envelope"]["type"], "give_back");
        assert_eq!(draft.json()["envelope"]["payload"], json!({}));
    }
}
