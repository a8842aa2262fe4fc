//! How it refuses, in the three shapes that its services have, and how it reads what it is sent.

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use url::form_urlencoded;

/// Parameters that every service takes.
const COMMON: [&str; 5] = ["alt", "fields", "key", "prettyPrint", "quotaUser"];

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// What Meet and Workspace Events say beside the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rpc {
    InvalidArgument,
    FailedPrecondition,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    Aborted,
    ResourceExhausted,
    Internal,
    Unavailable,
}

impl Rpc {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            Self::FailedPrecondition => (StatusCode::BAD_REQUEST, "FAILED_PRECONDITION"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            Self::PermissionDenied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::AlreadyExists => (StatusCode::CONFLICT, "ALREADY_EXISTS"),
            Self::Aborted => (StatusCode::CONFLICT, "ABORTED"),
            Self::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        }
    }

    /// The one that goes with an HTTP status.
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            409 => Self::Aborted,
            429 => Self::ResourceExhausted,
            503 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

impl Refusal {
    /// In the shape of Calendar and Drive.
    pub(super) fn calendar(status: StatusCode, reason: &str, message: &str) -> Self {
        let domain = match reason {
            "timeRangeEmpty" | "forbiddenForNonOrganizer" => "calendar",
            "userRateLimitExceeded" | "rateLimitExceeded" | "quotaExceeded" => "usageLimits",
            _ => "global",
        };
        let mut error = json!({"domain": domain, "reason": reason, "message": message});
        let location = match status {
            StatusCode::UNAUTHORIZED => Some("Authorization"),
            StatusCode::PRECONDITION_FAILED => Some("If-Match"),
            _ => None,
        };
        if let (Some(location), Some(error)) = (location, error.as_object_mut()) {
            error.insert("locationType".into(), "header".into());
            error.insert("location".into(), location.into());
        }

        let body = json!({"error": {"errors": [error], "code": status.as_u16(), "message": message}});
        Self { status, body }
    }

    /// Calendar cannot accept what it was sent.
    pub(super) fn bad_event(reason: &str, message: &str) -> Self {
        Self::calendar(StatusCode::BAD_REQUEST, reason, message)
    }

    /// In the shape of Meet and Workspace Events.
    pub(super) fn rpc(rpc: Rpc, message: &str) -> Self {
        let (status, name) = rpc.parts();
        let body = json!({"error": {"code": status.as_u16(), "message": message, "status": name}});
        Self { status, body }
    }

    /// The same, with the reason that programs look at.
    pub(super) fn rpc_for(rpc: Rpc, message: &str, reason: &str) -> Self {
        let mut refusal = Self::rpc(rpc, message);
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {},
        }]);
        let error = refusal.body.get_mut("error").and_then(Value::as_object_mut);
        if let Some(error) = error {
            error.insert("details".into(), details);
        }
        refusal
    }

    /// Meet or Workspace Events cannot accept what they were sent.
    pub(super) fn invalid(message: &str) -> Self {
        Self::rpc(Rpc::InvalidArgument, message)
    }

    /// Meet or Workspace Events know of no such thing.
    pub(super) fn unknown() -> Self {
        Self::rpc(Rpc::NotFound, "Requested entity was not found.")
    }

    /// Meet or Workspace Events do not show that to the caller.
    pub(super) fn denied() -> Self {
        let text = "Permission denied on resource (or it might not exist).";
        Self::rpc(Rpc::PermissionDenied, text)
    }

    /// In the shape of the token endpoint.
    pub(super) fn oauth(status: StatusCode, error: &str, description: &str) -> Self {
        let body = json!({"error": error, "error_description": description});
        Self { status, body }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// Parameters, of an address or a form.
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn of(uri: &Uri) -> Self {
        Self::parse(uri.query().unwrap_or_default().as_bytes())
    }

    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of a parameter that may come once.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may come more often.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(given, _)| given == name);
        named.map(|(_, value)| value.as_str())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.one(name) == Some("true")
    }

    /// A parameter that came twice.
    pub(super) fn repeated(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        let again = self.0.iter().find(|(name, _)| !seen.insert(name.as_str()));
        again.map(|(name, _)| name.as_str())
    }

    /// A parameter that is neither among `known` nor taken by every service.
    pub(super) fn stranger(&self, known: &[&str]) -> Option<&str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names
            .into_iter()
            .find(|name| !known.contains(name) && !COMMON.contains(name))
    }

    /// Meet and Workspace Events refuse parameters that they do not know.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.stranger(known) {
            Some(name) => Err(Refusal::invalid(&format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter."
            ))),
            None => Ok(()),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// The object in a body, if it is one.
pub(super) fn object(headers: &HeaderMap, body: &Bytes) -> Option<Map<String, Value>> {
    if !is_json(headers) {
        return None;
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// The same for Meet and Workspace Events, which refuse members that they do not know.
pub(super) fn message(
    headers: &HeaderMap,
    body: &Bytes,
    known: &[&str],
) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let object = object(headers, body).ok_or_else(|| Refusal::invalid("Invalid JSON payload received."))?;
    members(&object, known)?;
    Ok(object)
}

/// Refuses members that are not known.
pub(super) fn members(object: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    let stranger = object.keys().find(|name| !known.contains(&name.as_str()));
    match stranger {
        Some(name) => Err(Refusal::invalid(&format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."
        ))),
        None => Ok(()),
    }
}
