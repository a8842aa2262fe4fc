//! `bench-settlement DATABASE_URL`: how fast 100,000 due sessions are settled, against the limit (one
//! hand-written set-based statement that does the same writes) and against what the original does (a row at
//! a time, here over a 1 ms link); and what a tick costs as the table grows.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a measurement talks, and stops when it cannot measure"
)]

use bench::{connect, fresh_database};
use domain::charge::payment::Collects;
use jiff::Timestamp;
use jobs::settling::Settling;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation::Invocation;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use uuid::Uuid;

const DUE: i64 = 100_000;
const LOOP_SAMPLE: i64 = 200;
const LINK: Duration = Duration::from_millis(1);
const TICKS: usize = 15;
const DUE_A_TICK: i64 = 500;
const SIZES: [i64; 3] = [10_000, 300_000, 3_000_000];
/// What a tick in the largest tables may cost against one in the smallest. Not the same: with 300 times the rows each
/// index that a tick writes has a level more, and less of it is in the cache. A tick that read the tables would cost 300
/// times as much.
const ALLOWED_RATIO: f64 = 1.5;
/// Where the middle half of the pairs differs by more than this, the machine was busy with something else.
const NOISY: f64 = 0.4;

/// The limit: the same writes for everything that is due, by the rule that applies to it, in one statement.
const LIMIT: &str = "
    WITH settled AS (
        UPDATE sessions SET status = 'COMPLETED_ASSUMED', decisions = decisions + 1, settled_at = now(), due_at = NULL
        WHERE due_at <= now() AND decisions = 0
        RETURNING *, gen_random_uuid() AS charge_id),
    charged AS (
        INSERT INTO charges (id, session_id, decision, status, charge_minor, payout_minor, fee_minor, currency, explanation, decided_at)
        SELECT charge_id, id, 1, status, price_minor, price_minor * 9 / 10, price_minor - price_minor * 9 / 10, currency,
            jsonb_build_object('rule', 'reached_end', 'known', jsonb_build_object(
                    'tutor', jsonb_build_object('presence', 'present', 'stays', jsonb_build_array(stay)),
                    'learner', jsonb_build_object('presence', 'present', 'stays', jsonb_build_array(stay)),
                    'room', jsonb_build_array(stay), 'lesson_ended_at', scheduled_end_at, 'provider_asked_at', asked_at,
                    'is_assumed', false, 'no_show_marked_at', no_show_marked_at, 'cancelled_at', cancelled_at,
                    'waived_at', waived_at),
                'scheduled_start_at', scheduled_start_at, 'scheduled_end_at', scheduled_end_at,
                'duration_minutes', duration_minutes, 'no_show_wait_minutes', no_show_wait_minutes,
                'min_payable_minutes', min_payable_minutes,
                'price', jsonb_build_object('amount', price_minor, 'currency', currency),
                'arithmetic', jsonb_build_array('charge = 1/1 of ' || price_minor, 'payout = 9/10 of ' || price_minor,
                    'fee = ' || price_minor)), now()
        FROM settled CROSS JOIN LATERAL (SELECT jsonb_build_object(
            'from', scheduled_start_at, 'to', scheduled_end_at, 'until', 'left') AS stay) AS stays),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, 'settled', now(), jsonb_build_object('by', 'schedule', 'status', status, 'charge_id', charge_id) FROM settled),
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'lesson_settled', 'charge/' || charge_id, booking_id,
               jsonb_build_object('session_id', id, 'status', status, 'charge', price_minor, 'currency', currency), now()
        FROM settled),
    collected AS (
        INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, charge_id, amount_minor,
            currency, status, created_at)
        SELECT charge_id, booking_id, client_id, tutor_id, price_minor, 'stripe', 'saved_card', charge_id, price_minor,
            currency, 'opening', now()
        FROM settled WHERE price_minor > 0),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments', jsonb_build_object('v', 1, 'type', 'look_at_tab', 'id', gen_random_uuid(),
            'occurred_at', now(), 'correlation_id', 'bench', 'causation_id', 'bench', 'payload', jsonb_build_object('booking_id', booking_id)), now()
        FROM settled WHERE price_minor > 0),
    booked AS (
        SELECT s.charge_id, e.kind, e.owner_id, s.currency, e.amount
        FROM settled s CROSS JOIN LATERAL (VALUES
            ('receivable', s.client_id, s.price_minor),
            ('payable', s.tutor_id, -(s.price_minor * 9 / 10)),
            ('fees', NULL::uuid, s.price_minor * 9 / 10 - s.price_minor)) AS e (kind, owner_id, amount)
        WHERE e.amount <> 0),
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT concat_ws('/', kind, owner_id, currency), kind, owner_id, currency FROM booked
        ON CONFLICT (id) DO NOTHING),
    entries AS (
        INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at)
        SELECT charge_id, concat_ws('/', kind, owner_id, currency), 'settlement', amount, currency, now() FROM booked)
    SELECT count(*) FROM settled";

