//! What nobody calls for: bookings get their sessions, and providers are asked about rooms of which they have not told
//! the end.

use crate::charge::sessions::Rules;
use domain::charge::session::SessionPolicy;
use domain::launch::classroom::Classroom;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::outbox::Draft;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Makes the sessions of bookings that are agreed and priced and have none. Has providers asked about rooms
/// whose time for that has come: at the planned end, when the room has closed, and from then on after five
/// minutes, doubled each time, until shortly before what is known decides without them. Says what is late.
pub const TEND: &str = include_str!("tending/tend.sql");

/// What one run has done, and what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TendingReport {
    /// How many sessions were made.
    pub made: u64,
    /// How many rooms' providers are asked.
    pub asked: u64,
    /// How many of these are asked for the last time; after that, what is known decides.
    pub given_up: u64,
    /// How many provider events wait for what they are about.
    pub waiting: u64,
    /// How many provider events wait for a person.
    pub parked: u64,
    /// How many sessions cannot be read or settled, and wait for a person.
    pub set_aside: u64,
    /// For how many seconds the longest waiting session has been due.
    pub overdue_seconds: u64,
    /// For how many seconds the longest waiting room has been due to be asked about.
    pub unasked_seconds: u64,
}

/// Tends up to `most` bookings and `most` sessions, in one round trip.
pub async fn tend(
    database: &Database,
    classroom: Classroom,
    policy: &SessionPolicy,
    most: i64,
    ask: &Draft,
    now: Timestamp,
) -> Result<TendingReport, DatabaseError> {
    let (rules, provider) = (Rules::of(policy), classroom.word());
    let params: [Param<'_>; 7] = [
        (&now, Type::TIMESTAMPTZ),
        (&most, Type::INT8),
        (&provider, Type::TEXT),
        (&rules.wait, Type::TEXT),
        (&rules.minimum, Type::TEXT),
        (&rules.whole, Type::JSONB),
        (ask.json(), Type::JSONB),
    ];

    let row = database.query_opt(TEND, &params).await?;
    read(&row.ok_or(DatabaseError::Unexpected("no row"))?)
}

fn read(row: &Row) -> Result<TendingReport, DatabaseError> {
    let count = |name| {
        let number: Option<i64> = column(row, name)?;
        Ok::<_, DatabaseError>(u64::try_from(number.unwrap_or(0)).unwrap_or(0))
    };

    Ok(TendingReport {
        made: count("made")?,
        asked: count("asked")?,
        given_up: count("given_up")?,
        waiting: count("waiting")?,
        parked: count("parked")?,
        set_aside: count("aside")?,
        overdue_seconds: count("overdue")?,
        unasked_seconds: count("unasked")?,
    })
}
