//! The one HTTP client for vendors and for token keys.

use crate::invocation;
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
