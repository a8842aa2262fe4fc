//! What a provider says of a lesson: asked for when it is time, recorded once, merged in one statement.

use crate::events::{Event, common};
use domain::evidence::Evidence;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::window::Schedule;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// The queue of [`AskProvider`].
pub const PROVIDER_EVENTS: &str = "provider-events";
/// The `type` of [`AskProvider`]'s envelope.
pub const ASK: &str = "ask_provider";

/// The job of `apply-event` that no webhook gives: ask the provider what it saw of a booking's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskProvider {
    /// Whose room.
    pub booking_id: BookingId,
}

/// What is known when an event arrives; one row whether or not anything is known.
/// $1 provider or NULL, $2 event id or NULL, $3 booking.
pub const LOAD: &str = "
    SELECT e.status, coalesce(e.attempts, 0) AS attempts, b.id AS booking_id, b.meeting_provider_id, b.room_key,
           b.session_start_time, b.session_duration, b.tutor_id, b.evidence -> 'people' AS people,
           array_remove(ARRAY[b.client_id, b.student_id], NULL) || ARRAY(
               SELECT l.guardian_id FROM platform_links l WHERE l.student_id = b.student_id AND l.is_accepted) AS learners, b.recording_consent,
           EXISTS (SELECT FROM provider_events o WHERE o.booking_id = b.id) AS has_reported
    FROM (SELECT) AS nothing
    LEFT JOIN provider_events e ON e.provider = $1 AND e.event_id = $2
    LEFT JOIN bookings b ON b.id = $3";

/// Merges what the provider said of a booking's room into it and its session, with the event that made us ask, if one
/// did, recorded as applied: an event counts once. The merge only ever adds, so the order does not matter. Each end of a
/// lesson asks once for the tutor's credibility to be recalculated, whichever event it was learnt from. The session is
/// looked at again where its planned end has passed, or it is settled and something is new; once the room has closed and
/// the provider owes neither an end nor a recording, it is not asked any more.
/// $1 provider or NULL without an event, $2 event id, $3 kind, $4 booking, $5 received at, $6 envelope, $7 now,
/// $8 evidence, $9 when the provider was asked for it or NULL, $10 recordings by span.
pub const APPLY: &str = "
    WITH event AS (
        INSERT INTO provider_events AS e
            (provider, event_id, kind, booking_id, received_at, envelope, status, settled_at)
        SELECT $1, $2, $3, $4, $5, $6, 'applied', $7 WHERE $1::text IS NOT NULL
        ON CONFLICT (provider, event_id) DO UPDATE
        SET status = 'applied', kind = $3, envelope = $6, reason = NULL, settled_at = $7,
            attempts = e.attempts + 1
        WHERE e.status <> 'applied'
        RETURNING e.booking_id),
    -- First the lock: what is merged is what is there once we have it.
    locked AS (
        SELECT id, evidence, session_start_time, recording_consent FROM bookings
        WHERE id = $4 AND ($1::text IS NULL OR EXISTS (SELECT FROM event))
        FOR NO KEY UPDATE),
    subject AS (
        SELECT b.id, whole.evidence, proof.*,
               coalesce(b.recording_consent, false) AND proof.ended_at IS NOT NULL AND proof.recorded IS NULL AS owes_a_recording
        FROM locked b
        CROSS JOIN LATERAL (SELECT merged_evidence(b.evidence, $8) AS evidence OFFSET 0) AS whole
        CROSS JOIN LATERAL proof_of(whole.evidence, b.session_start_time) AS proof),
    lesson AS (
        UPDATE bookings b
        SET evidence = s.evidence, meeting_started_at = s.began_at, meeting_ended_at = s.ended_at,
            duration_actual = s.seconds,
            recording_url = CASE WHEN b.recording_consent THEN coalesce($10::jsonb ->> s.recorded, b.recording_url) END
        FROM subject s WHERE b.id = s.id AND $8::jsonb <> '{}'
        RETURNING b.id, b.tutor_id, b.meeting_started_at, b.meeting_ended_at),
    session AS (
        UPDATE sessions s
        -- All of it, should the session have been made while a part was being entered.
        SET evidence = subject.evidence,
            asked_at = greatest(s.asked_at, $9),
            ask_at = CASE
                WHEN $9 >= closes_at(s) AND NOT owes_an_end(subject.evidence, s.scheduled_start_at) AND NOT subject.owes_a_recording THEN NULL
                WHEN $7 < asked_until(s) THEN coalesce(s.ask_at, $7::timestamptz + interval '5 minutes')
                ELSE s.ask_at END,
            due_at = CASE
                WHEN s.status IN ('SCHEDULED', 'JOIN_OPEN') AND $7 >= s.scheduled_end_at THEN $7
                -- That a provider has nothing to show is news, too.
                WHEN s.status NOT IN ('SCHEDULED', 'JOIN_OPEN')
                    AND (subject.evidence <> s.evidence OR $9 > coalesce(s.asked_at, '-infinity')) THEN $7
                ELSE s.due_at END
        FROM subject WHERE s.booking_id = subject.id
        RETURNING s.id),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT session.id, $3, $7, jsonb_build_object('by', 'provider', 'started_at', lesson.meeting_started_at,
                                                      'ended_at', lesson.meeting_ended_at)
        FROM session, lesson),
    credibility AS (
        INSERT INTO caas_recalculation_queue (profile_id, source)
        SELECT tutor_id, id || '/ended/' || extract(epoch FROM meeting_ended_at) FROM lesson
        WHERE meeting_ended_at IS NOT NULL
        ON CONFLICT (source) DO NOTHING)
    SELECT count(*) AS applied FROM subject";