/// Sessions that are due, of a hundred tutors and a thousand clients, with their bookings. $1 how many,
/// $2 due at.
const FILL_DUE: &str = "
    WITH booked AS (
        INSERT INTO bookings (id, client_id, tutor_id, status, price_minor, price_currency)
        SELECT gen_random_uuid(), ('00000000-0000-0000-0000-' || lpad((n % 1000)::text, 12, '0'))::uuid,
               ('00000000-0000-0000-0000-' || lpad((n % 100)::text, 12, '0'))::uuid, 'confirmed', 10000 + n % 777, 'TTD'
        FROM generate_series(1, $1::bigint) n RETURNING *)
    INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
        duration_minutes, no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at,
        due_at, asked_at, evidence, policy)
    SELECT gen_random_uuid(), id, client_id, tutor_id, 'lessonspace', now() - interval '2 hours',
        now() - interval '1 hour', 60, '1/3', '2/3', price_minor, price_currency, now() - interval '1 hour', $2,
        now() - interval '45 minutes',
        -- Both pressed Join, came, and left after the planned end.
        jsonb_build_object(
            'spans', jsonb_build_object('span', jsonb_build_array(began, ended, false, true)),
            'people', jsonb_build_object('11', 'tutor', '12', 'learner', tutor_id, 'tutor', client_id, 'learner'),
            'marks', jsonb_build_array(
                jsonb_build_array('', tutor_id, 'pressed', began), jsonb_build_array('', client_id, 'pressed', began),
                jsonb_build_array('span', '11', 'came', began), jsonb_build_array('span', '12', 'came', began),
                jsonb_build_array('span', '11', 'left', ended), jsonb_build_array('span', '12', 'left', ended))),
        jsonb_build_object('no_show_wait', '1/3', 'min_payable', '2/3', 'pays_from_minimum', false,
            'no_show_charge', '1/2', 'payout', '9/10', 'corrects_late_news', true, 'attendance', 'proven',
            'tolerance_minutes', 2, 'gap_minutes', 10, 'opens_before_minutes', 15, 'closes_after_minutes', 15)
    FROM booked, (SELECT extract(epoch FROM now() - interval '2 hours')::bigint * 1000 AS began,
                         extract(epoch FROM now() - interval '55 minutes')::bigint * 1000 AS ended) AS room";

/// Lessons that were settled and paid long ago, with a row in every table that a tick writes to. $1 how many.
const FILL_SETTLED: &str = "
    WITH lessons AS (
        INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
            duration_minutes, no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at,
            due_at, status, decisions)
        SELECT gen_random_uuid(), gen_random_uuid(),
            ('00000000-0000-0000-0000-' || lpad((n % 1000)::text, 12, '0'))::uuid,
            ('00000000-0000-0000-0000-' || lpad((n % 100)::text, 12, '0'))::uuid,
            'lessonspace', now() - interval '2 hours', now() - interval '1 hour', 60, '1/3', '2/3', 10000 + n % 777, 'TTD',
            now() - interval '1 hour', NULL, 'COMPLETED_ASSUMED', 1
        FROM generate_series(1, $1::bigint) n
        RETURNING *, gen_random_uuid() AS charge_id),
    charged AS (
        INSERT INTO charges (id, session_id, decision, status, charge_minor, payout_minor, fee_minor, currency, explanation, decided_at)
        SELECT charge_id, id, 1, status, price_minor, price_minor, 0, currency, '{}', now() FROM lessons),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data) SELECT id, 'settled', now(), '{}' FROM lessons),
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'lesson_settled', 'charge/' || charge_id, booking_id, '{}', now() FROM lessons),
    collected AS (
        INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, charge_id, amount_minor,
            currency, status, created_at, paid_at)
        SELECT charge_id, booking_id, client_id, tutor_id, price_minor, 'stripe', 'saved_card', charge_id, price_minor,
            currency, 'paid', now(), now()
        FROM lessons),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, sent_at)
        SELECT gen_random_uuid(), 'payments', '{}', now(), now() FROM lessons),
    entries AS (
        INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at)
        SELECT charge_id, concat_ws('/', e.kind, e.owner_id, currency), 'settlement', e.amount, currency, now()
        FROM lessons CROSS JOIN LATERAL (VALUES
            ('receivable', client_id, price_minor), ('payable', tutor_id, -price_minor)) AS e (kind, owner_id, amount))
    SELECT count(*) FROM lessons";

