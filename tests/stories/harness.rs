//! The harness: a world per story (its own database, vendors, queues, bucket and clock), and the function
//! binaries themselves, run against a simulated Runtime API.

use crate::contract;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use jiff::{SignedDuration, Timestamp};
use lambda_simulator::{InvocationStatus, Simulator};
use migrations::Target;
use serde_json::{Value, json};
use simulators::fapshi::{Fapshi, Service};
use simulators::identity::{AUDIENCE, Identity};
use simulators::lessonspace::{Lessonspace, Webhook};
use simulators::mailbox::Letter;
use simulators::stripe::Stripe;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stories::cast::{Cast, Lesson, owner};
use stories::stack::root;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use url::Url;
use uuid::Uuid;

pub(crate) const API_KEY: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const WEBHOOK_SECRET: &str = "the-secret-of-the-webhook-urls";
pub(crate) const LEGACY_SECRET: &str = "a-legacy-token-secret-of-supabase";
pub(crate) const CRON_SECRET: &str = "the-secret-of-the-platforms-cron";
pub(crate) const STRIPE_KEY: &str = "sk_test_of-the-stories";
pub(crate) const STRIPE_WEBHOOK_SECRET: &str = "whsec_of-the-stories";
pub(crate) const FAPSHI_KEY: &str = "FAK_TEST_of-the-stories";
pub(crate) const FAPSHI_PAYOUT_KEY: &str = "FAK_TEST_of-the-payouts";
pub(crate) const FAPSHI_WEBHOOK_SECRET: &str = "a-secret-agreed-with-fapshi";
const TEMPLATE: &str = "stories_template";

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the stories by `make test`"))
}

// Postgres ---------------------------------------------------------------------------------------------

/// The address of `database` in the stories' cluster, for the story's own hands: a superuser.
pub(crate) fn owner_url(database: &str) -> String {
    variable("TEST_DATABASE_URL").replace("/postgres?", &format!("/{database}?"))
}

/// The same, as the platform's owner, who is no superuser: whoever runs `migrate`.
pub(crate) fn platform_url(database: &str) -> String {
    owner_url(database).replace("postgres@", "platform_owner@")
}

/// The same, as the role that the functions have.
pub(crate) fn service_url(database: &str) -> String {
    owner_url(database).replace("postgres@", "firstbell_service:any@")
}

/// Held while a database is migrated: roles belong to the whole cluster, and two databases must not make them at
/// the same time.
pub(crate) static MIGRATING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A new database as Supabase gives it to a project, with nothing of the project in it. Held with [`MIGRATING`], since
/// it makes roles.
pub(crate) async fn supabase_database(name: &str) {
    let admin = owner(&owner_url("postgres")).await;
    let create = format!("CREATE DATABASE {name}");
    admin.batch_execute(&create).await.unwrap();

    let superuser = owner(&owner_url(name)).await;
    let brings = include_str!("../platforms/supabase.sql");
    superuser.batch_execute(brings).await.unwrap();
}

/// A name for a database that nobody else has.
pub(crate) fn new_name() -> String {
    format!("story_{}", Uuid::new_v4().simple())
}

/// Where `migrate` runs, as the platform's owner.
pub(crate) fn target<'a>(url: &'a str, platform: Option<(&'a str, &'a str)>) -> Target<'a> {
    Target {
        url,
        ca_pem: None,
        platform,
        patience: Duration::from_millis(200),
    }
}

/// A new database with the schema, cloned from one that was migrated once.
pub(crate) async fn migrated_database() -> String {
    static READY: OnceCell<()> = OnceCell::const_new();
    static CLONING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let admin = owner(&owner_url("postgres")).await;
    READY
        .get_or_init(|| async {
            let _alone = MIGRATING.lock().await;
            supabase_database(TEMPLATE).await;
            let url = platform_url(TEMPLATE);
            migrations::migrate(target(&url, None)).await.unwrap();
        })
        .await;
    let name = new_name();
    let _one_at_a_time = CLONING.lock().await;
    admin
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
        .await
        .unwrap();
    name
}

// SQS and S3 -------------------------------------------------------------------------------------------

/// `MiniStack`, spoken to as AWS.
pub(crate) struct Aws {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3: aws_sdk_s3::Client,
}