/// What is known about an event and its booking.
#[derive(Debug, Clone)]
pub struct Known {
    /// How often the event was tried and kept.
    pub attempts: i32,
    /// Nothing is left to do for it.
    pub is_settled: bool,
    /// The booking exists.
    pub booking_exists: bool,
    /// The booking's room, once opened, and when it is planned.
    pub room: Option<Room>,
}

/// A room that was opened.
#[derive(Debug, Clone)]
pub struct Room {
    /// The provider's id.
    pub id: RoomId,
    /// The key of its webhooks, sealed.
    pub key: Option<String>,
    /// When its lesson is planned.
    pub schedule: Option<Schedule>,
    /// Who teaches in it.
    pub tutor: ProfileId,
    /// Who learns in it, pays for it, or is the learner's guardian.
    pub learners: Vec<ProfileId>,
    /// Whom the launches of this booking made known to the provider, by the provider's ids and ours.
    pub people: Vec<String>,
    /// Whether the provider has ever told us anything of it.
    pub has_reported: bool,
}

/// What the provider said, and when it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What it saw.
    pub evidence: Evidence,
    /// When it was asked; `None` if it was not.
    pub asked_at: Option<Timestamp>,
    /// Where the recordings of its spans are asked for.
    pub recordings: BTreeMap<String, String>,
}

pub(crate) fn as_json<T: Serialize>(value: &T) -> Value {
    // Our own types: there is nothing in them that JSON cannot hold.
    serde_json::to_value(value).unwrap_or_default()
}

/// Loads what is known of an event, or of a booking alone.
pub async fn load(
    database: &Database,
    event: Option<&Event<'_>>,
    booking: BookingId,
) -> Result<Known, DatabaseError> {
    let (provider, id) = (event.map(|event| event.provider), event.map(|event| event.id));
    let params: [Param<'_>; 3] = [
        (&provider, Type::TEXT),
        (&id, Type::TEXT),
        (&booking.0, Type::UUID),
    ];
    let row = database
        .query_opt(LOAD, &params)
        .await?
        .ok_or(DatabaseError::Unexpected("no row"))?;
    let status: Option<&str> = column(&row, "status")?;
    let room: Option<String> = column(&row, "meeting_provider_id")?;
    let room = room.map(|id| read_room(&row, RoomId(id))).transpose()?;
    Ok(Known {
        attempts: column(&row, "attempts")?,
        is_settled: status == Some("applied"),
        booking_exists: column::<Option<Uuid>>(&row, "booking_id")?.is_some(),
        room,
    })
}

fn read_room(row: &tokio_postgres::Row, id: RoomId) -> Result<Room, DatabaseError> {
    let (start, minutes) = (
        column(row, "session_start_time")?,
        column::<Option<i32>>(row, "session_duration")?,
    );
    let people: Option<Value> = column(row, "people")?;
    let people = people.as_ref().and_then(Value::as_object);
    Ok(Room {
        id,
        key: column(row, "room_key")?,
        schedule: Option::zip(start, minutes).and_then(|(start, minutes)| Schedule::new(start, minutes)),
        tutor: ProfileId(column(row, "tutor_id")?),
        learners: column::<Vec<Uuid>>(row, "learners")?
            .into_iter()
            .map(ProfileId)
            .collect(),
        people: people.map_or_else(Vec::new, |people| people.keys().cloned().collect()),
        has_reported: column(row, "has_reported")?,
    })
}

/// Merges what the provider said; `false` if there is no such booking, or the event was applied before.
pub async fn apply(
    database: &Database,
    booking: BookingId,
    event: Option<&Event<'_>>,
    report: &Report,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let evidence = if report.evidence == Evidence::default() {
        Value::Object(serde_json::Map::new())
    } else {
        as_json(&report.evidence)
    };
    let recordings = as_json(&report.recordings);
    let nothing: (Option<&str>, Option<Timestamp>, Option<Value>) = (None, None, None);
    let mut params: Vec<Param<'_>> = match event {
        Some(event) => Vec::from(common(event, &now)),
        None => vec![
            (&nothing.0, Type::TEXT),
            (&nothing.0, Type::TEXT),
            (&"asked", Type::TEXT),
            (&booking.0, Type::UUID),
            (&nothing.1, Type::TIMESTAMPTZ),
            (&nothing.2, Type::JSONB),
            (&now, Type::TIMESTAMPTZ),
        ],
    };
    params.extend([
        (&evidence as _, Type::JSONB),
        (&report.asked_at as _, Type::TIMESTAMPTZ),
        (&recordings as _, Type::JSONB),
    ]);
    let row = database
        .query_opt(APPLY, &params)
        .await?
        .ok_or(DatabaseError::Unexpected("no row"))?;
    Ok(column::<i64>(&row, "applied")? > 0)
}
