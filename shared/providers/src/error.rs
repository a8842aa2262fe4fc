//! What a vendor's refusal means to us.

use platform::batch::JobError;
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

/// The largest answer read from a vendor, in bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// A call to a vendor that did not succeed, by what the caller can do. Carries no body: a vendor's words
/// may quote names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VendorError {
    /// Down, slow, or limiting us: try again, after `retry_after_seconds` if the vendor names them.
    #[error("the vendor is unavailable (status {status:?})")]
    Transient {
        /// The HTTP status; `None` if there was no answer.
        status: Option<u16>,
        /// The seconds of the vendor's Retry-After; `None` if it sent none.
        retry_after_seconds: Option<u32>,
    },
    /// Our key is not accepted, or not for this. An operator mends that: try again.
    #[error("the vendor does not accept our key (status {status})")]
    Barred {
        /// The HTTP status, 401 or 403.
        status: u16,
    },
    /// The vendor offers this, but has not enabled it for our account. An operator asks for it: try again.
    #[error("the vendor has not enabled this for our account (status {status})")]
    NotEnabled {
        /// The HTTP status of the refusal.
        status: u16,
    },
    /// Our balance at the vendor does not suffice. An operator tops it up: try again.
    #[error("our balance at the vendor does not suffice (status {status})")]
    Insufficient {
        /// The HTTP status of the refusal.
        status: u16,
    },
    /// Refused for good: our request, or an answer that makes no sense.
    #[error("the vendor refused (status {status})")]
    Permanent {
        /// The HTTP status of the refusal, or of the answer that makes no sense.
        status: u16,
    },
    /// The thing asked for is not there, or not yet.
    #[error("the vendor does not have it")]
    NotFound,
}

impl VendorError {
    pub(crate) const SILENT: Self = Self::Transient {
        status: None,
        retry_after_seconds: None,
    };

    fn from_status(status: StatusCode, retry_after_seconds: Option<u32>) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Barred {
                status: status.as_u16(),
            },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Self::Transient {
                status: Some(status.as_u16()),
                retry_after_seconds,
            },
            status if status.is_server_error() => Self::Transient {
                status: Some(status.as_u16()),
                retry_after_seconds,
            },
            status => Self::Permanent {
                status: status.as_u16(),
            },
        }
    }
}

impl From<VendorError> for JobError {
    /// A job that met a vendor's refusal is always tried again: what a vendor does not have it may have
    /// later, and if it refuses us, an operator mends our key while the record waits.
    fn from(error: VendorError) -> Self {
        tracing::warn!(%error, "vendor");
        Self::Transient(match error {
            VendorError::Transient { .. } => "the vendor does not answer",
            VendorError::NotFound => "the vendor does not have it",
            VendorError::NotEnabled { .. } => "the vendor has not enabled this for our account",
            VendorError::Insufficient { .. } => "our balance at the vendor does not suffice",
            VendorError::Barred { .. } | VendorError::Permanent { .. } => "the vendor refuses us",
        })
    }
}

/// A vendor's answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    retry_after_seconds: Option<u32>,
    body: Vec<u8>,
}

impl Answer {
    /// Waits for the whole answer. One that is too large is given up as soon as that shows.
    pub(crate) async fn wait(sent: reqwest::Result<Response>) -> Result<Self, VendorError> {
        let mut response = sent.map_err(|_| VendorError::SILENT)?;
        let status = response.status();

        let retry_after = response.headers().get(http::header::RETRY_AFTER);
        let retry_after_seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());

        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| VendorError::SILENT)? {
            if body.len().saturating_add(chunk.len()) > LARGEST_ANSWER {
                return Err(VendorError::Permanent {
                    status: status.as_u16(),
                });
            }
            body.extend_from_slice(&chunk);
        }

        Ok(Self {
            status,
            retry_after_seconds,
            body,
        })
    }

    /// The JSON of a success. Unknown fields are ignored, so that a vendor may add some.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, VendorError> {
        if self.status.is_success() {
            self.body()
        } else {
            Err(VendorError::from_status(self.status, self.retry_after_seconds))
        }
    }

    /// Whether the body is empty, or only white space.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }

    /// The JSON of the body, whatever the status.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, VendorError> {
        // Garbage with a success status is a proxy's error page as often as not.
        serde_json::from_slice(&self.body).map_err(|_| VendorError::Transient {
            status: Some(self.status.as_u16()),
            retry_after_seconds: None,
        })
    }
}

/// Waits for an answer and reads its JSON; a status that is no success becomes an error.
pub(crate) async fn read<T: DeserializeOwned>(sent: reqwest::Result<Response>) -> Result<T, VendorError> {
    Answer::wait(sent).await?.json()
}
