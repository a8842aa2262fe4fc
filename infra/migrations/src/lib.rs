//! The schema as forward-only migrations (`sql/`), applied under an advisory lock and recorded with
//! checksums in `firstbell_migrations`: a migration that was applied must never be edited.

use platform::database::{self, DatabaseError};
pub use refinery::Target;

mod embedded {
    #![allow(missing_docs, clippy::pedantic, reason = "generated")]
    refinery::embed_migrations!("sql");
}

/// Any number that no other tool on the database uses for its lock.
const LOCK: i64 = 0x0066_6972_7374;

/// The database could not be brought up to date. What was applied stays applied; running again goes on.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Not reachable.
    #[error(transparent)]
    Unreachable(#[from] DatabaseError),
    /// The lock could not be had.
    #[error("lock: {0}")]
    Lock(#[from] tokio_postgres::Error),
    /// A migration failed, or an applied one was edited.
    #[error("migration: {0}")]
    Migration(#[from] refinery::Error),
}

/// Connects to `url` over a session-mode connection (an advisory lock does not survive a transaction
/// pooler) and applies what is missing. Returns the names of what it applied.
pub async fn migrate(url: &str, ca_pem: Option<&str>) -> Result<Vec<String>, MigrationError> {
    migrate_to(url, ca_pem, Target::Latest).await
}

/// The same, up to and including a version: what an earlier release left behind.
pub async fn migrate_to(
    url: &str,
    ca_pem: Option<&str>,
    target: Target,
) -> Result<Vec<String>, MigrationError> {
    let mut client = database::connect(url, ca_pem).await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let mut runner = embedded::migrations::runner().set_target(target);
    runner.set_migration_table_name("firstbell_migrations");
    let report = runner.run_async(&mut client).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(report?
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect())
}
