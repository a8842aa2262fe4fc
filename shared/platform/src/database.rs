//! Postgres: one connection per environment, opened on first use, checked before it is trusted, with a
//! time-out on everything.
//!
//! Callers take turns with the connection: nobody sends anything over it before the server has answered all
//! that was sent before. In transaction mode a pooler hands out its server connection from one moment at which
//! nothing is open to the next; some of them look no further than the first such moment, and lose or mix up
//! the answers of whoever sends more at once. Only the BEGIN and the COMMIT of a transaction travel together
//! with a statement. Between the two a transaction is open, so the pooler keeps the server connection.
//!
//! Statements are sent typed and unnamed, which is one round trip and leaves nothing behind on the server
//! connection. A statement may reach the server twice if the connection breaks before its answer arrives, so
//! every statement in this project is written to be harmless the second time.
//!
//! What a statement has written to the [`outbox`] is sent as soon as it is committed, by whoever commits it.

use crate::config::Env;
use crate::outbox::{self, Posted, Routes};
use crate::secrets::Secret;
use crate::{invocation, tls};
use futures::FutureExt;
use futures::future::try_join;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use std::error::Error as _;
use std::io;
use std::sync::Arc;
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
/// How long a caller waits for its turn: as long as somebody else's statement may take, and a little more.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is checked before it is used: an environment that was frozen does
/// not notice that its socket was closed.
const TRUSTED_IDLE: SignedDuration = SignedDuration::from_secs(10);

/// The connection broke while it was used. A new one may well work at once, so the statement is sent once
/// more.
const LOST: &str = "connection lost";
/// The server does not accept the user or the password; the password may have been changed.
const LOGIN_REFUSED: &str = "the server refused the login";

/// A parameter of a statement, and its type in Postgres.
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
        /// The SQLSTATE, five characters.
        code: String,
        /// The name of the violated constraint; `None` if none was violated.
        constraint: Option<String>,
    },
    /// A row that does not look as expected; a defect of ours.
    #[error("unexpected row: {0}")]
    Unexpected(&'static str),
}

/// The database, by one connection that is opened on first use.
pub struct Database {
    url: Secret,
    ca_pem: Option<String>,
    /// Whoever holds the lock has the connection for themselves. They take it out, and put it back only when
    /// the server has answered everything: after a failure, or when its caller is dropped half way, an answer
    /// may still be on its way, and the next caller opens a new one.
    connection: Mutex<Option<Connection>>,
    /// Where the messages go that statements write to the outbox.
    routes: Routes,
}

/// A connection on which no answer is outstanding.
struct Connection {
    client: Arc<Client>,
    used_at: Timestamp,
}

impl Connection {
    fn answered(client: Arc<Client>) -> Self {
        let used_at = Timestamp::now();
        Self { client, used_at }
    }

    async fn is_usable(&self) -> bool {
        // The wall clock may jump after a freeze, also backwards; both count as idle.
        let is_fresh = Timestamp::now().duration_since(self.used_at).abs() < TRUSTED_IDLE;
        !self.client.is_closed() && (is_fresh || answers(&self.client).await)
    }
}

