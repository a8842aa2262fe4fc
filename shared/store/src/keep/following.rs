//! What could not be followed at once: tried again, and counted for the operator.

use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;

/// Follows again what could not be followed, and tells the platform again what it could not be told. Harmless
/// twice. $1: how many at most. $2: now.
pub const CATCH_UP: &str = "SELECT healed, failing, to_decide FROM catch_up($1, $2)";

/// Looks at the platform's next bookings, for changes that no trigger told of. Harmless twice. $1: how many.
/// $2: now.
pub const WALK_ON: &str = "SELECT walk_on($1, $2)";

/// How well the platform's bookings and ours agree after a round of catching up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp {
    /// How many failures were mended.
    pub healed: u64,
    /// How many bookings still cannot be followed, or cannot be told to the platform.
    pub failing: u64,
    /// How many changes wait for an operator to decide about them.
    pub to_decide: u64,
}

/// Tries up to `most` noted failures again.
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

/// Looks at the platform's next `most` bookings, for changes that no trigger told of.
pub async fn walk_on(database: &Database, most: i32, now: Timestamp) -> Result<(), DatabaseError> {
    let params: [Param<'_>; 2] = [(&most, Type::INT4), (&now, Type::TIMESTAMPTZ)];
    database.query(WALK_ON, &params).await.map(drop)
}
