//! Ten thousand sessions, each with a history of its own: marks, cancellations, ends of meetings, payments ahead,
//! jobs and webhooks arrive twice, in any order, side by side with settlements; cards are refused, answers get
//! lost, and workers die between any two statements. In the end each session has exactly the outcome that its
//! facts give, each charge was collected at most once, and gateway, books and outcome agree to the unit. The
//! gateway's own record is the judge.

use crate::harness::{STRIPE_KEY, STRIPE_WEBHOOK_SECRET, migrated_database, owner_url, service_url};
use apply_event::{ApplyEvent, Incoming};
use capture_payment::CapturePayment;
use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::payment::{Collects, Method};
use domain::session::{SessionPolicy, SessionStatus};
use domain::settlement::{Facts, settle};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use platform::batch::{Job, JobError, Message};
use platform::clock::{Clock, ClockHand};
use platform::config::Env;
use platform::database::Database;
use platform::ids::Ids;
use providers::gateways::Gateways;
use providers::lessonspace::{Lessonspace, LessonspaceConfig};
use providers::stripe::Checkout;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use refund_payment::RefundPayment;
use serde_json::{Value, json};
use simulators::mailbox::Faults;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::charging::Charging;
use store::payments::{self, Order};
use store::sessions;
use stories::cast::{Cast, owner};
use tokio_postgres::Client;
use uuid::Uuid;

const SESSIONS: i32 = 10_000;
const CLIENTS: i32 = 1_000;
const WORKERS: usize = 6;

/// A session and whose it is.
#[derive(Debug, Clone, Copy)]
struct Held {
    session: Uuid,
    booking: BookingId,
    client: ProfileId,
}

/// Something that happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    Mark(Held),
    Cancel(Held),
    /// The meeting ended so many minutes after the start.
    Ended(Held, i64),
    /// The client opens a page and pays on it.
    PayAhead(Held),
    Tick,
    /// Jobs leave the outbox, webhooks leave the gateway; each twice.
    Post,
    /// Somebody works on what was posted.
    Work,
    /// The gateway misbehaves for a while.
    Misbehave,
}

async fn many_sessions(owner: &Client, tutor: Uuid, start: Timestamp) -> Vec<Held> {
    let insert = "
        WITH clients AS MATERIALIZED (SELECT gen_random_uuid() AS id FROM generate_series(1, $4::int)),
        numbered AS (SELECT id, row_number() OVER () AS n FROM clients),
        booked AS (
            INSERT INTO bookings (id, client_id, tutor_id, status, price_minor, price_currency)
            SELECT gen_random_uuid(), c.id, $1, 'confirmed', 100 + (random() * 100000)::bigint, 'TTD'
            FROM generate_series(1, $3::int) k JOIN numbered c ON c.n = 1 + k % $4
            RETURNING id, client_id, price_minor)
        INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
            duration_minutes, no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at, due_at)
        SELECT gen_random_uuid(), id, client_id, $1, 'lessonspace', $2::timestamptz, $2::timestamptz + interval '60 minutes',
            60, '1/3', '2/3', price_minor, 'TTD', $2::timestamptz + interval '60 minutes', $2::timestamptz + interval '60 minutes'
        FROM booked RETURNING id, booking_id, client_id";
    let rows = owner
        .query(insert, &[&tutor, &start, &SESSIONS, &CLIENTS])
        .await
        .unwrap();
    rows.iter()
        .map(|row| Held {
            session: row.get(0),
            booking: BookingId(row.get(1)),
            client: ProfileId(row.get(2)),
        })
        .collect()
}

fn script(held: &[Held], random: &mut StdRng) -> Vec<Step> {
    let mut steps = Vec::new();
    for one in held {
        let mut happens = |step: Step, of_a_hundred: u32| {
            if random.random_range(0..100) < of_a_hundred {
                steps.extend([step, step]);
            }
        };
        happens(Step::Mark(*one), 40);
        happens(Step::Cancel(*one), 20);
        happens(Step::Ended(*one, 45), 40);
        happens(Step::Ended(*one, 60), 20);
        happens(Step::PayAhead(*one), 10);
    }
    steps.extend(std::iter::repeat_n(Step::Tick, 60));
    steps.extend(std::iter::repeat_n(Step::Post, 300));
    steps.extend(std::iter::repeat_n(Step::Work, 2_500));
    steps.extend(std::iter::repeat_n(Step::Misbehave, 60));
    steps.shuffle(random);
    steps
}

