//! A world: a database, queues, vendors, an issuer of tokens and a cast, with a clock of its own.

use super::vendors::{Classrooms, Gateways};
use super::*;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::fapshi::Fapshi;
use simulators::identity::{AUDIENCE, Identity};
use simulators::lessonspace::Lessonspace;
use simulators::livekit::LiveKit;
use simulators::pencilspaces::PencilSpaces;
use simulators::stripe::Stripe;
use std::collections::HashMap;
use std::path::PathBuf;
use stories::cast::{Cast, Lesson, owner};
use tokio_postgres::Client;
use uuid::Uuid;

/// Everything that a story happens in.
pub(crate) struct World {
    pub(crate) owner: Client,
    pub(crate) cast: Cast,
    pub(crate) identity: Identity,
    pub(crate) lessonspace: Lessonspace,
    pub(crate) livekit: LiveKit,
    pub(crate) pencilspaces: PencilSpaces,
    pub(crate) stripe: Stripe,
    pub(crate) fapshi: Fapshi,
    pub(crate) aws: Aws,
    pub(crate) events: String,
    pub(crate) gateway_events: String,
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
        let gateway_events = aws.queue("gateway-events").await;
        let queues = format!(
            "classroom-events={events},gateway-events={gateway_events},payments={payments},refunds={refunds}"
        );
        let artifacts = aws.bucket().await;
        let clock = std::env::temp_dir().join(format!("clock-{database}"));
        std::fs::write(&clock, "0").unwrap();
        let story_clock = platform::clock::Clock::shifted_by(clock.clone());
        // The issuer's name need not be its address.
        let identity = Identity::new("https://issuer.story/auth/v1", story_clock.clone());
        let issuer = simulators::serve(identity.router()).await.unwrap();
        let classrooms = Classrooms::open(&story_clock).await;
        let gateways = Gateways::open(&story_clock).await;
        let mut settings = vec![
            ("DATABASE_URL", service_url(database)),
            ("JWT_ISSUER", identity.issuer().to_owned()),
            ("JWT_AUDIENCE", AUDIENCE.to_owned()),
            ("JWT_LEGACY_SECRET", LEGACY_SECRET.to_owned()),
            ("JWKS_URL", format!("http://{issuer}/.well-known/jwks.json")),
            ("CRON_SECRET", CRON_SECRET.to_owned()),
            ("PUBLIC_BASE_URL", "https://api.story/".to_owned()),
            ("QUEUES", queues),
            ("DEAD_LETTER_QUEUE_URL", dead_letters.clone()),
            ("ARTIFACTS_BUCKET", artifacts.clone()),
            ("CLOCK_OFFSET_FILE", clock.display().to_string()),
            // Most stories are not about presence, and play nobody's: they switch it off, by which everybody is
            // assumed to have come. Those that are about it say `proven`.
            ("ATTENDANCE", "assumed".to_owned()),
        ];
        settings.extend(classrooms.settings);
        settings.extend(gateways.settings);
        let named = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        Self {
            owner,
            cast,
            identity,
            lessonspace: classrooms.lessonspace,
            livekit: classrooms.livekit,
            pencilspaces: classrooms.pencilspaces,
            stripe: gateways.stripe,
            fapshi: gateways.fapshi,
            aws,
            events,
            gateway_events,
            payments,
            refunds,
            dead_letters,
            artifacts,
            clock,
            environment: named.collect(),
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

    /// The session's hour has passed, and what is due is settled.
    pub(crate) async fn session_passes(&self, session: Uuid) {
        self.session_is_over(session).await;
        let tick = self.function("process-charges").await;
        tick.invoke(json!({})).await.unwrap();
    }

    /// The session's hour has passed.
    pub(crate) async fn session_is_over(&self, session: Uuid) {
        let sql = "UPDATE sessions
                   SET scheduled_start_at = scheduled_start_at - interval '1 hour', scheduled_end_at = scheduled_end_at - interval '1 hour',
                       no_show_marked_at = no_show_marked_at - interval '1 hour', due_at = due_at - interval '1 hour'
                   WHERE id = $1";
        self.owner.execute(sql, &[&session]).await.unwrap();
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
