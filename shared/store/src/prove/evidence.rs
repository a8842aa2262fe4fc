//! What a provider says of a lesson: asked for when it is time, recorded once, merged in one statement.

use super::inbox::{Event, common};
use crate::launch::bookings::classroom;
use crate::rows::{as_json, json};
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::launch::classroom::Classroom;
use domain::launch::window::Schedule;
use domain::prove::evidence::Evidence;
use domain::prove::insights::Engagement;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Loads what is known when an event arrives: one row, whether or not anything is known. The empty subselect
/// gives that row. A message that came through the outbox is marked as arrived.
///
/// $1: provider or NULL. $2: event's id or NULL. $3: booking, or NULL: it is found by its room. $4: id of the message.
/// $5: now. $6: provider of the room or NULL. $7: the provider's id of the room or NULL.
pub const LOAD: &str = "
    WITH arrived AS (UPDATE outbox SET sent_at = $5 WHERE id = $4 AND sent_at IS NULL)
    SELECT e.status, coalesce(e.attempts, 0) AS attempts, b.id AS booking_id, b.meeting_provider, b.meeting_provider_id, b.room_key,
           b.session_start_time, b.session_duration, b.tutor_id, b.evidence,
           array_remove(ARRAY[b.client_id, b.student_id], NULL) || ARRAY(
               SELECT l.guardian_id FROM platform_links l WHERE l.student_id = b.student_id AND l.is_accepted) AS learners, b.recording_consent,
           EXISTS (
               SELECT FROM provider_events o
               WHERE o.booking_id = b.id AND o.kind NOT IN ('room_started', 'room_finished')
                 AND o.received_at > b.session_start_time - interval '2 hours') AS has_reported
    FROM (SELECT) AS nothing
    LEFT JOIN provider_events e ON e.provider = $1 AND e.event_id = $2
    LEFT JOIN bookings b ON b.id = coalesce($3, (
        SELECT r.id FROM bookings r WHERE r.meeting_provider = $6 AND r.meeting_provider_id = $7))";

/// What is known about an event, and about the booking that it names.
#[derive(Debug, Clone)]
pub struct KnownBooking {
    /// How often the event was tried and kept; 0 the first time.
    pub attempts: i32,
    /// Whether the event was applied before, so that nothing is left to do.
    pub is_settled: bool,
    /// The booking; `None` if there is no such one.
    pub booking: Option<BookingId>,
    /// The booking's room; `None` until it is opened and saved.
    pub room: Option<Room>,
}

/// A room that was opened, with its lesson and its people.
#[derive(Debug, Clone)]
pub struct Room {
    /// Where it is.
    pub classroom: Classroom,
    /// The provider's id of the room.
    pub id: RoomId,
    /// The key with which the provider signs the room's webhooks, sealed; `None` if the provider gave none.
    pub key: Option<String>,
    /// When its lesson is planned; `None` if the booking has no time.
    pub schedule: Option<Schedule>,
    /// The tutor of its lesson.
    pub tutor: ProfileId,
    /// Who learns in it, pays for it, or is the learner's guardian.
    pub learners: Vec<ProfileId>,
    /// What is known of it so far.
    pub evidence: Evidence,
    /// Whether a webhook about somebody in the room has ever come around this lesson.
    pub has_reported: bool,
}

/// What an event, or a question, is about.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// A booking, by its id.
    Booking(BookingId),
    /// A room, by the provider's id of it: the booking is the one whose room it is.
    Room(Classroom, &'a RoomId),
}

/// Loads what is known of an event and its booking, or of a booking alone, as `message` has asked for it.
pub async fn load(
    database: &Database,
    event: Option<&Event<'_>>,
    about: About<'_>,
    message: Uuid,
    now: Timestamp,
) -> Result<KnownBooking, DatabaseError> {
    let (provider, id) = (event.map(|event| event.provider), event.map(|event| event.id));
    let (booking, place, room) = match about {
        About::Booking(booking) => (Some(booking.0), None, None),
        About::Room(classroom, room) => (None, Some(classroom.word()), Some(room.0.as_str())),
    };
    let params: [Param<'_>; 7] = [
        (&provider, Type::TEXT),
        (&id, Type::TEXT),
        (&booking, Type::UUID),
        (&message, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&place, Type::TEXT),
        (&room, Type::TEXT),
    ];

    let row = database
        .query_opt(LOAD, &params)
        .await?
        .ok_or(DatabaseError::Unexpected("no row"))?;

    let status: Option<&str> = column(&row, "status")?;
    let room: Option<String> = column(&row, "meeting_provider_id")?;
    let room = room.map(|id| read_room(&row, RoomId(id))).transpose()?;

    Ok(KnownBooking {
        attempts: column(&row, "attempts")?,
        is_settled: status == Some("applied"),
        booking: column::<Option<Uuid>>(&row, "booking_id")?.map(BookingId),
        room,
    })
}

fn read_room(row: &tokio_postgres::Row, id: RoomId) -> Result<Room, DatabaseError> {
    let (start, minutes) = (
        column(row, "session_start_time")?,
        column::<Option<i32>>(row, "session_duration")?,
    );

    Ok(Room {
        classroom: classroom(column(row, "meeting_provider")?)?,
        id,
        key: column(row, "room_key")?,
        schedule: Option::zip(start, minutes).and_then(|(start, minutes)| Schedule::new(start, minutes)),
        tutor: ProfileId(column(row, "tutor_id")?),
        learners: column::<Vec<Uuid>>(row, "learners")?
            .into_iter()
            .map(ProfileId)
            .collect(),
        evidence: json(row, "evidence")?,
        has_reported: column(row, "has_reported")?,
    })
}

/// Merges what the provider said of a booking's room into the booking and its session. If an event made us
/// ask, it is recorded as applied in the same statement, and counts once.
pub const APPLY: &str = include_str!("evidence/apply.sql");

/// What the provider said when it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What the provider saw in the room.
    pub evidence: Evidence,
    /// When the provider was asked; `None` if it was not.
    pub asked_at: Option<Timestamp>,
    /// The addresses at which recordings are asked for, by the ids of their spans.
    pub recordings: BTreeMap<String, String>,
    /// What the provider has measured of people in the whole lesson; empty if it measured nothing.
    pub engagement: Engagement,
}

/// Merges what the provider said; `false` if there is no such booking, or the event was applied before.
pub async fn apply(
    database: &Database,
    booking: BookingId,
    event: Option<&Event<'_>>,
    report: &Report,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    // Nothing that was said is passed as an empty object, which the statement tells from an answer.
    let evidence = if report.evidence == Evidence::default() {
        Value::Object(serde_json::Map::new())
    } else {
        as_json(&report.evidence)
    };
    let recordings = as_json(&report.recordings);
    let engagement = (report.engagement != Engagement::default()).then(|| as_json(&report.engagement));

    // The parameters are references, so the NULLs for a missing event need a place to live.
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
        (&engagement as _, Type::JSONB),
    ]);

    let row = database
        .query_opt(APPLY, &params)
        .await?
        .ok_or(DatabaseError::Unexpected("no row"))?;

    Ok(column::<i64>(&row, "applied")? > 0)
}
