//! Opening a booking's room exactly once, however many people press Join at the same instant.
//!
//! The first to enter claims the opening; the others see that the room is being opened and wait. A claim
//! ends with the room ([`opened`]), with a failure ([`give_up`]), or by itself, if its holder died.

use crate::bookings;
use domain::booking::Booking;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::people::Role;
use domain::window::JoinPolicy;
use jiff::{SignedDuration, Timestamp};
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;
use uuid::Uuid;

/// A claim outlives the longest vendor call by a little.
const CLAIM_LASTS: SignedDuration = SignedDuration::from_secs(15);

/// Loads the booking as a person may enter it and, if its room is to be opened, tries to claim that. The
/// conditions on the claim only spare useless ones: whether the person may enter is the domain's decision.
/// $1 booking, $2 person, $3 now, $4 now + opens before, $5 now - closes after, $6 claim, $7 claimed until.
pub const ENTER: &str = "
    WITH claimed AS (
        UPDATE bookings SET room_claim = $6, room_claimed_until = $7
        WHERE id = $1 AND meeting_provider_id IS NULL
          AND (room_claim IS NULL OR room_claim = $6 OR room_claimed_until <= $3)
          AND status = 'confirmed'
          AND NOT EXISTS (SELECT FROM sessions s WHERE s.booking_id = bookings.id AND s.status = 'CANCELLED')
          AND session_start_time <= $4
          AND session_start_time + make_interval(mins => session_duration) > $5
          AND ($2 IN (client_id, tutor_id, student_id) OR EXISTS (
              SELECT FROM platform_links l
              WHERE l.guardian_id = $2 AND l.student_id = bookings.student_id AND l.is_accepted))
        RETURNING id)
    SELECT b.id, b.client_id, b.tutor_id, b.student_id, b.session_start_time,
           CASE WHEN EXISTS (SELECT FROM sessions s WHERE s.booking_id = b.id AND s.status = 'CANCELLED')
               THEN 'cancelled' ELSE b.status END AS status,
           b.session_duration, b.meeting_provider_id, b.meeting_started_at, b.meeting_ended_at,
           b.duration_actual, b.recording_url, b.recording_consent, p.full_name,
           EXISTS (
               SELECT FROM platform_links l
               WHERE l.guardian_id = $2 AND l.student_id = b.student_id AND l.is_accepted) AS is_guardian,
           EXISTS (SELECT FROM claimed) AS is_claimed
    FROM bookings b LEFT JOIN platform_people p ON p.id = $2
    WHERE b.id = $1";

/// Saves the room that a claim opened; from now on the booking's session can be joined. A claim that ran out but
/// was not taken over still counts. $1 booking, $2 claim, $3 provider, $4 room, $5 address.
pub const OPENED: &str = "
    WITH opened AS (
        UPDATE bookings
        SET meeting_provider = $3, meeting_provider_id = $4, meeting_url = $5, room_claim = NULL,
            room_claimed_until = NULL
        WHERE id = $1 AND ((meeting_provider_id IS NULL AND room_claim = $2) OR meeting_provider_id = $4)
        RETURNING id),
    session AS (
        UPDATE sessions s SET status = 'JOIN_OPEN' FROM opened
        WHERE s.booking_id = opened.id AND s.status = 'SCHEDULED')
    SELECT id FROM opened";

/// Ends a claim whose opening failed, so that the next person need not wait. $1 booking, $2 claim.
pub const GIVE_UP: &str = "
    UPDATE bookings SET room_claim = NULL, room_claimed_until = NULL
    WHERE id = $1 AND room_claim = $2 AND meeting_provider_id IS NULL RETURNING id";

/// A booking that somebody wants to enter.
#[derive(Debug, Clone, PartialEq)]
pub struct Entrance {
    /// The booking.
    pub booking: Booking,
    /// What the person is to it; `None` for a stranger.
    pub role: Option<Role>,
    /// The person's name, as it is shown in the room.
    pub name: String,
    /// Whether the lesson may be recorded.
    pub recording_consent: bool,
    /// Whether this call may open the room.
    pub is_claimed: bool,
}

/// Loads the booking for `person` and claims the opening of its room if that is free. `None` if there is
/// no such booking.
pub async fn enter(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
    policy: JoinPolicy,
    claim: Uuid,
    now: Timestamp,
) -> Result<Option<Entrance>, DatabaseError> {
    let latest_start = now.saturating_add(policy.opens_before).unwrap_or(Timestamp::MAX);
    let earliest_end = now.saturating_sub(policy.closes_after).unwrap_or(Timestamp::MIN);
    let until = now.saturating_add(CLAIM_LASTS).unwrap_or(Timestamp::MAX);
    let params: [Param<'_>; 7] = [
        (&booking.0, Type::UUID),
        (&person.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&latest_start, Type::TIMESTAMPTZ),
        (&earliest_end, Type::TIMESTAMPTZ),
        (&claim, Type::UUID),
        (&until, Type::TIMESTAMPTZ),
    ];
    let Some(row) = database.query_opt(ENTER, &params).await? else {
        return Ok(None);
    };
    let booking = bookings::read(&row)?;
    Ok(Some(Entrance {
        role: booking.role_of(person, column(&row, "is_guardian")?),
        name: column::<Option<String>>(&row, "full_name")?.unwrap_or_else(|| "Guest".into()),
        recording_consent: column(&row, "recording_consent")?,
        is_claimed: column(&row, "is_claimed")?,
        booking,
    }))
}

/// A room that was just opened.
pub struct OpenedRoom<'a> {
    /// The provider's name.
    pub provider: &'static str,
    /// The provider's id of the room.
    pub room: &'a RoomId,
    /// Its address without anybody's access.
    pub address: &'a str,
}

/// Saves the room; `false` if another opening won meanwhile with another room.
pub async fn opened(
    database: &Database,
    booking: BookingId,
    claim: Uuid,
    opened: &OpenedRoom<'_>,
) -> Result<bool, DatabaseError> {
    let params: [Param<'_>; 5] = [
        (&booking.0, Type::UUID),
        (&claim, Type::UUID),
        (&opened.provider, Type::TEXT),
        (&opened.room.0, Type::TEXT),
        (&opened.address, Type::TEXT),
    ];
    Ok(database.query_opt(OPENED, &params).await?.is_some())
}

/// Ends a claim whose opening failed.
pub async fn give_up(database: &Database, booking: BookingId, claim: Uuid) -> Result<(), DatabaseError> {
    database
        .query(GIVE_UP, &[(&booking.0, Type::UUID), (&claim, Type::UUID)])
        .await
        .map(drop)
}
