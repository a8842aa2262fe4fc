//! The deployed stack, seen from outside: its API, its vendors' controls, its clock.

use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// `target/local/stack.json`, as the local stack writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Stack {
    /// The API's address, with a trailing slash.
    pub api: String,
    /// `MiniStack`'s address.
    pub aws: String,
    /// The vendor simulators' address.
    pub simulators: String,
    /// The database, as its owner.
    pub database_owner: String,
    /// What opens the cron route.
    pub cron_secret: String,
    /// The file whose number shifts the stack's clock.
    pub clock: PathBuf,
    /// Physical names of the template's resources.
    pub physical: HashMap<String, String>,
    #[serde(skip)]
    http: Client,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body, or a string of what else it was.
    pub body: Value,
    /// The Retry-After header.
    pub retry_after: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// The last part of a problem's `type`.
    pub fn problem(&self) -> &str {
        self.body["type"]
            .as_str()
            .and_then(|kind| kind.rsplit(':').next())
            .unwrap_or("none")
    }

    /// Status and, for a problem, its kind: `403 forbidden`.
    pub fn verdict(&self) -> String {
        if self.status < 400 {
            self.status.to_string()
        } else {
            format!("{} {}", self.status, self.problem())
        }
    }
}

/// The checkout's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_owned()
}

impl Stack {
    /// The stack that is up.
    pub fn connect() -> Self {
        let file = root().join("target/local/stack.json");
        let text = std::fs::read_to_string(&file).expect("the local stack is up (make run starts it)");
        serde_json::from_str(&text).expect("stack.json is complete")
    }

    /// A token for `person`, issued now by the stack's clock.
    pub async fn sign_in(&self, person: Uuid) -> String {
        let url = format!("{}/identity/token", self.simulators);
        let answer = self
            .http
            .post(url)
            .json(&json!({ "sub": person }))
            .send()
            .await
            .expect("the issuer answers");
        let answer: Value = answer.json().await.expect("a token");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// Calls the API.
    pub async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.api))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        send(request).await
    }

    /// Invokes one of the template's functions, as its schedule does.
    pub async fn invoke(&self, resource: &str) -> u16 {
        let function = &self.physical[resource];
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.aws);
        let scope = "Credential=test/20260101/us-east-1/lambda/aws4_request";
        let request = self.http.post(url).json(&json!({}));
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=local");
        send(request.header("authorization", authorization)).await.status
    }

    /// Directs a vendor simulator.
    pub async fn direct(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.simulators)).json(&body);
        send(request).await.body
    }

    /// What the vendor simulator knows.
    pub async fn ask(&self, path: &str) -> Value {
        send(self.http.get(format!("{}{path}", self.simulators)))
            .await
            .body
    }

    /// Puts bytes to a presigned address.
    pub async fn put(&self, url: &str, headers: &[(String, String)], bytes: Vec<u8>) -> Answer {
        let mut request = self.http.put(url).body(bytes);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        send(request).await
    }

    /// Opens a link as a browser would; status and bytes.
    pub async fn open(&self, url: &str) -> (u16, Vec<u8>) {
        let answer = self.http.get(url).send().await.expect("the link answers");
        (
            answer.status().as_u16(),
            answer
                .bytes()
                .await
                .map(|bytes| bytes.to_vec())
                .unwrap_or_default(),
        )
    }

    /// Sets how far the stack's clock is ahead of the machine's.
    pub fn travel(&self, seconds: i64) {
        // Replaced, not rewritten: a reader never sees half a number.
        let next = self.clock.with_extension("next");
        std::fs::write(&next, seconds.to_string()).expect("the clock's file");
        std::fs::rename(&next, &self.clock).expect("the clock's file");
    }
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let began = Instant::now();
    let answer = request.send().await.expect("the stack answers");
    let status = answer.status().as_u16();
    let retry_after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .map(Into::into);
    let text = answer.text().await.unwrap_or_default();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        body,
        retry_after,
        took: began.elapsed(),
    }
}
