//! What a provider's event does to a booking: recorded once, applied once, in one statement each.

use crate::events::{Event, common};
use domain::evidence::Evidence;
use domain::ids::{BookingId, RoomId};
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;

/// What is known when an event arrives; one row whether or not anything is known.
/// $1 provider, $2 event id, $3 booking.
pub const LOAD: &str = "
    SELECT e.status, coalesce(e.attempts, 0) AS attempts, b.id AS booking_id, b.meeting_provider_id
    FROM (SELECT) AS nothing
    LEFT JOIN provider_events e ON e.provider = $1 AND e.event_id = $2
    LEFT JOIN bookings b ON b.id = $3";

/// Records the event as applied and merges what the provider saw into the booking. Runs once per event:
/// a second time finds it applied and changes nothing. The merge only ever adds: earliest start, latest
/// end, greatest length, so the order of events does not matter. Each end of a lesson asks once for the
/// tutor's credibility to be recalculated, whichever event it was learnt from. The booking's session learns
/// the same, and is looked at again if it is settled already.
/// $1 provider, $2 event id, $3 kind, $4 booking, $5 received at, $6 envelope, $7 now, $8 started at,
/// $9 ended at, $10 seconds, $11 recording.
pub const APPLY: &str = "
    WITH event AS (
        INSERT INTO provider_events AS e
            (provider, event_id, kind, booking_id, received_at, envelope, status, settled_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'applied', $7)
        ON CONFLICT (provider, event_id) DO UPDATE
        SET status = 'applied', kind = $3, envelope = $6, reason = NULL, settled_at = $7,
            attempts = e.attempts + 1
        WHERE e.status <> 'applied'
        RETURNING e.booking_id),
    lesson AS (
        UPDATE bookings b
        SET meeting_started_at = least(b.meeting_started_at, $8),
            meeting_ended_at = greatest(b.meeting_ended_at, $9),
            duration_actual = greatest(b.duration_actual, $10),
            recording_url = CASE WHEN $10 >= coalesce(b.duration_actual, 0)
                THEN coalesce($11, b.recording_url) ELSE coalesce(b.recording_url, $11) END
        FROM event WHERE b.id = event.booking_id
        RETURNING b.id, b.tutor_id, b.meeting_ended_at),
    session AS (
        UPDATE sessions s
        SET meeting_started_at = least(s.meeting_started_at, $8),
            meeting_ended_at = greatest(s.meeting_ended_at, $9),
            due_at = CASE WHEN s.decisions > 0 AND $9 > coalesce(s.meeting_ended_at, '-infinity') THEN $7 ELSE s.due_at END
        FROM event WHERE s.booking_id = event.booking_id
        RETURNING s.id),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, $3, $7, jsonb_build_object('started_at', $8::timestamptz, 'ended_at', $9::timestamptz) FROM session),
    credibility AS (
        INSERT INTO caas_recalculation_queue (profile_id, source)
        SELECT tutor_id, id || '/ended/' || extract(epoch FROM meeting_ended_at) FROM lesson
        WHERE meeting_ended_at IS NOT NULL
        ON CONFLICT (source) DO NOTHING)
    SELECT count(*) AS applied FROM event";

/// What is known about an event and its booking.
#[derive(Debug, Clone)]
pub struct Known {
    /// How often the event was tried and kept.
    pub attempts: i32,
    /// Nothing is left to do for it.
    pub is_settled: bool,
    /// The booking exists.
    pub booking_exists: bool,
    /// The booking's room, once opened.
    pub room: Option<RoomId>,
}

/// Loads what is known.
pub async fn load(
    database: &Database,
    event: &Event<'_>,
    booking: BookingId,
) -> Result<Known, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&event.provider, Type::TEXT),
        (&event.id, Type::TEXT),
        (&booking.0, Type::UUID),
    ];
    let row = database
        .query_opt(LOAD, &params)
        .await?
        .ok_or(DatabaseError::Unexpected("no row"))?;
    let status: Option<&str> = column(&row, "status")?;
    Ok(Known {
        attempts: column(&row, "attempts")?,
        is_settled: status == Some("applied"),
        booking_exists: column::<Option<uuid::Uuid>>(&row, "booking_id")?.is_some(),
        room: column::<Option<String>>(&row, "meeting_provider_id")?.map(RoomId),
    })
}

/// Applies the event with what the provider itself says of the lesson; `false` if it was applied before.
pub async fn apply(
    database: &Database,
    event: &Event<'_>,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let mut params = Vec::from(common(event, &now));
    params.extend([
        (&evidence.started_at as _, Type::TIMESTAMPTZ),
        (&evidence.ended_at as _, Type::TIMESTAMPTZ),
        (&evidence.duration_seconds as _, Type::INT4),
        (&evidence.recording_url as _, Type::TEXT),
    ]);
    let row = database
        .query_opt(APPLY, &params)
        .await?
        .ok_or(DatabaseError::Unexpected("no row"))?;
    Ok(column::<i64>(&row, "applied")? > 0)
}