/// A new database with the schema, filled with so many due sessions.
async fn filled(admin: &Client, url: &str, name: &str, due: i64) -> (String, Client) {
    let (url, client) = fresh_database(admin, url, name).await;
    fill(&client, due).await;
    vacuum(&client).await;
    (url, client)
}

/// Due sessions, right now.
async fn fill(client: &Client, count: i64) {
    let due_at = Timestamp::now();
    client
        .execute(FILL_DUE, &[&count, &due_at])
        .await
        .expect("due sessions");
}

/// Settled lessons, which come without their bookings: nothing looks at those any more.
async fn fill_settled(client: &Client, count: i64) {
    let [alone, again] = [
        "SET session_replication_role = replica",
        "SET session_replication_role = origin",
    ];
    client.batch_execute(alone).await.expect("superuser");
    let mut left = count;
    while left > 0 {
        let some = left.min(250_000);
        client
            .execute(FILL_SETTLED, &[&some])
            .await
            .expect("settled sessions");
        left -= some;
    }
    client.batch_execute(again).await.expect("superuser");
}

async fn vacuum(client: &Client) {
    client.batch_execute("VACUUM ANALYZE").await.expect("vacuum");
}

fn settling(url: &str) -> Settling {
    let ids = Ids::random(Clock::system());
    Settling {
        // As the functions connect: with their grants, policies and limits.
        database: Database::at(&url.replace("postgres@", "firstbell_service@")),
        collects: Collects::Firstbell,
        ids,
        clock: Clock::system(),
    }
}

/// One run of `process-charges` with time for everything.
async fn settle(settling: &Settling) -> u64 {
    let deadline = Timestamp::now().as_millisecond().saturating_add(3_600_000);
    let invocation = Invocation::begin("bench", "bench", u64::try_from(deadline).unwrap_or(u64::MAX));
    invocation.scope(settling.run()).await.expect("settled")
}

