//! What every request passes: the faults that are due, the key, and the note of what was carried out.

use super::PencilSpaces;
use super::books::Request as Noted;
use super::faults::{Fate, Refused};
use super::fields::{Refusal, refusal};
use super::quirks::Quirk;
use crate::mailbox::lost;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

/// Bodies are at most so long, in bytes.
const LONGEST_BODY: usize = 1 << 20;

const TRY_LATER: &str = "Please try again later";

pub(super) async fn gate(State(vendor): State<PencilSpaces>, request: Request, next: Next) -> Response {
    let fate = vendor.books().faults.fate(request.uri().path());
    if let Some(answer) = before(fate, &vendor) {
        return answer;
    }
    if let Err(refusal) = vendor.authorise(request.headers()) {
        return vendor.answer(Err(refusal));
    }

    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return vendor.answer(Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "Body is too long")));
    };
    let noted = Noted {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        at: vendor.now(),
    };

    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    if answer.status().is_success() {
        vendor.books().requests.push(noted);
    }
    after(fate, answer).await
}

/// The answer to a request that nothing comes of.
fn before(fate: Fate, vendor: &PencilSpaces) -> Option<Response> {
    match fate {
        Fate::Refuse(refused) => Some(refuse(refused, vendor)),
        Fate::Vanish => Some(lost()),
        Fate::Err => Some(Json(json!({"err": "Firebase: the service is unavailable"})).into_response()),
        Fate::Empty => Some(StatusCode::OK.into_response()),
        Fate::Break => Some(broken()),
        Fate::Normal | Fate::EmptyAfter | Fate::BreakAfter | Fate::Lose | Fate::Late(_) => None,
    }
}

fn refuse(refused: Refused, vendor: &PencilSpaces) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = if refused.html {
        (status, Html(format!("<h1>{TRY_LATER}</h1>"))).into_response()
    } else {
        vendor.answer(Err(refusal(status, TRY_LATER)))
    };
    if refused.retry_after_seconds > 0 {
        let seconds = refused.retry_after_seconds.into();
        answer.headers_mut().insert("retry-after", seconds);
    }
    answer
}

fn broken() -> Response {
    let page = Html("<h1>Internal Server Error</h1>");
    (StatusCode::INTERNAL_SERVER_ERROR, page).into_response()
}

/// What arrives of the answer to a request that was carried out.
async fn after(fate: Fate, answer: Response) -> Response {
    match fate {
        Fate::EmptyAfter => StatusCode::OK.into_response(),
        Fate::BreakAfter => broken(),
        Fate::Lose => lost(),
        Fate::Late(late) => {
            tokio::time::sleep(late).await;
            answer
        }
        Fate::Normal | Fate::Refuse(_) | Fate::Vanish | Fate::Err | Fate::Empty | Fate::Break => answer,
    }
}

/// Any path that the vendor does not have.
pub(super) async fn no_route(State(vendor): State<PencilSpaces>, request: Request) -> Response {
    let text = format!("Route {}:{} not found", request.method(), request.uri().path());
    vendor.answer(Err(refusal(StatusCode::NOT_FOUND, text)))
}

impl PencilSpaces {
    fn authorise(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let wanted = format!("Bearer {}", self.0.api_key);
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        if given != Some(&wanted) || self.is(Quirk::KeyRevoked) {
            return Err(refusal(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        if self.is(Quirk::PlanLapsed) {
            return Err(refusal(
                StatusCode::FORBIDDEN,
                "API access is not part of your plan",
            ));
        }
        Ok(())
    }

    /// What was asked for, or why not.
    pub(super) fn answer(&self, result: Result<Value, Refusal>) -> Response {
        match result {
            Ok(value) => Json(value).into_response(),
            Err(refusal) => {
                let field = if refusal.is_inner || self.is(Quirk::SaysErr) {
                    "err"
                } else if self.is(Quirk::SaysError) {
                    "error"
                } else {
                    "message"
                };
                (refusal.status, Json(json!({ field: refusal.text }))).into_response()
            }
        }
    }

    /// What was made, or why not.
    pub(super) fn answer_made(&self, result: Result<Value, Refusal>) -> Response {
        let is_made = result.is_ok() && self.is(Quirk::SaysCreated);
        let mut answer = self.answer(result);
        if is_made {
            *answer.status_mut() = StatusCode::CREATED;
        }
        answer
    }
}
