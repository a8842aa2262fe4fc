//! What is true of one invocation: its ids, which every log line carries, its deadline, and what its one
//! summary line reports.

use crate::logs;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much of the time before the deadline is kept back for answering.
const MARGIN: Duration = Duration::from_millis(500);

/// The time that is assumed when the deadline is unknown. Emulators send constant deadlines in the past.
const UNKNOWN_BUDGET: Duration = Duration::from_secs(20);

/// The namespace of the metrics. Each stage has its own, so that two stages in one account do not ring each
/// other's alarms.
static NAMESPACE: LazyLock<String> =
    LazyLock::new(|| std::env::var("METRICS_NAMESPACE").unwrap_or_else(|_| "Firstbell".into()));

static WARM: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    static CURRENT: Arc<Invocation>;
}

/// One invocation, or one record's work within it, which has its own log fields and shares the rest.
pub struct Invocation {
    function: &'static str,
    cold: bool,
    started: Instant,
    budget: Duration,
    fields: Mutex<Map<String, Value>>,
    phases: Arc<Mutex<Map<String, Value>>>,
}

/// How an invocation ended. It is a dimension of the metrics, so it has few values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked was done.
    Ok,
    /// The caller was refused (4xx), or a record was set aside as unusable.
    Refused,
    /// Something failed that may work later.
    Failed,
    /// A defect: a panic was caught.
    Panicked,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Invocation {
    /// Begins an invocation of `function`. `deadline_ms` is the runtime's, in epoch milliseconds.
    pub fn begin(function: &'static str, request_id: &str, deadline_ms: u64) -> Arc<Self> {
        let mut fields = Map::new();
        fields.insert("function".into(), function.into());
        fields.insert("requestId".into(), request_id.into());
        fields.insert("correlation_id".into(), request_id.into());

        let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms));

        Arc::new(Self {
            function,
            cold: !WARM.swap(true, Ordering::Relaxed),
            started: Instant::now(),
            budget: if left.is_zero() {
                UNKNOWN_BUDGET
            } else {
                left.saturating_sub(MARGIN)
            },
            fields: Mutex::new(fields),
            phases: Arc::default(),
        })
    }

    /// Runs `work` as this invocation: what it notes and measures is counted here.
    pub async fn scope<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), work).await
    }

    /// Writes the summary line, which is at the same time the metrics (`CloudWatch` embedded metric format):
    /// everything by function and outcome, and the duration by outcome alone, so that one alarm sees a panic
    /// of any function.
    pub fn finish(&self, outcome: Outcome, counts: &[(&'static str, u64)]) {
        let duration_ms = millis(self.started.elapsed());
        let duration = json!({"Name": "duration_ms", "Unit": "Milliseconds"});

        let mut names = vec![duration.clone()];
        names.extend(
            counts
                .iter()
                .map(|(name, _)| json!({"Name": name, "Unit": "Count"})),
        );

        let mut line = locked(&self.fields).clone();
        line.append(&mut locked(&self.phases).clone());
        line.extend(
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), json!(count))),
        );
        line.insert("outcome".into(), outcome.name().into());
        line.insert("cold".into(), self.cold.into());
        line.insert("duration_ms".into(), duration_ms.into());
        line.insert(
            "_aws".into(),
            json!({
                "Timestamp": Timestamp::now().as_millisecond(),
                "CloudWatchMetrics": [
                    {"Namespace": *NAMESPACE, "Dimensions": [["function", "outcome"]], "Metrics": names},
                    {"Namespace": *NAMESPACE, "Dimensions": [["outcome"]], "Metrics": [duration]},
                ],
            }),
        );

        logs::write("INFO", "invocation", line);
    }

    pub(crate) fn fields() -> Map<String, Value> {
        CURRENT
            .try_with(|current| locked(&current.fields).clone())
            .unwrap_or_default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Adds an id to this invocation's log lines, such as `booking_id`. Ids only: never a name, an address or
/// a token.
pub fn note(name: &'static str, value: impl Display) {
    let _ = CURRENT.try_with(|current| locked(&current.fields).insert(name.into(), value.to_string().into()));
}

/// Runs `work` with log fields of its own within the invocation, so that records that are processed side by
/// side do not mix their ids.
pub async fn nested<F: Future>(correlation_id: Option<String>, work: F) -> F::Output {
    let Ok(parent) = CURRENT.try_with(Arc::clone) else {
        return work.await;
    };

    let mut fields = locked(&parent.fields).clone();
    if let Some(id) = correlation_id {
        fields.insert("correlation_id".into(), id.into());
    }

    let story = Arc::new(Invocation {
        function: parent.function,
        cold: parent.cold,
        started: parent.started,
        budget: parent.budget,
        fields: Mutex::new(fields),
        phases: Arc::clone(&parent.phases),
    });

    CURRENT.scope(story, work).await
}

/// The id that links all messages and log lines of one chain of causes; `None` outside an invocation.
pub fn correlation_id() -> Option<String> {
    let value = CURRENT
        .try_with(|current| locked(&current.fields).get("correlation_id").cloned())
        .ok()??;
    value.as_str().map(ToOwned::to_owned)
}

/// The time left before this invocation must answer; a default outside an invocation.
pub fn remaining() -> Duration {
    CURRENT
        .try_with(|current| current.budget.saturating_sub(current.started.elapsed()))
        .unwrap_or(UNKNOWN_BUDGET)
}

/// Runs `work` and adds its time to the phase `name` (`db_ms`, `vendor_ms`, `queue_ms`, …) of the summary.
pub async fn phase<F: Future>(name: &'static str, work: F) -> F::Output {
    let began = Instant::now();
    let output = work.await;
    let spent = millis(began.elapsed());

    let _ = CURRENT.try_with(|current| {
        let mut phases = locked(&current.phases);
        let total = phases
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or(0)
            .saturating_add(spent);
        phases.insert(name.into(), total.into());
    });

    output
}
