//! Refusals, as Twirp says them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Malformed,
    BadRoute,
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    FailedPrecondition,
    ResourceExhausted,
    Internal,
    Unimplemented,
    Unavailable,
}

impl Code {
    /// As it is written, and its status.
    pub(super) fn said(self) -> (&'static str, u16) {
        match self {
            Self::Malformed => ("malformed", 400),
            Self::BadRoute => ("bad_route", 404),
            Self::InvalidArgument => ("invalid_argument", 400),
            Self::Unauthenticated => ("unauthenticated", 401),
            Self::PermissionDenied => ("permission_denied", 403),
            Self::NotFound => ("not_found", 404),
            Self::FailedPrecondition => ("failed_precondition", 412),
            Self::ResourceExhausted => ("resource_exhausted", 429),
            Self::Internal => ("internal", 500),
            Self::Unimplemented => ("unimplemented", 501),
            Self::Unavailable => ("unavailable", 503),
        }
    }

    /// What a status is called.
    pub(super) fn of(status: u16) -> Self {
        match status {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            412 => Self::FailedPrecondition,
            429 => Self::ResourceExhausted,
            501 => Self::Unimplemented,
            502..=504 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TwirpError {
    pub(super) code: Code,
    pub(super) message: String,
}

impl TwirpError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// No egress worker has answered.
    pub(super) fn no_worker() -> Self {
        Self::new(Code::Unavailable, "no response from servers")
    }

    pub(super) fn body(&self) -> Value {
        json!({"code": self.code.said().0, "msg": self.message})
    }
}

impl IntoResponse for TwirpError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.said().1);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body())).into_response()
    }
}
