//! Postgres: one connection per environment, opened on first use, checked before it is trusted, with a
//! time-out on everything.
//!
//! Statements are sent typed and unnamed, which is one round trip and safe behind a transaction-mode
//! pooler. A statement may reach the server twice if the connection breaks before its answer arrives, so
//! every statement in this project is written to be harmless the second time.

use crate::config::Env;
use crate::secrets::Secret;
use crate::{invocation, tls};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection idle for longer is checked first: a frozen environment does not notice a closed socket.
const TRUSTED_IDLE: SignedDuration = SignedDuration::from_secs(10);

/// The connection broke; a new one may well work at once.
const LOST: &str = "connection lost";

/// A parameter and its type.
pub type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// What went wrong, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not reachable, too slow, or shutting down. Try again.
    #[error("database unavailable: {0}")]
    Unavailable(&'static str),
    /// The server refused the statement; a rule of the schema or a defect of ours.
    #[error("database refused the statement: {code}, constraint {constraint:?}")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// The violated constraint, if one was.
        constraint: Option<String>,
    },
    /// A row that does not look as expected; a defect of ours.
    #[error("unexpected row: {0}")]
    Unexpected(&'static str),
}

/// A lazily opened connection.
pub struct Database {
    url: Secret,
    ca_pem: Option<String>,
    connection: Mutex<Option<Connection>>,
    /// Held by whoever is in a transaction: the connection is one, and nothing may come in between.
    exclusive: Mutex<()>,
    /// A transaction was dropped half way; its connection must not be used again.
    abandoned: AtomicBool,
}

struct Connection {
    client: Arc<Client>,
    used_at: Timestamp,
}

impl Database {
    /// Reads `DATABASE_URL` and, if the server's certificate needs it (Supabase), `DATABASE_CA_PEM`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (url, ca_pem) = (
            env.secret("DATABASE_URL"),
            env.or("DATABASE_CA_PEM", String::new()),
        );
        Some(Self::new(url?, ca_pem.filter(|pem| !pem.is_empty())))
    }

    fn new(url: Secret, ca_pem: Option<String>) -> Self {
        let (connection, exclusive) = (Mutex::new(None), Mutex::new(()));
        Self {
            url,
            ca_pem,
            connection,
            exclusive,
            abandoned: AtomicBool::new(false),
        }
    }

    /// A database at a known address; for tests and tools.
    pub fn at(url: &str) -> Self {
        Self::new(Secret::literal("DATABASE_URL", url.into()), None)
    }

    /// All rows of one statement; one round trip. A connection that turns out to be dead is replaced and
    /// the statement sent once more.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        invocation::phase("db_ms", Box::pin(self.query_with_retry(sql, params))).await
    }

    /// The first row of one statement, if there is one.
    pub async fn query_opt(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    async fn query_with_retry(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let client = self.client().await?;
        let result = run(&client, sql, params).await;
        let Err(DatabaseError::Unavailable(reason)) = result else {
            return result;
        };
        self.forget(&client).await;
        if reason == LOST {
            run(&*self.client().await?, sql, params).await
        } else {
            result
        }
    }

    /// Begins a transaction with its first statement, in one round trip. Nothing else is sent over the
    /// connection until it ends, so keep it short and never wait for anybody else in it.
    pub async fn begin(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<(Transaction<'_>, Vec<Row>), DatabaseError> {
        let exclusive = self.exclusive.lock().await;
        let client = self.client().await?;
        let transaction = Transaction {
            database: self,
            client,
            _exclusive: exclusive,
            is_open: true,
        };
        let both = futures::future::try_join(
            transaction.control("BEGIN"),
            run(&transaction.client, sql, params),
        );
        let ((), rows) = invocation::phase("db_ms", both).await?;
        Ok((transaction, rows))
    }

    async fn client(&self) -> Result<Arc<Client>, DatabaseError> {
        let mut connection = self.connection.lock().await;
        if self.abandoned.swap(false, Ordering::AcqRel) {
            *connection = None;
        }
        let now = Timestamp::now();
        if let Some(open) = connection.as_mut() {
            // The wall clock may jump after a freeze, also backwards; both count as idle.
            let is_fresh = now.duration_since(open.used_at).abs() < TRUSTED_IDLE;
            if !open.client.is_closed() && (is_fresh || answers(&open.client).await) {
                open.used_at = now;
                return Ok(Arc::clone(&open.client));
            }
        }
        *connection = None;
        let client = Arc::new(Box::pin(self.connect()).await?);
        *connection = Some(Connection {
            client: Arc::clone(&client),
            used_at: now,
        });
        Ok(client)
    }

    async fn forget(&self, client: &Arc<Client>) {
        let mut connection = self.connection.lock().await;
        if connection
            .as_ref()
            .is_some_and(|open| Arc::ptr_eq(&open.client, client))
        {
            *connection = None;
        }
    }

    async fn connect(&self) -> Result<Client, DatabaseError> {
        let url = self
            .url
            .get()
            .await
            .map_err(|_| DatabaseError::Unavailable("no address"))?;
        connect(url.expose_secret(), self.ca_pem.as_deref()).await
    }
}

/// A transaction under way. Dropped without [`Transaction::commit`] it is rolled back, by giving up the
/// connection.
pub struct Transaction<'a> {
    database: &'a Database,
    client: Arc<Client>,
    _exclusive: MutexGuard<'a, ()>,
    is_open: bool,
}

