//! Entry point of functions that consume a queue, and the contract they keep (see
//! `tests/stories/batch.rs`, which has one story a line of it):
//!
//! - each record is read on its own; one that cannot be read is set aside alone;
//! - a panic is that record's failure;
//! - a record without an id cannot be reported, so it fails the whole batch, loudly;
//! - no record is begun that might not finish in time, and one that hangs fails alone; the rest is reported
//!   as failed;
//! - so many at a time and no more; a message that is in the batch twice is processed once;
//! - permanent failures go to quarantine, transient ones come back after a growing, jittered delay.

use crate::config::Env;
use crate::database::DatabaseError;
use crate::invocation::{self, Invocation, Outcome};
use crate::logs;
use crate::outbound::VendorError;
use crate::queue::{ENVELOPE_VERSION, Envelope, Queue};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt, stream};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use rand::Rng;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const FIRST_DELAY: Duration = Duration::from_secs(2);
const LONGEST_DELAY: Duration = Duration::from_mins(15);
/// How long a call to SQS about a record may take when the record's time is up. It fits in the time that is
/// kept back for the answer.
const LAST_WORD: Duration = Duration::from_millis(250);

/// The SQLSTATE classes of values that will never do: data exceptions and violated constraints.
const HOPELESS_CLASSES: [&str; 2] = ["22", "23"];

/// Why a record was not done, by what should happen to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It will never work: set it aside for a person.
    #[error("permanent: {0}")]
    Permanent(&'static str),
    /// It may work later: deliver it again.
    #[error("transient: {0}")]
    Transient(&'static str),
}

impl From<DatabaseError> for JobError {
    fn from(error: DatabaseError) -> Self {
        tracing::error!(%error, "database");
        match error {
            DatabaseError::Unavailable(reason) => Self::Transient(reason),
            DatabaseError::Refused { code, .. }
                if HOPELESS_CLASSES.iter().any(|class| code.starts_with(class)) =>
            {
                Self::Permanent("the database refused the values")
            }
            // A migration that is still to come, or a grant that is missing: nothing is wrong with the record.
            DatabaseError::Refused { .. } | DatabaseError::Unexpected(_) => {
                Self::Transient("the database is not as this function knows it")
            }
        }
    }
}

impl From<VendorError> for JobError {
    /// A job that met a vendor's refusal is always tried again: what a vendor does not have it may have
    /// later, and if it refuses us, an operator mends our key while the record waits.
    fn from(error: VendorError) -> Self {
        tracing::warn!(%error, "vendor");
        Self::Transient(match error {
            VendorError::Transient { .. } => "the vendor does not answer",
            VendorError::NotFound => "the vendor does not have it",
            VendorError::NotEnabled { .. } => "the vendor has not enabled this for our account",
            VendorError::Insufficient { .. } => "our balance at the vendor does not suffice",
            VendorError::Barred { .. } | VendorError::Permanent { .. } => "the vendor refuses us",
        })
    }
}

/// How a function works through its batches.
#[derive(Debug, Clone)]
pub struct BatchPolicy {
    /// How many records are processed at the same time.
    pub concurrency: usize,
    /// The longest that a record may take; none is begun with less time left.
    pub worst_case: Duration,
    /// Where permanent failures go: the queue's own dead-letter queue.
    pub quarantine: Queue,
}

impl BatchPolicy {
    /// A policy for `concurrency` records at a time, each of which may take `worst_case`. Reads
    /// `DEAD_LETTER_QUEUE_URL`.
    pub fn from_env(env: &mut Env, concurrency: usize, worst_case: Duration) -> Option<Self> {
        let quarantine: String = env.required("DEAD_LETTER_QUEUE_URL")?;
        Some(Self {
            concurrency,
            worst_case,
            quarantine: Queue::at(quarantine),
        })
    }
}

/// What a record's body can be read as.
pub trait Message: Sized {
    /// Reads a record's body. A body that cannot be read is a permanent failure.
    fn read(body: &str) -> Result<Self, JobError>;

    /// The id that ties this message to what caused it, if it carries one.
    fn correlation_id(&self) -> Option<&str> {
        None
    }
}

impl<T: DeserializeOwned> Message for Envelope<T> {
    fn read(body: &str) -> Result<Self, JobError> {
        let envelope: Self = serde_json::from_str(body)
            .map_err(|_| JobError::Permanent("the body is not an envelope of this type"))?;
        let known = envelope.v == ENVELOPE_VERSION;
        known
            .then_some(envelope)
            .ok_or(JobError::Permanent("unknown envelope version"))
    }

    fn correlation_id(&self) -> Option<&str> {
        Some(&self.correlation_id)
    }
}

/// The work on one message of a queue.
pub trait Job {
    /// What the function reads from its queue.
    type Message: Message;

    /// Does the work. May be called again for the same message at any time, so it has to be harmless twice.
    fn run(&self, message: Self::Message) -> impl Future<Output = Result<(), JobError>>;
}

/// Runs the function: consumes its queue with `job` until the environment ends.
pub async fn serve(function: &'static str, policy: BatchPolicy, job: impl Job) -> Result<(), Error> {
    logs::init();
    let (policy, job) = (&policy, &job);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let context = event.context;
        let invocation = Invocation::begin(function, &context.request_id, context.deadline);
        consume(&invocation, event.payload, policy, job).await
    }))
    .await
}

