//! Opening a booking's room exactly once, however many people press Join at the same instant.
//!
//! The first to enter claims the opening; the others see that the room is being opened and wait. A claim
//! ends with the room ([`entered`]), with a failure ([`give_up`]), or by itself, if its holder died.

use super::bookings;
use crate::rows::as_json;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::launch::booking::Booking;
use domain::launch::classroom::Classroom;
use domain::launch::window::JoinPolicy;
use domain::people::Role;
use domain::prove::evidence::{Did, Evidence, Mark, Side};
use jiff::{SignedDuration, Timestamp};
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;
use uuid::Uuid;

/// How long a claim holds by itself: a little longer than the longest launch, which is one vendor call and
/// two statements.
const CLAIM_LASTS: SignedDuration = SignedDuration::from_secs(25);

/// Loads the booking as a person may enter it and, if its room is still to be opened, tries to claim the
/// opening.
pub const ENTER: &str = include_str!("rooms/enter.sql");

/// Saves who was given a way in and, if this call has just opened the room, the room. From then on people can
/// join the booking's session.
pub const ENTERED: &str = include_str!("rooms/entered.sql");

/// Ends a claim whose opening failed, so that the next person need not wait. $1 booking, $2 claim.
pub const GIVE_UP: &str = "
    UPDATE bookings SET room_claim = NULL, room_claimed_until = NULL
    WHERE id = $1 AND room_claim = $2 AND meeting_provider_id IS NULL RETURNING id";

/// Ends a claim of which nobody knows whether it has opened a room: the next person need not wait, and sees that there was
/// one. $1 booking, $2 claim, $3 now.
pub const LEAVE: &str = "
    UPDATE bookings SET room_claimed_until = $3
    WHERE id = $1 AND room_claim = $2 AND meeting_provider_id IS NULL RETURNING id";

/// A booking that somebody wants to enter, as it is after the attempt to claim its room.
#[derive(Debug, Clone, PartialEq)]
pub struct Entrance {
    /// The booking, with its room if there is one.
    pub booking: Booking,
    /// What the person is to the booking; `None` for a stranger.
    pub role: Option<Role>,
    /// The person's name, as it is shown in the room.
    pub name: String,
    /// Whether the lesson may be recorded. Without this consent nothing is.
    pub recording_consent: bool,
    /// The provider's id of the room; `None` until it is opened and saved.
    pub room: Option<RoomId>,
    /// Whether an earlier call may have opened a room that is not saved.
    pub was_claimed: bool,
    /// The vendor's id of the account that the person has where the lesson is held; `None` if they have none.
    pub account: Option<String>,
    /// Where the platform wants the lesson held; `None` if it leaves that to us. A room that is open stays where it is.
    pub wanted: Option<Classroom>,
    /// Whether this call holds the claim, and so is the one that opens the room.
    pub is_claimed: bool,
}

/// Loads the booking for `person` and claims the opening of its room if that is free, in `otherwise` if the platform wants
/// no other classroom. `None` if there is no such booking.
pub async fn enter(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
    policy: JoinPolicy,
    (claim, otherwise): (Uuid, Classroom),
    now: Timestamp,
) -> Result<Option<Entrance>, DatabaseError> {
    let latest_start = now.saturating_add(policy.opens_before).unwrap_or(Timestamp::MAX);
    let earliest_end = now.saturating_sub(policy.closes_after).unwrap_or(Timestamp::MIN);
    let until = now.saturating_add(CLAIM_LASTS).unwrap_or(Timestamp::MAX);

    let otherwise = otherwise.word();
    let params: [Param<'_>; 8] = [
        (&booking.0, Type::UUID),
        (&person.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&latest_start, Type::TIMESTAMPTZ),
        (&earliest_end, Type::TIMESTAMPTZ),
        (&claim, Type::UUID),
        (&until, Type::TIMESTAMPTZ),
        (&otherwise, Type::TEXT),
    ];

    let Some(row) = database.query_opt(ENTER, &params).await? else {
        return Ok(None);
    };

    let booking = bookings::read(&row)?;
    Ok(Some(Entrance {
        role: booking.role_of(person, column(&row, "is_guardian")?),
        name: column::<Option<String>>(&row, "full_name")?.unwrap_or_else(|| "Guest".into()),
        recording_consent: column(&row, "recording_consent")?,
        room: column::<Option<String>>(&row, "meeting_provider_id")?.map(RoomId),
        was_claimed: column(&row, "was_claimed")?,
        account: column(&row, "account")?,
        wanted: bookings::wanted(&row, "wanted_classroom")?,
        is_claimed: column(&row, "is_claimed")?,
        booking,
    }))
}

/// A person who was given a way into a room, and the room.
pub struct Admission<'a> {
    /// Where the room is.
    pub classroom: Classroom,
    /// The provider's id of the room.
    pub room: &'a RoomId,
    /// The room's address, without anybody's personal access.
    pub address: &'a str,
    /// The key with which the provider signs the room's webhooks, sealed; `None` if the provider gave none.
    pub key: Option<&'a str>,
    /// The person who was let in.
    pub person: ProfileId,
    /// What they are to the booking, and so which side they count for.
    pub role: Role,
    /// The provider's id of this person; `None` if it gave none.
    pub known_as: Option<&'a str>,
}

impl Admission<'_> {
    /// The evidence that they pressed Join, with the names by which the provider's list may know them.
    fn evidence(&self, now: Timestamp) -> Evidence {
        let who = self.person.to_string();
        let side = match self.role {
            Role::Tutor => Side::Tutor,
            Role::Learner | Role::Guardian | Role::Payer => Side::Learner,
        };

        let names = [Some(who.clone()), self.known_as.map(ToOwned::to_owned)];
        let mark = Mark {
            // Pressing Join belongs to no span of the room: it comes before any.
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
    entered: &Admission<'_>,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let evidence = as_json(&entered.evidence(now));
    let by = serde_json::json!({"by": entered.role, "person": entered.person});

    let provider = entered.classroom.word();
    let params: [Param<'_>; 9] = [
        (&booking.0, Type::UUID),
        (&claim, Type::UUID),
        (&provider, Type::TEXT),
        (&entered.room.0, Type::TEXT),
        (&entered.address, Type::TEXT),
        (&entered.key, Type::TEXT),
        (&evidence, Type::JSONB),
        (&now, Type::TIMESTAMPTZ),
        (&by, Type::JSONB),
    ];

    Ok(database.query_opt(ENTERED, &params).await?.is_some())
}

/// Ends a claim whose opening failed, so that the next person need not wait. A claim that has opened its room
/// stays.
pub async fn give_up(database: &Database, booking: BookingId, claim: Uuid) -> Result<(), DatabaseError> {
    database
        .query(GIVE_UP, &[(&booking.0, Type::UUID), (&claim, Type::UUID)])
        .await
        .map(drop)
}

/// Ends a claim of which nobody knows whether it has opened a room.
pub async fn leave(
    database: &Database,
    booking: BookingId,
    claim: Uuid,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&booking.0, Type::UUID),
        (&claim, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
    ];
    database.query(LEAVE, &params).await.map(drop)
}
