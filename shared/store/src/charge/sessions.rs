//! Sessions: made once from a booking, read, and marked.

use crate::launch::bookings::wanted;
use crate::rows::{as_json, currency, json, word};
use domain::charge::session::{Bookable, Session, SessionPolicy, SessionStatus};
use domain::charge::settlement::Facts;
use domain::ids::{BookingId, ProfileId};
use domain::launch::booking::BookingStatus;
use domain::launch::classroom::Classroom;
use domain::launch::window::Schedule;
use domain::money::Money;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Loads what a session is made from, if the person is the booking's client or tutor. $1 booking, $2 person.
pub const FOR_BOOKING: &str = "
    SELECT b.id, b.client_id, b.tutor_id, b.status, b.session_start_time, b.session_duration, b.price_minor,
           b.price_currency, b.agreed_at IS NOT NULL AS is_agreed, b.classroom,
           EXISTS (
               SELECT FROM platform_connections c WHERE c.tutor_id = b.tutor_id AND c.is_connected) AS is_connected
    FROM bookings b WHERE b.id = $1 AND $2 IN (b.client_id, b.tutor_id)";

/// Loads what a session would be made from; `None` for anybody but the booking's client and tutor.
pub async fn for_booking(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
) -> Result<Option<Bookable>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&booking.0, Type::UUID), (&person.0, Type::UUID)];
    let Some(row) = database.query_opt(FOR_BOOKING, &params).await? else {
        return Ok(None);
    };

    let (start, minutes) = (
        column(&row, "session_start_time")?,
        column::<Option<i32>>(&row, "session_duration")?,
    );

    let price: Option<i64> = column(&row, "price_minor")?;
    let code: Option<&str> = column(&row, "price_currency")?;
    let price =
        Option::zip(price, code).and_then(|(minor, code)| Some(Money::new(minor, currency(code).ok()?)));

    Ok(Some(Bookable {
        client: ProfileId(column(&row, "client_id")?),
        tutor: ProfileId(column(&row, "tutor_id")?),
        status: BookingStatus::from(column::<&str>(&row, "status")?),
        schedule: Option::zip(start, minutes).and_then(|(start, minutes)| Schedule::new(start, minutes)),
        price,
        is_agreed: column(&row, "is_agreed")?,
        is_connected: column(&row, "is_connected")?,
        classroom: wanted(&row, "classroom")?,
    }))
}

/// Makes the booking's session, or finds the one that is there.
pub const CREATE: &str = include_str!("sessions/create.sql");

/// The rules under which a session is sold, as its row keeps them.
pub(crate) struct Rules {
    pub(crate) wait: String,
    pub(crate) minimum: String,
    pub(crate) whole: Value,
}

impl Rules {
    pub(crate) fn of(policy: &SessionPolicy) -> Self {
        Self {
            wait: policy.no_show_wait.to_string(),
            minimum: policy.min_payable.to_string(),
            whole: as_json(policy),
        }
    }
}

/// Makes the session, or finds the one its booking has; the flag says whether it is new.
pub async fn create(
    database: &Database,
    session: &Session,
    classroom: Classroom,
    id: Uuid,
    by: &Value,
    now: Timestamp,
) -> Result<(StoredSession, bool), DatabaseError> {
    let minutes = i32::try_from(session.duration_minutes()).unwrap_or(i32::MAX);

    let (rules, provider) = (Rules::of(&session.policy), classroom.word());
    let (start, end) = (session.schedule.starts_at(), session.schedule.ends_at());
    let (price, code) = (session.price.minor(), session.price.currency().code());

    let params: [Param<'_>; 15] = [
        (&id, Type::UUID),
        (&session.booking.0, Type::UUID),
        (&session.client.0, Type::UUID),
        (&session.tutor.0, Type::UUID),
        (&provider, Type::TEXT),
        (&start, Type::TIMESTAMPTZ),
        (&end, Type::TIMESTAMPTZ),
        (&minutes, Type::INT4),
        (&rules.wait, Type::TEXT),
        (&rules.minimum, Type::TEXT),
        (&price, Type::INT8),
        (&code, Type::TEXT),
        (&rules.whole, Type::JSONB),
        (&now, Type::TIMESTAMPTZ),
        (by, Type::JSONB),
    ];

    let row = database.query_opt(CREATE, &params).await?;
    // No row: somebody else made the session between this statement's snapshot and its insert, or the booking
    // was moved. Another try finds what is there.
    let row = row.ok_or(DatabaseError::Unavailable(
        "the session is being made, or its booking changes",
    ))?;

    Ok((read(&row)?, column(&row, "is_new")?))
}

