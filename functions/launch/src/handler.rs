//! Opens the classroom for the person who asks. Source: Lessonspace seed v5.2, sections 3.1 and 4.1.

use domain::booking::Refusal;
use domain::ids::{BookingId, ProfileId};
use domain::people::Role;
use domain::window::{JoinPolicy, JoinWindow};
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::problem::Problem;
use platform::secrets::Secret;
use providers::error::VendorError;
use providers::lessonspace::{self, Launched, Lessonspace, RoomRequest, Visitor, WebhookToken};
use serde::Serialize;
use std::time::Duration;
use store::rooms::{self, Entrance, OpenedRoom};
use url::Url;
use uuid::Uuid;

/// While another person's Join opens the room, look again this often, and so many times.
const LOOK_AGAIN: Duration = Duration::from_millis(150);
const LOOKS: u32 = 40;

pub(crate) struct Launch {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) lessonspace: Lessonspace,
    pub(crate) webhook_secret: Secret,
    pub(crate) public_base: Url,
    pub(crate) policy: JoinPolicy,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

#[derive(Serialize)]
struct Answer {
    /// This person's way in; single use, not to be shared.
    url: Url,
    role: Role,
    provider: &'static str,
    room_id: domain::ids::RoomId,
    closes_at: jiff::Timestamp,
}

/// A person who was let in.
struct Guest {
    profile: ProfileId,
    role: Role,
    window: JoinWindow,
    entrance: Entrance,
}

impl Route for Launch {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let booking: BookingId = call.path_id("booking_id")?;
        let claim = self.ids.next();
        let guest = self.admit(booking, person, claim).await?;
        let launched = match self.open(&guest).await {
            Ok(launched) => launched,
            Err(problem) => return Err(self.give_up(&guest.entrance, claim, problem).await),
        };
        self.keep(&guest, claim, &launched).await?;
        Ok(Reply::ok(Answer {
            url: launched.personal_url,
            role: guest.role,
            provider: lessonspace::NAME,
            room_id: launched.room,
            closes_at: guest.window.closes_at,
        }))
    }
}

impl Launch {
    /// Lets the person in once the room is open or is theirs to open.
    async fn admit(&self, booking: BookingId, person: ProfileId, claim: Uuid) -> Result<Guest, Problem> {
        for _ in 0..LOOKS {
            let now = self.clock.now();
            let entrance = rooms::enter(&self.database, booking, person, self.policy, claim, now).await?;
            let entrance = entrance.ok_or_else(Problem::forbidden)?;
            let role = match entrance.booking.admit(entrance.role, self.policy, now) {
                Ok(role) => role,
                Err(refusal) => return Err(self.give_up(&entrance, claim, refused(refusal)).await),
            };
            if entrance.is_claimed || entrance.booking.room.is_some() {
                let window = entrance
                    .booking
                    .window(self.policy)
                    .ok_or_else(Problem::internal)?;
                return Ok(Guest {
                    profile: person,
                    role,
                    window,
                    entrance,
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(Problem::unavailable(
            "room-opening",
            "The room is being opened. Please try again.",
            2,
        ))
    }

    /// Launches for this person. Whoever opens the room also tells the vendor where to report: that address
    /// carries the room's key, which only a launch gives, so it takes a second one. A room is saved only
    /// after that, so every saved room reports.
    async fn open(&self, guest: &Guest) -> Result<Launched, Problem> {
        let launched = self.launch(guest, None).await?;
        if !guest.entrance.is_claimed {
            return Ok(launched);
        }
        let webhook = self.webhook(guest.entrance.booking.id, &launched).await?;
        self.launch(guest, Some(&webhook)).await
    }

    async fn launch(&self, guest: &Guest, webhook: Option<&Url>) -> Result<Launched, Problem> {
        let room = RoomRequest {
            booking: guest.entrance.booking.id,
            window: guest.window,
            record: guest.entrance.recording_consent,
            webhook,
        };
        let visitor = Visitor {
            profile: guest.profile,
            name: &guest.entrance.name,
            role: guest.role,
        };
        self.lessonspace
            .launch(&room, &visitor)
            .await
            .map_err(vendor_problem)
    }

    async fn webhook(&self, booking: BookingId, launched: &Launched) -> Result<Url, Problem> {
        let Some(key) = &launched.signing_key else {
            tracing::error!("the vendor gave no key for the room's webhooks");
            return Err(vendor_problem(VendorError::NotFound));
        };
        let token = WebhookToken::seal(&self.webhook_secret, booking, key).await?;
        token
            .and_then(|token| token.url(&self.public_base, booking))
            .ok_or_else(Problem::internal)
    }

    /// Saves a room that was just opened; a room that was there already must still be the same one.
    async fn keep(&self, guest: &Guest, claim: Uuid, launched: &Launched) -> Result<(), Problem> {
        let kept = if let Some(room) = &guest.entrance.booking.room {
            *room == launched.room
        } else {
            let address = launched.room_url();
            let opened = OpenedRoom {
                provider: lessonspace::NAME,
                room: &launched.room,
                address: address.as_str(),
            };
            rooms::opened(&self.database, guest.entrance.booking.id, claim, &opened).await?
        };
        if kept {
            return Ok(());
        }
        tracing::error!("the vendor gave another room for the same booking");
        Err(Problem::unavailable(
            "room-changed",
            "The classroom is not reachable right now. Please try again.",
            2,
        ))
    }

    /// Nothing half done: a claim that opened nothing is ended before the caller hears of it.
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

fn vendor_problem(error: VendorError) -> Problem {
    tracing::error!(%error, "launch");
    let detail = "The classroom provider is not reachable right now.";
    let after = match error {
        VendorError::Transient {
            retry_after_seconds, ..
        } => retry_after_seconds.unwrap_or(3),
        VendorError::Barred { .. } | VendorError::Permanent { .. } | VendorError::NotFound => 30,
    };
    Problem::unavailable("provider-unavailable", detail, after)
}
