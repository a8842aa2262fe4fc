//! Opens the classroom for the person who asks.
//!
//! Rules: [who-may-join](../../../../shared/domain/RULES.md#who-may-join),
//! [launch-window](../../../../shared/domain/RULES.md#launch-window),
//! [one-room](../../../../shared/domain/RULES.md#one-room),
//! [personal-entrance](../../../../shared/domain/RULES.md#personal-entrance).

use domain::ids::{BookingId, ProfileId};
use domain::launch::booking::Refusal;
use domain::launch::classroom::Classroom;
use domain::launch::window::{JoinPolicy, JoinWindow};
use domain::people::Role;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbound::VendorError;
use platform::problem::Problem;
use providers::classrooms::{Classrooms, Room, RoomError, Visitor, WayIn};
use serde::Serialize;
use std::time::Duration;
use store::launch::accounts::{self, Claim, Holder};
use store::launch::rooms::{self, Admission, Entrance};
use url::Url;
use uuid::Uuid;

/// While another person's Join opens the room, look again this often, and so many times.
const LOOK_AGAIN: Duration = Duration::from_millis(150);
const LOOKS: u32 = 40;

pub(crate) struct Launch {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) classrooms: Classrooms,
    pub(crate) classroom: Classroom,
    pub(crate) policy: JoinPolicy,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

#[derive(Serialize)]
struct Answer {
    /// This person's way in. It works once and must not be passed on.
    url: Url,
    role: Role,
    provider: Classroom,
    room_id: domain::ids::RoomId,
    closes_at: jiff::Timestamp,
}

/// A person who was let in, with what the classroom has to know of them.
struct Guest {
    profile: ProfileId,
    role: Role,
    window: JoinWindow,
    /// Where the booking's room is, or is opened now.
    classroom: Classroom,
    entrance: Entrance,
}

impl Route for Launch {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let booking: BookingId = call.path_id("booking_id")?;
        let claim = self.ids.next();
        let guest = self.admit(booking, person, claim).await?;

        let way_in = match self.open(&guest).await {
            Ok(way_in) => way_in,
            Err(problem) => return Err(self.leave(&guest, claim, problem).await),
        };

        if let Err(problem) = self.keep(&guest, claim, &way_in).await {
            return Err(self.leave(&guest, claim, problem).await);
        }

        Ok(Reply::ok(Answer {
            url: way_in.personal_url,
            role: guest.role,
            provider: guest.classroom,
            room_id: way_in.room,
            closes_at: guest.window.closes_at,
        }))
    }
}

impl Launch {
    /// Lets the person in once the room is open or is theirs to open.
    async fn admit(&self, booking: BookingId, person: ProfileId, claim: Uuid) -> Result<Guest, Problem> {
        for _ in 0..LOOKS {
            let now = self.clock.now();
            let opening = (claim, self.classroom);
            let entrance = rooms::enter(&self.database, booking, person, self.policy, opening, now).await?;
            let entrance = entrance.ok_or_else(Problem::forbidden)?;

            let role = match entrance.booking.admit(entrance.role, self.policy, now) {
                Ok(role) => role,
                Err(refusal) => return Err(self.turn_away(&entrance, claim, refused(refusal)).await),
            };

            // Either the room is there, or this call holds the claim and opens it. Anybody else waits for the
            // claim's holder.
            if entrance.is_claimed || entrance.booking.classroom.is_some() {
                let window = entrance
                    .booking
                    .window(self.policy)
                    .ok_or_else(Problem::internal)?;
                return Ok(Guest {
                    profile: person,
                    role,
                    window,
                    classroom: self.classroom_of(&entrance),
                    entrance,
                });
            }

            tokio::time::sleep(LOOK_AGAIN).await;
        }

        Err(still_opening())
    }

    /// Where the room is; if it is not open yet, where the platform wants it, or where this deployment opens rooms.
    fn classroom_of(&self, entrance: &Entrance) -> Classroom {
        let opened = entrance.booking.classroom;
        opened.or(entrance.wanted).unwrap_or(self.classroom)
    }

    /// Opens the room for this person, or opens it again.
    async fn open(&self, guest: &Guest) -> Result<WayIn, Problem> {
        let entrance = &guest.entrance;
        let mut visitor = Visitor {
            profile: guest.profile,
            name: &entrance.name,
            role: guest.role,
            account: entrance.account.as_deref(),
        };
        let room = Room {
            booking: entrance.booking.id,
            window: guest.window,
            record: entrance.recording_consent,
            opened: entrance.room.clone(),
            may_exist: entrance.was_claimed,
        };

        let enrolled = self.enrolled(guest, &visitor).await?;
        visitor.account = enrolled.as_deref().or(visitor.account);

        let (classroom, now) = (guest.classroom, self.clock.now());
        self.classrooms
            .let_in(classroom, &room, &visitor, now)
            .await
            .map_err(not_open)
    }

