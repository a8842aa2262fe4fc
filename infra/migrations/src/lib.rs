//! The schema `firstbell` and how it comes into a database: whole, in one transaction, or not at all.
//!
//! A run applies what is missing of `sql/N_*.sql` (recorded with checksums: what was applied must never be
//! edited), then the platform's own file with its views, then `sql/functions.sql` and `sql/access.sql`, then asks `sql/check.sql` what is
//! wrong. Only after that is committed are the platform's bookings copied, in batches that hold no lock for long.
//!
//! No migration crate does this: they make their table before and outside of the transaction of the first
//! migration, where it stays open to everybody if that one fails.

mod script;

use jiff::Timestamp;
use platform::database::{self, DatabaseError};
use script::{Statement, statements};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

const MIGRATIONS: [(i32, &str, &str); 10] = [
    (1, "lessons", include_str!("../sql/1_lessons.sql")),
    (2, "sessions", include_str!("../sql/2_sessions.sql")),
    (3, "payments", include_str!("../sql/3_payments.sql")),
    (4, "platform", include_str!("../sql/4_platform.sql")),
    (5, "keeping", include_str!("../sql/5_keeping.sql")),
    (6, "money", include_str!("../sql/6_money.sql")),
    (7, "evidence", include_str!("../sql/7_evidence.sql")),
    (8, "aside", include_str!("../sql/8_aside.sql")),
    (9, "queues", include_str!("../sql/9_queues.sql")),
    (10, "classrooms", include_str!("../sql/10_classrooms.sql")),
];
const FUNCTIONS: &str = include_str!("../sql/functions.sql");
const ACCESS: &str = include_str!("../sql/access.sql");
const CHECK: &str = include_str!("../sql/check.sql");
/// The platform that an empty database gets.
const OWN: &str = include_str!("../platforms/own.sql");

/// Any number that no other tool on the database uses for its lock.
const LOCK: i64 = 0x0066_6972_7374;
/// How often a run is tried, if it does not get its locks.
const TRIES: u32 = 4;
/// How long a run waits for one lock, and between two tries. Whoever comes later waits behind it for as long.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Bookings copied in one transaction.
const BATCH: i32 = 1_000;

/// Where a run takes place.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The owner's connection, in session mode.
    pub url: &'a str,
    /// The authority of the server's certificate, if it is not a public one.
    pub ca_pem: Option<&'a str>,
    /// The platform's file, which makes its views: its name and its SQL. `None` keeps the views that are there, and
    /// gives an empty database our own.
    pub platform: Option<(&'a str, &'a str)>,
    /// [`PATIENCE`], but for stories.
    pub patience: Duration,
}

/// What a run did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Migrations that were missing.
    pub applied: Vec<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// Bookings of the platform that are here afterwards.
    pub followed: u64,
}

/// Something that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `error` stops a run, `warning` wants a person, `note` is a number worth knowing.
    pub severity: String,
    /// What, in words.
    pub says: String,
}

/// Nothing was changed, and why.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Not reachable.
    #[error(transparent)]
    Unreachable(#[from] DatabaseError),
    /// The server refused a statement.
    #[error("{file}, line {line}: {sqlstate} {message}\n    {statement}")]
    Refused {
        /// The script.
        file: String,
        /// The line on which the statement begins.
        line: usize,
        /// Its first lines.
        statement: String,
        /// The server's code.
        sqlstate: String,
        /// The server's message, with its detail and hint.
        message: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] tokio_postgres::Error),
    /// Somebody holds a lock for longer than is worth waiting for.
    #[error("somebody holds a lock that is needed ({0}); nothing was changed, try again when it is quieter")]
    Busy(String),
    /// What was applied is not what stands here.
    #[error("migration {0} was edited after it was applied here")]
    Edited(String),
    /// A database with a platform in it, and no view of it.
    #[error(
        "this database has tables of a platform and no view firstbell.platform_bookings: write it after \
         infra/migrations/platforms/template.sql and pass the file"
    )]
    NoView,
    /// The platform's file ended the transaction.
    #[error("{0} must not begin or end transactions: the run is one")]
    EndedByFile(String),
    /// A check found what must not be.
    #[error("{} check(s) found what must not be", .0.len())]
    Unfit(Vec<Finding>),
    /// The books are not empty.
    #[error("there are {0} entries in the ledger and payments; say --with-books to delete them, too")]
    HasBooks(i64),
}