impl Database {
    /// Reads `DATABASE_URL`, what [`Routes::from_env`] needs and, if the server's certificate needs it
    /// (Supabase), `DATABASE_CA_PEM`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (url, routes) = (env.secret("DATABASE_URL"), Routes::from_env(env));
        let ca_pem = env.or("DATABASE_CA_PEM", String::new());
        Some(Self {
            url: url?,
            ca_pem: ca_pem.filter(|pem| !pem.is_empty()),
            connection: Mutex::new(None),
            routes: routes?,
        })
    }

    /// A database at a known address, whose outbox is left to the sweeper; for tests and tools.
    pub fn at(url: &str) -> Self {
        Self {
            url: Secret::literal("DATABASE_URL", url.into()),
            ca_pem: None,
            connection: Mutex::new(None),
            routes: Routes::default(),
        }
    }

    /// Where the messages go that statements write to the outbox.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// All rows of one statement; one round trip. A connection that turns out to be dead is replaced and
    /// the statement sent once more. What the statement posted is sent before this returns.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let asked = async {
            match self.ask(sql, params).await {
                Err(DatabaseError::Unavailable(LOST)) => self.ask(sql, params).await,
                result => result,
            }
        };
        // Boxed, so that the futures of callers do not grow by what a connection needs.
        let rows = invocation::phase("db_ms", Box::pin(asked)).await?;

        self.routes.post(&outbox::posted(&rows)).await;
        Ok(rows)
    }

    /// The first row of one statement, if there is one.
    pub async fn query_opt(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Begins a transaction with its first statement, in one round trip, over a new connection if the one at
    /// hand turns out to be dead. All other callers wait until it ends, so keep it short, never wait for
    /// anybody else in it, and ask nothing beside it.
    pub async fn begin(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<(Transaction<'_>, Vec<Row>), DatabaseError> {
        let begun = async {
            match self.open(sql, params).await {
                Err(DatabaseError::Unavailable(LOST)) => self.open(sql, params).await,
                result => result,
            }
        };
        // Boxed for the same reason as in `query`.
        invocation::phase("db_ms", Box::pin(begun)).await
    }

    async fn ask(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let mut turn = self.turn().await?;
        let client = self.client(turn.take()).await?;

        let rows = run(&client, sql, params).await?;

        *turn = Some(Connection::answered(client));
        Ok(rows)
    }

    async fn open(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<(Transaction<'_>, Vec<Row>), DatabaseError> {
        let mut turn = self.turn().await?;
        let client = self.client(turn.take()).await?;
        let mut transaction = Transaction {
            turn,
            client,
            is_open: true,
            routes: &self.routes,
            posted: Vec::new(),
        };

        // Both are sent before either is answered, which makes it one round trip.
        let both = try_join(
            control(&transaction.client, "BEGIN"),
            run(&transaction.client, sql, params),
        );
        let ((), rows) = both.await?;
        transaction.posted.extend(outbox::posted(&rows));
        Ok((transaction, rows))
    }

    async fn turn(&self) -> Result<MutexGuard<'_, Option<Connection>>, DatabaseError> {
        let turn = timeout(TURN_TIMEOUT, self.connection.lock()).await;
        turn.map_err(|_| DatabaseError::Unavailable("the connection was in use for too long"))
    }

    /// The connection that was kept, if it still works, or a new one.
    async fn client(&self, kept: Option<Connection>) -> Result<Arc<Client>, DatabaseError> {
        if let Some(connection) = kept
            && connection.is_usable().await
        {
            return Ok(connection.client);
        }
        // Boxed: a connection is rarely opened, and what it needs would be part of every query's future.
        Box::pin(self.connect()).await.map(Arc::new)
    }

    /// Connects. The password may have been changed since the address was fetched, so after a refused login
    /// it is fetched again, and tried if it is another one.
    async fn connect(&self) -> Result<Client, DatabaseError> {
        let url = self.url().await?;
        let connected = connect(url.expose_secret(), self.ca_pem.as_deref()).await;
        if !matches!(connected, Err(DatabaseError::Unavailable(LOGIN_REFUSED))) {
            return connected;
        }

        self.url.forget().await;
        let renewed = self.url().await?;
        if renewed.expose_secret() == url.expose_secret() {
            return connected;
        }
        connect(renewed.expose_secret(), self.ca_pem.as_deref()).await
    }

    async fn url(&self) -> Result<SecretString, DatabaseError> {
        let url = self.url.get().await;
        url.map_err(|_| DatabaseError::Unavailable("no address"))
    }
}

/// A transaction under way. Dropped without [`Transaction::commit`] it is rolled back, and its connection is
/// given up.
pub struct Transaction<'a> {
    turn: MutexGuard<'a, Option<Connection>>,
    client: Arc<Client>,
    is_open: bool,
    routes: &'a Routes,
    /// What was written to the outbox so far. It is sent once it is committed, and never before.
    posted: Vec<Posted>,
}

impl Transaction<'_> {
    /// Runs a statement within the transaction; one round trip.
    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let rows = invocation::phase("db_ms", run(&self.client, sql, params)).await?;
        self.posted.extend(outbox::posted(&rows));
        Ok(rows)
    }

    /// Ends the transaction with its last statement, in one round trip, gives the connection to the next
    /// caller, and sends what the transaction posted.
    pub async fn commit(mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let both = try_join(run(&self.client, sql, params), control(&self.client, "COMMIT"));
        let (rows, ()) = invocation::phase("db_ms", both).await?;

        self.is_open = false;
        *self.turn = Some(Connection::answered(Arc::clone(&self.client)));
        let (routes, mut posted) = (self.routes, std::mem::take(&mut self.posted));
        drop(self);

        posted.extend(outbox::posted(&rows));
        routes.post(&posted).await;
        Ok(rows)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Handed to the driver, which sends it and closes the connection: a pooler gets its server
            // connection back without a transaction on it.
            let _ = self.client.batch_execute("ROLLBACK").now_or_never();
        }
    }
}

