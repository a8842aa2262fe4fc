//! What is kept no longer than it is of use. How long that is says the function `tidy` in the schema: the functions'
//! own role deletes nothing.

use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;

/// How many rows of each kind one step removes, which locks them for some milliseconds.
const STEP: i32 = 1_000;

/// Removes one step of what is too old. $1: how many rows of each kind at most. $2: now.
pub const TIDY: &str = "SELECT tidy($1, $2) AS tidied";

/// Removes some of what is too old, the oldest first; returns how many rows it changed, 0 when nothing is left to do.
/// One round trip.
pub async fn tidy(database: &Database, now: Timestamp) -> Result<u64, DatabaseError> {
    let params: [Param<'_>; 2] = [(&STEP, Type::INT4), (&now, Type::TIMESTAMPTZ)];
    let row = database.query_opt(TIDY, &params).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;

    let tidied: i64 = column(&row, "tidied")?;
    u64::try_from(tidied).map_err(|_| DatabaseError::Unexpected("tidied"))
}
