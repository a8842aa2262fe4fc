//! Behind poolers in transaction mode, which lend a server connection from one moment at which no transaction is open to
//! the next: `PgBouncer` itself, and Supavisor as its wire shows it, played by a proxy. Whoever takes turns with the
//! connection notices nothing. Whoever does not is harmed, which is shown first.

use crate::harness::{Aws, migrated_database, owner_url, record, service_url, variable};
use aws_lambda_events::sqs::SqsEvent;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use platform::batch::{BatchPolicy, Job, JobError, consume};
use platform::config::Env;
use platform::database::{Database, DatabaseError};
use platform::invocation::Invocation;
use platform::queue::{Envelope, Queue};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use stories::cast::owner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Nothing here takes nearly as long: whatever does, hangs.
const PATIENCE: Duration = Duration::from_secs(20);

// PgBouncer ---------------------------------------------------------------------------------------------------

/// `PgBouncer` in front of one database.
struct Bouncer {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Bouncer {
    /// In front of `database`, with this password for the functions' role.
    async fn start(database: &str, password: &str) -> Self {
        let port = free_port().await;
        let folder = std::env::temp_dir().join(format!("pgbouncer-{database}"));
        std::fs::create_dir_all(&folder).unwrap();

        let server: url::Url = service_url(database).parse().unwrap();
        let settings = format!(
            "[databases]\n{database} = host=127.0.0.1 port={} dbname={database}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1\n",
            server.port().unwrap(),
            folder.join("users").display(),
        );
        std::fs::write(folder.join("pgbouncer.ini"), settings).unwrap();
        let process = run(&folder, password);

        let bouncer = Self {
            folder,
            port,
            process,
        };
        bouncer.wait().await;
        bouncer
    }

    /// The same one, started again with another password.
    async fn restart(&mut self, password: &str) {
        self.process.kill().await.unwrap();
        self.process = run(&self.folder, password);
        self.wait().await;
    }

    async fn wait(&self) {
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("PgBouncer does not listen");
    }

    fn url(&self, database: &str, password: &str) -> String {
        let login = format!("firstbell_service:{password}");
        format!(
            "postgres://{login}@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }
}

fn run(folder: &Path, password: &str) -> Child {
    let users = format!("\"firstbell_service\" \"{password}\"\n");
    std::fs::write(folder.join("users"), users).unwrap();

    let mut command = Command::new(variable("PGBOUNCER"));
    // It refuses to run as root.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.args(["-u", "nobody"]);
    }
    command
        .arg(folder.join("pgbouncer.ini"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
    probe.local_addr().unwrap().port()
}

// Supavisor -----------------------------------------------------------------------------------------------------

/// When a server connection is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenBack {
    /// When everything was answered and no transaction is open.
    AfterTheLastAnswer,
    /// At the first answer after which no transaction is open, whatever else is on its way
    /// (github.com/supabase/supavisor/issues/1061).
    AfterTheFirstAnswer,
}

/// A proxy that lends its server connections as Supavisor does in transaction mode, in turns, so that no client gets
/// the same one twice running. It believes whoever connects.
struct Supavisor {
    server: SocketAddr,
    database: String,
    given_back: GivenBack,
    free: Mutex<VecDeque<Wire>>,
}

impl Supavisor {
    /// In front of `database`; returns the address to use.
    async fn start(database: &str, given_back: GivenBack) -> String {
        let url: url::Url = service_url(database).parse().unwrap();
        let supavisor = Arc::new(Self {
            server: SocketAddr::from(([127, 0, 0, 1], url.port().unwrap())),
            database: database.to_owned(),
            given_back,
            free: Mutex::default(),
        });
        for _ in 0..3 {
            let server = supavisor.connect().await.unwrap();
            supavisor.free.lock().await.push_back(server);
        }

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&supavisor).serve(Wire::over(client)));
            }
        });
        format!("postgres://firstbell_service@{address}/{database}?sslmode=disable")
    }

    /// A server connection that is ready for a query.
    async fn connect(&self) -> io::Result<Wire> {
        let mut server = Wire::over(TcpStream::connect(self.server).await?);
        let wanted = format!(
            "user\0firstbell_service\0database\0{}\0client_encoding\0UTF8\0\0",
            self.database
        );
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        startup.extend_from_slice(wanted.as_bytes());
        server.send(&framed(None, &startup)).await?;

        while !server.receive().await?.starts_with(b"Z") {}
        Ok(server)
    }

    async fn lend(&self) -> io::Result<Wire> {
        let free = self.free.lock().await.pop_front();
        match free {
            Some(server) => Ok(server),
            None => self.connect().await,
        }
    }

    /// Serves one client until it leaves. Whatever server connection it has then is closed.
    async fn serve(self: Arc<Self>, mut client: Wire) -> io::Result<()> {
        client.welcome().await?;
        let (mut lent, mut unanswered) = (None::<Wire>, 0_usize);
        loop {
            while let Some(message) = client.next() {
                if message.starts_with(b"X") {
                    return Ok(());
                }
                if lent.is_none() {
                    lent = Some(self.lend().await?);
                }
                // Each simple query and each Sync is answered by one ReadyForQuery.
                unanswered += usize::from(matches!(message[0], b'Q' | b'S'));
                lent.as_mut().unwrap().send(&message).await?;
            }

            while let Some(answer) = lent.as_mut().and_then(Wire::next) {
                client.send(&answer).await?;
                if answer[0] != b'Z' {
                    continue;
                }
                unanswered = unanswered.saturating_sub(1);
                let is_enough = unanswered == 0 || self.given_back == GivenBack::AfterTheFirstAnswer;
                if answer.ends_with(b"I") && is_enough {
                    // With whatever else it still has to say.
                    self.free.lock().await.extend(lent.take());
                    unanswered = 0;
                }
            }

            match lent.as_mut() {
                Some(server) => tokio::select! {
                    heard = client.listen() => heard?,
                    heard = server.listen() => heard?,
                },
                None => client.listen().await?,
            }
        }
    }
}

