//! How the vendor misbehaves.

use super::api::{Answer, Operation};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// Answers that are late, fail or get lost, for a while. A counter of [`u32::MAX`] never runs out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Only these operations are concerned; all of them if there is none.
    pub on: Vec<Operation>,
    /// Every answer takes so long before anything happens.
    pub delay_ms: u64,
    /// Every answer takes so long after everything has happened.
    pub answer_after_ms: u64,
    /// So many requests go well first.
    pub spare_next: u32,
    /// So many requests get lost on the way: nothing happens, and nothing is answered.
    pub vanish_next: u32,
    /// So many requests are refused before anything happens.
    pub fail_next: u32,
    /// With this status; 503 if 0.
    pub fail_with: u16,
    /// With a page for people instead of JSON. With `fail_with` 200 it is what a proxy says in between.
    pub html: bool,
    /// And with this Retry-After, whatever it says; without one if it is empty.
    pub retry_after: String,
    /// So many requests exceed the limit of a day: 429 with a Retry-After that is a date in ISO 8601.
    pub limit_next: u32,
    /// So many requests for what is past find it not ready: 404/3001, recordings 404/3301.
    pub unready_next: u32,
    /// So many answers get lost on the way, after everything has happened.
    pub lose_next: u32,
}

/// What goes wrong before anything happens.
pub(super) enum Mishap {
    None,
    /// One of those that go well first: its answer arrives, too.
    Spared,
    /// Neither done nor answered.
    Vanishes,
    Refuses(Answer),
}

fn take_one(left: &mut u32) -> bool {
    let takes = *left > 0;
    if *left != u32::MAX {
        *left -= u32::from(takes);
    }
    takes
}

impl Faults {
    fn concerns(&self, operation: Operation) -> bool {
        self.on.is_empty() || self.on.contains(&operation)
    }

    pub(super) fn delay(&self, operation: Operation) -> Duration {
        let delay = if self.concerns(operation) {
            self.delay_ms
        } else {
            0
        };
        Duration::from_millis(delay)
    }

    pub(super) fn before(&mut self, operation: Operation, now: Timestamp) -> Mishap {
        if !self.concerns(operation) {
            return Mishap::None;
        }
        if take_one(&mut self.spare_next) {
            return Mishap::Spared;
        }
        if take_one(&mut self.vanish_next) {
            return Mishap::Vanishes;
        }
        if take_one(&mut self.fail_next) {
            return Mishap::Refuses(self.failure());
        }
        if take_one(&mut self.limit_next) {
            return Mishap::Refuses(Answer::over_the_day(now));
        }
        Mishap::None
    }

    fn failure(&self) -> Answer {
        let status = if self.fail_with == 0 { 503 } else { self.fail_with };
        let answer = if self.html {
            Answer::page(status, "<h1>Bad gateway</h1>")
        } else {
            Answer::refusal(status, i64::from(status), "Internal system error.")
        };
        if self.retry_after.is_empty() {
            answer
        } else {
            answer.with("retry-after", &self.retry_after)
        }
    }

    /// Whether what is past is not ready yet.
    pub(super) fn is_unready(&mut self, operation: Operation) -> bool {
        self.concerns(operation) && take_one(&mut self.unready_next)
    }

    /// How late the answer is.
    pub(super) fn lateness(&self, operation: Operation) -> Duration {
        let late = if self.concerns(operation) {
            self.answer_after_ms
        } else {
            0
        };
        Duration::from_millis(late)
    }

    /// Whether an answer gets lost, though everything has happened.
    pub(super) fn loses(&mut self, operation: Operation) -> bool {
        self.concerns(operation) && take_one(&mut self.lose_next)
    }
}

/// A way in which the vendor is not as one would like it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    // Webhooks
    /// No webhook is ever sent.
    Silent,
    /// `meeting.started` is never sent.
    LosesStarts,
    /// `meeting.ended` is never sent.
    LosesEnds,
    /// `meeting.participant_left` is never sent.
    LosesLeaves,
    /// Whoever enters first is told of before the meeting's start.
    JoinsBeforeStarts,
    /// Two subscriptions: everything is delivered twice, with another request id and three milliseconds apart.
    TwoSubscriptions,
    /// `object.id` is a number where it is a text, and the other way round.
    SwapsIdTypes,
    /// Bodies have spaces and line breaks, and write what is not ASCII as `\u00e9`.
    SpacedBodies,
    /// `x-zm-request-timestamp` is in milliseconds, and signed so.
    TimestampInMilliseconds,
    /// `x-zm-request-timestamp` is ten seconds in the future.
    ClockAhead,
    /// Signed with another secret: a forgery.
    SignsWithAnotherKey,
    /// Signed over the compact form of a body that is sent with spaces.
    SignsCompact,
    /// No signature.
    SignsNothing,
    /// `meeting.created`, `meeting.updated` and `meeting.deleted` are sent for what the API is asked to do.
    TellsMore,
    /// `app_deauthorized` says `user_data_retention`, as in older editions.
    TellsRetention,
    /// Somebody who drops out is said to have left when that was noticed, 75 seconds later.
    LateLeaveTimes,
    /// Whoever comes back keeps their `participant_uuid`.
    KeepsParticipantUuids,

    // The API
    /// Uuids begin with a slash and hold two.
    SlashUuids,
    /// Whatever is asked for, the account's settings win: a waiting room, nobody before the host, sign-in demanded,
    /// no recording.
    CoercesSettings,
    /// An update is answered 204 and has no effect.
    IgnoresUpdates,
    /// The account's requests per second are limited, by the machine's clock.
    LimitsRate,
    /// A missing scope is 401 instead of 400.
    ScopesAre401,
    /// A missing scope is 403 instead of 400.
    ScopesAre403,
    /// A dead refresh token is 401, as before 2022.
    DeadRefreshIs401,
    /// The instances of a meeting that was never held are 404/3001 instead of none.
    NeverHeldIs404,
    /// One row per page.
    TinyPages,

    // Recordings
    /// Whatever is downloaded is a page of HTML with status 200.
    HtmlDownloads,
    /// A wrong token is 404 instead of 200, with the same page.
    RefusedDownloadsAre404,
    /// Half of a file is missing.
    ShortDownloads,
    /// Files are somewhere else: 302 to a link that is good by itself.
    RedirectsDownloads,
    /// The addresses of files are on a host that only looks like the vendor's.
    ForeignDownloads,
}

/// Those in force.
pub(super) type Quirks = BTreeSet<Quirk>;
