//! What is known of a lesson that was held, beside its booking.

use crate::charge::sessions::{self, StoredSession};
use crate::rows::json;
use domain::ids::BookingId;
use domain::prove::insights::Engagement;
use platform::database::{Database, DatabaseError};
use tokio_postgres::types::Type;

/// Loads the session of a booking, with what its provider has measured. $1 booking.
pub const OF: &str = "
    SELECT s.*, coalesce(b.engagement_metrics, '{}') AS engagement
    FROM sessions s JOIN bookings b ON b.id = s.booking_id
    WHERE s.booking_id = $1";

/// Loads the session of a booking, with what its provider has measured; `None` if the booking has none.
pub async fn of(
    database: &Database,
    booking: BookingId,
) -> Result<Option<(StoredSession, Engagement)>, DatabaseError> {
    let Some(row) = database.query_opt(OF, &[(&booking.0, Type::UUID)]).await? else {
        return Ok(None);
    };
    Ok(Some((sessions::read(&row)?, json(&row, "engagement")?)))
}
