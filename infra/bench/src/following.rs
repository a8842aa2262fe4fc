//! `bench-following DATABASE_URL`: what the follower costs the platform for each of its writes: the same statements,
//! one at a time, with our trigger and without, taking turns in the same table.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement talks, and stops when it cannot measure"
)]

use bench::{connect, fresh_database};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const WRITES: u32 = 2_000;
const ROUNDS: usize = 7;
/// How many times the write without the follower one with it may take. A write that is followed makes some of our own,
/// of a booking, its session and its history, in the platform's transaction.
const ALLOWED_RATIO: f64 = 8.0;

const PEOPLE: &str = "
    INSERT INTO public.profiles (id) VALUES
        ('11111111-1111-1111-1111-111111111111'), ('22222222-2222-2222-2222-222222222222')";

/// What a platform does to its bookings, each for one of them.
const WRITES_OF_A_PLATFORM: [(&str, &str); 4] = [
    (
        "a booking is made",
        "INSERT INTO public.bookings (client_id, tutor_id, status, session_start_time, session_duration, price_minor, price_currency)
         SELECT '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222', 'confirmed',
                now() + interval '1 day', 60, 1000 + $1::bigint, 'TTD'",
    ),
    (
        "a booking is moved",
        "UPDATE public.bookings SET session_start_time = session_start_time + interval '1 hour'
         WHERE id = (SELECT id FROM numbered WHERE n = $1)",
    ),
    (
        "it is written as it was",
        "UPDATE public.bookings SET status = status WHERE id = (SELECT id FROM numbered WHERE n = $1)",
    ),
    (
        "something else of it is written",
        "UPDATE public.bookings SET created_at = now() WHERE id = (SELECT id FROM numbered WHERE n = $1)",
    ),
];

/// Some statements of one kind, each on its own; how long one takes.
async fn time(client: &Client, sql: &str) -> Duration {
    let statement = client.prepare(sql).await.expect("a statement");
    let began = Instant::now();
    for n in 1..=i64::from(WRITES) {
        client.execute(&statement, &[&n]).await.expect("a write");
    }
    began.elapsed() / WRITES
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// With and without the trigger, in turns.
async fn compare(client: &Client, sql: &str) -> (Duration, Duration) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (state, samples) in [("ENABLE", &mut with), ("DISABLE", &mut without)] {
            let switch = format!("ALTER TABLE public.bookings {state} TRIGGER firstbell_follow");
            client.batch_execute(&switch).await.expect("a switch");
            samples.push(time(client, sql).await);
        }
    }
    (median(with), median(without))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).expect("bench-following DATABASE_URL");
    let admin = connect(&url).await;
    let (_, client) = fresh_database(&admin, &url, "bench_following").await;
    client.batch_execute(PEOPLE).await.expect("people");

    println!(
        "\none write of the platform, median of {ROUNDS} times {WRITES}, with and without the follower in turns"
    );
    let mut is_cheap = true;
    for (n, (what, sql)) in WRITES_OF_A_PLATFORM.into_iter().enumerate() {
        let (with, without) = compare(&client, sql).await;
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        println!(
            "  {what:<32} {:>7.3} ms   without {:>7.3} ms   {ratio:.1} times as long",
            with.as_secs_f64() * 1e3,
            without.as_secs_f64() * 1e3,
        );
        is_cheap &= ratio <= ALLOWED_RATIO;
        if n == 0 {
            let number = "CREATE TABLE numbered AS
                SELECT id, row_number() OVER (ORDER BY id) AS n FROM bookings; CREATE UNIQUE INDEX ON numbered (n);
                ANALYZE numbered";
            client.batch_execute(number).await.expect("numbers");
        }
    }
    println!("  (wanted: at most {ALLOWED_RATIO:.0} times)");

    let drop = "DROP DATABASE bench_following WITH (FORCE)";
    admin.batch_execute(drop).await.expect("gone");
    if is_cheap {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
