//! `bench-month DATABASE_URL [LESSONS]`: a simulated month. A platform books, moves and cancels lessons by its own SQL;
//! people pay, join, drop out and stay away; gateways and classroom are the simulators over HTTP, who lose webhooks,
//! lag, refuse cards and let refunds fail; everything of ours is the functions' own code, told the month's time. When the
//! month has come to rest it is judged against the script and the gateways' own records. `target/month.json` has the
//! report; the exit code is 1 if anything is wrong.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement talks and stops when it cannot measure; a JSON value is null where it has no such member"
)]

mod bookings;
mod judge;
mod report;
mod schedules;
mod script;
mod stage;
mod worker;

use bench::{connect, fresh_database};
use bookings::Platform;
use jiff::{SignedDuration, Timestamp, Unit};
use judge::Verdict;
use rand::SeedableRng;
use rand::rngs::StdRng;
use report::{Progress, Report};
use schedules::Schedules;
use script::{Script, Step};
use stage::Stage;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use worker::{Next, Open, Worker};

const LESSONS: usize = 100_000;
const BEGINS: &str = "2027-03-01T00:00:00Z";
const SEED: u64 = 1_815;
const WORKERS: usize = 6;
/// What is not at rest so long after the last lesson never will be.
const RESTS_WITHIN: SignedDuration = SignedDuration::from_hours(45 * 24);
/// Rounds of schedules and messages within one minute; what then is left over is stuck.
const ROUNDS: usize = 100;

/// What is still to happen by itself, by when.
type Agenda = BTreeMap<Timestamp, Vec<(usize, Step)>>;

struct Month {
    stage: Arc<Stage>,
    script: Arc<Script>,
    workers: Vec<Arc<Worker>>,
    schedules: Schedules,
    platform: Platform,
    agenda: Agenda,
    next_hour: Timestamp,
    stuck: Vec<String>,
}

impl Month {
    async fn prepare(url: &str, lessons: usize) -> Self {
        let begins_at = BEGINS.parse().expect("a time");
        let mut random = StdRng::seed_from_u64(SEED);
        let script = Arc::new(Script::write(lessons, begins_at, &mut random));
        let mut agenda = Agenda::new();
        for (n, lesson) in script.lessons.iter().enumerate() {
            for (at, step) in lesson.steps(&mut random) {
                agenda.entry(at).or_default().push((n, step));
            }
        }

        let first = agenda.keys().next().copied().unwrap_or(begins_at);
        let stage = Arc::new(Stage::set(first, SEED).await);
        let platform = Platform::open(connect(url).await, &script).await;
        let (open, service) = (
            Arc::new(Open::default()),
            url.replace("postgres@", "firstbell_service@"),
        );
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let worker = Worker::hire(&service, connect(url).await, &stage, &script, &open);
            workers.push(Arc::new(worker));
        }
        Self {
            schedules: Schedules::new(&service, connect(url).await, &stage),
            stage,
            script,
            workers,
            platform,
            agenda,
            next_hour: first,
            stuck: Vec::new(),
        }
    }

    /// Minute by minute, but only those in which something is due, until nothing is.
    async fn run(&mut self, progress: &mut Progress) {
        let (mut now, over) = (self.stage.clock.now(), self.script.ends_at + RESTS_WITHIN);
        while now < over {
            self.stage.wait_until(now);
            progress.tell(now, &self.stage, &self.schedules).await;
            if now >= self.next_hour {
                self.hour(now).await;
            }
            self.act(now).await;
            let next = self.settle_down(now).await;
            match self.next_minute(now, next) {
                Some(next) => now = next,
                None => break,
            }
        }
    }

    /// What only has to happen once in a while.
    async fn hour(&mut self, now: Timestamp) {
        self.next_hour = now + SignedDuration::from_hours(1);
        // In the end the gateways behave.
        let load = (now <= self.script.ends_at).then(|| self.script.lessons_an_hour());
        self.schedules.hourly(&self.stage, load, now).await;
        for booking in self.schedules.told_of_failed_payments().await {
            if let Some(n) = self.platform.lesson(booking) {
                let at = now + SignedDuration::from_mins(5 + i64::from(self.stage.draw(180)));
                self.agenda.entry(at).or_default().push((n, Step::PayMissing));
            }
        }
    }

    /// What the platform and the people do now.
    async fn act(&mut self, now: Timestamp) {
        let later = self.agenda.split_off(&(now + SignedDuration::from_nanos(1)));
        let due = std::mem::replace(&mut self.agenda, later);
        let mut by_lesson = BTreeMap::<usize, Vec<Step>>::new();
        for (n, step) in due.into_values().flatten() {
            by_lesson.entry(n).or_default().push(step);
        }
        if by_lesson.is_empty() {
            return;
        }
        self.platform.write(&self.script, &by_lesson, now).await;

        let next = share(
            &self.workers,
            by_lesson.into_iter().collect(),
            |worker, (n, steps)| async move {
                let mut next: Vec<(usize, Next)> = Vec::new();
                for step in steps {
                    next.push((n, worker.act(n, step).await));
                }
                next
            },
        );
        for (n, next) in next.await.into_iter().flatten() {
            if let Some((at, step)) = next {
                self.agenda.entry(at.max(now)).or_default().push((n, step));
            }
        }
    }

    /// Schedules run and messages are worked on until nothing is due any more; when the next thing is.
    async fn settle_down(&mut self, now: Timestamp) -> Option<Timestamp> {
        for _ in 0..ROUNDS {
            let (next, has_run) = self.schedules.run(&self.stage, now).await;
            self.stage.collect_letters();
            let due = self.stage.due();
            if due.is_empty() && !has_run {
                return next;
            }
            share(&self.workers, due, |worker, message| async move {
                worker.work(message).await;
            })
            .await;
        }
        if self.stuck.len() < stage::EXAMPLES {
            self.stuck
                .push(format!("{now}: {}", self.schedules.what_is_due().await));
        }
        Some(now + SignedDuration::from_mins(1))
    }

    /// The next whole minute in which anything is due; `None` at rest.
    fn next_minute(&self, now: Timestamp, scheduled: Option<Timestamp>) -> Option<Timestamp> {
        let acts = self.agenda.keys().next().copied();
        let due = [acts, scheduled, self.stage.next_due(), self.schedules.lags_until];
        let is_over =
            due.iter().all(Option::is_none) && self.schedules.is_at_rest && now > self.script.ends_at;
        let all = due.into_iter().chain([(!is_over).then_some(self.next_hour)]);
        let next = all.flatten().min()?;
        let minute = next.max(now + SignedDuration::from_nanos(1));
        let up = jiff::TimestampRound::new()
            .smallest(Unit::Minute)
            .mode(jiff::RoundMode::Ceil);
        Some(minute.round(up).unwrap_or(minute))
    }
}

