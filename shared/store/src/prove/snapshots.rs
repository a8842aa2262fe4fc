//! The whiteboard snapshot on a booking.

use domain::prove::snapshot::SnapshotKey;
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;

/// Records a snapshot unless a later one is recorded already: keys of one booking sort by upload time.
/// One row if the booking exists. $1 booking, $2 address.
pub const RECORD: &str = "
    WITH recorded AS (
        UPDATE bookings
        SET session_artifacts = jsonb_set(coalesce(session_artifacts, '{}'), '{whiteboard_snapshot_url}', to_jsonb($2::text))
        WHERE id = $1 AND coalesce(session_artifacts ->> 'whiteboard_snapshot_url', '') COLLATE \"C\" < $2 COLLATE \"C\"
        RETURNING id)
    SELECT EXISTS (SELECT FROM recorded) AS recorded FROM bookings WHERE id = $1";

/// What became of an attempt to record a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The snapshot is the booking's now.
    Yes,
    /// This snapshot or a later one was recorded before.
    Superseded,
    /// There is no booking with the id in the key.
    NoBooking,
}

/// Where a snapshot lies, as stored in `session_artifacts.whiteboard_snapshot_url`.
pub fn address(bucket: &str, key: &SnapshotKey) -> String {
    // Addresses are compared as text to find the later upload. The id of the upload stands before the ending,
    // so the kind of image never decides.
    format!("s3://{bucket}/{}", key.object_key())
}

/// Records the snapshot on its booking, unless a later one stands there.
pub async fn record(database: &Database, bucket: &str, key: &SnapshotKey) -> Result<Recorded, DatabaseError> {
    let address = address(bucket, key);
    let params: [Param<'_>; 2] = [(&key.booking.0, Type::UUID), (&address, Type::TEXT)];
    match database.query_opt(RECORD, &params).await? {
        None => Ok(Recorded::NoBooking),
        Some(row) if column(&row, "recorded")? => Ok(Recorded::Yes),
        Some(_) => Ok(Recorded::Superseded),
    }
}
