//! What could not be followed at once: tried again, and counted for the operator.

use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;

/// Follows again, and tells again of, what failed. Harmless twice. $1 at most so many, $2 now.
pub const CATCH_UP: &str = "SELECT healed, failing, to_decide FROM catch_up($1, $2)";

/// Looks at the platform's next bookings for what no trigger told. Harmless twice. $1 so many, $2 now.
pub const WALK_ON: &str = "SELECT walk_on($1, $2)";

/// How the platform's bookings and ours stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp {
    /// Failures that were mended.
    pub healed: u64,
    /// Bookings that still cannot be followed, or told of.
    pub failing: u64,
    /// Changes that wait for an operator.
    pub to_decide: u64,
}

/// Tries again what failed, up to `most`.
pub async fn catch_up(database: &Database, most: i32, now: Timestamp) -> Result<CaughtUp, DatabaseError> {
    let params: [Param<'_>; 2] = [(&most, Type::INT4), (&now, Type::TIMESTAMPTZ)];
    let row = database.query_opt(CATCH_UP, &params).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;
    let count = |name| column::<i64>(&row, name).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(CaughtUp {
        healed: count("healed")?,
        failing: count("failing")?,
        to_decide: count("to_decide")?,
    })
}

/// Looks at the next `most` bookings for what no trigger told.
pub async fn walk_on(database: &Database, most: i32, now: Timestamp) -> Result<(), DatabaseError> {
    let params: [Param<'_>; 2] = [(&most, Type::INT4), (&now, Type::TIMESTAMPTZ)];
    database.query(WALK_ON, &params).await.map(drop)
}