/// Opens a connection, trusting Mozilla's roots and `ca_pem`. It is encrypted and the server's certificate and
/// name are verified, whatever the address says about `sslmode` but `disable`.
pub async fn connect(url: &str, ca_pem: Option<&str>) -> Result<Client, DatabaseError> {
    let mut config = configure(url)?;
    config
        .application_name("firstbell")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));

    let connected = if config.get_ssl_mode() == SslMode::Disable {
        timeout(CONNECT_TIMEOUT, open(&config, NoTls)).await
    } else {
        let tls = tls::client_config(ca_pem).map_err(|error| {
            tracing::error!(%error, "the certificate authority cannot be used");
            DatabaseError::Unavailable("the certificate authority cannot be used")
        })?;
        timeout(CONNECT_TIMEOUT, open(&config, MakeRustlsConnect::new(tls))).await
    };

    let connected = connected.map_err(|_| DatabaseError::Unavailable("no connection in time"))?;
    connected.map_err(|error| DatabaseError::Unavailable(why_not(&error)))
}

/// The address as the driver reads it. The driver has no mode that verifies certificates: that is the
/// business of the TLS library, and ours always does. Left to itself, the driver would go on in clear text
/// when the server, or somebody on the way, says that there is no TLS.
fn configure(url: &str) -> Result<Config, DatabaseError> {
    let url = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut config: Config = url
        .parse()
        .map_err(|_| DatabaseError::Unavailable("malformed address"))?;

    if config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(SslMode::Require);
    }
    Ok(config)
}

/// Why there is no connection, in words that name neither the server nor the user.
fn why_not(error: &tokio_postgres::Error) -> &'static str {
    if let Some(refusal) = error.as_db_error() {
        return why_refused(refusal.code());
    }

    let Some(source) = error.source() else {
        return "the server closed the connection";
    };

    match source.downcast_ref::<io::Error>() {
        Some(error) if error.get_ref().is_some_and(is_untrusted) => "the server's certificate is not trusted",
        Some(error)
            if error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) =>
        {
            "TLS could not be agreed on"
        }
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => "no server listens at the address",
        Some(_) => "no route to the server",
        None if source.to_string().contains("does not support TLS") => "the server offers no TLS",
        None => "cannot connect",
    }
}

fn is_untrusted(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<rustls::Error>();
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

fn why_refused(code: &SqlState) -> &'static str {
    // PgBouncer's answer to a wrong password is a protocol violation.
    match code.code() {
        "08P01" => LOGIN_REFUSED,
        code if code.starts_with("28") => LOGIN_REFUSED,
        code if code.starts_with("3D") => "there is no such database",
        code if code.starts_with("53") => "the server has too many connections",
        code if code.starts_with("57") => "the server is starting or shutting down",
        _ => "the server refused the connection",
    }
}

/// Connects, and lets the driver run in a task of its own, the only one that outlives an invocation.
async fn open<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket> + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, driver) = config.connect(tls).await?;
    tokio::spawn(async move {
        // The error need not be looked at here: whoever waits for an answer gets it, too.
        let _ = driver.await;
    });
    Ok(client)
}

async fn control(client: &Client, sql: &str) -> Result<(), DatabaseError> {
    match timeout(STATEMENT_TIMEOUT, client.batch_execute(sql)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(DatabaseError::Unavailable("no answer in time")),
    }
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

/// What the server says last on a connection that it closes. The next connection may work.
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

/// Reads a column. An error names the column, so that it shows which statement is out of step with its table.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &'static str) -> Result<T, DatabaseError> {
    row.try_get(name).map_err(|_| DatabaseError::Unexpected(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_encrypted_unless_it_says_otherwise() {
        for (said, mode) in [
            ("", SslMode::Require),
            ("?sslmode=prefer", SslMode::Require),
            ("?sslmode=require", SslMode::Require),
            ("?sslmode=verify-ca", SslMode::Require),
            ("?sslmode=verify-full&application_name=x", SslMode::Require),
            ("?sslmode=disable", SslMode::Disable),
        ] {
            let config = configure(&format!("postgres://a:b@c/d{said}")).unwrap();
            assert_eq!(config.get_ssl_mode(), mode, "{said}");
        }

        let config = configure("host=c user=a sslmode=verify-full").unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
    }
}
