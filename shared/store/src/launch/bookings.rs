//! Bookings as one person sees them.

use domain::ids::{BookingId, ProfileId};
use domain::launch::booking::{Booking, BookingStatus};
use domain::launch::classroom::Classroom;
use domain::launch::window::Schedule;
use domain::people::{Parties, Role};
use domain::prove::evidence::Proof;
use platform::database::{Database, DatabaseError, Param, column};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Loads the booking, whether the person has a GUARDIAN link to its student, and whether to one other
/// student.
pub const SEEN_BY: &str = include_str!("bookings/seen_by.sql");

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

/// A booking, with what it is to the person who asked.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibleBooking {
    /// The booking, whoever asks for it.
    pub booking: Booking,
    /// What the person is to the booking, which decides what they may do.
    pub role: Role,
    /// Whether the person has a GUARDIAN link to the other student that was asked about.
    pub guards_other: bool,
    /// Links to what the lesson left behind, from `bookings.session_artifacts`.
    pub artifacts: Value,
}

/// Loads a booking as `person` may see it; `None` if there is none or they are a stranger to it.
pub async fn seen_by(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
    other_student: Option<ProfileId>,
) -> Result<Option<VisibleBooking>, DatabaseError> {
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

    Ok(Some(VisibleBooking {
        booking,
        role,
        guards_other,
        artifacts,
    }))
}

/// Sets the student of a booking that is still as in `before`. The outer `None` means that it has changed;
/// the inner one, that the client learns.
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

/// Reads the columns that all statements on bookings select.
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
        classroom: wanted(row, "classroom")?,
        proof: Proof {
            started_at: column(row, "meeting_started_at")?,
            ended_at: column(row, "meeting_ended_at")?,
            duration_seconds: column(row, "duration_actual")?,
            recording_url: column(row, "recording_url")?,
        },
    })
}

/// The classroom that a column names, if it names any.
pub(crate) fn wanted(row: &Row, name: &'static str) -> Result<Option<Classroom>, DatabaseError> {
    column::<Option<&str>>(row, name)?.map(classroom).transpose()
}

/// The classroom that a booking's room is in.
pub(crate) fn classroom(word: &str) -> Result<Classroom, DatabaseError> {
    word.parse()
        .map_err(|_| DatabaseError::Unexpected("meeting_provider"))
}
