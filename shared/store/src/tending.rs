//! What nobody calls for: bookings get their sessions, and providers are asked about rooms of which they have not told
//! the end.

use crate::lessons::{ASK, AskProvider, as_json};
use crate::sessions::Rules;
use domain::ids::BookingId;
use domain::session::SessionPolicy;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::ids::Ids;
use platform::queue::Envelope;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Makes the sessions of bookings that are agreed and priced and have none; has the providers asked whose time for that
/// has come: at the planned end, when the room has closed, and from then on after five minutes, doubled each time, until
/// shortly before what is known decides without them; and says what is late. A room that nobody opened has nothing to tell. Harmless twice.
/// $1 now, $2 at most of each, $3 provider, $4 the wait's share, $5 the minimum's share, $6 the rules, $7 a job of any
/// booking.
pub const TEND: &str = "
    WITH wanted AS (
        SELECT *, session_start_time + make_interval(mins => session_duration) AS ends_at FROM bookings
        WHERE wants_session ORDER BY session_start_time LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),
    made AS (
        INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
            duration_minutes, no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at,
            due_at, ask_at, evidence, policy)
        SELECT gen_random_uuid(), id, client_id, tutor_id, $3, session_start_time, ends_at, session_duration, $4, $5,
               price_minor, price_currency, ends_at, due_once_asked(ends_at, $1), ends_at, evidence, $6
        FROM wanted ON CONFLICT (booking_id) DO NOTHING RETURNING id),
    served AS (UPDATE bookings b SET wants_session = false FROM wanted WHERE b.id = wanted.id),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, 'created', $1, '{\"by\": \"schedule\"}' FROM made),

    due AS (
        SELECT s.id, s.booking_id, closes_at(s) AS closes_at, asked_until(s) AS asked_until,
               b.evidence, b.meeting_provider_id, owes_an_end(b.evidence, s.scheduled_start_at) OR coalesce(s.asked_at < closes_at(s), true) AS owes
        FROM sessions s JOIN bookings b ON b.id = s.booking_id
        WHERE s.ask_at <= $1
        ORDER BY s.ask_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED),
    asked AS (
        UPDATE sessions s
        SET evidence = merged_evidence(s.evidence, due.evidence),
            -- What came while the session was being made, and nobody has told it of since.
            due_at = CASE WHEN s.decisions > 0 AND merged_evidence(s.evidence, due.evidence) <> s.evidence THEN $1 ELSE s.due_at END,
            asks = CASE WHEN $1 >= due.closes_at THEN s.asks + 1 ELSE s.asks END,
            ask_at = CASE
                WHEN $1 < due.closes_at THEN due.closes_at
                WHEN due.meeting_provider_id IS NULL OR $1 >= due.asked_until THEN NULL
                ELSE least($1::timestamptz + interval '5 minutes' * (1 << least(s.asks, 8)), due.asked_until) END
        FROM due WHERE s.id = due.id),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT job.id, 'provider-events',
               jsonb_set(jsonb_set($7, '{payload,booking_id}', to_jsonb(due.booking_id)), '{id}', to_jsonb(job.id)), $1
        FROM due CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id, due.id AS of_session) AS job
        WHERE due.meeting_provider_id IS NOT NULL)

    SELECT (SELECT count(*) FROM made) AS made,
           count(*) FILTER (WHERE meeting_provider_id IS NOT NULL) AS asked,
           count(*) FILTER (WHERE meeting_provider_id IS NOT NULL AND $1 >= asked_until AND owes) AS given_up,
           (SELECT count(*) FROM provider_events WHERE status = 'waiting') AS waiting,
           (SELECT count(*) FROM provider_events WHERE status = 'parked') AS parked,
           (SELECT count(*) FROM sessions WHERE set_aside_at IS NOT NULL) AS aside,
           (SELECT extract(epoch FROM $1 - min(due_at))::bigint FROM sessions WHERE due_at <= $1) AS overdue,
           (SELECT extract(epoch FROM $1 - min(ask_at))::bigint FROM sessions WHERE ask_at <= $1) AS unasked
    FROM due";

/// What was done, and what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tended {
    /// Sessions made.
    pub made: u64,
    /// Rooms whose provider is asked.
    pub asked: u64,
    /// Of these, for the last time: what is known decides from here on.
    pub given_up: u64,
    /// Provider events that wait for what they are about.
    pub waiting: u64,
    /// Provider events that wait for a person.
    pub parked: u64,
    /// Sessions that cannot be read or settled, and wait for a person.
    pub set_aside: u64,
    /// For how many seconds the session waits that waits longest to be settled.
    pub overdue_seconds: u64,
    /// For how many seconds the room waits that waits longest to be asked about.
    pub unasked_seconds: u64,
}

/// Tends up to `most` bookings and sessions.
pub async fn tend(
    database: &Database,
    provider: &str,
    policy: &SessionPolicy,
    most: i64,
    ids: &Ids,
    now: Timestamp,
) -> Result<Tended, DatabaseError> {
    let rules = Rules::of(policy);
    // The statement puts in the bookings.
    let none = AskProvider {
        booking_id: BookingId(Uuid::nil()),
    };
    let job = as_json(&Envelope::at(ASK, ASK, none, now, ids.next()));
    let params: [Param<'_>; 7] = [
        (&now, Type::TIMESTAMPTZ),
        (&most, Type::INT8),
        (&provider, Type::TEXT),
        (&rules.wait, Type::TEXT),
        (&rules.minimum, Type::TEXT),
        (&rules.whole, Type::JSONB),
        (&job, Type::JSONB),
    ];
    let row = database.query_opt(TEND, &params).await?;
    read(&row.ok_or(DatabaseError::Unexpected("no row"))?)
}

fn read(row: &Row) -> Result<Tended, DatabaseError> {
    let count = |name| {
        let number: Option<i64> = column(row, name)?;
        Ok::<_, DatabaseError>(u64::try_from(number.unwrap_or(0)).unwrap_or(0))
    };
    Ok(Tended {
        made: count("made")?,
        asked: count("asked")?,
        given_up: count("given_up")?,
        waiting: count("waiting")?,
        parked: count("parked")?,
        set_aside: count("aside")?,
        overdue_seconds: count("overdue")?,
        unasked_seconds: count("unasked")?,
    })
}