impl Aws {
    pub(crate) async fn connect() -> Self {
        // Without it the client would look for the real AWS.
        variable("AWS_ENDPOINT_URL");
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build();
        Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
        }
    }

    pub(crate) async fn queue(&self, purpose: &str) -> String {
        let name = format!("{purpose}-{}", Uuid::new_v4().simple());
        self.sqs
            .create_queue()
            .queue_name(name)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap()
    }

    pub(crate) async fn bucket(&self) -> String {
        let name = format!("artifacts-{}", Uuid::new_v4().simple());
        self.s3.create_bucket().bucket(&name).send().await.unwrap();
        name
    }

    /// Takes everything that is in the queue now.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<aws_sdk_sqs::types::Message> {
        let mut all = Vec::new();
        loop {
            let request = self
                .sqs
                .receive_message()
                .queue_url(queue)
                .max_number_of_messages(10);
            let some = request
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .send()
                .await
                .unwrap()
                .messages
                .unwrap_or_default();
            if some.is_empty() {
                return all;
            }
            for message in &some {
                let receipt = message.receipt_handle.as_deref().unwrap();
                self.sqs
                    .delete_message()
                    .queue_url(queue)
                    .receipt_handle(receipt)
                    .send()
                    .await
                    .unwrap();
            }
            all.extend(some);
        }
    }

    pub(crate) async fn arn(&self, queue: &str) -> String {
        let request = self.sqs.get_queue_attributes().queue_url(queue);
        let answer = request
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .unwrap();
        answer.attributes.unwrap()[&QueueAttributeName::QueueArn].clone()
    }
}

// A world ----------------------------------------------------------------------------------------------

