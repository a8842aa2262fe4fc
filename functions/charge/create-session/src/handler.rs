//! Makes a session from a confirmed booking. A booking has one session: a second call gets the same one.
//!
//! Rules: [session-made](../../../../shared/domain/RULES.md#session-made),
//! [terms-pinned](../../../../shared/domain/RULES.md#terms-pinned).

use domain::charge::session::{BookingRefusal, SessionPolicy, SessionStatus};
use domain::ids::{BookingId, ProfileId};
use domain::launch::classroom::Classroom;
use domain::money::Money;
use http::StatusCode;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::charge::sessions::{self, StoredSession};

pub(crate) struct CreateSession {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) policy: SessionPolicy,
    pub(crate) classroom: Classroom,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    booking_id: BookingId,
}

#[derive(Serialize)]
struct Answer {
    id: uuid::Uuid,
    booking_id: BookingId,
    status: SessionStatus,
    provider: Classroom,
    scheduled_start_at: jiff::Timestamp,
    scheduled_end_at: jiff::Timestamp,
    duration_minutes: u32,
    no_show_wait_minutes: u32,
    min_payable_minutes: u32,
    price: Money,
}

impl Route for CreateSession {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let booking = call.json::<Order>()?.booking_id;
        invocation::note("booking_id", booking);

        let bookable = sessions::for_booking(&self.database, booking, person).await?;
        let bookable = bookable.ok_or_else(Problem::forbidden)?;
        let session = bookable
            .session(booking, self.policy, self.classroom)
            .map_err(refused)?;

        let role = if person == session.tutor {
            "tutor"
        } else {
            "client"
        };
        let by = json!({"by": role, "person": person});

        let (id, now) = (self.ids.next(), self.clock.now());
        let (stored, is_new) =
            sessions::create(&self.database, &session, self.classroom, id, &by, now).await?;

        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };

        Ok(Reply::with_status(status, answer(&stored)))
    }
}

fn answer(stored: &StoredSession) -> Answer {
    let session = &stored.session;
    Answer {
        id: stored.id,
        booking_id: session.booking,
        status: stored.status,
        provider: stored.classroom,
        scheduled_start_at: session.schedule.starts_at(),
        scheduled_end_at: session.schedule.ends_at(),
        duration_minutes: session.duration_minutes(),
        no_show_wait_minutes: session.no_show_wait_minutes(),
        min_payable_minutes: session.min_payable_minutes(),
        price: session.price,
    }
}

fn refused(refusal: BookingRefusal) -> Problem {
    let conflict = |kind, detail| Problem::new(StatusCode::CONFLICT, kind, detail);
    match refusal {
        BookingRefusal::UnknownStatus => Problem::unknown_status(),
        BookingRefusal::NotConfirmed => conflict("booking-not-confirmed", "This booking is not confirmed."),
        BookingRefusal::ConfirmedLate => conflict(
            "booking-not-confirmed",
            "This booking was not confirmed before its start; an operator has to accept that.",
        ),
        BookingRefusal::NotConnected => conflict(
            "tutor-not-connected",
            "The tutor has no connected meeting provider.",
        ),
        BookingRefusal::WithoutTime => conflict("booking-without-time", "The booking has no time."),
        BookingRefusal::WithoutPrice => conflict("booking-without-price", "The booking has no pinned price."),
    }
}