/// A session, if the person is on it. $1 session, $2 person.
pub const SEEN_BY: &str = "SELECT * FROM sessions WHERE id = $1 AND $2 IN (client_id, tutor_id)";

/// A session as its row has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// The id of the row, `sessions.id`.
    pub id: Uuid,
    /// What was sold, and by which rules.
    pub session: Session,
    /// Where it is held.
    pub classroom: Classroom,
    /// Whether the session is still to be held, or its outcome.
    pub status: SessionStatus,
    /// What is known of it so far, on which its outcome depends.
    pub facts: Facts,
    /// How many decisions were recorded; a new one counts only if there are still as many.
    pub decisions: i32,
}

/// Loads a session for its client or tutor; `None` for anybody else.
pub async fn seen_by(
    database: &Database,
    session: Uuid,
    person: ProfileId,
) -> Result<Option<StoredSession>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&session, Type::UUID), (&person.0, Type::UUID)];
    database
        .query_opt(SEEN_BY, &params)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

pub(crate) fn read(row: &Row) -> Result<StoredSession, DatabaseError> {
    let price = Money::new(column(row, "price_minor")?, currency(column(row, "currency")?)?);
    let schedule = Schedule::new(
        column(row, "scheduled_start_at")?,
        column(row, "duration_minutes")?,
    );
    let status: &str = column(row, "status")?;
    let classroom: Classroom = word(row, "provider")?;

    Ok(StoredSession {
        id: column(row, "id")?,
        session: Session {
            booking: BookingId(column(row, "booking_id")?),
            client: ProfileId(column(row, "client_id")?),
            tutor: ProfileId(column(row, "tutor_id")?),
            schedule: schedule.ok_or(DatabaseError::Unexpected("schedule"))?,
            price,
            policy: json(row, "policy")?,
            is_entered_through_us: classroom.is_entered_through_us(),
        },
        classroom,
        status: status.parse().map_err(|_| DatabaseError::Unexpected("status"))?,
        facts: Facts {
            evidence: json(row, "evidence")?,
            asked_at: column(row, "asked_at")?,
            no_show_marked_at: column(row, "no_show_marked_at")?,
            cancelled_at: column(row, "cancelled_at")?,
            waived_at: column(row, "waived_at")?,
        },
        decisions: column(row, "decisions")?,
    })
}

/// Marks the student absent. That shows at once and costs at the planned end; the client is told.
pub const MARK_NO_SHOW: &str = include_str!("sessions/mark_no_show.sql");

/// Marks the student absent. Returns since when the mark stands, or `None` if the session can no longer be
/// marked.
pub async fn mark_no_show(
    database: &Database,
    stored: &StoredSession,
    by: &Value,
    now: Timestamp,
) -> Result<Option<Timestamp>, DatabaseError> {
    let settles_at = stored.session.charge_scheduled_at();
    let params: [Param<'_>; 4] = [
        (&stored.id, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (by, Type::JSONB),
        (&settles_at, Type::TIMESTAMPTZ),
    ];
    let row = database.query_opt(MARK_NO_SHOW, &params).await?;
    row.map(|row| column(&row, "no_show_marked_at")).transpose()
}

/// Takes back the tutor's mark, and tells the client.
pub const WITHDRAW_NO_SHOW: &str = include_str!("sessions/withdraw_no_show.sql");

/// Takes back the tutor's mark; `false` if the session has an outcome by now.
pub async fn withdraw_no_show(
    database: &Database,
    session: Uuid,
    by: &Value,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&session, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (by, Type::JSONB),
    ];
    Ok(database.query_opt(WITHDRAW_NO_SHOW, &params).await?.is_some())
}
