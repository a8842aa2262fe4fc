//! Fenced idempotency: an operation with a stable key runs once, its answer is replayed, and a run that
//! outlived its lease cannot overwrite its successor's result.
//!
//! Use: [`acquire`], then the effect, then [`COMPLETE`] in the *same statement* as the effect where the
//! effect is in Postgres (or [`complete`] after an external effect that carries the key to the vendor),
//! or [`release`] on failure.

use crate::clock::Clock;
use crate::database::{Database, DatabaseError, Param, column};
use crate::invocation;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;

/// A lease outlives its invocation's deadline by this much.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// Takes the key if it is new, expired or abandoned; otherwise tells who has it, in one statement.
/// $1 key, $2 payload hash, $3 now, $4 lease until.
pub const ACQUIRE: &str = "
    WITH taken AS (
        INSERT INTO idempotency AS held (key, payload_hash, state, attempt, lease_until)
        VALUES ($1, $2, 'INPROGRESS', 1, $4)
        ON CONFLICT (key) DO UPDATE
        SET payload_hash = $2, state = 'INPROGRESS', attempt = held.attempt + 1, lease_until = $4,
            response = NULL, expires_at = NULL
        WHERE (held.state = 'COMPLETED' AND held.expires_at <= $3)
           OR (held.state = 'INPROGRESS' AND held.lease_until <= $3 AND held.payload_hash = $2)
        RETURNING attempt)
    SELECT attempt, NULL::text AS state, NULL::bytea AS payload_hash, NULL::text AS response FROM taken
    UNION ALL
    SELECT NULL, state, payload_hash, response::text FROM idempotency
    WHERE key = $1 AND NOT EXISTS (SELECT FROM taken)";

/// Stores the answer, if this attempt still holds the key. $1 key, $2 attempt, $3 response, $4 expires at.
pub const COMPLETE: &str = "
    UPDATE idempotency SET state = 'COMPLETED', response = $3, expires_at = $4, lease_until = NULL
    WHERE key = $1 AND attempt = $2 AND state = 'INPROGRESS' RETURNING key";

/// Gives the key back, if this attempt still holds it: the next caller may run at once. The attempt
/// number stays, so that a zombie of this attempt remains fenced out. $1 key, $2 attempt, $3 now.
pub const RELEASE: &str = "
    UPDATE idempotency SET lease_until = $3
    WHERE key = $1 AND attempt = $2 AND state = 'INPROGRESS' RETURNING key";

/// A stable name for an operation and what it is about, such as `create-session/{booking}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key of `operation` on the business object `id`. Neither may be empty: an operation without a
    /// key must not run unprotected.
    pub fn new(operation: &str, id: &str) -> Option<Self> {
        (!operation.is_empty() && !id.is_empty()).then(|| Self(format!("{operation}/{id}")))
    }

    /// The key as stored, and as sent to a vendor.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a caller may do.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Run. The number fences this attempt.
    Acquired(i64),
    /// It ran before; this is its answer.
    Replay(Value),
    /// Another attempt is running. Try again later.
    Busy,
    /// The key was used for different content: a mistake of the caller.
    PayloadMismatch,
}

/// A zombie's verdict: another attempt has taken over, discard your result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The result counts.
    Yes,
    /// It does not.
    NoLonger,
}

/// Claims `key` for content `payload` until the invocation's deadline and a little more.
pub async fn acquire(
    database: &Database,
    key: &Key,
    payload: &[u8],
    clock: &Clock,
) -> Result<Claim, DatabaseError> {
    let hash = Sha256::digest(payload).to_vec();
    let now = clock.now();
    let lease = SignedDuration::try_from(invocation::remaining()).unwrap_or(SignedDuration::MAX);
    let until = now
        .saturating_add(lease.saturating_add(LEASE_MARGIN))
        .unwrap_or(Timestamp::MAX);
    let params: [Param<'_>; 4] = [
        (&key.0, Type::TEXT),
        (&hash, Type::BYTEA),
        (&now, Type::TIMESTAMPTZ),
        (&until, Type::TIMESTAMPTZ),
    ];
    let Some(row) = database.query_opt(ACQUIRE, &params).await? else {
        // The key appeared between the statement's snapshot and its insert: somebody is running it now.
        return Ok(Claim::Busy);
    };
    if let Some(attempt) = column(&row, "attempt")? {
        return Ok(Claim::Acquired(attempt));
    }
    let (state, held_hash): (String, Vec<u8>) = (column(&row, "state")?, column(&row, "payload_hash")?);
    if held_hash != hash {
        return Ok(Claim::PayloadMismatch);
    }
    if state != "COMPLETED" {
        return Ok(Claim::Busy);
    }
    let response: Option<String> = column(&row, "response")?;
    let response = response.as_deref().map_or(Ok(Value::Null), serde_json::from_str);
    response
        .map(Claim::Replay)
        .map_err(|_| DatabaseError::Unexpected("response"))
}

/// Stores the answer of attempt `attempt`, to be replayed for `keep`.
pub async fn complete(
    database: &Database,
    key: &Key,
    attempt: i64,
    response: &Value,
    keep: SignedDuration,
    clock: &Clock,
) -> Result<Held, DatabaseError> {
    let expires_at = clock.now().saturating_add(keep).unwrap_or(Timestamp::MAX);
    let params: [Param<'_>; 4] = [
        (&key.0, Type::TEXT),
        (&attempt, Type::INT8),
        (response, Type::JSONB),
        (&expires_at, Type::TIMESTAMPTZ),
    ];
    held(database.query_opt(COMPLETE, &params).await?.is_some())
}

/// Gives the key back after a failure.
pub async fn release(
    database: &Database,
    key: &Key,
    attempt: i64,
    clock: &Clock,
) -> Result<Held, DatabaseError> {
    let now = clock.now();
    let params: [Param<'_>; 3] = [
        (&key.0, Type::TEXT),
        (&attempt, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
    ];
    held(database.query_opt(RELEASE, &params).await?.is_some())
}

#[allow(clippy::unnecessary_wraps, reason = "reads as the last line of both callers")]
fn held(found: bool) -> Result<Held, DatabaseError> {
    Ok(if found { Held::Yes } else { Held::NoLonger })
}