/// Applies what is missing and copies the platform's bookings.
pub async fn migrate(target: Target<'_>) -> Result<Report, MigrationError> {
    let mut client = database::connect(target.url, target.ca_pem).await?;
    let mut report = patiently(&mut client, target, false).await?;
    report.followed = follow_all(&client).await?;
    Ok(report)
}

/// Says what [`migrate`] would do and find, and changes nothing.
pub async fn check(target: Target<'_>) -> Result<Report, MigrationError> {
    let mut client = database::connect(target.url, target.ca_pem).await?;
    patiently(&mut client, target, true).await
}

async fn patiently(
    client: &mut Client,
    target: Target<'_>,
    only_checks: bool,
) -> Result<Report, MigrationError> {
    for _ in 1..TRIES {
        match run(client, target, only_checks).await {
            Err(MigrationError::Busy(_)) => tokio::time::sleep(target.patience).await,
            result => return result,
        }
    }
    run(client, target, only_checks).await
}

async fn run(client: &mut Client, target: Target<'_>, only_checks: bool) -> Result<Report, MigrationError> {
    let transaction = client.transaction().await?;
    let begin = format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL client_min_messages = 'warning';
         SELECT pg_advisory_xact_lock({LOCK});",
        target.patience.as_millis(),
    );
    execute(&transaction, "begin", &begin).await?;

    let applied = apply(&transaction).await?;
    add_platform(&transaction, target.platform).await?;
    enter_schema(&transaction).await?;
    execute(&transaction, "functions.sql", FUNCTIONS).await?;
    execute(&transaction, "tell_of_changes", "SELECT tell_of_changes()").await?;
    execute(&transaction, "access.sql", ACCESS).await?;
    let findings = findings(&transaction).await?;

    if only_checks {
        transaction.rollback().await?;
    } else if findings.iter().any(|finding| finding.severity == "error") {
        return Err(MigrationError::Unfit(findings));
    } else {
        // Last, since from here on nobody writes the platform's bookings until the end.
        execute(&transaction, "attach_followers", "SELECT attach_followers()").await?;
        transaction.commit().await?;
    }
    Ok(Report {
        applied,
        findings,
        followed: 0,
    })
}

async fn enter_schema(transaction: &Transaction<'_>) -> Result<(), MigrationError> {
    execute(
        transaction,
        "schema",
        "SET LOCAL search_path = firstbell, pg_temp",
    )
    .await
}

async fn apply(transaction: &Transaction<'_>) -> Result<Vec<String>, MigrationError> {
    let house = "
        CREATE SCHEMA IF NOT EXISTS firstbell;
        REVOKE ALL ON SCHEMA firstbell FROM PUBLIC;
        SET LOCAL search_path = firstbell, pg_temp;
        CREATE TABLE IF NOT EXISTS migrations (
            version integer PRIMARY KEY,
            name text NOT NULL,
            checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now())";
    execute(transaction, "schema", house).await?;

    let mut applied = Vec::new();
    for (version, name, sql) in MIGRATIONS {
        let (name, checksum) = (format!("{version}_{name}"), hex::encode(Sha256::digest(sql)));
        let row = transaction
            .query_opt("SELECT checksum FROM migrations WHERE version = $1", &[&version])
            .await?;
        match row.map(|row| row.get::<_, String>(0)) {
            Some(before) if before == checksum => continue,
            Some(_) => return Err(MigrationError::Edited(name)),
            None => execute(transaction, &format!("{name}.sql"), sql).await?,
        }
        let record = "INSERT INTO migrations (version, name, checksum) VALUES ($1, $2, $3)";
        transaction.execute(record, &[&version, &name, &checksum]).await?;
        applied.push(name);
    }
    Ok(applied)
}

/// Makes the platform's views: from its file, or our own where there is neither a view nor a platform.
async fn add_platform(
    transaction: &Transaction<'_>,
    platform: Option<(&str, &str)>,
) -> Result<(), MigrationError> {
    let known = "SELECT to_regclass('firstbell.platform_bookings') IS NOT NULL,
                        coalesce(to_regclass('public.bookings'), to_regclass('public.profiles')) IS NOT NULL";
    let row = transaction.query_one(known, &[]).await?;
    let (name, sql) = match (platform, row.get(0), row.get(1)) {
        (Some(platform), _, _) => platform,
        (None, true, _) => return Ok(()),
        (None, false, false) => ("own.sql", OWN),
        (None, false, true) => return Err(MigrationError::NoView),
    };

    let before = transaction_id(transaction).await?;
    execute(transaction, name, "SET LOCAL search_path TO DEFAULT").await?;
    execute(transaction, name, sql).await?;
    if transaction_id(transaction).await? == before {
        Ok(())
    } else {
        Err(MigrationError::EndedByFile(name.into()))
    }
}

