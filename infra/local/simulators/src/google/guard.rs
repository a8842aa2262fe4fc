//! What every request goes through: the misbehaviour that was asked for, the field mask, and the book of requests.

use super::Google;
use super::answers::Pairs;
use super::quirks::Harm;
use crate::mailbox::lost;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// No request or answer is longer, in bytes.
const LONGEST: usize = 4 << 20;

pub(super) async fn guard(State(google): State<Google>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
    if path.starts_with("/_control/") {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let Ok(sent) = to_bytes(body, LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };

    let (harm, waits) = {
        let faults = &mut google.books().faults;
        (faults.harm(&method, &path), faults.waits(&method, &path))
    };
    tokio::time::sleep(waits.0).await;
    match harm {
        Harm::Refused => return google.books().faults.refusal(&path),
        Harm::Vanished => return lost(),
        Harm::Nothing | Harm::AnswerLost => {}
    }

    let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
    let answer = next
        .run(Request::from_parts(parts, Body::from(sent.clone())))
        .await;
    let answer = masked(answer, Pairs::of(&uri).one("fields")).await;
    if !answer.status().is_client_error() && !answer.status().is_server_error() {
        let query = uri.query().unwrap_or_default();
        google.books().note(&method, &path, query, &headers, &sent);
    }

    tokio::time::sleep(waits.1).await;
    match harm {
        Harm::AnswerLost => lost(),
        Harm::Nothing | Harm::Refused | Harm::Vanished => answer,
    }
}

/// Only the members that the mask names. It is read at its first level: what is inside of them stays whole.
async fn masked(answer: Response, mask: Option<&str>) -> Response {
    let Some(mask) = mask.filter(|_| answer.status().is_success()) else {
        return answer;
    };
    let named = first_level(mask);
    let (parts, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };

    let pruned = match serde_json::from_slice(&body) {
        Ok(Value::Object(mut object)) => {
            object.retain(|name, _| named.iter().any(|named| named == name || named == "*"));
            Value::Object(object).to_string().into_bytes()
        }
        _ => body.to_vec(),
    };
    let mut pruned = Response::new(Body::from(pruned));
    *pruned.status_mut() = parts.status;
    *pruned.headers_mut() = parts.headers;
    pruned.headers_mut().remove("content-length");
    pruned
}

/// The names before the first bracket or slash, of `items(id,status),nextPageToken` say.
pub(super) fn first_level(mask: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let parts = mask.split(|letter: char| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    });
    let name = |part: &str| {
        part.split(['(', '/'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    parts.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_at_its_first_level() {
        let names = first_level("participants(name,signedinUser/user),totalSize,items/id,nextPageToken");
        assert_eq!(names, ["participants", "totalSize", "items", "nextPageToken"]);
    }
}
