//! Opening a booking's room exactly once, however many people press Join at the same instant.
//!
//! The first to enter claims the opening; the others see that the room is being opened and wait. A claim
//! ends with the room ([`entered`]), with a failure ([`give_up`]), or by itself, if its holder died.

use crate::bookings;
use crate::lessons::as_json;
use domain::booking::Booking;
use domain::evidence::{Did, Evidence, Mark, Side};
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::people::Role;
use domain::window::JoinPolicy;
use jiff::{SignedDuration, Timestamp};
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;
use uuid::Uuid;

/// A claim outlives the longest launch by a little: one vendor call and two statements.
const CLAIM_LASTS: SignedDuration = SignedDuration::from_secs(25);

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

/// Saves who was given a way in, and the room, if a claim has just opened it; from now on the booking's session can be
/// joined. A claim that ran out but was not taken over still counts. $1 booking, $2 claim, $3 provider, $4 room,
/// $5 address, $6 the room's key, sealed, or NULL, $7 evidence, $8 now, $9 who, for the session's events.
pub const ENTERED: &str = "
    WITH entered AS (
        UPDATE bookings
        SET meeting_provider = $3, meeting_provider_id = $4, meeting_url = coalesce(meeting_url, $5),
            room_key = coalesce($6, room_key), evidence = merged_evidence(evidence, $7),
            room_claim = NULL, room_claimed_until = NULL
        WHERE id = $1 AND ((meeting_provider_id IS NULL AND room_claim = $2) OR meeting_provider_id = $4)
        RETURNING id, evidence),
    session AS (
        UPDATE sessions s
        SET status = CASE s.status WHEN 'SCHEDULED' THEN 'JOIN_OPEN' ELSE s.status END,
            evidence = entered.evidence
        FROM entered WHERE s.booking_id = entered.id
        RETURNING s.id),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data) SELECT id, 'joined', $8, $9 FROM session)
    SELECT id FROM entered";

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

/// Somebody who was given a way into a room.
pub struct Entered<'a> {
    /// The provider's name.
    pub provider: &'static str,
    /// The provider's id of the room.
    pub room: &'a RoomId,
    /// Its address without anybody's access.
    pub address: &'a str,
    /// The key of its webhooks, sealed, if the provider gave one.
    pub key: Option<&'a str>,
    /// Who.
    pub person: ProfileId,
    /// As what.
    pub role: Role,
    /// The provider's id of this person, if it gave one.
    pub known_as: Option<&'a str>,
}

impl Entered<'_> {
    /// That they pressed Join, and by which names the provider's list will know them.
    fn evidence(&self, now: Timestamp) -> Evidence {
        let who = self.person.to_string();
        let side = match self.role {
            Role::Tutor => Side::Tutor,
            Role::Learner | Role::Guardian | Role::Payer => Side::Learner,
        };
        let names = [Some(who.clone()), self.known_as.map(ToOwned::to_owned)];
        let mark = Mark {
            span: String::new(),
            who,
            did: Did::Pressed,
            at: now,
        };
        Evidence {
            marks: [mark].into(),
            people: names.into_iter().flatten().map(|name| (name, side)).collect(),
            ..Evidence::default()
        }
    }
}

/// Saves who was given a way in; `false` if another opening won meanwhile with another room.
pub async fn entered(
    database: &Database,
    booking: BookingId,
    claim: Uuid,
    entered: &Entered<'_>,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let evidence = as_json(&entered.evidence(now));
    let by = serde_json::json!({"by": entered.role, "person": entered.person});
    let params: [Param<'_>; 9] = [
        (&booking.0, Type::UUID),
        (&claim, Type::UUID),
        (&entered.provider, Type::TEXT),
        (&entered.room.0, Type::TEXT),
        (&entered.address, Type::TEXT),
        (&entered.key, Type::TEXT),
        (&evidence, Type::JSONB),
        (&now, Type::TIMESTAMPTZ),
        (&by, Type::JSONB),
    ];
    Ok(database.query_opt(ENTERED, &params).await?.is_some())
}

/// Ends a claim whose opening failed.
pub async fn give_up(database: &Database, booking: BookingId, claim: Uuid) -> Result<(), DatabaseError> {
    database
        .query(GIVE_UP, &[(&booking.0, Type::UUID), (&claim, Type::UUID)])
        .await
        .map(drop)
}
