//! What is said while it runs, and in the end.

use crate::judge::Verdict;
use crate::schedules::Schedules;
use crate::script::Script;
use crate::stage::{Counted, Stage};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const FILE: &str = "target/month.json";

/// What is in the database, by name.
const TOTALS: &str = "
    SELECT 'sessions ' || status, count(*) FROM sessions GROUP BY status
    UNION ALL SELECT 'payments ' || method || ' ' || status, count(*) FROM payments GROUP BY method, status
    UNION ALL SELECT 'refunds ' || status, count(*) FROM refunds GROUP BY status
    UNION ALL SELECT 'ledger entries', count(*) FROM ledger_entries
    UNION ALL SELECT 'provider events', count(*) FROM provider_events
    UNION ALL SELECT 'notifications', count(*) FROM notifications
    ORDER BY 1";

/// A line for each simulated day.
pub(crate) struct Progress {
    began: Instant,
    next: Timestamp,
    begins_at: Timestamp,
    ends: Vec<Timestamp>,
}

impl Progress {
    pub(crate) fn begin(script: &Script) -> Self {
        let mut ends: Vec<Timestamp> = script
            .lessons
            .iter()
            .map(crate::script::Lesson::ends_at)
            .collect();
        ends.sort_unstable();
        println!(
            "{} days of {} lessons, of {} clients and {} tutors",
            script.days(),
            script.lessons.len(),
            script.people.len(),
            script.tutors().len()
        );
        Self {
            began: Instant::now(),
            next: script.begins_at,
            begins_at: script.begins_at,
            ends,
        }
    }

    pub(crate) async fn tell(&mut self, now: Timestamp, stage: &Stage, schedules: &Schedules) {
        if now < self.next {
            return;
        }
        self.next = now + SignedDuration::from_hours(24);
        let over = self.ends.partition_point(|end| *end <= now);
        let (counted, spent) = (stage.counts.now(), self.began.elapsed().as_secs_f64());
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = over as f64 / spent.max(0.001);
        println!(
            "day {:>2}: {over:>6} lessons over, {}, {:>7} messages; {spent:>5.0} s, {rate:>4.0} lessons/s, {} MB",
            now.duration_since(self.begins_at).as_hours() / 24,
            schedules.totals().await,
            counted.messages,
            resident_megabytes(),
        );
    }
}

/// What this process holds in memory, as Linux says.
fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1_024
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    lessons: usize,
    days: i64,
    is_clean: bool,
    seconds: u64,
    simulated_until: Timestamp,
    megabytes: u64,
    stories: BTreeMap<String, usize>,
    happened: Counted,
    put_off_because: BTreeMap<&'static str, u64>,
    totals: BTreeMap<String, i64>,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

impl<'a> Report<'a> {
    pub(crate) async fn of(
        script: &Script,
        stage: &Stage,
        owner: &Client,
        verdict: &'a Verdict,
        took: Duration,
    ) -> Self {
        let mut stories = BTreeMap::new();
        for lesson in &script.lessons {
            *stories.entry(format!("{:?}", lesson.story)).or_default() += 1;
        }
        let totals = owner.query(TOTALS, &[]).await.expect("totals");
        Self {
            lessons: script.lessons.len(),
            days: script.days(),
            is_clean: verdict.is_clean(),
            seconds: took.as_secs(),
            simulated_until: stage.clock.now(),
            megabytes: resident_megabytes(),
            stories,
            happened: stage.counts.now(),
            put_off_because: stage.reasons(),
            totals: totals.iter().map(|row| (row.get(0), row.get(1))).collect(),
            verdict,
        }
    }

    pub(crate) fn show(&self) {
        println!("\nhow the lessons went, by the script");
        for (story, count) in &self.stories {
            println!("  {story:<20} {count:>9}");
        }
        println!("\nwhat came of it");
        for (what, count) in &self.totals {
            println!("  {what:<40} {count:>9}");
        }
        println!("\naccounts: ledger and gateway");
        for (account, balance) in &self.verdict.balances {
            println!("  {account:<24} {:>14} {:>14}", balance.ledger, balance.gateway);
        }
        println!("\nmessages put off, and why");
        for (reason, count) in &self.put_off_because {
            println!("  {reason:<60} {count:>9}");
        }
        println!("\n{:#?}", self.happened);
        println!("\ncorrections: {}; found wrong:", self.verdict.corrections);
        for (check, wrongs) in &self.verdict.checks {
            println!("  {:>7}  {check}", wrongs.count);
            for example in &wrongs.examples {
                println!("           {example}");
            }
        }
        let word = if self.is_clean { "clean" } else { "WRONG" };
        println!(
            "\n{word}: {} lessons, {} s, {} MB, until {}",
            self.lessons, self.seconds, self.megabytes, self.simulated_until
        );
    }

    pub(crate) fn save(&self) {
        let text = serde_json::to_string_pretty(self).expect("a report");
        std::fs::write(FILE, text).expect("the report is written");
        println!("the report is {FILE}");
    }
}