/// What everybody shares: the gateway, the messages under way, the hand of the clock.
struct Stage {
    gateway: simulators::stripe::Stripe,
    address: String,
    messages: Mutex<Vec<Value>>,
    hand: Mutex<ClockHand>,
}

impl Stage {
    fn post(&self, message: Value) {
        self.messages.lock().unwrap().push(message);
    }

    /// Some messages, in no particular order.
    fn some(&self, most: usize, random: &mut StdRng) -> Vec<Value> {
        let mut messages = self.messages.lock().unwrap();
        messages.shuffle(random);
        let keep = messages.len().saturating_sub(most);
        messages.split_off(keep)
    }

    fn wait(&self, duration: SignedDuration) {
        self.hand.lock().unwrap().advance(duration);
    }
}

struct Worker {
    charging: Charging,
    capture: CapturePayment,
    refund: RefundPayment,
    apply: ApplyEvent,
    owner: Client,
    start: Timestamp,
    stage: Arc<Stage>,
}

fn vendors(address: &str) -> Env {
    let settings = HashMap::from([
        ("STRIPE_API_URL", address.to_owned()),
        ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
        ("FAPSHI_API_URL", "http://127.0.0.1:1/".to_owned()),
        ("FAPSHI_API_KEY", "unused".to_owned()),
        ("FAPSHI_PAYOUT_KEY", "unused".to_owned()),
        ("LESSONSPACE_API_URL", "http://127.0.0.1:1/".to_owned()),
        ("LESSONSPACE_ORGANISATION", "1".to_owned()),
        ("LESSONSPACE_API_KEY", "unused".to_owned()),
    ]);
    Env::from_lookup(move |name| settings.get(name).cloned())
}

impl Worker {
    async fn hire(name: &str, stage: &Arc<Stage>, clock: &Clock, start: Timestamp) -> Self {
        let database = || Database::at(&service_url(name));
        let ids = || Ids::random(clock.clone());
        let mut env = vendors(&stage.address);
        let capture = CapturePayment {
            database: database(),
            gateways: Gateways::from_env(&mut env).unwrap(),
            collects: Collects::Firstbell,
            ids: ids(),
            clock: clock.clone(),
        };
        let refund = RefundPayment {
            database: database(),
            gateways: Gateways::from_env(&mut env).unwrap(),
            ids: ids(),
            clock: clock.clone(),
        };
        let apply = ApplyEvent {
            database: database(),
            lessonspace: Lessonspace::new(LessonspaceConfig::from_env(&mut env).unwrap()),
            gateways: Gateways::from_env(&mut env).unwrap(),
            ids: ids(),
            clock: clock.clone(),
        };
        let charging = Charging {
            database: database(),
            policy: SessionPolicy::default(),
            collects: Collects::Firstbell,
            ids: ids(),
            clock: clock.clone(),
        };
        Self {
            charging,
            capture,
            refund,
            apply,
            owner: owner(&owner_url(name)).await,
            start,
            stage: Arc::clone(stage),
        }
    }

    async fn take(&self, step: Step) {
        match step {
            Step::Tick => drop(self.charging.run().await),
            Step::Mark(held) => {
                self.conclude(held, |facts, at| facts.no_show_marked_at = Some(at), 25)
                    .await;
            }
            Step::Cancel(held) => {
                self.conclude(held, |facts, at| facts.cancelled_at = Some(at), -10)
                    .await;
            }
            Step::Ended(held, minute) => self.ended(held, minute).await,
            Step::PayAhead(held) => self.pay_ahead(held).await,
            Step::Post => self.post().await,
            Step::Misbehave => self.stage.gateway.misbehave(Faults {
                fail_next: 5,
                lose_next: 20,
                decline_next: 10,
                ..Faults::default()
            }),
            Step::Work => {}
        }
    }

    async fn conclude(&self, held: Held, learn: impl Fn(&mut Facts, Timestamp), minute: i64) {
        let stored = sessions::seen_by(&self.charging.database, held.session, held.client).await;
        let Ok(Some(stored)) = stored else { return };
        if stored.status.is_final() {
            return;
        }
        let mut facts = stored.facts;
        learn(&mut facts, self.start + SignedDuration::from_mins(minute));
        let _ = self.charging.conclude(&stored, facts).await;
    }

    async fn ended(&self, held: Held, minute: i64) {
        let at = self.start + SignedDuration::from_mins(minute);
        let sql = "UPDATE sessions SET meeting_ended_at = greatest(meeting_ended_at, $2),
                       due_at = CASE WHEN decisions > 0 AND $2 > coalesce(meeting_ended_at, '-infinity') THEN $2 ELSE due_at END
                   WHERE id = $1";
        let _ = self.owner.execute(sql, &[&held.session, &at]).await;
    }

