//! What every call goes through: what may go wrong on the way, who calls, and how often they have.

use super::Fathom;
use super::limits::{Allowance, Weight, lists_content, put};
use super::quirks::{Fate, Quirk};
use crate::mailbox::lost;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The longest body that is read.
const LONGEST_BODY: usize = 1 << 20;

/// Whoever makes a call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) credential: String,
    /// The address of the account.
    pub(super) account: String,
    /// It is an app that acts for the account's owner.
    pub(super) is_app: bool,
}

/// A request that arrived, and how it was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// `GET`, say.
    pub method: String,
    /// From behind `/external/v1`.
    pub path: String,
    /// As it was sent.
    pub query: Option<String>,
    /// Null, if there was none or it was no JSON.
    pub body: Value,
    /// What was answered, or would have been if the answer had not been lost.
    pub status: u16,
}

impl Asked {
    fn new(at: Timestamp, parts: &Parts, body: &[u8]) -> Self {
        Self {
            at,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(ToOwned::to_owned),
            body: serde_json::from_slice(body).unwrap_or_default(),
            status: 0,
        }
    }
}

/// Around every route of the API.
pub(super) async fn admit(State(vendor): State<Fathom>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };

    let strike = vendor.books().faults.strike(parts.uri.path());
    tokio::time::sleep(strike.delay).await;
    let asked = Asked::new(vendor.now(), &parts, &body);
    let is_lost = strike.fate == Fate::AnswerLost;
    let response = match strike.fate {
        Fate::Vanished => return lost(),
        Fate::Refused {
            with,
            html,
            retry_after_seconds,
        } => refusal(with, html, retry_after_seconds),
        Fate::Served | Fate::AnswerLost => vendor.serve(parts, body, next).await,
    };

    let status = response.status().as_u16();
    vendor.books().asked.push(Asked { status, ..asked });
    tokio::time::sleep(strike.answer_after).await;
    if is_lost { lost() } else { response }
}

fn refusal(with: u16, html: bool, retry_after_seconds: u32) -> Response {
    let status = StatusCode::from_u16(with)
        .ok()
        .filter(|_| with != 0)
        .unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = if html {
        (status, Html("<h1>Bad gateway</h1>")).into_response()
    } else {
        status.into_response()
    };
    if retry_after_seconds > 0 {
        put(response.headers_mut(), "retry-after", retry_after_seconds);
    }
    response
}

impl Fathom {
    async fn serve(&self, mut parts: Parts, body: Bytes, next: Next) -> Response {
        let caller = self.books().caller(&parts.headers, self.now());
        let Some(caller) = caller else {
            return StatusCode::UNAUTHORIZED.into_response();
        };

        let allowance = self.spend(&caller, Weight::of(&parts.method, &parts.uri));
        let mut response = if allowance.is_spent {
            allowance.refusal()
        } else if caller.is_app && lists_content(&parts.uri) {
            StatusCode::BAD_REQUEST.into_response()
        } else {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, Body::from(body))).await
        };
        allowance.tell(response.headers_mut());
        response
    }

    fn spend(&self, caller: &Caller, weight: Weight) -> Allowance {
        let now = self.now();
        let mut books = self.books();
        let is_busy = books.is(Quirk::LowersHeavyLimit);
        books.limits.spend(&caller.account, weight, is_busy, now)
    }
}

#[cfg(test)]
mod tests {
    use crate::fathom::stage::{KEY, Stage, say};
    use crate::fathom::{Faults, RECORDER};
    use jiff::SignedDuration;

    #[tokio::test]
    async fn whoever_has_no_good_key_gets_an_empty_401() {
        let stage = Stage::new().await;
        let token = stage.fathom.connect_app(RECORDER, SignedDuration::from_mins(60));
        let asking = || stage.asking("GET", "meetings");
        let refused = [
            asking(),
            asking().header("X-Api-Key", "another"),
            asking().header("X-Api-Key", &token),
            asking().header("Authorization", format!("Bearer {KEY}")),
            asking().header("Authorization", &token),
        ];

        for request in refused {
            let said = say(request).await;
            assert_eq!((said.status.as_u16(), said.text.as_str()), (401, ""));
        }

        let with_token = || asking().header("Authorization", format!("Bearer {token}"));
        assert_eq!(say(with_token()).await.status, 200);
        stage.hand.advance(SignedDuration::from_mins(60));
        assert_eq!(say(with_token()).await.status, 401);
    }

    #[tokio::test]
    async fn a_key_that_was_replaced_is_refused_at_once() {
        let stage = Stage::new().await;

        let key = stage.fathom.rotate_key(RECORDER);

        assert_eq!(stage.get("meetings").await.status, 401);
        assert_eq!(stage.get_with(&key, "meetings").await.status, 200);
    }

    #[tokio::test]
    async fn apps_may_not_list_content() {
        let stage = Stage::new().await;
        let token = stage.fathom.connect_app(RECORDER, SignedDuration::from_mins(60));
        let statuses = [
            "",
            "?include_action_items=true",
            "?include_transcript=true",
            "?include_summary=true",
        ];

        for (query, status) in statuses.into_iter().zip([200, 200, 400, 400]) {
            let request = stage.asking("GET", &format!("meetings{query}"));
            assert_eq!(say(request.bearer_auth(&token)).await.status, status, "{query}");
        }
    }

    #[tokio::test]
    async fn faults_hit_only_what_they_are_for() {
        let stage = Stage::new().await;
        let lesson = stage.lesson(0);
        stage.fathom.content_ready(lesson);
        stage.fathom.misbehave(Faults {
            only: "/transcript".into(),
            refuse_next: 1,
            refuse_with: 429,
            retry_after_seconds: 7,
            ..Faults::default()
        });

        let transcript = format!("recordings/{lesson}/transcript");
        assert_eq!(stage.get("meetings").await.status, 200);
        let refused = stage.get(&transcript).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.headers["retry-after"]),
            (429, &"7".parse().unwrap())
        );
        assert_eq!(stage.get(&transcript).await.status, 200);

        let statuses: Vec<u16> = stage.fathom.requests().iter().map(|asked| asked.status).collect();
        assert_eq!(statuses, [200, 429, 200]);
    }
}
