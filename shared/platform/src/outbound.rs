//! The one HTTP client for vendors and for token keys, and what a vendor's refusal means to us.

use crate::invocation;
use http::StatusCode;
use std::time::Duration;
use tokio::sync::OnceCell;

static CLIENT: OnceCell<reqwest::Client> = OnceCell::const_new();

/// The HTTP client could not be built. That is a defect of the build, so no later call would work either.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be built")]
pub struct OutboundError;

/// The shared client: 2 s to connect, 10 s in total unless the invocation has less left, redirects never
/// followed (a vendor's API does not redirect a POST, and a redirect must not carry our key elsewhere).
pub async fn client() -> Result<&'static reqwest::Client, OutboundError> {
    CLIENT
        .get_or_try_init(|| async {
            let tls = crate::tls::client_config(None).map_err(|_| OutboundError)?;
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .connect_timeout(Duration::from_secs(2))
                .timeout(Duration::from_secs(10))
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("firstbell/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|_| OutboundError)
        })
        .await
}

/// How long a call may take now: 10 s, or what is left of the invocation.
pub fn budget() -> Duration {
    invocation::remaining().min(Duration::from_secs(10))
}

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
    /// There was no answer.
    pub const SILENT: Self = Self::Transient {
        status: None,
        retry_after_seconds: None,
    };

    /// What a status that is no success means.
    pub fn from_status(status: StatusCode, retry_after_seconds: Option<u32>) -> Self {
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