    async fn pay_ahead(&self, held: Held) {
        let (database, now) = (&self.charging.database, self.charging.clock.now());
        let order = Order {
            booking: held.booking,
            person: held.client,
            method: Method::Card,
            gateway: "stripe",
            phone: None,
            only_currency: None,
            least_minor: 1,
            up_to_minor: None,
            abandoned_before: now - SignedDuration::from_secs(60),
        };
        let id = PaymentId(self.charging.ids.next());
        let Ok(Some(started)) = payments::start(database, &order, id, now).await else {
            return;
        };
        let Some(begun) = started.payment.filter(|begun| begun.earlier.is_none()) else {
            return;
        };
        let return_to = "https://app.story/paid".parse().unwrap();
        let checkout = Checkout {
            payment: begun.id,
            amount: begun.amount,
            customer: started.customer.as_deref(),
            return_to: &return_to,
            expires_at: now + SignedDuration::from_hours(1),
        };
        let Ok(page) = self.capture.gateways.stripe.open_checkout(&checkout).await else {
            return;
        };
        // The client pays, whether or not we live to save the page.
        self.stage.gateway.close_checkout(&page.gateway_id, true);
        let _ = payments::opened(database, begun.id, &page.gateway_id, None).await;
    }

    async fn post(&self) {
        let sql = "UPDATE outbox SET sent_at = $1 WHERE sent_at IS NULL AND due_at <= $1 RETURNING envelope";
        let now = self.charging.clock.now();
        let jobs = self.owner.query(sql, &[&now]).await.unwrap();
        let mut messages: Vec<Value> = jobs.iter().map(|row| row.get(0)).collect();
        for letter in self.stage.gateway.letters() {
            let id = Uuid::new_v4();
            messages.push(json!({
                "v": 1, "type": "stripe_event", "id": id, "occurred_at": now, "correlation_id": id,
                "causation_id": null, "dedupe_key": id, "payload": {"body": letter.body},
            }));
        }
        for message in messages {
            self.stage.post(message.clone());
            self.stage.post(message);
        }
    }

    async fn work_on(&self, message: &Value) -> Result<(), JobError> {
        let body = message.to_string();
        match message["type"].as_str().unwrap() {
            "look_at_tab" => self.capture.run(Message::read(&body)?).await,
            "give_back" => self.refund.run(Message::read(&body)?).await,
            _ => self.apply.run(Incoming::read(&body)?).await,
        }
    }

    /// Works on some messages; those that fail, and those that somebody dies over, come again.
    async fn work(&self, most: usize, mortal: bool, random: &mut StdRng) {
        for message in self.stage.some(most, random) {
            let life = if mortal && random.random_range(0..4) == 0 {
                Duration::from_micros(random.random_range(100..5_000))
            } else {
                Duration::from_mins(1)
            };
            let done = tokio::time::timeout(life, self.work_on(&message)).await;
            if let Ok(Err(JobError::Permanent(reason))) = &done {
                panic!("{reason}: {message}");
            }
            if !matches!(done, Ok(Ok(()))) {
                self.stage.post(message);
            }
        }
    }

    /// A worker that dies now and then, between any two statements, and leaves the rest to the redelivery.
    async fn live(self, steps: Vec<Step>, mut random: StdRng) -> Self {
        for step in steps {
            self.stage.wait(SignedDuration::from_millis(1));
            let life = Duration::from_micros(random.random_range(100..5_000));
            match step {
                Step::Work => self.work(16, true, &mut random).await,
                // The post office does not lose what it was given: that is the outbox's own story.
                Step::Post => self.take(step).await,
                step if random.random_range(0..4) == 0 => {
                    let _ = tokio::time::timeout(life, self.take(step)).await;
                }
                step => self.take(step).await,
            }
        }
        self
    }
}