/// Works through one batch as `invocation`, and says which records are to be delivered again.
pub async fn consume(
    invocation: &Arc<Invocation>,
    event: SqsEvent,
    policy: &BatchPolicy,
    job: &impl Job,
) -> Result<SqsBatchResponse, Error> {
    invocation.scope(process(invocation, event, policy, job)).await
}

/// How the work on a record ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Done,
    SetAside,
    Failed,
    Panicked,
}

async fn process(
    invocation: &Invocation,
    event: SqsEvent,
    policy: &BatchPolicy,
    job: &impl Job,
) -> Result<SqsBatchResponse, Error> {
    let received = event.records.len();
    let Some(records) = identified(event.records) else {
        tracing::error!("a record has no message id; failing the whole batch");
        invocation.finish(Outcome::Failed, &[("records", received as u64)]);
        return Err(Error::from("a record has no message id"));
    };

    let fates: Vec<(String, Fate)> = stream::iter(records)
        .map(|(id, record)| async move { (id, work_if_in_time(&record, policy, job).await) })
        .buffer_unordered(policy.concurrency.max(1))
        .collect()
        .await;

    let count = |fate: &Fate| fates.iter().filter(|(_, other)| other == fate).count() as u64;
    let (failed, set_aside, panicked) = (
        count(&Fate::Failed),
        count(&Fate::SetAside),
        count(&Fate::Panicked),
    );

    // The worst of the records' fates is the outcome of the batch.
    let outcome = match (panicked, failed, set_aside) {
        (1.., _, _) => Outcome::Panicked,
        (_, 1.., _) => Outcome::Failed,
        (_, _, 1..) => Outcome::Refused,
        _ => Outcome::Ok,
    };

    invocation.finish(
        outcome,
        &[
            ("records", received as u64),
            ("failed", failed),
            ("set_aside", set_aside),
            ("panicked", panicked),
        ],
    );

    let failures = fates
        .into_iter()
        .filter(|(_, fate)| matches!(fate, Fate::Failed | Fate::Panicked));

    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures.map(|(id, _)| failure(id)).collect();
    Ok(response)
}

fn failure(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}

/// Each record with its id, every id once; `None` if a record has no id.
fn identified(records: Vec<SqsMessage>) -> Option<Vec<(String, SqsMessage)>> {
    let mut seen = HashSet::new();
    let mut unique = Vec::with_capacity(records.len());
    for record in records {
        let id = record.message_id.clone().filter(|id| !id.is_empty())?;
        if seen.insert(id.clone()) {
            unique.push((id, record));
        }
    }
    Some(unique)
}

async fn work_if_in_time(record: &SqsMessage, policy: &BatchPolicy, job: &impl Job) -> Fate {
    if invocation::remaining() < policy.worst_case {
        return Fate::Failed;
    }
    work(record, policy, job).await
}

