//! The batch processor's contract, one story a line of it.

use crate::harness::{Aws, record};
use aws_lambda_events::sqs::SqsEvent;
use futures::future::pending;
use jiff::{SignedDuration, Timestamp};
use platform::batch::{BatchPolicy, Job, JobError, consume};
use platform::invocation::Invocation;
use platform::queue::{Envelope, Queue};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a message asks the job to do.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Succeed,
    Panic,
    FailForGood,
    FailForNow,
    Hang,
}

#[derive(Default)]
struct Obedient {
    done: Mutex<Vec<String>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl Job for &Obedient {
    type Message = Envelope<Order>;

    async fn run(&self, message: Envelope<Order>) -> Result<(), JobError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        match message.payload {
            Order::Succeed => self.done.lock().unwrap().push(message.correlation_id),
            Order::Panic => panic!("as ordered"),
            Order::FailForGood => return Err(JobError::Permanent("as ordered")),
            Order::FailForNow => return Err(JobError::Transient("as ordered")),
            Order::Hang => pending().await,
        }
        Ok(())
    }
}

fn message(id: &str, order: &str) -> Value {
    let body = json!({
        "v": 1, "type": "order", "id": "018f2f6e-0000-7000-8000-000000000001", "occurred_at": "2026-03-01T13:00:00Z",
        "correlation_id": id, "causation_id": null, "payload": order,
    });
    record(
        id,
        &body.to_string(),
        "receipt",
        "arn:aws:sqs:us-east-1:000000000000:orders",
    )
}

struct Outcome {
    answer: Result<Vec<String>, String>,
    done: Vec<String>,
    most_running: usize,
    set_aside: usize,
}

/// Works through a batch with so much time left, at most two records at a time.
async fn work_with(records: Vec<Value>, time_left: SignedDuration) -> Outcome {
    work_for(records, time_left, Duration::from_secs(5)).await
}

async fn work_for(records: Vec<Value>, time_left: SignedDuration, worst_case: Duration) -> Outcome {
    let (aws, job) = (Aws::connect().await, Obedient::default());
    let dead_letters = aws.queue("dead").await;
    let quarantine = Queue::at(&dead_letters);
    let policy = BatchPolicy {
        concurrency: 2,
        worst_case,
        quarantine,
    };
    let event: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
    let deadline = (Timestamp::now() + time_left).as_millisecond();
    let invocation = Invocation::begin("story", "request-1", u64::try_from(deadline).unwrap());
    let answer = consume(&invocation, event, &policy, &&job).await;
    let failures = |answer: aws_lambda_events::sqs::SqsBatchResponse| {
        answer
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect()
    };
    Outcome {
        answer: answer.map(failures).map_err(|error| error.to_string()),
        done: job.done.into_inner().unwrap(),
        most_running: job.most_running.into_inner(),
        set_aside: aws.drain(&dead_letters).await.len(),
    }
}

