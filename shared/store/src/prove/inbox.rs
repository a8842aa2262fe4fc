//! What providers report, recorded once: applied, waiting for what it is about, or parked for a person.

use domain::ids::BookingId;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, Transaction, column};
use platform::outbox::Message;
use serde_json::Value;
use tokio_postgres::types::Type;

/// Records an event as applied; it is the last statement of the transaction that applies it.
///
/// $1 provider, $2 event id, $3 kind, $4 booking or NULL, $5 received at, $6 envelope, $7 now.
pub const RECORD: &str = "
    INSERT INTO provider_events AS e (provider, event_id, kind, booking_id, received_at, envelope, status, settled_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'applied', $7)
    ON CONFLICT (provider, event_id) DO UPDATE
    SET status = 'applied', reason = NULL, settled_at = $7, attempts = e.attempts + 1
    WHERE e.status <> 'applied'
    RETURNING event_id";

/// How often an event was tried and kept. $1: provider. $2: event's id.
pub const ATTEMPTS: &str = "SELECT attempts FROM provider_events WHERE provider = $1 AND event_id = $2";

/// Keeps an event that matches nothing yet, and writes the outbox row that sends it again; without a time for
/// that, in $11, it parks the event.
///
/// $1 provider, $2 event id, $3 kind, $4 booking, $5 received at, $6 envelope, $7 now, $8 reason, $9 message
/// id, $10 queue, $11 due at or NULL.
pub const POSTPONE: &str = "
    WITH event AS (
        INSERT INTO provider_events AS e
            (provider, event_id, kind, booking_id, received_at, envelope, status, settled_at, reason)
        VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $11::timestamptz IS NULL THEN 'parked' ELSE 'waiting' END, $7, $8)
        ON CONFLICT (provider, event_id) DO UPDATE
        SET status = excluded.status, envelope = $6, reason = $8, settled_at = $7, attempts = e.attempts + 1
        WHERE e.status <> 'applied'
        RETURNING 1)
    INSERT INTO outbox (id, queue, envelope, due_at)
    SELECT $9, $10, $6, $11 FROM event WHERE $11::timestamptz IS NOT NULL
    ON CONFLICT (id) DO NOTHING
    RETURNING id";

/// Sends one recorded event through the queue again, whatever became of it, or all that are parked. An event
/// whose message is no longer kept cannot be sent. The outbox row's id is made of the event and the time, so
/// that asking twice because an answer was lost sends it once.
///
/// The operator's command sends this statement, connected as the owner and not as the functions' role, so the
/// schema is named.
///
/// $1 provider, $2 event id or NULL for all that are parked, $3 queue, $4 now.
pub const REPLAY: &str = "
    WITH again AS (
        UPDATE firstbell.provider_events SET status = 'waiting', attempts = 0, settled_at = $4
        WHERE provider = $1 AND envelope IS NOT NULL AND (event_id = $2 OR ($2::text IS NULL AND status = 'parked'))
        RETURNING event_id, envelope)
    INSERT INTO firstbell.outbox (id, queue, envelope, due_at)
    SELECT md5(concat_ws('/', $1, event_id, $4))::uuid, $3, envelope, $4 FROM again
    ON CONFLICT (id) DO NOTHING
    RETURNING id";

/// A provider's event, as the inbox records it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// The provider's name, such as `stripe`.
    pub provider: &'static str,
    /// The event's id, unique among the provider's events.
    pub id: &'a str,
    /// What kind of event it is, in the provider's words.
    pub kind: &'a str,
    /// The booking that it claims to be about; `None` if it does not say.
    pub booking: Option<BookingId>,
    /// When our door received the event.
    pub received_at: Timestamp,
    /// The whole message, to be sent again if need be.
    pub envelope: &'a Value,
}

pub(crate) fn common<'a>(event: &'a Event<'_>, now: &'a Timestamp) -> [Param<'a>; 7] {
    // An id of a booking is not optional, so its absence is a NULL of its own.
    let booking: Param<'a> = match &event.booking {
        Some(booking) => (&booking.0, Type::UUID),
        None => (&None::<uuid::Uuid>, Type::UUID),
    };

    [
        (&event.provider, Type::TEXT),
        (&event.id, Type::TEXT),
        (&event.kind, Type::TEXT),
        booking,
        (&event.received_at, Type::TIMESTAMPTZ),
        (event.envelope, Type::JSONB),
        (now, Type::TIMESTAMPTZ),
    ]
}

/// Records the event as applied and commits, with it, what it changed.
pub async fn record(
    transaction: Transaction<'_>,
    event: &Event<'_>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    transaction.commit(RECORD, &common(event, &now)).await.map(drop)
}

/// Records an event as applied that changed nothing.
pub async fn record_alone(
    database: &Database,
    event: &Event<'_>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    database.query(RECORD, &common(event, &now)).await.map(drop)
}

/// How often the event was tried and kept; 0 if it was not.
pub async fn attempts(database: &Database, event: &Event<'_>) -> Result<i32, DatabaseError> {
    let params: [Param<'_>; 2] = [(&event.provider, Type::TEXT), (&event.id, Type::TEXT)];
    let row = database.query_opt(ATTEMPTS, &params).await?;
    row.map_or(Ok(0), |row| column(&row, "attempts"))
}

/// Keeps the event until `again` is due. Without `again` it parks the event for a person.
pub async fn postpone(
    database: &Database,
    event: &Event<'_>,
    reason: &str,
    again: Option<&Message>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let (id, queue, due_at) = (
        again.map(|m| m.id),
        again.map(|m| m.queue),
        again.map(|m| m.due_at),
    );

    let mut params = Vec::from(common(event, &now));
    params.extend([
        (&reason as _, Type::TEXT),
        (&id as _, Type::UUID),
        (&queue as _, Type::TEXT),
        (&due_at as _, Type::TIMESTAMPTZ),
    ]);

    database.query(POSTPONE, &params).await.map(drop)
}

/// Sends one kept event again, or all parked ones of a provider; returns how many were sent.
pub async fn replay(
    database: &Database,
    provider: &str,
    event_id: Option<&str>,
    queue: &str,
    now: Timestamp,
) -> Result<usize, DatabaseError> {
    let params: [Param<'_>; 4] = [
        (&provider, Type::TEXT),
        (&event_id, Type::TEXT),
        (&queue, Type::TEXT),
        (&now, Type::TIMESTAMPTZ),
    ];
    Ok(database.query(REPLAY, &params).await?.len())
}
