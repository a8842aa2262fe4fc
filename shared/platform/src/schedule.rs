//! Entry point of functions that run on a schedule. Schedules fire at least once and may overlap.

use crate::invocation::{Invocation, Outcome};
use crate::logs;
use futures::FutureExt;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use std::future::Future;
use std::panic::AssertUnwindSafe;

/// What one run did, as named counts for its summary line.
pub type Counts = Vec<(&'static str, u64)>;

/// What a function does at each tick of its schedule.
pub trait Scheduled {
    /// One run. An error counts as a failed invocation. Whether Lambda invokes it again is said in the template, and
    /// changes nothing: the next tick does whatever is due.
    fn run(&self) -> impl Future<Output = Result<Counts, Error>>;
}

/// Runs the function: `job` for every tick until the environment ends.
pub async fn serve(function: &'static str, job: impl Scheduled) -> Result<(), Error> {
    logs::init();
    let job = &job;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let invocation = Invocation::begin(function, &event.context.request_id, event.context.deadline);
        invocation
            .scope(async {
                let result = AssertUnwindSafe(job.run()).catch_unwind().await;
                let (outcome, counts, answer) = match result {
                    Ok(Ok(counts)) => (Outcome::Ok, counts, Ok(())),
                    Ok(Err(error)) => {
                        tracing::error!(%error, "run failed");
                        (Outcome::Failed, Counts::new(), Err(Error::from("run failed")))
                    }
                    Err(_) => (Outcome::Panicked, Counts::new(), Err(Error::from("panicked"))),
                };

                invocation.finish(outcome, &counts);
                answer
            })
            .await
    }))
    .await
}