impl Transaction<'_> {
    /// A statement in between; one round trip.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        invocation::phase("db_ms", run(&self.client, sql, params)).await
    }

    /// Ends the transaction with its last statement, in one round trip.
    pub async fn commit(mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let both = futures::future::try_join(run(&self.client, sql, params), self.control("COMMIT"));
        let (rows, ()) = invocation::phase("db_ms", both).await?;
        self.is_open = false;
        Ok(rows)
    }

    async fn control(&self, sql: &str) -> Result<(), DatabaseError> {
        match timeout(STATEMENT_TIMEOUT, self.client.batch_execute(sql)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(DatabaseError::Unavailable("no answer in time")),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.database.abandoned.store(true, Ordering::Release);
        }
    }
}

/// Opens a connection: encrypted unless the address says `sslmode=disable`, trusting Mozilla's roots and
/// `ca_pem`.
pub async fn connect(url: &str, ca_pem: Option<&str>) -> Result<Client, DatabaseError> {
    let mut config: Config = url
        .parse()
        .map_err(|_| DatabaseError::Unavailable("malformed address"))?;
    config
        .application_name("firstbell")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    let connected = if config.get_ssl_mode() == SslMode::Disable {
        timeout(CONNECT_TIMEOUT, open(&config, NoTls)).await
    } else {
        let tls = tls::client_config(ca_pem)
            .map_err(|_| DatabaseError::Unavailable("unusable certificate authority"))?;
        timeout(CONNECT_TIMEOUT, open(&config, MakeRustlsConnect::new(tls))).await
    };
    let connected = connected.map_err(|_| DatabaseError::Unavailable("no connection in time"))?;
    connected.map_err(|_| DatabaseError::Unavailable("cannot connect"))
}

/// Connects, and lets the driver run beside the invocation; the only task that outlives one.
async fn open<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket> + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, driver) = config.connect(tls).await?;
    tokio::spawn(async move {
        // The error also reaches whoever waits for an answer.
        let _ = driver.await;
    });
    Ok(client)
}

async fn run(client: &Client, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
    match timeout(STATEMENT_TIMEOUT, client.query_typed(sql, params)).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(DatabaseError::Unavailable("no answer in time")),
    }
}

async fn answers(client: &Client) -> bool {
    matches!(
        timeout(CHECK_TIMEOUT, client.check_connection()).await,
        Ok(Ok(()))
    )
}

/// SQLSTATE classes that pass by themselves: connection trouble, resources, operator intervention (which
/// includes a statement that was cancelled for taking too long), serialization and lock trouble.
const TRANSIENT_CLASSES: [&str; 5] = ["08", "53", "57", "40", "55"];

/// The server's last words on a connection that it closes.
const SHUTDOWNS: [SqlState; 2] = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];

fn classify(error: &tokio_postgres::Error) -> DatabaseError {
    match error.as_db_error() {
        Some(refusal) if SHUTDOWNS.contains(refusal.code()) => DatabaseError::Unavailable(LOST),
        Some(refusal)
            if TRANSIENT_CLASSES
                .iter()
                .any(|class| refusal.code().code().starts_with(class)) =>
        {
            DatabaseError::Unavailable("the server cannot serve this now")
        }
        Some(refusal) => DatabaseError::Refused {
            code: refusal.code().code().to_owned(),
            constraint: refusal.constraint().map(ToOwned::to_owned),
        },
        None if error.is_closed() || is_broken_pipe(error) => DatabaseError::Unavailable(LOST),
        None => DatabaseError::Unexpected("the driver could not read or write a value"),
    }
}

fn is_broken_pipe(error: &tokio_postgres::Error) -> bool {
    error
        .source()
        .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// Reads a column, or says which statement is out of step with its table.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &'static str) -> Result<T, DatabaseError> {
    row.try_get(name).map_err(|_| DatabaseError::Unexpected(name))
}
