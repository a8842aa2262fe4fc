//! Vendors' answers, read with a limit.

use platform::outbound::VendorError;
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

/// The largest answer read from a vendor, in bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

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