/// Every client left a card, and agreed to the tutor at any price of these histories.
async fn cards_on_file(owner: &Client, gateway: &simulators::stripe::Stripe) {
    let agree =
        "INSERT INTO card_agreements (booking_id, client_id, tutor_id, currency, up_to_minor, agreed_at)
                 SELECT booking_id, client_id, tutor_id, currency, 1000000, now() FROM sessions";
    owner.batch_execute(agree).await.unwrap();

    let rows = owner
        .query("SELECT DISTINCT client_id FROM sessions", &[])
        .await
        .unwrap();
    for row in rows {
        let (client, (customer, card)) = (row.get::<_, Uuid>(0), gateway.leave_card());
        let keep = "INSERT INTO saved_cards VALUES ($1, 'stripe', $2, $3, now())";
        owner.execute(keep, &[&client, &customer, &card]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_histories_end_in_one_outcome_each() {
    let name = migrated_database().await;
    let database = owner(&owner_url(&name)).await;
    let cast = Cast::arrive(&database).await;
    let now = Timestamp::now();
    let start = (now - SignedDuration::from_hours(3))
        .round(jiff::Unit::Second)
        .unwrap();
    let held = many_sessions(&database, cast.tutor, start).await;
    let (clock, hand) = Clock::manual(now);
    let gateway = simulators::stripe::Stripe::new(
        "http://cards.story/",
        STRIPE_KEY,
        STRIPE_WEBHOOK_SECRET,
        clock.clone(),
    );
    cards_on_file(&database, &gateway).await;
    let address = simulators::serve(gateway.router()).await.unwrap();
    let stage = Arc::new(Stage {
        gateway,
        address: format!("http://{address}/"),
        messages: Mutex::default(),
        hand: Mutex::new(hand),
    });
    let mut random = StdRng::seed_from_u64(1815);
    let steps = script(&held, &mut random);
    let mut workers = Vec::new();
    for (n, steps) in steps.chunks(steps.len().div_ceil(WORKERS)).enumerate() {
        let worker = Worker::hire(&name, &stage, &clock, start).await;
        let random = StdRng::seed_from_u64(n as u64);
        workers.push(tokio::spawn(worker.live(steps.to_vec(), random)));
    }
    let mut workers: Vec<Worker> = join_all(workers).await.into_iter().map(Result::unwrap).collect();
    stage.gateway.misbehave(Faults::default());
    workers[0].charging.run().await.unwrap();
    come_to_rest(&mut workers, &stage).await;
    every_session_has_the_outcome_of_its_facts(&workers[0].charging, &held).await;
    the_ledger_is_what_the_decisions_say(&database).await;
    every_charge_was_collected_at_most_once_and_nobody_paid_too_much(&database, &stage.gateway).await;
}

/// Days pass, nobody dies any more, and what is left gets done.
async fn come_to_rest(workers: &mut [Worker], stage: &Arc<Stage>) {
    for _ in 0..40 {
        stage.wait(SignedDuration::from_hours(12));
        workers[0].post().await;
        let left = stage.messages.lock().unwrap().len();
        if left == 0 {
            let open = "SELECT count(*) FROM outbox WHERE sent_at IS NULL";
            let open: i64 = workers[0].owner.query_one(open, &[]).await.unwrap().get(0);
            if open == 0 {
                return;
            }
        }
        let share = left.div_ceil(workers.len());
        let all = workers.iter().enumerate().map(|(n, worker)| async move {
            let mut random = StdRng::seed_from_u64(n as u64);
            worker.work(share, false, &mut random).await;
        });
        join_all(all).await;
    }
    panic!("{} messages never get done", stage.messages.lock().unwrap().len());
}

async fn every_session_has_the_outcome_of_its_facts(charging: &Charging, held: &[Held]) {
    let mut seen = BTreeMap::<&str, u32>::new();
    let later = charging.clock.now();
    for one in held {
        let stored = sessions::seen_by(&charging.database, one.session, one.client)
            .await
            .unwrap()
            .unwrap();
        let expected = settle(&stored.session, &stored.facts, &charging.policy, later).unwrap();
        assert_eq!(stored.status, expected.status, "{stored:?}");
        *seen.entry(stored.status.word()).or_default() += 1;
    }
    let finals = SessionStatus::ALL
        .iter()
        .filter(|status| status.is_final())
        .count();
    assert_eq!(seen.len(), finals, "the histories were too tame: {seen:?}");
}

async fn the_ledger_is_what_the_decisions_say(owner: &Client) {
    let wrong = "
        SELECT s.id FROM sessions s
        JOIN charges c ON c.session_id = s.id AND c.decision = s.decisions
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'receivable'), 0) AS charge,
                   coalesce(-sum(e.amount_minor) FILTER (WHERE a.kind = 'payable'), 0) AS payout,
                   coalesce(-sum(e.amount_minor) FILTER (WHERE a.kind = 'fees'), 0) AS fee
            FROM charges all_of JOIN ledger_entries e ON e.charge_id = all_of.id JOIN ledger_accounts a ON a.id = e.account_id
            WHERE all_of.session_id = s.id) booked ON true
        WHERE (booked.charge, booked.payout, booked.fee) IS DISTINCT FROM (c.charge_minor, c.payout_minor, c.fee_minor)
           OR c.status <> s.status";
    assert_eq!(
        owner.query(wrong, &[]).await.unwrap().len(),
        0,
        "sessions whose entries are not their decision"
    );
    let counts = "SELECT (SELECT count(*) FROM sessions WHERE decisions = 0),
                         (SELECT count(*) FROM sessions s WHERE decisions <> (SELECT count(*) FROM charges c WHERE c.session_id = s.id)),
                         (SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries)";
    let row = owner.query_one(counts, &[]).await.unwrap();
    let (undecided, miscounted, sum): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(
        (undecided, miscounted, sum),
        (0, 0, 0),
        "undecided, decided without a charge, ledger's sum"
    );
}

