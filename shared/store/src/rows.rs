//! Columns that several tables share, read as what they mean.

use domain::money::Money;
use iso_currency::Currency;
use platform::database::{DatabaseError, column};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

/// An amount from its two columns, minor units and ISO 4217 code; `None` if either is NULL.
pub(crate) fn money(
    row: &Row,
    minor: &'static str,
    code: &'static str,
) -> Result<Option<Money>, DatabaseError> {
    let (minor, code): (Option<i64>, Option<&str>) = (column(row, minor)?, column(row, code)?);
    let Some((minor, code)) = Option::zip(minor, code) else {
        return Ok(None);
    };
    Ok(Some(Money::new(minor, currency(code)?)))
}

/// An amount that is always there, in the row's `currency`.
pub(crate) fn amount(row: &Row, minor: &'static str) -> Result<Money, DatabaseError> {
    money(row, minor, "currency")?.ok_or(DatabaseError::Unexpected(minor))
}

/// A word of ours, such as a status. One that this build does not know is an error.
pub(crate) fn word<T: std::str::FromStr>(row: &Row, name: &'static str) -> Result<T, DatabaseError> {
    let word: &str = column(row, name)?;
    word.parse().map_err(|_| DatabaseError::Unexpected(name))
}

/// A value of ours as JSON, which is how the database keeps it.
pub(crate) fn as_json<T: Serialize>(value: &T) -> Value {
    // Our own types: there is nothing in them that JSON cannot hold.
    serde_json::to_value(value).unwrap_or_default()
}

/// A currency by its ISO 4217 code.
pub(crate) fn currency(code: &str) -> Result<Currency, DatabaseError> {
    Currency::from_code(code).ok_or(DatabaseError::Unexpected("currency"))
}

/// A value of ours, read from the JSON that the database kept.
pub(crate) fn json<T: DeserializeOwned>(row: &Row, name: &'static str) -> Result<T, DatabaseError> {
    let Json(value) = column(row, name)?;
    Ok(value)
}