async fn work(record: &SqsMessage, policy: &BatchPolicy, job: &impl Job) -> Fate {
    let body = record.body.as_deref().unwrap_or_default();
    let message = match <_ as Message>::read(body) {
        Ok(message) => message,
        Err(error) => return settle(Err(error), record, policy).await,
    };

    // A record that hangs fails alone, while there is still time to report the others.
    match timeout(
        invocation::remaining(),
        AssertUnwindSafe(run(message, job)).catch_unwind(),
    )
    .await
    {
        Ok(Ok(result)) => settle(result, record, policy).await,
        Ok(Err(_)) => Fate::Panicked,
        Err(_) => settle(Err(JobError::Transient("it took too long")), record, policy).await,
    }
}

async fn run<J: Job>(message: J::Message, job: &J) -> Result<(), JobError> {
    let story = message.correlation_id().map(ToOwned::to_owned);
    invocation::nested(story, job.run(message)).await
}

async fn settle(result: Result<(), JobError>, record: &SqsMessage, policy: &BatchPolicy) -> Fate {
    let Err(error) = result else { return Fate::Done };
    tracing::warn!(%error, message_id = record.message_id.as_deref(), "record not done");
    match error {
        JobError::Permanent(_) => set_aside(record, policy).await,
        JobError::Transient(_) => {
            put_off(record).await;
            Fate::Failed
        }
    }
}

async fn set_aside(record: &SqsMessage, policy: &BatchPolicy) -> Fate {
    let (body, id) = (
        record.body.as_deref().unwrap_or_default(),
        record.message_id.as_deref(),
    );
    match in_time(policy.quarantine.send_raw(body, id.unwrap_or_default())).await {
        Some(Ok(())) => Fate::SetAside,
        Some(Err(_)) | None => Fate::Failed,
    }
}

/// Waits for a last call to SQS about a record, but no longer than the invocation has left: a slow SQS must
/// not keep the others from being reported.
async fn in_time<T>(word: impl Future<Output = T>) -> Option<T> {
    timeout(invocation::remaining().max(LAST_WORD), Box::pin(word))
        .await
        .ok()
}

/// Makes a failed record come back later than the queue would bring it. Best effort: without it the
/// record comes back after the queue's own visibility time-out.
async fn put_off(record: &SqsMessage) {
    let queue = record.event_source_arn.as_deref().and_then(Queue::from_arn);
    if let (Some(queue), Some(receipt)) = (queue, record.receipt_handle.as_deref()) {
        let received = record
            .attributes
            .get("ApproximateReceiveCount")
            .and_then(|count| count.parse().ok());

        let longest = longest_delay(received.unwrap_or(1)).as_secs();
        // Random between half and the whole, so that records that failed together do not come back together.
        let delay = Duration::from_secs(rand::rng().random_range(longest / 2..=longest));
        in_time(queue.delay(receipt, delay)).await;
    }
}

/// The longest delay, which doubles with every receipt: 2 s, 4 s, 8 s, …, 15 min.
fn longest_delay(received: u32) -> Duration {
    let doublings = received.saturating_sub(1).min(16);
    FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_quarter_of_an_hour_and_no_further() {
        let seconds = |received| longest_delay(received).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 1_000_000].map(seconds), [2, 4, 8, 512, 900, 900]);
        assert_eq!(seconds(0), 2, "a missing count is the first");
    }

    #[test]
    fn only_values_that_will_never_do_are_refused_for_good() {
        let fate = |code: &str| {
            let (code, constraint) = (code.to_owned(), None);
            JobError::from(DatabaseError::Refused { code, constraint })
        };

        for code in ["22P02", "22003", "23505", "23514"] {
            assert!(matches!(fate(code), JobError::Permanent(_)), "{code}");
        }
        for code in [
            "42703", "42P01", "42501", "25P02", "26000", "0A000", "XX000", "P0001",
        ] {
            assert!(matches!(fate(code), JobError::Transient(_)), "{code}");
        }

        let odd_row = DatabaseError::Unexpected("column");
        assert!(matches!(JobError::from(odd_row), JobError::Transient(_)));
    }
}
