//! `bench DIRECTORY`: how long each function's binary takes from exec to its first poll of the Runtime
//! API, against a bare hello world, interleaved in the same run.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement talks, and stops when it cannot measure"
)]

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 41;
/// What constructing nothing before its first use means, in milliseconds over the bare limit.
const ALLOWED_OVER_BARE: f64 = 3.0;
const HELLO: &str = "bench-hello";
/// Complete, and leading nowhere: nothing may be called before the first event.
const SETTINGS: [(&str, &str); 31] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_REGION", "us-east-1"),
    ("DATABASE_URL_PARAMETER", "/bench/database-url"),
    ("JWT_ISSUER", "https://issuer.invalid"),
    ("JWKS_URL", "https://issuer.invalid/keys"),
    ("LESSONSPACE_API_URL", "https://vendor.invalid/v2/"),
    ("LESSONSPACE_ORGANISATION", "1"),
    ("LESSONSPACE_API_KEY_PARAMETER", "/bench/key"),
    ("LESSONSPACE_SECRET_PARAMETER", "/bench/secret"),
    ("LIVEKIT_URL", "wss://vendor.invalid"),
    ("LIVEKIT_PAGE_URL", "https://vendor.invalid/room"),
    ("LIVEKIT_API_KEYS_PARAMETER", "/bench/livekit"),
    ("PENCIL_API_URL", "https://vendor.invalid/"),
    ("PENCIL_API_KEY_PARAMETER", "/bench/pencil"),
    ("PENCIL_WEBHOOK_SECRET_PARAMETER", "/bench/pencil-webhook"),
    ("PUBLIC_BASE_URL", "https://api.invalid/"),
    (
        "QUEUES",
        "classroom-events=https://queue.invalid/1/c,gateway-events=https://queue.invalid/1/g,\
         payments=https://queue.invalid/1/p,refunds=https://queue.invalid/1/r",
    ),
    ("DEAD_LETTER_QUEUE_URL", "https://queue.invalid/1/d"),
    ("ARTIFACTS_BUCKET", "bench"),
    ("CRON_SECRET_PARAMETER", "/bench/cron"),
    ("STRIPE_API_URL", "https://vendor.invalid/"),
    ("STRIPE_SECRET_KEY_PARAMETER", "/bench/stripe"),
    ("STRIPE_WEBHOOK_SECRET_PARAMETER", "/bench/stripe-webhook"),
    ("FAPSHI_API_URL", "https://vendor.invalid/"),
    ("FAPSHI_API_KEY_PARAMETER", "/bench/fapshi"),
    ("FAPSHI_PAYOUT_KEY_PARAMETER", "/bench/fapshi-payout"),
    ("FAPSHI_WEBHOOK_SECRET_PARAMETER", "/bench/fapshi-webhook"),
    ("PAYMENT_METHODS", "card"),
    ("PAYMENT_RETURN_URL", "https://app.invalid/paid"),
];

/// From exec to the first byte of the first poll.
fn to_first_poll(binary: &Path) -> Duration {
    let api = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = api.local_addr().expect("an address").to_string();
    let began = Instant::now();
    let mut process = Command::new(binary)
        .env_clear()
        .envs(SETTINGS)
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary is built: make bench builds it");
    let (mut connection, _) = api.accept().expect("a connection");
    let mut start = [0; 64];
    let read = connection.read(&mut start).expect("a request");
    let took = began.elapsed();
    let _ = process.kill();
    let _ = process.wait();
    assert!(
        start
            .get(..read)
            .is_some_and(|start| start.starts_with(b"GET /2018-06-01/runtime/invocation/next"))
    );
    took
}

fn median_ms(mut samples: Vec<Duration>) -> f64 {
    samples.sort();
    samples
        .get(samples.len() / 2)
        .map_or(0.0, |median| median.as_secs_f64() * 1_000.0)
}

#[allow(clippy::cast_precision_loss, reason = "megabytes to two digits")]
fn megabytes(binary: &Path) -> f64 {
    std::fs::metadata(binary).map_or(0.0, |file| file.len() as f64 / 1e6)
}

/// Every function, by the name of its folder in its chapter's; `make` runs this at the repository's root.
fn functions() -> Vec<String> {
    let folders = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("it is run at the repository's root");
        entries.map(|entry| entry.expect("a folder").path())
    };
    let all = folders(Path::new("functions")).flat_map(|chapter| folders(&chapter).collect::<Vec<_>>());
    let mut names: Vec<String> = all
        .filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

fn main() -> ExitCode {
    let began = Instant::now();
    let _ = aws_lc_rs::rand::fill(&mut [0; 1]);
    println!(
        "first random byte: {:.2} ms (stock AWS-LC: 30 to 130 ms of jitter entropy)\n",
        began.elapsed().as_secs_f64() * 1e3
    );
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/release".into());
    let mut names = functions();
    names.insert(0, HELLO.to_owned());

    let mut samples = vec![Vec::new(); names.len()];
    for round in 0..=ROUNDS {
        for (name, samples) in names.iter().zip(&mut samples) {
            let sample = to_first_poll(&Path::new(&folder).join(name));
            // The first round fills the page cache.
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    println!(
        "exec to first poll, median of {ROUNDS}, interleaved\n{:<24} {:>8} {:>8} {:>11}",
        "binary", "MB", "ms", "over bare"
    );
    let medians: Vec<f64> = samples.into_iter().map(median_ms).collect();
    let bare = medians.first().copied().unwrap_or_default();
    for (name, ms) in names.iter().zip(&medians) {
        let over = ms - bare;
        println!(
            "{name:<24} {:>8.2} {ms:>8.2} {over:>+8.2} ms",
            megabytes(&Path::new(&folder).join(name))
        );
    }
    let worst = medians.iter().copied().fold(bare, f64::max) - bare;
    let verdict = if worst <= ALLOWED_OVER_BARE {
        "within"
    } else {
        "NOT within"
    };
    println!("\nworst is {worst:.2} ms over a bare function: {verdict} {ALLOWED_OVER_BARE} ms");
    if worst <= ALLOWED_OVER_BARE {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
