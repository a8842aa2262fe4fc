//! How the vendor misbehaves.

use super::answers::{Refusal, Rpc};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// Answers that are late, get lost or fail, for a while. The counters stand still at the greatest number: for ever.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Which requests are meant down to `lose_next`: the beginning of a path, or a method, a space and the beginning of
    /// a path. Empty: all of them.
    pub only: String,
    /// Every answer takes so long before anything happens.
    pub delay_ms: u64,
    /// Every answer takes so long, after everything has happened.
    pub answer_after_ms: u64,
    /// So many answers go well first.
    pub spare_next: u32,
    /// So many requests are refused from then on, before anything happens.
    pub fail_next: u32,
    /// With this status; 503 if 0.
    pub fail_with: u16,
    /// For this reason, in the shape of the service that was asked; what usually goes with the status if empty.
    pub reason: String,
    /// With a page for people instead of JSON.
    pub html: bool,
    /// And with a Retry-After of so many seconds; without one if 0.
    pub retry_after_seconds: u32,
    /// So many requests get lost on the way: nothing happens, and nothing is answered.
    pub vanish_next: u32,
    /// So many answers get lost on the way, after everything has happened.
    pub lose_next: u32,

    /// So many calls are answered 401 though their token is good.
    pub reject_tokens_next: u32,
    /// So many inserts of an event id that exists are not noticed: there are two copies then.
    pub copy_next: u32,
    /// Rooms asked for from now on are pending for so many looks at their event.
    pub pending_polls: u32,
    /// So many rooms asked for come to nothing.
    pub fail_conferences_next: u32,
    /// So many looks at a conference record find nothing, 404.
    pub hide_records_next: u32,
    /// The signing keys cannot be fetched: 503.
    pub certs_down: bool,
}

/// A way in which the vendor is not as one would like it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    // Consent
    /// The consent screen is in status "Testing": refresh tokens die after seven days, and so does the consent.
    Testing,
    /// No refresh token is given, whatever was asked for.
    NoRefreshTokens,

    // Meet
    /// What has ended is shown without its end.
    Lags,
    /// One row per page, of everything.
    TinyPages,
    /// Meet's number of an account is not its `sub`. Holds for accounts added from now on.
    MeetIdsDiffer,
    /// Accounts of persons are refused by Meet and Workspace Events.
    PersonalHasNoMeetApi,

    // Events
    /// Nothing is ever pushed.
    Silent,
    /// Rooms that Calendar made are not told of.
    OnlyAppRoomsTell,
    /// Nobody is reminded that a subscription runs out, nor told that it did.
    NoReminders,
    /// Subscriptions are made, and the operation that says so is not done when it is answered.
    OperationsWait,
    /// The push has a dead-letter policy, so it counts its attempts.
    DeadLetters,
}

/// Those in force.
pub(super) type Quirks = BTreeSet<Quirk>;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    Nothing,
    Refused,
    Vanished,
    AnswerLost,
}

/// Takes one off a counter that is not at its end; the greatest number is never used up.
pub(super) fn take_one(left: &mut u32) -> bool {
    let takes = *left > 0;
    if takes && *left != u32::MAX {
        *left -= 1;
    }
    takes
}

impl Faults {
    fn means(&self, method: &str, path: &str) -> bool {
        path.starts_with(&self.only) || format!("{method} {path}").starts_with(&self.only)
    }

    /// What goes wrong with this request.
    pub(super) fn harm(&mut self, method: &str, path: &str) -> Harm {
        if !self.means(method, path) || take_one(&mut self.spare_next) {
            return Harm::Nothing;
        }
        if take_one(&mut self.fail_next) {
            return Harm::Refused;
        }
        if take_one(&mut self.vanish_next) {
            return Harm::Vanished;
        }
        if take_one(&mut self.lose_next) {
            return Harm::AnswerLost;
        }
        Harm::Nothing
    }

    /// How long this request takes before and after everything happens.
    pub(super) fn waits(&self, method: &str, path: &str) -> (Duration, Duration) {
        if self.means(method, path) {
            let after = Duration::from_millis(self.answer_after_ms);
            (Duration::from_millis(self.delay_ms), after)
        } else {
            (Duration::ZERO, Duration::ZERO)
        }
    }

    /// The answer to a request that is refused.
    pub(super) fn refusal(&self, path: &str) -> Response {
        let wanted = StatusCode::from_u16(self.fail_with).ok();
        let status = wanted.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = if self.html {
            (status, Html("<h1>502. That's an error.</h1>")).into_response()
        } else {
            self.reasoned(path, status).into_response()
        };
        if self.retry_after_seconds > 0 {
            let seconds = self.retry_after_seconds.into();
            response.headers_mut().insert("retry-after", seconds);
        }
        response
    }

    fn reasoned(&self, path: &str, status: StatusCode) -> Refusal {
        let or = |usual: &'static str| {
            if self.reason.is_empty() {
                usual.to_owned()
            } else {
                self.reason.clone()
            }
        };
        if path.starts_with("/calendar/") || path.starts_with("/drive/") {
            let usual = match status.as_u16() {
                401 => "authError",
                403 => "userRateLimitExceeded",
                429 => "rateLimitExceeded",
                _ => "backendError",
            };
            return Refusal::calendar(status, &or(usual), "Something went wrong.");
        }
        if path.starts_with("/meet/") || path.starts_with("/workspaceevents/") {
            let usual = match status.as_u16() {
                403 | 429 => "RATE_LIMIT_EXCEEDED",
                _ => "BACKEND_ERROR",
            };
            let mut refusal = Refusal::rpc_for(Rpc::of(status), "Something went wrong.", &or(usual));
            refusal.status = status;
            return refusal;
        }
        Refusal::oauth(status, &or("internal_failure"), "Something went wrong.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_mean_only_the_requests_that_they_name() {
        let mut faults = Faults {
            only: "POST /calendar/".into(),
            spare_next: 1,
            lose_next: 1,
            ..Faults::default()
        };

        assert_eq!(faults.harm("GET", "/calendar/v3/x"), Harm::Nothing);
        assert_eq!(faults.harm("POST", "/calendar/v3/x"), Harm::Nothing, "spared");
        assert_eq!(faults.harm("POST", "/calendar/v3/x"), Harm::AnswerLost);
        assert_eq!(faults.harm("POST", "/calendar/v3/x"), Harm::Nothing);
    }

    #[test]
    fn the_services_refuse_in_their_own_shapes() {
        let faults = Faults::default();

        let calendar = faults.reasoned("/calendar/v3/x", StatusCode::FORBIDDEN);
        assert_eq!(calendar.body["error"]["errors"][0]["domain"], "usageLimits");
        let meet = faults.reasoned("/meet/v2/spaces", StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(meet.body["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(meet.body["error"]["details"][0]["reason"], "RATE_LIMIT_EXCEEDED");
        let token = faults.reasoned("/token", StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(token.body["error"], "internal_failure");
    }
}
