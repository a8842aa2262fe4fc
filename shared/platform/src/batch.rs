//! Entry point of functions that consume a queue, and the contract they keep (see
//! `tests/stories/batch.rs`, which has one story a line of it):
//!
//! - each record is read on its own; one that cannot be read is set aside alone;
//! - a panic is that record's failure;
//! - a record without an id cannot be reported, so it fails the whole batch, loudly;
//! - no record is begun that might not finish in time, and one that hangs fails alone; the rest is reported
//!   as failed;
//! - so many at a time and no more; a message that is in the batch twice is processed once;
//! - in a FIFO queue nothing of a group is processed after its first failure;
//! - permanent failures go to quarantine, transient ones come back after a growing, jittered delay.

use crate::config::Env;
use crate::database::DatabaseError;
use crate::invocation::{self, Invocation, Outcome};
use crate::logs;
use crate::queue::{ENVELOPE_VERSION, Envelope, Queue};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt, stream};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use rand::Rng;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const FIRST_DELAY: Duration = Duration::from_secs(2);
const LONGEST_DELAY: Duration = Duration::from_mins(15);

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
            DatabaseError::Refused { .. } | DatabaseError::Unexpected(_) => {
                Self::Permanent("the database refused")
            }
        }
    }
}

/// How a batch is worked through.
#[derive(Debug, Clone)]
pub struct BatchPolicy {
    /// Records processed at the same time.
    pub concurrency: usize,
    /// The longest a record may take; none is begun with less time left.
    pub worst_case: Duration,
    /// Where permanent failures go: the queue's own dead-letter queue.
    pub quarantine: Queue,
}

impl BatchPolicy {
    /// So many records at a time, each of which may take so long; reads `DEAD_LETTER_QUEUE_URL`.
    pub fn from_env(env: &mut Env, concurrency: usize, worst_case: Duration) -> Option<Self> {
        let quarantine: String = env.required("DEAD_LETTER_QUEUE_URL")?;
        Some(Self {
            concurrency,
            worst_case,
            quarantine: Queue::at(quarantine),
        })
    }
}

/// Something that a record can be read as.
pub trait Message: Sized {
    /// Reads a record's body.
    fn read(body: &str) -> Result<Self, JobError>;

    /// The story the message belongs to, if it says.
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

/// The work on one message.
pub trait Job {
    /// What it reads.
    type Message: Message;

    /// Does it. May be called again for the same message at any time.
    fn run(&self, message: Self::Message) -> impl Future<Output = Result<(), JobError>>;
}

/// Consumes a queue with `job`.
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

/// How a record ended.
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
    let fates: Vec<(String, Fate)> = stream::iter(lanes(records))
        .map(|lane| work_lane(lane, policy, job))
        .buffer_unordered(policy.concurrency.max(1))
        .concat()
        .await;
    let count = |fate: &Fate| fates.iter().filter(|(_, other)| other == fate).count() as u64;
    let (failed, set_aside, panicked) = (
        count(&Fate::Failed),
        count(&Fate::SetAside),
        count(&Fate::Panicked),
    );
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

/// Records with their ids, each id once; `None` if one has no id.
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

/// What must be worked in order is a lane: a message group of a FIFO queue, or a single record.
fn lanes(records: Vec<(String, SqsMessage)>) -> Vec<Vec<(String, SqsMessage)>> {
    let mut lanes: Vec<Vec<(String, SqsMessage)>> = Vec::new();
    let mut lane_of_group: HashMap<String, usize> = HashMap::new();
    for (id, record) in records {
        let is_fifo = record
            .event_source_arn
            .as_deref()
            .and_then(|arn| arn.rsplit_once('.'))
            .is_some_and(|(_, end)| end == "fifo");
        let group = record
            .attributes
            .get("MessageGroupId")
            .filter(|_| is_fifo)
            .cloned();
        let known = group.as_ref().and_then(|group| lane_of_group.get(group)).copied();
        if let Some(lane) = known.and_then(|n| lanes.get_mut(n)) {
            lane.push((id, record));
            continue;
        }
        if let Some(group) = group {
            lane_of_group.insert(group, lanes.len());
        }
        lanes.push(vec![(id, record)]);
    }
    lanes
}

async fn work_lane(
    lane: Vec<(String, SqsMessage)>,
    policy: &BatchPolicy,
    job: &impl Job,
) -> Vec<(String, Fate)> {
    let mut fates = Vec::with_capacity(lane.len());
    let mut blocked = false;
    for (id, record) in lane {
        let out_of_time = invocation::remaining() < policy.worst_case;
        let fate = if blocked || out_of_time {
            Fate::Failed
        } else {
            work(&record, policy, job).await
        };
        blocked |= matches!(fate, Fate::Failed | Fate::Panicked);
        fates.push((id, fate));
    }
    fates
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
    match policy.quarantine.send_raw(body, id.unwrap_or_default()).await {
        Ok(()) => Fate::SetAside,
        Err(_) => Fate::Failed,
    }
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
        let delay = Duration::from_secs(rand::rng().random_range(longest / 2..=longest));
        let _ = queue.delay(receipt, delay).await;
    }
}

/// Doubles with every receipt: 2 s, 4 s, 8 s, …, 15 min.
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
}