/// Everything that a story happens in.
pub(crate) struct World {
    pub(crate) owner: Client,
    pub(crate) cast: Cast,
    pub(crate) identity: Identity,
    pub(crate) lessonspace: Lessonspace,
    pub(crate) stripe: Stripe,
    pub(crate) fapshi: Fapshi,
    pub(crate) aws: Aws,
    pub(crate) events: String,
    pub(crate) payments: String,
    pub(crate) refunds: String,
    pub(crate) dead_letters: String,
    pub(crate) artifacts: String,
    clock: PathBuf,
    pub(crate) environment: HashMap<String, String>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = migrated_database().await;
        let cast = Cast::arrive(&owner(&owner_url(&database)).await).await;
        Self::around(&database, cast).await
    }

    /// One in which presence decides.
    pub(crate) async fn proving() -> Self {
        let mut world = Self::new().await;
        world.environment.insert("ATTENDANCE".into(), "proven".into());
        world
    }

    /// Everything around a database that has the schema and these people.
    pub(crate) async fn around(database: &str, cast: Cast) -> Self {
        let owner = owner(&owner_url(database)).await;
        let aws = Aws::connect().await;
        let (events, dead_letters) = (aws.queue("events").await, aws.queue("dead").await);
        let (payments, refunds) = (aws.queue("payments").await, aws.queue("refunds").await);
        let artifacts = aws.bucket().await;
        let clock = std::env::temp_dir().join(format!("clock-{database}"));
        std::fs::write(&clock, "0").unwrap();
        let story_clock = platform::clock::Clock::shifted_by(clock.clone());
        // The issuer's name need not be its address.
        let identity = Identity::new("https://issuer.story/auth/v1", story_clock.clone());
        let issuer = simulators::serve(identity.router()).await.unwrap();
        // The vendor's links name its address, which is known only once it is served: so it gets a fixed
        // name, which the stories never open.
        let lessonspace = Lessonspace::new("http://vendor.story/", API_KEY);
        let vendor = simulators::serve(lessonspace.router()).await.unwrap();
        let stripe = Stripe::new(
            "http://cards.story/",
            STRIPE_KEY,
            STRIPE_WEBHOOK_SECRET,
            story_clock,
        );
        let cards = simulators::serve(stripe.router()).await.unwrap();
        let service = |user: &str, key: &str| Service {
            user: user.into(),
            key: key.into(),
        };
        let fapshi = Fapshi::new(
            "http://momo.story/",
            service("collections", FAPSHI_KEY),
            service("payouts", FAPSHI_PAYOUT_KEY),
            FAPSHI_WEBHOOK_SECRET,
        );
        let momo = simulators::serve(fapshi.router()).await.unwrap();
        let settings = [
            ("STRIPE_API_URL", format!("http://{cards}/")),
            ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
            ("STRIPE_WEBHOOK_SECRET", STRIPE_WEBHOOK_SECRET.to_owned()),
            ("FAPSHI_API_URL", format!("http://{momo}/")),
            ("FAPSHI_API_USER", "collections".to_owned()),
            ("FAPSHI_API_KEY", FAPSHI_KEY.to_owned()),
            ("FAPSHI_PAYOUT_USER", "payouts".to_owned()),
            ("FAPSHI_PAYOUT_KEY", FAPSHI_PAYOUT_KEY.to_owned()),
            ("FAPSHI_WEBHOOK_SECRET", FAPSHI_WEBHOOK_SECRET.to_owned()),
            (
                "PAYMENT_METHODS",
                "card,card_on_file,mobile_money_link,mobile_money".to_owned(),
            ),
            ("PAYMENT_RETURN_URL", "https://app.story/paid".to_owned()),
            ("PAYMENTS_QUEUE_URL", payments.clone()),
            ("REFUNDS_QUEUE_URL", refunds.clone()),
            ("DATABASE_URL", service_url(database)),
            ("JWT_ISSUER", identity.issuer().to_owned()),
            ("JWT_AUDIENCE", AUDIENCE.to_owned()),
            ("JWT_LEGACY_SECRET", LEGACY_SECRET.to_owned()),
            ("JWKS_URL", format!("http://{issuer}/.well-known/jwks.json")),
            ("LESSONSPACE_API_URL", format!("http://{vendor}/v2/")),
            ("LESSONSPACE_ORGANISATION", "20001".to_owned()),
            ("LESSONSPACE_API_KEY", API_KEY.to_owned()),
            ("LESSONSPACE_SECRET", WEBHOOK_SECRET.to_owned()),
            ("CRON_SECRET", CRON_SECRET.to_owned()),
            ("PUBLIC_BASE_URL", "https://api.story/".to_owned()),
            ("PROVIDER_EVENTS_QUEUE_URL", events.clone()),
            ("DEAD_LETTER_QUEUE_URL", dead_letters.clone()),
            ("ARTIFACTS_BUCKET", artifacts.clone()),
            ("CLOCK_OFFSET_FILE", clock.display().to_string()),
            // Most stories are not about presence, and play nobody's: they take the seed's letter, by which everybody is
            // assumed to have come. Those that are about it say `proven`.
            ("ATTENDANCE", "assumed".to_owned()),
        ];
        let environment = settings.map(|(name, value)| (name.to_owned(), value)).into();
        Self {
            owner,
            cast,
            identity,
            lessonspace,
            stripe,
            fapshi,
            aws,
            events,
            payments,
            refunds,
            dead_letters,
            artifacts,
            clock,
            environment,
        }
    }

    /// A confirmed hour for the student that starts in so many minutes.
    pub(crate) async fn lesson_in(&self, minutes: i64) -> Lesson {
        let starts_at = Timestamp::now() + SignedDuration::from_mins(minutes);
        Lesson::starting(starts_at)
            .booked_by(&self.cast, &self.owner)
            .await
    }

    /// Moves the world's clock to so many minutes from the machine's now.
    pub(crate) fn travel(&self, minutes: i64) {
        std::fs::write(&self.clock, (minutes * 60).to_string()).unwrap();
    }

    /// Moves the world's clock to `instant`, or up to a second past it: it is shifted by whole seconds.
    pub(crate) fn travel_to(&self, instant: Timestamp) {
        let away = instant.duration_since(Timestamp::now()).as_millis();
        std::fs::write(&self.clock, (away.div_euclid(1_000) + 1).to_string()).unwrap();
    }

    pub(crate) async fn function(&self, name: &str) -> Function {
        Function::start(name, &self.environment).await
    }

    /// The function, with some of its settings changed.
    pub(crate) async fn function_with(&self, name: &str, changes: &[(&str, &str)]) -> Function {
        let mut environment = self.environment.clone();
        environment.extend(
            changes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Function::start(name, &environment).await
    }

    /// The event of `sample` (a file under `events/`) for this lesson, sent by `person`.
    pub(crate) fn request(&self, sample: &str, person: Uuid, lesson: &Lesson) -> Value {
        request(sample, &self.identity.token(person), lesson.id)
    }

    pub(crate) async fn call(
        &self,
        function: &Function,
        sample: &str,
        person: Uuid,
        lesson: &Lesson,
    ) -> Reply {
        function.call(self.request(sample, person, lesson)).await
    }

    /// Opens the lesson's room by a Join of its tutor, and tells the vendor's id of it.
    pub(crate) async fn opened_room(&self, lesson: &Lesson) -> String {
        let launch = self.function("launch").await;
        let joined = self
            .call(&launch, "launch/join.json", self.cast.tutor, lesson)
            .await;
        assert_eq!(joined.status, 200, "the tutor cannot join: {}", joined.body);
        joined.body["room_id"].as_str().unwrap().to_owned()
    }

    /// The vendor sees a session in the room; its webhooks as events of the door, start then end.
    pub(crate) fn held(&self, room: &str, start: Timestamp, end: Timestamp) -> Vec<Value> {
        self.lessonspace
            .hold_session(room, start, end)
            .iter()
            .map(webhook_event)
            .collect()
    }

    /// What came through the door: the queue's messages, as the consumer receives them.
    pub(crate) async fn queued(&self) -> Vec<Value> {
        self.queued_in(&self.events).await
    }

    /// A queue's messages, as its consumer receives them.
    pub(crate) async fn queued_in(&self, queue: &str) -> Vec<Value> {
        let arn = self.aws.arn(queue).await;
        self.aws
            .drain(queue)
            .await
            .iter()
            .map(|message| sqs_record(message, &arn))
            .collect()
    }

    pub(crate) async fn booking(&self, lesson: &Lesson) -> Value {
        let row = self
            .owner
            .query_one("SELECT to_jsonb(b) FROM bookings b WHERE id = $1", &[&lesson.id])
            .await;
        row.unwrap().get(0)
    }

    /// The rest of a session's hour passes, and nobody else's: its money moves at its planned end.
    pub(crate) async fn session_passes(&self, session: Uuid) {
        let sql = "UPDATE sessions
                   SET scheduled_start_at = scheduled_start_at - interval '1 hour', scheduled_end_at = scheduled_end_at - interval '1 hour',
                       no_show_marked_at = no_show_marked_at - interval '1 hour', due_at = due_at - interval '1 hour'
                   WHERE id = $1";
        self.owner.execute(sql, &[&session]).await.unwrap();
        let tick = self.function("process-charges").await;
        tick.invoke(json!({})).await.unwrap();
    }

    /// The room of the lesson's session was held open from the planned start until `end`, whoever was in it, and its
    /// provider was asked after it had closed.
    pub(crate) async fn room_ended(&self, lesson: &Lesson, end: Timestamp) {
        let sql = "UPDATE sessions s
                   SET evidence = jsonb_build_object('spans', jsonb_build_object('span', jsonb_build_array(
                           extract(epoch FROM s.scheduled_start_at)::bigint * 1000,
                           extract(epoch FROM $2::timestamptz)::bigint * 1000, false, false))),
                       asked_at = closes_at(s) + interval '1 hour', due_at = CASE WHEN s.decisions > 0 THEN $2 ELSE s.due_at END
                   WHERE booking_id = $1";
        self.owner.execute(sql, &[&lesson.id, &end]).await.unwrap();
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        self.owner
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await
            .unwrap()
            .get(0)
    }
}