    /// The account that the person is given now, if one is wanted and they have none: by this call, or by another that is
    /// at it already.
    async fn enrolled(&self, guest: &Guest, visitor: &Visitor<'_>) -> Result<Option<String>, Problem> {
        let kind = Classrooms::kind_of_account(guest.classroom, guest.role);
        let (Some(kind), None) = (kind, visitor.account) else {
            return Ok(None);
        };
        let holder = Holder {
            classroom: guest.classroom,
            kind,
            profile: guest.profile,
        };

        let claim = self.ids.next();
        for _ in 0..LOOKS {
            match accounts::claim(&self.database, holder, claim, self.clock.now()).await? {
                Claim::Kept(account) => return Ok(Some(account)),
                Claim::Ours { may_exist } => {
                    return self.enrol(holder, visitor, may_exist, claim).await.map(Some);
                }
                Claim::Theirs => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        Err(still_opening())
    }

    async fn enrol(
        &self,
        holder: Holder<'_>,
        visitor: &Visitor<'_>,
        may_exist: bool,
        claim: Uuid,
    ) -> Result<String, Problem> {
        let account = self.classrooms.enrol(holder.classroom, visitor, may_exist).await;
        let account = match account {
            Ok(account) => account,
            Err(error) => {
                let left = accounts::leave(&self.database, claim, self.clock.now()).await;
                if let Err(error) = left {
                    tracing::warn!(%error, "the claim ends by itself");
                }
                return Err(not_open(error));
            }
        };

        if accounts::keep(&self.database, holder, &account, claim).await? {
            return Ok(account);
        }
        tracing::error!("another call took over while the account was being made");
        Err(still_opening())
    }

    /// Saves who was given a way in, and a room that was just opened; a room that was there already must still be the same.
    async fn keep(&self, guest: &Guest, claim: Uuid, way_in: &WayIn) -> Result<(), Problem> {
        let booking = guest.entrance.booking.id;
        let entered = Admission {
            classroom: guest.classroom,
            room: &way_in.room,
            address: way_in.address.as_str(),
            key: way_in.sealed_key.as_deref(),
            person: guest.profile,
            role: guest.role,
            known_as: way_in.user.as_deref(),
        };

        if rooms::entered(&self.database, booking, claim, &entered, self.clock.now()).await? {
            return Ok(());
        }

        tracing::error!("the vendor gave another room for the same booking");
        Err(Problem::unavailable(
            "room-changed",
            "The classroom is not reachable right now. Please try again.",
            2,
        ))
    }

    /// Ends the claim of somebody who may not enter. What an earlier call may have opened is still to be looked for.
    async fn turn_away(&self, entrance: &Entrance, claim: Uuid, problem: Problem) -> Problem {
        let classroom = self.classroom_of(entrance);
        if entrance.was_claimed && !classroom.opens_the_same_room_again() {
            return self.pass_on(entrance, claim, problem).await;
        }
        self.give_up(entrance, claim, problem).await
    }

    /// Ends a claim after the vendor was asked. Where the same room would be opened again, nothing is left to know; where
    /// another would be, the next call is to look for it first.
    async fn leave(&self, guest: &Guest, claim: Uuid, problem: Problem) -> Problem {
        if guest.classroom.opens_the_same_room_again() || !guest.entrance.is_claimed {
            return self.give_up(&guest.entrance, claim, problem).await;
        }
        self.pass_on(&guest.entrance, claim, problem).await
    }

    /// Lets the next call try at once, which sees that there was one before it.
    async fn pass_on(&self, entrance: &Entrance, claim: Uuid, problem: Problem) -> Problem {
        let booking = entrance.booking.id;
        if let Err(error) = rooms::leave(&self.database, booking, claim, self.clock.now()).await {
            tracing::warn!(%error, "the claim ends by itself");
        }
        problem
    }

    /// Ends a claim that opened nothing, before the caller hears of the problem: the next Join need not wait
    /// for it to run out.
    async fn give_up(&self, entrance: &Entrance, claim: Uuid, problem: Problem) -> Problem {
        if entrance.is_claimed {
            let ended = rooms::give_up(&self.database, entrance.booking.id, claim).await;
            if let Err(error) = ended {
                tracing::warn!(%error, "the claim ends by itself");
            }
        }
        problem
    }
}

/// Somebody else's call is opening it.
fn still_opening() -> Problem {
    Problem::unavailable("room-opening", "The room is being opened. Please try again.", 2)
}

fn refused(refusal: Refusal) -> Problem {
    let conflict = |kind, detail| Problem::new(StatusCode::CONFLICT, kind, detail);
    match refusal {
        Refusal::Stranger => Problem::forbidden(),
        Refusal::GuardianLinkRequired => {
            let detail = "You can join a student's lesson only as their guardian.";
            Problem::new(StatusCode::FORBIDDEN, "guardian-link-required", detail)
        }
        Refusal::Cancelled => conflict("booking-cancelled", "This booking is cancelled."),
        Refusal::UnknownStatus => Problem::unknown_status(),
        Refusal::NotConfirmed => conflict("booking-not-confirmed", "This booking is not confirmed yet."),
        Refusal::TooEarly(window) => conflict("join-too-early", "The room is not open yet.")
            .with_time("opens_at", window.opens_at)
            .with_time("closes_at", window.closes_at),
        Refusal::TooLate(window) => {
            let problem = conflict("join-too-late", "The lesson is over.");
            window.map_or(problem.clone(), |window| {
                problem.with_time("closes_at", window.closes_at)
            })
        }
    }
}

fn not_open(error: RoomError) -> Problem {
    match error {
        RoomError::Secret(error) => error.into(),
        RoomError::Vendor(error) => vendor_problem(error),
        RoomError::Configuration => Problem::internal(),
        RoomError::NotConnected => {
            tracing::error!("a lesson is to be held in a classroom that this deployment is not connected to");
            unreachable_provider(300)
        }
    }
}

fn vendor_problem(error: VendorError) -> Problem {
    tracing::error!(%error, "launch");

    let after = match error {
        VendorError::Transient {
            retry_after_seconds, ..
        } => retry_after_seconds.unwrap_or(3),
        VendorError::Barred { .. }
        | VendorError::NotEnabled { .. }
        | VendorError::Insufficient { .. }
        | VendorError::Permanent { .. }
        | VendorError::NotFound => 30,
    };

    unreachable_provider(after)
}

fn unreachable_provider(after_seconds: u32) -> Problem {
    let detail = "The classroom provider is not reachable right now.";
    Problem::unavailable("provider-unavailable", detail, after_seconds)
}