/// What the gateway itself took for each of our payments, and how often.
fn taken(gateway: &simulators::stripe::Stripe) -> HashMap<Uuid, Vec<i64>> {
    let mut taken = HashMap::<Uuid, Vec<i64>>::new();
    let pages = gateway.record("checkout.session").into_iter();
    let pages = pages
        .filter(|page| page["payment_status"] == "paid")
        .map(|page| (page, "amount_total"));
    let charges = gateway.record("payment_intent").into_iter();
    let charges = charges
        .filter(|intent| intent["status"] == "succeeded" && intent["checkout"].is_null())
        .map(|intent| (intent, "amount_received"));
    for (object, field) in pages.chain(charges) {
        let id = object["metadata"]["firstbell_payment"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        taken.entry(id).or_default().push(object[field].as_i64().unwrap());
    }
    taken
}

async fn every_charge_was_collected_at_most_once_and_nobody_paid_too_much(
    owner: &Client,
    gateway: &simulators::stripe::Stripe,
) {
    let taken = taken(gateway);
    for (payment, times) in &taken {
        assert_eq!(times.len(), 1, "{payment} was taken more than once");
    }
    let mut given_back = HashMap::<Uuid, i64>::new();
    for refund in gateway.record("refund") {
        let id: Uuid = refund["metadata"]["firstbell_refund"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let before = given_back.insert(id, refund["amount"].as_i64().unwrap());
        assert_eq!(before, None, "{id} was given back more than once");
    }
    // Booking by booking: what the gateway holds for it, against its charge.
    let rows = owner
        .query(
            "SELECT s.booking_id, c.charge_minor, c.id, p.id, p.status,
                    (SELECT array_agg(r.id) FROM refunds r WHERE r.payment_id = p.id)
             FROM sessions s JOIN charges c ON c.session_id = s.id AND c.decision = s.decisions
             LEFT JOIN payments p ON p.booking_id = s.booking_id",
            &[],
        )
        .await
        .unwrap();
    let (mut due, mut net, mut owing) = (HashMap::new(), HashMap::<Uuid, i64>::new(), 0);
    for row in &rows {
        let (booking, charge, charge_id): (Uuid, i64, Uuid) = (row.get(0), row.get(1), row.get(2));
        due.insert(booking, charge);
        let Some(payment) = row.get::<_, Option<Uuid>>(3) else {
            continue;
        };
        let came = taken.get(&payment).map_or(0, |times| times[0]);
        let refunds: Vec<Uuid> = row.get::<_, Option<Vec<Uuid>>>(5).unwrap_or_default();
        let back: i64 = refunds.iter().filter_map(|refund| given_back.get(refund)).sum();
        *net.entry(booking).or_default() += came - back;
        if payment == charge_id && row.get::<_, &str>(4) == "failed" {
            // Four refusals in nine days: the client was told and owes it.
            owing += 1;
            due.insert(booking, 0);
        }
    }
    let wrong: Vec<_> = due
        .iter()
        .filter(|(booking, due)| net.get(*booking).copied().unwrap_or(0) != **due)
        .collect();
    assert!(
        wrong.is_empty(),
        "{} bookings were paid wrongly: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    assert!(owing < 20, "hardly anybody paid: {owing} owe");
    let books: i64 = owner
        .query_one(
            "SELECT coalesce(sum(e.amount_minor), 0)::bigint FROM ledger_entries e
             JOIN ledger_accounts a ON a.id = e.account_id WHERE a.kind = 'cash'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    let held: i64 = net.values().sum();
    assert_eq!(
        books, held,
        "the books and the gateway disagree about the money that is there"
    );
    assert!(
        given_back.len() > 100 && taken.len() > 1_000,
        "the histories were too tame"
    );
}
