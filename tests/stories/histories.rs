//! Ten thousand sessions, each with a history of its own: marks, cancellations and ends of meetings arrive
//! twice, in any order, side by side with settlements, and workers die between any two statements. In the end
//! each session has exactly the outcome that its facts give, and the ledger balances.

use crate::harness::{migrated_database, owner_url, service_url};
use domain::ids::ProfileId;
use domain::session::{SessionPolicy, SessionStatus};
use domain::settlement::{Facts, settle};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use store::charging::Charging;
use store::sessions;
use stories::cast::{Cast, owner};
use tokio_postgres::Client;
use uuid::Uuid;

const SESSIONS: i32 = 10_000;
const WORKERS: usize = 6;

/// Something that happens to a session.
#[derive(Debug, Clone, Copy)]
enum Step {
    Mark(Uuid),
    Cancel(Uuid),
    /// The meeting ended so many minutes after the start.
    Ended(Uuid, i64),
    Tick,
}

async fn many_sessions(owner: &Client, cast: &Cast, start: Timestamp) -> Vec<Uuid> {
    let insert = "
        WITH booked AS (
            INSERT INTO bookings (client_id, tutor_id, status)
            SELECT $1, $2, 'confirmed' FROM generate_series(1, $4::int) RETURNING id)
        INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
            duration_minutes, no_show_wait_minutes, min_payable_minutes, price_minor, currency, charge_scheduled_at, due_at)
        SELECT gen_random_uuid(), id, $1, $2, 'lessonspace', $3::timestamptz, $3::timestamptz + interval '60 minutes', 60, 20, 40,
            (random() * 100000)::bigint, 'TTD', $3::timestamptz + interval '60 minutes', $3::timestamptz + interval '60 minutes' FROM booked
        RETURNING id";
    let rows = owner
        .query(insert, &[&cast.parent, &cast.tutor, &start, &SESSIONS])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn script(ids: &[Uuid], random: &mut StdRng) -> Vec<Step> {
    let mut steps = Vec::new();
    for id in ids {
        let mut happens = |step: Step, of_a_hundred: u32| {
            if random.random_range(0..100) < of_a_hundred {
                steps.extend([step, step]);
            }
        };
        happens(Step::Mark(*id), 40);
        happens(Step::Cancel(*id), 20);
        happens(Step::Ended(*id, 45), 40);
        happens(Step::Ended(*id, 60), 20);
    }
    steps.extend(std::iter::repeat_n(Step::Tick, 60));
    steps.shuffle(random);
    steps
}

struct Worker {
    charging: Charging,
    owner: Client,
    start: Timestamp,
    tutor: ProfileId,
}

impl Worker {
    async fn take(&self, step: Step) {
        match step {
            Step::Tick => drop(self.charging.run().await),
            Step::Mark(id) => {
                self.conclude(id, |facts, at| facts.no_show_marked_at = Some(at), 25)
                    .await;
            }
            Step::Cancel(id) => {
                self.conclude(id, |facts, at| facts.cancelled_at = Some(at), -10)
                    .await;
            }
            Step::Ended(id, minute) => self.ended(id, minute).await,
        }
    }

    async fn conclude(&self, id: Uuid, learn: impl Fn(&mut Facts, Timestamp), minute: i64) {
        let stored = sessions::seen_by(&self.charging.database, id, self.tutor).await;
        let Ok(Some(stored)) = stored else { return };
        if stored.status.is_final() {
            return;
        }
        let mut facts = stored.facts;
        learn(&mut facts, self.start + SignedDuration::from_mins(minute));
        let _ = self.charging.conclude(&stored, facts).await;
    }

    async fn ended(&self, id: Uuid, minute: i64) {
        let at = self.start + SignedDuration::from_mins(minute);
        let sql = "UPDATE sessions SET meeting_ended_at = greatest(meeting_ended_at, $2),
                       due_at = CASE WHEN decisions > 0 AND $2 > coalesce(meeting_ended_at, '-infinity') THEN $2 ELSE due_at END
                   WHERE id = $1";
        let _ = self.owner.execute(sql, &[&id, &at]).await;
    }
}

/// A worker that dies now and then, between any two statements, and leaves the rest to the redelivery.
async fn work(worker: Worker, steps: Vec<Step>, mut random: StdRng) {
    for step in steps {
        let life = Duration::from_micros(random.random_range(100..5_000));
        if random.random_range(0..4) == 0 {
            let _ = tokio::time::timeout(life, worker.take(step)).await;
        } else {
            worker.take(step).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_histories_end_in_one_outcome_each() {
    let name = migrated_database().await;
    let database = owner(&owner_url(&name)).await;
    let cast = Cast::arrive(&database).await;
    let start = (Timestamp::now() - SignedDuration::from_hours(3))
        .round(jiff::Unit::Second)
        .unwrap();
    let ids = many_sessions(&database, &cast, start).await;
    let mut random = StdRng::seed_from_u64(1815);
    let steps = script(&ids, &mut random);
    let (clock, _) = Clock::manual(Timestamp::now());
    let policy = SessionPolicy::default();
    let mut workers = Vec::new();
    for (n, steps) in steps.chunks(steps.len().div_ceil(WORKERS)).enumerate() {
        let ids = Ids::random(clock.clone());
        let charging = Charging {
            database: Database::at(&service_url(&name)),
            policy,
            ids,
            clock: clock.clone(),
        };
        let owner = owner(&owner_url(&name)).await;
        let worker = Worker {
            charging,
            owner,
            start,
            tutor: ProfileId(cast.tutor),
        };
        workers.push(tokio::spawn(work(
            worker,
            steps.to_vec(),
            StdRng::seed_from_u64(n as u64),
        )));
    }
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    let last = Charging {
        database: Database::at(&service_url(&name)),
        policy,
        ids: Ids::random(clock.clone()),
        clock: clock.clone(),
    };
    last.run().await.unwrap();
    every_session_has_the_outcome_of_its_facts(&last.database, &ids, &cast, &policy).await;
    the_ledger_is_what_the_decisions_say(&database).await;
}

async fn every_session_has_the_outcome_of_its_facts(
    database: &Database,
    ids: &[Uuid],
    cast: &Cast,
    policy: &SessionPolicy,
) {
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    let later = Timestamp::now();
    for id in ids {
        let stored = sessions::seen_by(database, *id, ProfileId(cast.tutor))
            .await
            .unwrap()
            .unwrap();
        let expected = settle(&stored.session, &stored.facts, policy, later).unwrap();
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