/// A sample of `events/`, with its placeholders filled.
pub(crate) fn request(sample: &str, token: &str, booking: Uuid) -> Value {
    let text = std::fs::read_to_string(root().join("events").join(sample)).unwrap();
    serde_json::from_str(
        &text
            .replace("{TOKEN}", token)
            .replace("{BOOKING}", &booking.to_string()),
    )
    .unwrap()
}

/// A vendor's delivery as API Gateway hands it to the door.
pub(crate) fn webhook_event(webhook: &Webhook) -> Value {
    let mut event = request("webhook-lessonspace/session-end.json", "", Uuid::nil());
    let headers: HashMap<_, _> = webhook.headers.iter().cloned().collect();
    event["headers"] = json!(headers);
    event["body"] = webhook.body.clone().into();
    set_query(&mut event, &webhook.url);
    event
}

/// A gateway's webhook as API Gateway hands it to its door.
pub(crate) fn letter_event(sample: &str, letter: &Letter) -> Value {
    let mut event = request(sample, "", Uuid::nil());
    for (name, value) in &letter.headers {
        event["headers"][*name] = value.clone().into();
    }
    event["body"] = letter.body.clone().into();
    event
}

pub(crate) fn set_query(event: &mut Value, url: &Url) {
    event["rawQueryString"] = url.query().unwrap_or_default().into();
    event["queryStringParameters"] = json!(url.query_pairs().collect::<HashMap<_, _>>());
}

