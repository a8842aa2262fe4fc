//! How often an account may call.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// A window begins with the first call that falls into no other.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

const CALLS: u32 = 60;
const HEAVY_CALLS: u32 = 30;
const HEAVY_CALLS_WHEN_BUSY: u32 = 5;
const DOWNLOADS: u32 = 30;

/// What a call counts as. Each counts as a call of the account, and some by themselves as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    Light,
    /// It reads a transcript or a summary.
    Heavy,
    /// It asks for a file.
    Download,
}

impl Weight {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let path = uri.path();
        if method == Method::POST && path.ends_with("/download") {
            Self::Download
        } else if path.ends_with("/summary") || path.ends_with("/transcript") || lists_content(uri) {
            Self::Heavy
        } else {
            Self::Light
        }
    }
}

/// Whether a list is asked for with what apps may not ask lists for.
pub(super) fn lists_content(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    uri.path().ends_with("/meetings")
        && pairs.any(|(name, value)| {
            matches!(&*name, "include_transcript" | "include_summary") && value != "false"
        })
}

#[derive(Default)]
pub(super) struct Limits {
    windows: HashMap<(String, Weight), Window>,
}

#[derive(Clone, Copy)]
struct Window {
    opened: Timestamp,
    calls: u32,
}

/// What is left of a limit after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    limit: u32,
    remaining: u32,
    reset_seconds: u32,
    pub(super) is_spent: bool,
}

impl Limits {
    /// Counts a call, and tells of the limit that is nearest.
    pub(super) fn spend(
        &mut self,
        account: &str,
        weight: Weight,
        is_busy: bool,
        now: Timestamp,
    ) -> Allowance {
        let all = self.count(account, Weight::Light, CALLS, now);
        let limit = match weight {
            Weight::Light => return all,
            Weight::Heavy if is_busy => HEAVY_CALLS_WHEN_BUSY,
            Weight::Heavy => HEAVY_CALLS,
            Weight::Download => DOWNLOADS,
        };
        if all.is_spent {
            return all;
        }

        let own = self.count(account, weight, limit, now);
        if own.is_spent || own.remaining <= all.remaining {
            own
        } else {
            all
        }
    }

    fn count(&mut self, account: &str, weight: Weight, limit: u32, now: Timestamp) -> Allowance {
        let fresh = Window {
            opened: now,
            calls: 0,
        };
        let window = self.windows.entry((account.to_owned(), weight)).or_insert(fresh);
        if now.duration_since(window.opened) >= WINDOW || now < window.opened {
            *window = fresh;
        }
        window.calls = window.calls.saturating_add(1);

        let left = WINDOW - now.duration_since(window.opened);
        let seconds_up = (left.as_millis() + 999) / 1000;
        Allowance {
            limit,
            remaining: limit.saturating_sub(window.calls),
            reset_seconds: u32::try_from(seconds_up).unwrap_or(0).max(1),
            is_spent: window.calls > limit,
        }
    }

    /// Everybody has all their calls again.
    pub(super) fn clear(&mut self) {
        self.windows.clear();
    }
}

impl Allowance {
    /// The answer to one call too many.
    pub(super) fn refusal(self) -> Response {
        let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
        put(response.headers_mut(), "retry-after", self.reset_seconds);
        response
    }

    /// Writes what is left into the answer.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        put(headers, "ratelimit-limit", self.limit);
        put(headers, "ratelimit-remaining", self.remaining);
        put(headers, "ratelimit-reset", self.reset_seconds);
    }
}

pub(super) fn put(headers: &mut HeaderMap, name: &'static str, number: u32) {
    headers.insert(name, HeaderValue::from(number));
}

#[cfg(test)]
mod tests {
    use crate::fathom::Quirk;
    use crate::fathom::stage::{Said, Stage};
    use jiff::SignedDuration;

    fn number(said: &Said, name: &str) -> u32 {
        said.headers[name].to_str().unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn heavy_calls_have_a_limit_of_their_own() {
        let stage = Stage::new().await;
        let heavy = "meetings?include_summary=true";
        for _ in 0..30 {
            assert_eq!(stage.get(heavy).await.status, 200);
        }

        stage.hand.advance(SignedDuration::from_secs(20));
        let refused = stage.get(heavy).await;

        assert_eq!((refused.status.as_u16(), refused.text.as_str()), (429, ""));
        let names = [
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "retry-after",
        ];
        assert_eq!(names.map(|name| number(&refused, name)), [30, 0, 40, 40]);
        assert_eq!(number(&stage.get("meetings").await, "ratelimit-remaining"), 28);

        stage.hand.advance(SignedDuration::from_secs(40));
        assert_eq!(stage.get(heavy).await.status, 200);
    }

    #[tokio::test]
    async fn the_heavy_limit_may_be_lowered() {
        let stage = Stage::new().await;
        stage.fathom.behave([Quirk::LowersHeavyLimit]);

        let mut statuses = Vec::new();
        for _ in 0..6 {
            statuses.push(stage.get("recordings/1/summary").await.status.as_u16());
        }

        assert_eq!(statuses, [404, 404, 404, 404, 404, 429]);
    }

    #[tokio::test]
    async fn an_account_has_sixty_calls_a_minute() {
        let stage = Stage::new().await;
        for _ in 0..60 {
            assert!(!stage.get("teams").await.headers.contains_key("retry-after"));
        }

        assert_eq!(stage.get("teams").await.status, 429);
        stage.fathom.forget_calls();
        assert_eq!(stage.get("teams").await.status, 200);
    }
}
