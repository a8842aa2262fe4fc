//! Problem details (RFC 9457): the one shape in which a caller is told that something is wrong. `type` is
//! a stable identifier to program against; `detail` is for people; nothing internal appears in either.

use crate::auth::AuthError;
use crate::database::DatabaseError;
use crate::secrets::SecretError;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// One problem, ready to be answered at the HTTP edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status of the answer.
    pub status: StatusCode,
    /// The last part of `type`: `urn:firstbell:problem:{kind}`.
    pub kind: &'static str,
    /// What is wrong, in a sentence for a person.
    pub detail: String,
    /// Seconds after which another try is worthwhile; `None` if none is.
    pub retry_after_seconds: Option<u32>,
    /// Extension members of the answer, such as `opens_at`.
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// A problem with a status, a stable kind and an explanation.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            retry_after_seconds: None,
            extensions: Map::new(),
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    /// 403 for people who are not on the booking, and for bookings that do not exist: one answer for
    /// both, so that ids cannot be probed.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "You are not on this booking.")
    }

    /// 409: the platform gave the booking a status that its view does not translate. Nothing is guessed.
    pub fn unknown_status() -> Self {
        let detail = "The platform gave this booking a status that is not known here.";
        Self::new(StatusCode::CONFLICT, "booking-status-unknown", detail)
    }

    /// 503: nothing was changed, or what was begun can be repeated; try again.
    pub fn unavailable(kind: &'static str, detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail)
        }
    }

    /// 500: a defect of ours. The caller learns no more than that.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong on our side.",
        )
    }

    /// Adds an extension member, which stands beside `type` and `detail`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Adds an instant (RFC 3339) as an extension member.
    #[must_use]
    pub fn with_time(self, name: &'static str, instant: Timestamp) -> Self {
        self.with(name, instant.to_string())
    }

    /// The answer's body, of media type `application/problem+json`.
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = self.extensions.clone();
        body.insert(
            "type".into(),
            format!("urn:firstbell:problem:{}", self.kind).into(),
        );
        body.insert(
            "title".into(),
            self.status.canonical_reason().unwrap_or_default().into(),
        );

        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), self.detail.clone().into());
        body.insert("request_id".into(), request_id.into());

        Value::Object(body)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Rejected(reason) => {
                tracing::info!(reason, "token refused");
                Self::new(
                    StatusCode::UNAUTHORIZED,
                    "unauthenticated",
                    "A valid bearer token is required.",
                )
            }
            AuthError::Unavailable(reason) => {
                tracing::error!(reason, "tokens cannot be verified");
                Self::unavailable("identity-unavailable", "Tokens cannot be verified right now.", 5)
            }
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        tracing::error!(%error, "database");
        match error {
            DatabaseError::Unavailable(_) => {
                Self::unavailable("database-unavailable", "Please try again.", 2)
            }
            DatabaseError::Refused { .. } | DatabaseError::Unexpected(_) => Self::internal(),
        }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        tracing::error!(%error, "secret");
        Self::unavailable("configuration-unavailable", "Please try again.", 5)
    }
}
