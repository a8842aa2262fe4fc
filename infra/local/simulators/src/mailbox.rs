//! Webhooks that a gateway has to send, and the misbehaviour that gateways share.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// A webhook on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
}

/// What is to be sent, in the order in which it happened.
#[derive(Default)]
pub struct Mailbox {
    bodies: Mutex<Vec<String>>,
    http: reqwest::Client,
}

/// How waiting webhooks are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Where to, as set on the vendor's dashboard.
    pub url: Url,
    /// How often each.
    pub times: usize,
    /// Whether the last comes first.
    pub reversed: bool,
}

impl Mailbox {
    fn bodies(&self) -> MutexGuard<'_, Vec<String>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more to send.
    pub fn post(&self, body: String) {
        self.bodies().push(body);
    }

    /// Everything that waits, sealed now, as it is for each delivery.
    pub fn take(&self, seal: impl Fn(String) -> Letter) -> Vec<Letter> {
        std::mem::take(&mut *self.bodies())
            .into_iter()
            .map(seal)
            .collect()
    }

    /// Sends everything that waits; the statuses that came back.
    pub async fn deliver(&self, delivery: &Delivery, seal: impl Fn(String) -> Letter) -> Vec<u16> {
        let mut letters = self.take(seal);
        if delivery.reversed {
            letters.reverse();
        }
        let mut statuses = Vec::new();
        for letter in letters.iter().cycle().take(letters.len() * delivery.times) {
            let mut request = self.http.post(delivery.url.clone()).body(letter.body.clone());
            for (name, value) in &letter.headers {
                request = request.header(*name, value);
            }
            let sent = request.header("content-type", "application/json").send().await;
            statuses.push(sent.map_or(0, |answer| answer.status().as_u16()));
        }
        statuses
    }
}

/// How a gateway misbehaves.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a harm of its own")]
pub struct Faults {
    /// So many requests are refused with 503 before anything happens.
    pub fail_next: u32,
    /// So many requests get lost on the way: nothing happens, and nothing is answered.
    pub vanish_next: u32,
    /// So many answers get lost on the way, after everything has happened.
    pub lose_next: u32,
    /// So many requests are answered 500 before anything happens; where a gateway keeps answers, it keeps that.
    pub break_next: u32,
    /// So many requests are answered 500 though everything has happened, kept likewise.
    pub break_after_next: u32,
    /// Every answer to a POST takes so long, after everything has happened.
    pub answer_after_ms: u64,
    /// So many cards are refused.
    pub decline_next: u32,
    /// With this code; `insufficient_funds` if empty.
    pub decline_code: String,
    /// Refunds wait to be told of.
    pub refunds_wait: bool,
    /// So many refunds are taken and fail afterwards.
    pub fail_refunds_next: u32,
    /// Nothing that happens is told.
    pub is_silent: bool,
    /// What a charge cost is told later.
    pub fees_wait: bool,
    /// A charge is taken and not decided: the client's bank takes its time.
    pub charges_wait: bool,
}

/// An answer 500 to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing happens.
    Before,
    /// Everything happens all the same.
    After,
}

impl Faults {
    /// Whether this request is refused.
    pub fn fails(&mut self) -> bool {
        take_one(&mut self.fail_next)
    }

    /// Whether this request is lost on its way to the gateway.
    pub fn vanishes(&mut self) -> bool {
        take_one(&mut self.vanish_next)
    }

    /// Whether this request is answered 500, and when.
    pub fn breaks(&mut self) -> Option<Break> {
        if take_one(&mut self.break_next) {
            return Some(Break::Before);
        }
        take_one(&mut self.break_after_next).then_some(Break::After)
    }

    /// Whether this refund will fail.
    pub fn fails_refund(&mut self) -> bool {
        take_one(&mut self.fail_refunds_next)
    }

    /// Whether this card is refused, and why.
    pub fn declines(&mut self) -> Option<String> {
        let code = if self.decline_code.is_empty() {
            "insufficient_funds".to_owned()
        } else {
            self.decline_code.clone()
        };
        take_one(&mut self.decline_next).then_some(code)
    }

    /// What is wrong with the answer to a request that was carried out.
    pub fn answering(&mut self) -> Answering {
        Answering {
            after: Duration::from_millis(self.answer_after_ms),
            is_lost: take_one(&mut self.lose_next),
        }
    }
}

fn take_one(left: &mut u32) -> bool {
    let takes = *left > 0;
    *left -= u32::from(takes);
    takes
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy)]
pub struct Answering {
    after: Duration,
    is_lost: bool,
}

impl Answering {
    /// How long the answer takes.
    pub fn takes(self) -> Duration {
        self.after
    }

    /// Gives the answer, or only its beginning.
    pub async fn give(self, answer: impl IntoResponse) -> Response {
        tokio::time::sleep(self.after).await;
        if self.is_lost {
            return lost();
        }
        answer.into_response()
    }
}

/// An answer of which nothing arrives.
pub fn lost() -> Response {
    let broken = futures::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("lost"))]);
    (StatusCode::OK, Body::from_stream(broken)).into_response()
}