/// Shares work among the workers, who take one piece after another.
async fn share<T, F, R>(
    workers: &[Arc<Worker>],
    pieces: Vec<T>,
    work: impl Fn(Arc<Worker>, T) -> F + Copy + Send + 'static,
) -> Vec<R>
where
    T: Send + 'static,
    F: Future<Output = R> + Send,
    R: Send + 'static,
{
    let count = pieces.len();
    let pieces = Arc::new(Mutex::new(VecDeque::from(pieces)));
    let next =
        |pieces: &Mutex<VecDeque<T>>| pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let hands = workers.iter().take(count).map(|worker| {
        let (worker, pieces) = (Arc::clone(worker), Arc::clone(&pieces));
        tokio::spawn(async move {
            let mut done = Vec::new();
            while let Some(piece) = next(&pieces) {
                done.push(work(Arc::clone(&worker), piece).await);
            }
            done
        })
    });
    let hands: Vec<_> = hands.collect();
    let mut all = Vec::with_capacity(count);
    for hand in hands {
        all.extend(hand.await.expect("nobody panics"));
    }
    all
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("bench-month DATABASE_URL [LESSONS]");
    let lessons = arguments
        .next()
        .map_or(LESSONS, |count| count.parse().expect("a number of lessons"));
    if std::env::var_os("LOGS").is_some() {
        platform::logs::init();
    }

    let began = Instant::now();
    let admin = connect(&url).await;
    let (month_url, owner) = fresh_database(&admin, &url, "bench_month").await;
    let mut month = Month::prepare(&month_url, lessons).await;
    let mut progress = Progress::begin(&month.script);
    month.run(&mut progress).await;

    println!("\nat rest after {:.0} s; judging", began.elapsed().as_secs_f64());
    let verdict = Verdict::reach(&month.script, &month.stage, &owner, &month.stuck).await;
    let report = Report::of(&month.script, &month.stage, &owner, &verdict, began.elapsed()).await;
    report.show();
    report.save();
    if verdict.is_clean() {
        let drop = "DROP DATABASE bench_month WITH (FORCE)";
        admin.batch_execute(drop).await.expect("gone");
        ExitCode::SUCCESS
    } else {
        println!("the database bench_month stays, to be looked at");
        ExitCode::FAILURE
    }
}
