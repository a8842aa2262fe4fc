//! Bookings as one person sees them.

use domain::booking::{Booking, BookingStatus};
use domain::evidence::Proof;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::people::{Parties, Role};
use domain::window::Schedule;
use platform::database::{Database, DatabaseError, Param, column};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// The booking, whether the person has a GUARDIAN link to its student, and whether to one other student.
/// No row for strangers: authorisation is part of the WHERE, because the service role sees everything.
/// $1 booking, $2 person, $3 another student or NULL.
pub const SEEN_BY: &str = "
    SELECT b.id, b.client_id, b.tutor_id, b.student_id, b.session_start_time,
           CASE WHEN EXISTS (SELECT FROM sessions s WHERE s.booking_id = b.id AND s.status = 'CANCELLED')
               THEN 'cancelled' ELSE b.status END AS status,
           b.session_duration, b.meeting_provider_id, b.meeting_started_at, b.meeting_ended_at,
           b.duration_actual, b.recording_url, b.session_artifacts,
           guards.student AS is_guardian, guards.other AS guards_other
    FROM bookings b
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(l.student_id = b.student_id), false) AS student,
               coalesce(bool_or(l.student_id = $3), false) AS other
        FROM platform_links l
        WHERE l.guardian_id = $2 AND l.student_id IN (b.student_id, $3) AND l.is_accepted) guards
    WHERE b.id = $1
      AND ($2 IN (b.client_id, b.tutor_id, b.student_id) OR guards.student)";

/// Sets the student, if nothing that the decision was based on has changed meanwhile.
/// $1 booking, $2 client, whose GUARDIAN link must still stand, $3 new student; NULL or the client if the client
/// learns, $4 student when decided.
pub const ASSIGN_STUDENT: &str = "
    UPDATE bookings b SET student_id = nullif($3, b.client_id)
    WHERE b.id = $1 AND b.client_id = $2
      AND (b.student_id IS NOT DISTINCT FROM $4 OR b.student_id IS NOT DISTINCT FROM nullif($3, b.client_id))
      AND b.meeting_started_at IS NULL
      AND (coalesce($3, b.client_id) = b.client_id OR EXISTS (
          SELECT FROM platform_links l
          WHERE l.guardian_id = $2 AND l.student_id = $3 AND l.is_accepted))
    RETURNING b.student_id";

/// A booking and what it is to the person who asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The booking.
    pub booking: Booking,
    /// What the person is to it.
    pub role: Role,
    /// Whether the person has a GUARDIAN link to the other student asked about.
    pub guards_other: bool,
    /// `bookings.session_artifacts`.
    pub artifacts: Value,
}

/// Loads a booking as `person` may see it; `None` if there is none or they are a stranger to it.
pub async fn seen_by(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
    other_student: Option<ProfileId>,
) -> Result<Option<Seen>, DatabaseError> {
    let other = other_student.map(|student| student.0);
    let params: [Param<'_>; 3] = [
        (&booking.0, Type::UUID),
        (&person.0, Type::UUID),
        (&other, Type::UUID),
    ];
    let Some(row) = database.query_opt(SEEN_BY, &params).await? else {
        return Ok(None);
    };
    let booking = read(&row)?;
    let Some(role) = booking.role_of(person, column(&row, "is_guardian")?) else {
        return Ok(None);
    };
    let (guards_other, artifacts) = (column(&row, "guards_other")?, column(&row, "session_artifacts")?);
    Ok(Some(Seen {
        booking,
        role,
        guards_other,
        artifacts,
    }))
}

/// Sets the student of a booking that still is as `before`; returns the student it has now, or `None` if the
/// booking no longer is as it was.
pub async fn assign_student(
    database: &Database,
    before: &Booking,
    student: Option<ProfileId>,
) -> Result<Option<Option<ProfileId>>, DatabaseError> {
    let client = before.parties.client.0;
    let (new, old) = (
        student.map(|student| student.0),
        before.parties.student.map(|student| student.0),
    );
    let params: [Param<'_>; 4] = [
        (&before.id.0, Type::UUID),
        (&client, Type::UUID),
        (&new, Type::UUID),
        (&old, Type::UUID),
    ];
    let row = database.query_opt(ASSIGN_STUDENT, &params).await?;
    let student = |row| Ok(column::<Option<Uuid>>(&row, "student_id")?.map(ProfileId));
    row.map(student).transpose()
}

/// Reads the columns that every statement on bookings selects.
pub(crate) fn read(row: &Row) -> Result<Booking, DatabaseError> {
    let (start, minutes) = (
        column(row, "session_start_time")?,
        column::<Option<i32>>(row, "session_duration")?,
    );
    let profile = |name| column::<Uuid>(row, name).map(ProfileId);
    Ok(Booking {
        id: BookingId(column(row, "id")?),
        parties: Parties {
            client: profile("client_id")?,
            tutor: profile("tutor_id")?,
            student: column::<Option<Uuid>>(row, "student_id")?.map(ProfileId),
        },
        status: BookingStatus::from(column::<&str>(row, "status")?),
        schedule: Option::zip(start, minutes).and_then(|(start, minutes)| Schedule::new(start, minutes)),
        room: column::<Option<String>>(row, "meeting_provider_id")?.map(RoomId),
        proof: Proof {
            started_at: column(row, "meeting_started_at")?,
            ended_at: column(row, "meeting_ended_at")?,
            duration_seconds: column(row, "duration_actual")?,
            recording_url: column(row, "recording_url")?,
        },
    })
}