async fn transaction_id(transaction: &Transaction<'_>) -> Result<String, MigrationError> {
    let row = transaction
        .query_one("SELECT pg_current_xact_id()::text", &[])
        .await?;
    Ok(row.get(0))
}

async fn findings(transaction: &Transaction<'_>) -> Result<Vec<Finding>, MigrationError> {
    execute(transaction, "check.sql", CHECK).await?;
    let rows = transaction
        .query("SELECT severity, says FROM pg_temp.firstbell_check()", &[])
        .await?;
    let finding = |row: &Row| Finding {
        severity: row.get(0),
        says: row.get(1),
    };
    Ok(rows.iter().map(finding).collect())
}

/// Follows every booking of the platform, in batches; returns how many are here then.
async fn follow_all(client: &Client) -> Result<u64, MigrationError> {
    let next = "SELECT firstbell.follow_next($1, $2, $3)";
    let mut after = Uuid::nil();
    loop {
        let row = client
            .query_one(next, &[&after, &BATCH, &Timestamp::now()])
            .await?;
        match row.get(0) {
            Some(last) => after = last,
            None => break,
        }
    }

    let adopted = "UPDATE firstbell.follow_walk SET is_adopted = true WHERE NOT is_adopted";
    client.batch_execute(adopted).await?;
    let count = "SELECT count(*) FROM firstbell.bookings WHERE seen IS NOT NULL";
    let row = client.query_one(count, &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Takes everything off again: the triggers on the platform's tables, the schema with all that is in it, and the
/// functions' role. What the platform has in its own tables stays. Refuses while there are books, unless told.
pub async fn unadopt(target: Target<'_>, with_books: bool) -> Result<(), MigrationError> {
    let mut client = database::connect(target.url, target.ca_pem).await?;
    let transaction = client.transaction().await?;
    let begin = format!("SET LOCAL lock_timeout = {}", target.patience.as_millis());
    execute(&transaction, "begin", &begin).await?;
    let is_there = "SELECT to_regclass('firstbell.ledger_entries') IS NOT NULL";
    if !with_books && transaction.query_one(is_there, &[]).await?.get(0) {
        let count = "SELECT (SELECT count(*) FROM firstbell.ledger_entries) + (SELECT count(*) FROM firstbell.payments)";
        let entries: i64 = transaction.query_one(count, &[]).await?.get(0);
        if entries > 0 {
            return Err(MigrationError::HasBooks(entries));
        }
    }

    // The triggers on the platform's tables depend on a function in the schema, and go with it.
    execute(&transaction, "unadopt", "DROP SCHEMA IF EXISTS firstbell CASCADE").await?;
    transaction.commit().await?;

    // Roles belong to the whole cluster: another database may still use this one, and keeps it.
    let role = "DO $role$ BEGIN
            DROP ROLE IF EXISTS firstbell_service;
        EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
            RAISE WARNING 'the role firstbell_service is still used elsewhere';
        END $role$";
    Ok(client.batch_execute(role).await?)
}

/// Runs a script, statement by statement.
async fn execute(transaction: &Transaction<'_>, file: &str, sql: &str) -> Result<(), MigrationError> {
    for statement in statements(sql) {
        transaction
            .batch_execute(statement.text)
            .await
            .map_err(|error| refused(error, file, statement))?;
    }
    Ok(())
}

fn refused(error: tokio_postgres::Error, file: &str, statement: Statement<'_>) -> MigrationError {
    let Some(refusal) = error.as_db_error() else {
        return MigrationError::Broken(error);
    };
    let more = [refusal.detail(), refusal.hint(), refusal.where_()];
    let mut message = refusal.message().to_owned();
    for text in more.into_iter().flatten() {
        message.push_str(". ");
        message.push_str(text);
    }
    if [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(refusal.code()) {
        return MigrationError::Busy(message);
    }
    MigrationError::Refused {
        file: file.into(),
        line: statement.line,
        statement: statement.text.lines().take(3).collect::<Vec<_>>().join("\n    "),
        sqlstate: refusal.code().code().into(),
        message,
    }
}