/// The original's way with the same writes: select what is due, then write session by session, each
/// statement over the link.
async fn loop_of_the_original(client: &Client) -> Duration {
    let rows = client
        .query(
            "SELECT id, client_id, tutor_id, price_minor, booking_id FROM sessions WHERE due_at <= now() LIMIT $1",
            &[&LOOP_SAMPLE],
        )
        .await;
    let began = Instant::now();
    for row in rows.expect("due sessions") {
        let (id, who, tutor, price): (Uuid, Uuid, Uuid, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let booking: Uuid = row.get(4);
        let (charge, payout) = (Uuid::new_v4(), price * 9 / 10);
        let (receivable, payable) = (format!("receivable/{who}/TTD"), format!("payable/{tutor}/TTD"));
        let writes = [
            format!("UPDATE sessions SET status = 'COMPLETED_ASSUMED', decisions = 1, settled_at = now(), due_at = NULL WHERE id = '{id}'"),
            format!("INSERT INTO charges SELECT '{charge}', '{id}', 1, 'COMPLETED_ASSUMED', {price}, {payout}, {price} - {payout}, 'TTD', '{{}}', now()"),
            format!("INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, charge_id, amount_minor, currency, status, created_at)
                VALUES ('{charge}', '{booking}', '{who}', '{tutor}', {price}, 'stripe', 'saved_card', '{charge}', {price}, 'TTD', 'opening', now())"),
            format!("INSERT INTO outbox (id, queue, envelope, due_at) VALUES (gen_random_uuid(), 'payments', '{{\"payload\": {{\"booking_id\": \"{booking}\"}}}}', now())"),
            format!("INSERT INTO session_events (session_id, kind, occurred_at) VALUES ('{id}', 'settled', now())"),
            format!("INSERT INTO ledger_accounts VALUES ('{receivable}', 'receivable', '{who}', 'TTD'), ('{payable}', 'payable', '{tutor}', 'TTD'), ('fees/TTD', 'fees', NULL, 'TTD') ON CONFLICT DO NOTHING"),
            format!("INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at) VALUES
                ('{charge}', '{receivable}', 'settlement', {price}, 'TTD', now()), ('{charge}', '{payable}', 'settlement', -{payout}, 'TTD', now()),
                ('{charge}', 'fees/TTD', 'settlement', {payout} - {price}, 'TTD', now())"),
        ];
        for write in writes {
            // The runtime's timer is too coarse for a link of a millisecond.
            std::thread::sleep(LINK);
            client.batch_execute(&write).await.expect("a write");
        }
    }
    began.elapsed()
}

fn per_second(count: i64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

async fn throughput(admin: &Client, url: &str) -> bool {
    println!("settling {DUE} due sessions");
    let (_, client) = filled(admin, url, "bench_limit", DUE).await;
    let began = Instant::now();
    client.query(LIMIT, &[]).await.expect("the limit statement");
    let limit = per_second(DUE, began.elapsed());
    let (ours_url, _) = filled(admin, url, "bench_ours", DUE).await;
    let settling = settling(&ours_url);
    let began = Instant::now();
    let settled = settle(&settling).await;
    let ours = per_second(DUE, began.elapsed());
    assert_eq!(settled, DUE.unsigned_abs());
    let (_, client) = filled(admin, url, "bench_loop", DUE).await;
    let row_by_row = per_second(LOOP_SAMPLE, loop_of_the_original(&client).await);
    println!("  one set-based statement (the limit)   {limit:>10.0} sessions/s");
    println!(
        "  process-charges                       {ours:>10.0} sessions/s   {:.2} of the limit (wanted: 0.50)",
        ours / limit
    );
    println!(
        "  a row at a time over a 1 ms link      {row_by_row:>10.0} sessions/s   {:.0} times slower (wanted: 50)",
        ours / row_by_row
    );
    ours / limit >= 0.5 && ours / row_by_row >= 50.0
}

/// Tables with so many settled lessons, and what their ticks took.
struct Tables {
    lessons: i64,
    client: Client,
    settling: Settling,
    samples: Vec<f64>,
}

/// The tables take turns, so that whatever else slows the machine down slows all of them, and each tick in the largest
/// is judged by the one in the smallest of the same turn.
async fn ticks(admin: &Client, url: &str) -> bool {
    println!("\none tick with {DUE_A_TICK} due sessions, median of {TICKS}, interleaved");
    let mut all = Vec::new();
    for lessons in SIZES {
        let (url, client) = filled(admin, url, &format!("bench_ticks_{lessons}"), 0).await;
        fill_settled(&client, lessons).await;
        vacuum(&client).await;
        let (settling, samples) = (settling(&url), Vec::new());
        all.push(Tables {
            lessons,
            client,
            settling,
            samples,
        });
    }

    for round in 0..=TICKS {
        for tables in &mut all {
            fill(&tables.client, DUE_A_TICK).await;
            let began = Instant::now();
            assert_eq!(settle(&tables.settling).await, DUE_A_TICK.unsigned_abs());
            // The first round opens the connections.
            if round > 0 {
                tables.samples.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }

    for tables in &all {
        let [_, median, _] = quartiles(tables.samples.clone());
        println!(
            "  {:>10} lessons in the tables   {median:>8.2} ms",
            tables.lessons
        );
    }
    let (Some(smallest), Some(largest)) = (all.first(), all.last()) else {
        return false;
    };
    let pairs = largest.samples.iter().zip(&smallest.samples);
    judged(quartiles(pairs.map(|(large, small)| large / small).collect()))
}

/// Whether the largest tables are as fast as the smallest. On a machine that was busy nothing can be said, which is no
/// failure of ours.
fn judged([low, median, high]: [f64; 3]) -> bool {
    println!(
        "  the largest against the smallest      {median:>8.2} ({low:.2} to {high:.2}; wanted: at most {ALLOWED_RATIO})"
    );
    let is_noisy = high - low > NOISY;
    if is_noisy {
        println!("  noisy: the pairs differ too much to say; run it on a quieter machine");
    }
    is_noisy || median <= ALLOWED_RATIO
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    [last / 4, last / 2, last * 3 / 4].map(|n| samples.get(n).copied().unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).expect("bench-settlement DATABASE_URL");
    let admin = connect(&url).await;
    let is_fast = throughput(&admin, &url).await;
    let is_flat = ticks(&admin, &url).await;
    let tables = SIZES.map(|size| format!("bench_ticks_{size}"));
    let others = ["bench_limit", "bench_ours", "bench_loop"].map(ToOwned::to_owned);
    for name in others.iter().chain(&tables) {
        let _ = admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await;
    }
    if is_fast && is_flat {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
