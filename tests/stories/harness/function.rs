//! Function binaries, started as Lambda starts them.

use super::*;
use crate::house::contract;
use lambda_simulator::{InvocationStatus, Simulator};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A function's binary, running.
pub(crate) struct Function {
    simulator: Simulator,
    lines: Arc<Mutex<Vec<String>>>,
    _process: Child,
}

/// What an HTTP function answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: Value,
}

impl Reply {
    /// `200`, or `409 join-too-early`.
    pub(crate) fn verdict(&self) -> String {
        let kind = self.body["type"]
            .as_str()
            .and_then(|kind| kind.rsplit(':').next());
        kind.map_or_else(
            || self.status.to_string(),
            |kind| format!("{} {kind}", self.status),
        )
    }
}

/// Where cargo puts this profile's binaries: the stories themselves lie in `deps/` beside them.
pub(crate) fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|deps| deps.parent()).unwrap().join(name);
    assert!(
        path.exists(),
        "{name} is not built: run the stories by `make test`"
    );
    path
}

impl Function {
    pub(crate) async fn start(name: &str, environment: &HashMap<String, String>) -> Self {
        let simulator = Simulator::builder()
            .function_name(name)
            .invocation_timeout(Duration::from_secs(30))
            .build()
            .await
            .unwrap();
        let aws = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let mut process = Command::new(binary(name))
            .env_clear()
            .envs(simulator.lambda_env_vars())
            .envs(aws.map(|name| (name, variable(name))))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (out, err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        tokio::spawn(collect(BufReader::new(out), Arc::clone(&lines)));
        tokio::spawn(collect(BufReader::new(err), Arc::clone(&lines)));
        Self {
            simulator,
            lines,
            _process: process,
        }
    }

    /// Everything it has written so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// One invocation: its result, or the error that the runtime reported.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, String> {
        let id = self.simulator.enqueue_payload(event).await;
        // The simulator may miss the change it waits for; looking again is cheap.
        for _ in 0..600 {
            let waited = self
                .simulator
                .wait_for_invocation_complete(&id, Duration::from_millis(50))
                .await;
            let Ok(state) = waited else { continue };
            return match state.status {
                InvocationStatus::Success => Ok(state.response.unwrap().payload),
                _ => Err(state.error.map_or_else(String::new, |error| error.error_message)),
            };
        }
        panic!("no answer within 30 s; the function said: {:#?}", self.log());
    }

    /// One HTTP call, whose answer is held to the `OpenAPI` document.
    pub(crate) async fn call(&self, event: Value) -> Reply {
        let answer = self
            .invoke(event.clone())
            .await
            .expect("an HTTP function answers, it does not fail");
        let text = answer["body"].as_str().unwrap_or_default();
        let reply = Reply {
            status: answer["statusCode"]
                .as_u64()
                .and_then(|status| status.try_into().ok())
                .unwrap(),
            body: serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            headers: answer["headers"].clone(),
        };
        contract::hold(&event, reply.status, &reply.headers["content-type"], &reply.body);
        reply
    }

    /// One batch: the ids that are to be delivered again.
    pub(crate) async fn consume(&self, records: &[Value]) -> Vec<String> {
        let answer = self
            .invoke(batch(records))
            .await
            .expect("a consumer reports failures by record");
        let failures = answer["batchItemFailures"].as_array().unwrap();
        failures
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn collect(mut from: impl AsyncBufReadExt + Unpin, into: Arc<Mutex<Vec<String>>>) {
    let mut line = String::new();
    while from.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        into.lock()
            .unwrap()
            .push(std::mem::take(&mut line).trim_end().to_owned());
    }
}