fn sqs_record(message: &aws_sdk_sqs::types::Message, arn: &str) -> Value {
    record(
        message.message_id().unwrap(),
        message.body().unwrap(),
        message.receipt_handle().unwrap(),
        arn,
    )
}

pub(crate) fn record(id: &str, body: &str, receipt: &str, arn: &str) -> Value {
    json!({
        "messageId": id, "body": body, "receiptHandle": receipt, "eventSourceARN": arn, "awsRegion": "us-east-1",
        "eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {},
    })
}

pub(crate) fn batch(records: &[Value]) -> Value {
    json!({ "Records": records })
}

// Functions --------------------------------------------------------------------------------------------

/// A function's binary, running.
pub(crate) struct Function {
    simulator: Simulator,
    lines: Arc<Mutex<Vec<String>>>,
    _process: Child,
}

/// What an HTTP function answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: Value,
}

impl Reply {
    /// `200`, or `409 join-too-early`.
    pub(crate) fn verdict(&self) -> String {
        let kind = self.body["type"]
            .as_str()
            .and_then(|kind| kind.rsplit(':').next());
        kind.map_or_else(
            || self.status.to_string(),
            |kind| format!("{} {kind}", self.status),
        )
    }
}

/// Where cargo puts this profile's binaries: the stories themselves lie in `deps/` beside them.
pub(crate) fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|deps| deps.parent()).unwrap().join(name);
    assert!(
        path.exists(),
        "{name} is not built: run the stories by `make test`"
    );
    path
}

impl Function {
    pub(crate) async fn start(name: &str, environment: &HashMap<String, String>) -> Self {
        let simulator = Simulator::builder()
            .function_name(name)
            .invocation_timeout(Duration::from_secs(30))
            .build()
            .await
            .unwrap();
        let aws = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let mut process = Command::new(binary(name))
            .env_clear()
            .envs(simulator.lambda_env_vars())
            .envs(aws.map(|name| (name, variable(name))))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (out, err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        tokio::spawn(collect(BufReader::new(out), Arc::clone(&lines)));
        tokio::spawn(collect(BufReader::new(err), Arc::clone(&lines)));
        Self {
            simulator,
            lines,
            _process: process,
        }
    }

    /// Everything it has written so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// One invocation: its result, or the error that the runtime reported.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, String> {
        let id = self.simulator.enqueue_payload(event).await;
        // The simulator may miss the change it waits for; looking again is cheap.
        for _ in 0..600 {
            let waited = self
                .simulator
                .wait_for_invocation_complete(&id, Duration::from_millis(50))
                .await;
            let Ok(state) = waited else { continue };
            return match state.status {
                InvocationStatus::Success => Ok(state.response.unwrap().payload),
                _ => Err(state.error.map_or_else(String::new, |error| error.error_message)),
            };
        }
        panic!("no answer within 30 s; the function said: {:#?}", self.log());
    }

    /// One HTTP call, whose answer is held to the `OpenAPI` document.
    pub(crate) async fn call(&self, event: Value) -> Reply {
        let answer = self
            .invoke(event.clone())
            .await
            .expect("an HTTP function answers, it does not fail");
        let text = answer["body"].as_str().unwrap_or_default();
        let reply = Reply {
            status: answer["statusCode"]
                .as_u64()
                .and_then(|status| status.try_into().ok())
                .unwrap(),
            body: serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            headers: answer["headers"].clone(),
        };
        contract::hold(&event, reply.status, &reply.headers["content-type"], &reply.body);
        reply
    }

    /// One batch: the ids that are to be delivered again.
    pub(crate) async fn consume(&self, records: &[Value]) -> Vec<String> {
        let answer = self
            .invoke(batch(records))
            .await
            .expect("a consumer reports failures by record");
        let failures = answer["batchItemFailures"].as_array().unwrap();
        failures
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn collect(mut from: impl AsyncBufReadExt + Unpin, into: Arc<Mutex<Vec<String>>>) {
    let mut line = String::new();
    while from.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        into.lock()
            .unwrap()
            .push(std::mem::take(&mut line).trim_end().to_owned());
    }
}