/// One end of a connection, message by message.
struct Wire {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Wire {
    fn over(stream: TcpStream) -> Self {
        let heard = Vec::new();
        Self { stream, heard }
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await
    }

    /// Waits for more to be heard; an error when the other side has left.
    async fn listen(&mut self) -> io::Result<()> {
        let length = self.stream.read_buf(&mut self.heard).await?;
        if length > 0 {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// The next message that was heard as a whole: a letter, its length without the letter, and the rest.
    fn next(&mut self) -> Option<Vec<u8>> {
        let length: [u8; 4] = self.heard.get(1..5)?.try_into().unwrap();
        let end = 1 + u32::from_be_bytes(length) as usize;
        (self.heard.len() >= end).then(|| self.heard.drain(..end).collect())
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.next() {
                return Ok(message);
            }
            self.listen().await?;
        }
    }

    /// Takes a client's first message, the only one without a letter, and tells it to go ahead.
    async fn welcome(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.stream.read_exact(&mut startup).await?;

        let mut welcome = framed(Some(b'R'), &[0; 4]);
        welcome.extend(framed(Some(b'K'), &[0; 8]));
        welcome.extend(framed(Some(b'Z'), b"I"));
        self.send(&welcome).await
    }
}

fn framed(letter: Option<u8>, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap();
    let mut message = Vec::from_iter(letter);
    message.extend(length.to_be_bytes());
    message.extend(content);
    message
}

// The poolers ---------------------------------------------------------------------------------------------------

/// A new database behind each pooler: the pooler's name, the database's, the address, and what must stay alive.
async fn poolers() -> Vec<(String, String, String, Option<Bouncer>)> {
    let mut poolers = Vec::new();

    let name = migrated_database().await;
    let bouncer = Bouncer::start(&name, "any").await;
    let url = bouncer.url(&name, "any");
    poolers.push(("PgBouncer".to_owned(), name, url, Some(bouncer)));

    for given_back in [GivenBack::AfterTheLastAnswer, GivenBack::AfterTheFirstAnswer] {
        let name = migrated_database().await;
        let url = Supavisor::start(&name, given_back).await;
        poolers.push((format!("Supavisor, given back {given_back:?}"), name, url, None));
    }
    poolers
}

#[tokio::test]
async fn whoever_sends_a_second_statement_before_the_first_is_answered_is_harmed() {
    let name = migrated_database().await;
    let url = Supavisor::start(&name, GivenBack::AfterTheFirstAnswer).await;
    let (client, driver) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(driver);

    let ask = async |n: i32| {
        let sql = "SELECT $1, pg_sleep(0.02)::text";
        let rows = client.query_typed(sql, &[(&n, Type::INT4)]).await?;
        Ok::<i32, tokio_postgres::Error>(rows[0].get(0))
    };
    let answers = timeout(Duration::from_secs(2), join_all([ask(1), ask(2), ask(3)])).await;

    let went_well = answers.is_ok_and(|answers| {
        let answers = answers.into_iter().filter_map(Result::ok);
        answers.collect::<Vec<_>>() == [1, 2, 3]
    });
    assert!(!went_well, "this pooler is kinder than the one it plays");
}

/// What a lane does: a statement alone, or a transaction of three.
async fn lane(database: &Database, n: i32) -> Result<[i32; 3], DatabaseError> {
    let sql = "SELECT $1, pg_sleep(0.002)::text";
    let number = |rows: Vec<tokio_postgres::Row>| rows[0].get(0);

    let first = number(database.query(sql, &[(&n, Type::INT4)]).await?);
    let (mut transaction, rows) = database.begin(sql, &[(&(n + 1), Type::INT4)]).await?;
    let second = number(rows);
    let same = "SELECT $1, pg_current_xact_id()::text";
    transaction.query(same, &[(&n, Type::INT4)]).await?;
    let third = number(transaction.commit(sql, &[(&(n + 2), Type::INT4)]).await?);
    Ok([first, second, third])
}

#[tokio::test]
async fn many_lanes_share_a_connection_and_every_answer_belongs_to_its_question() {
    for (pooler, _, url, _alive) in poolers().await {
        let database = Database::at(&url);

        let lanes = join_all((0..20).map(|n| lane(&database, 10 * n)));
        let answers = timeout(PATIENCE, lanes).await;

        let answers = answers.unwrap_or_else(|_| panic!("{pooler}: somebody waits for ever"));
        for (n, answer) in (0..).zip(answers) {
            assert_eq!(answer.unwrap(), [10 * n, 10 * n + 1, 10 * n + 2], "{pooler}");
        }
    }
}

#[tokio::test]
async fn what_was_given_up_half_way_answers_nobody_else() {
    for (pooler, _, url, _alive) in poolers().await {
        let database = Database::at(&url);
        let ask = async |n: i32| {
            let rows = database.query("SELECT $1", &[(&n, Type::INT4)]).await.unwrap();
            rows[0].get::<_, i32>(0)
        };
        assert_eq!(ask(1).await, 1, "{pooler}");

        let slow = database.query("SELECT 2, pg_sleep(1)::text", &[]);
        assert!(timeout(Duration::from_millis(100), slow).await.is_err());
        assert_eq!(
            ask(3).await,
            3,
            "{pooler}: after a statement that nobody waited for"
        );

        let refused = database.query("SELECT 1 / $1", &[(&0, Type::INT4)]).await;
        assert!(
            matches!(refused, Err(DatabaseError::Refused { .. })),
            "{refused:?}"
        );
        assert_eq!(ask(4).await, 4, "{pooler}: after a statement that was refused");

        drop(database.begin("SELECT 5", &[]).await.unwrap());
        assert_eq!(ask(6).await, 6, "{pooler}: after a transaction that was given up");
    }
}

#[tokio::test]
async fn what_was_given_up_leaves_no_transaction_behind() {
    for (pooler, name, url, _alive) in poolers().await {
        let (database, owner) = (Database::at(&url), owner(&owner_url(&name)).await);

        for _ in 0..5 {
            drop(
                database
                    .begin("SELECT pg_current_xact_id()::text", &[])
                    .await
                    .unwrap(),
            );
            database.query("SELECT 1", &[]).await.unwrap();
        }

        let open =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename = 'firstbell_service'
                    AND state LIKE 'idle in transaction%'";
        let mut still_open = i64::MAX;
        for _ in 0..40 {
            still_open = owner.query_one(open, &[&name]).await.unwrap().get(0);
            if still_open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(still_open, 0, "{pooler}");
    }
}

// A batch ---------------------------------------------------------------------------------------------------------

/// Two kinds of records, as `apply-classroom-event` has them: one enters something in a transaction and finds that it matches
/// nothing, the other writes by one statement.
struct Apply {
    database: Database,
    held: Uuid,
}

impl Job for &Apply {
    type Message = Envelope<String>;

    async fn run(&self, message: Envelope<String>) -> Result<(), JobError> {
        if message.payload == "enter" {
            let enter = "UPDATE outbox SET attempts = attempts + 1 WHERE id = $1 RETURNING id";
            let (transaction, _) = self.database.begin(enter, &[(&self.held, Type::UUID)]).await?;
            drop(transaction);
            return Err(JobError::Transient("matches nothing yet"));
        }
        let insert =
            "INSERT INTO outbox (id, queue, envelope, due_at) VALUES ($1, 'gone', '{}', now()) RETURNING id";
        self.database.query(insert, &[(&message.id, Type::UUID)]).await?;
        Ok(())
    }
}

fn message(n: u8, payload: &str) -> Value {
    let body = json!({
        "v": 1, "type": "order", "id": format!("018f2f6e-0000-7000-8000-00000000000{n}"),
        "occurred_at": "2026-03-01T13:00:00Z", "correlation_id": "story", "causation_id": null,
        "payload": payload,
    });
    let arn = "arn:aws:sqs:us-east-1:000000000000:orders";
    record(payload, &body.to_string(), "receipt", arn)
}

/// Both records at a time, while somebody holds the row that the first one wants: until it is seen to wait for it.
async fn work_behind_a_held_row(name: &str, url: &str) -> Vec<String> {
    let (owner, watch) = (owner(&owner_url(name)).await, owner(&owner_url(name)).await);
    let (aws, held) = (Aws::connect().await, Uuid::new_v4());
    let insert = "INSERT INTO outbox (id, queue, envelope, due_at) VALUES ($1, 'gone', '{}', now())";
    owner.execute(insert, &[&held]).await.unwrap();
    let take = format!("BEGIN; SELECT FROM outbox WHERE id = '{held}' FOR UPDATE");
    owner.batch_execute(&take).await.unwrap();

    let release = async {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                       WHERE NOT l.granted AND a.datname = $1";
        while watch.query_one(waiting, &[&name]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        owner.batch_execute("ROLLBACK").await.unwrap();
    };
    let apply = Apply {
        database: Database::at(url),
        held,
    };
    let policy = BatchPolicy {
        concurrency: 2,
        worst_case: Duration::from_secs(5),
        quarantine: Queue::at(aws.queue("dead").await),
    };
    let records = json!({ "Records": [message(1, "enter"), message(2, "apply")] });
    let event: SqsEvent = serde_json::from_value(records).unwrap();
    let deadline = (Timestamp::now() + SignedDuration::from_secs(60)).as_millisecond();
    let invocation = Invocation::begin("story", "request-1", u64::try_from(deadline).unwrap());

    let job = &apply;
    let both = futures::future::join(consume(&invocation, event, &policy, &job), release);
    let (answer, ()) = timeout(PATIENCE, both).await.expect("nobody waits for ever");
    let failures = answer.unwrap().batch_item_failures.into_iter();
    failures.map(|failure| failure.item_identifier).collect()
}

/// With statements sent as they come, the second record's would run inside the first one's transaction, be answered,
/// count as done, and be rolled back with it.
#[tokio::test]
async fn a_record_that_is_done_stays_done_although_the_one_beside_it_is_rolled_back() {
    let mut places: Vec<_> = poolers().await;
    let direct = migrated_database().await;
    let url = service_url(&direct);
    places.push(("no pooler".to_owned(), direct, url, None));

    for (pooler, name, url, _alive) in places {
        let failed = work_behind_a_held_row(&name, &url).await;

        assert_eq!(failed, ["enter"], "{pooler}");
        let written = "SELECT count(*) FROM outbox WHERE id = '018f2f6e-0000-7000-8000-000000000002'";
        let entered = "SELECT count(*) FROM outbox WHERE attempts > 0";
        let owner = owner(&owner_url(&name)).await;
        let count = async |sql: &str| owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(
            count(written).await,
            1,
            "{pooler}: reported as done, and not there"
        );
        assert_eq!(count(entered).await, 0, "{pooler}: entered, and not recorded");
    }
}

// Passwords -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_new_password_is_fetched_when_the_old_one_is_refused() {
    let name = migrated_database().await;
    let mut bouncer = Bouncer::start(&name, "the-old-one").await;
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let ssm = aws_sdk_ssm::Client::new(&config);
    let parameter = format!("/firstbell/{name}/database-url");
    let store = async |url: String| {
        let put = ssm.put_parameter().name(&parameter).value(url).overwrite(true);
        let put = put.r#type(aws_sdk_ssm::types::ParameterType::SecureString);
        put.send().await.unwrap();
    };
    store(bouncer.url(&name, "the-old-one")).await;
    let lookup = parameter.clone();
    let mut env =
        Env::from_lookup(move |variable| (variable == "DATABASE_URL_PARAMETER").then(|| lookup.clone()));
    let database = Database::from_env(&mut env).unwrap();
    assert!(database.query("SELECT 1", &[]).await.is_ok());

    bouncer.restart("the-new-one").await;
    let refused = database.query("SELECT 1", &[]).await.unwrap_err().to_string();
    assert!(refused.contains("refused the login"), "{refused}");

    store(bouncer.url(&name, "the-new-one")).await;
    let answer = database.query("SELECT 1", &[]).await;
    assert!(answer.is_ok(), "{answer:?}");
}