async fn work(records: Vec<Value>) -> Outcome {
    work_with(records, SignedDuration::from_secs(60)).await
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_set_aside_alone() {
    let garbage = record(
        "garbage",
        "{",
        "receipt",
        "arn:aws:sqs:us-east-1:000000000000:orders",
    );
    let outcome = work(vec![
        message("a", "succeed"),
        garbage,
        message("b", "succeed"),
        message("c", "dance"),
    ])
    .await;
    assert_eq!(outcome.answer, Ok(vec![]));
    assert_eq!(
        (sorted(outcome.done), outcome.set_aside),
        (vec!["a".into(), "b".into()], 2)
    );
}

#[tokio::test]
async fn a_panic_is_that_records_failure() {
    let outcome = work(vec![
        message("a", "succeed"),
        message("bad", "panic"),
        message("b", "succeed"),
    ])
    .await;
    assert_eq!(outcome.answer, Ok(vec!["bad".into()]));
    assert_eq!(sorted(outcome.done), ["a", "b"]);
}

#[tokio::test]
async fn a_record_without_an_id_fails_the_whole_batch_before_anything_is_done() {
    for id in [Value::Null, "".into()] {
        let mut nameless = message("x", "succeed");
        nameless["messageId"] = id;
        let outcome = work(vec![message("a", "succeed"), nameless]).await;
        assert_eq!(outcome.answer, Err("a record has no message id".into()));
        assert_eq!(outcome.done, Vec::<String>::new());
    }
}

#[tokio::test]
async fn no_record_is_begun_that_might_not_finish_in_time() {
    let records = vec![message("a", "succeed"), message("b", "succeed")];
    let outcome = work_with(records, SignedDuration::from_secs(5)).await;
    assert_eq!(sorted(outcome.answer.unwrap()), ["a", "b"]);
    assert_eq!(
        outcome.done,
        Vec::<String>::new(),
        "less than the worst case was left"
    );
}

#[tokio::test]
async fn so_many_at_a_time_and_no_more() {
    let outcome = work((0..10).map(|n| message(&n.to_string(), "succeed")).collect()).await;
    assert_eq!((outcome.done.len(), outcome.most_running), (10, 2));
}

#[tokio::test]
async fn a_message_that_is_in_the_batch_twice_is_processed_once() {
    let outcome = work(vec![message("a", "succeed"), message("a", "succeed")]).await;
    assert_eq!(outcome.done, ["a"]);
    let failing = work(vec![message("a", "panic"), message("a", "panic")]).await;
    assert_eq!(failing.answer, Ok(vec!["a".into()]), "and reported once");
}

#[tokio::test]
async fn permanent_failures_go_to_quarantine_and_are_not_delivered_again() {
    let outcome = work(vec![message("a", "fail_for_good"), message("b", "fail_for_now")]).await;
    assert_eq!((outcome.answer, outcome.set_aside), (Ok(vec!["b".into()]), 1));
}

#[tokio::test]
async fn a_record_that_hangs_fails_alone_and_in_time() {
    let records = vec![
        message("h", "hang"),
        message("a", "succeed"),
        message("b", "succeed"),
    ];
    // Half a second is kept back for answering, so this leaves the hanging record the other four tenths.
    let outcome = work_for(records, SignedDuration::from_millis(900), Duration::ZERO).await;
    assert_eq!(outcome.answer, Ok(vec!["h".into()]));
    assert_eq!(sorted(outcome.done), ["a", "b"]);
}

/// Takes what is visible in the queue, waiting for it for so many seconds, and hides it for ten minutes.
async fn receive(aws: &Aws, queue: &str, seconds: i32) -> Vec<aws_sdk_sqs::types::Message> {
    let request = aws
        .sqs
        .receive_message()
        .queue_url(queue)
        .wait_time_seconds(seconds)
        .visibility_timeout(600);
    request.send().await.unwrap().messages.unwrap_or_default()
}

#[tokio::test]
async fn a_transient_failure_comes_back_after_a_delay_of_its_own() {
    let aws = Aws::connect().await;
    let queue = aws.queue("orders").await;
    let arn = aws.arn(&queue).await;
    let order = message("a", "fail_for_now")["body"].as_str().unwrap().to_owned();
    let send = aws.sqs.send_message().queue_url(&queue).message_body(order);
    send.send().await.unwrap();
    let received = receive(&aws, &queue, 0).await;
    let delivered = record(
        received[0].message_id().unwrap(),
        received[0].body().unwrap(),
        received[0].receipt_handle().unwrap(),
        &arn,
    );

    let outcome = work(vec![delivered]).await;

    assert_eq!(outcome.answer.map(|failed| failed.len()), Ok(1));
    assert_eq!(receive(&aws, &queue, 0).await.len(), 0, "it is visible at once");
    let again = receive(&aws, &queue, 5).await;
    assert_eq!(
        again.len(),
        1,
        "without a delay of its own it stays hidden for ten minutes"
    );
}

#[tokio::test]
async fn a_message_that_failed_often_stays_away_for_longer() {
    let aws = Aws::connect().await;
    let queue = aws.queue("orders").await;
    let arn = aws.arn(&queue).await;
    let order = message("a", "fail_for_now")["body"].as_str().unwrap().to_owned();
    let send = aws.sqs.send_message().queue_url(&queue).message_body(order);
    send.send().await.unwrap();
    // Visible again at once, if nobody puts it off.
    let request = aws.sqs.receive_message().queue_url(&queue).visibility_timeout(1);
    let received = request.send().await.unwrap().messages.unwrap();
    let mut delivered = record(
        received[0].message_id().unwrap(),
        received[0].body().unwrap(),
        received[0].receipt_handle().unwrap(),
        &arn,
    );
    delivered["attributes"]["ApproximateReceiveCount"] = "10".into();

    work(vec![delivered]).await;

    assert_eq!(
        receive(&aws, &queue, 3).await.len(),
        0,
        "it is back within three seconds"
    );
}
