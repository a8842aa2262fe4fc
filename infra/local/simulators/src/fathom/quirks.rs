//! How the vendor misbehaves.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What goes wrong with the next requests, one counter each. `spare_next` goes first, then refusals, then requests that
/// vanish, then lost answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Only requests with this in their path; all if empty. A path begins after `/external/v1`.
    pub only: String,
    /// So many requests go well first.
    pub spare_next: u32,
    /// So many requests are refused before anything happens; the greatest number is for ever.
    pub refuse_next: u32,
    /// With this status; 503 if 0.
    pub refuse_with: u16,
    /// With a page for people. Without, the answer is empty.
    pub html: bool,
    /// And with a Retry-After of so many seconds; without one if 0.
    pub retry_after_seconds: u32,
    /// So many requests get lost on the way: nothing happens, and nothing is answered.
    pub vanish_next: u32,
    /// So many answers get lost on the way, after everything has happened.
    pub lose_next: u32,
    /// Every request takes so long before anything happens.
    pub delay_ms: u64,
    /// Every answer takes so long, after everything has happened.
    pub answer_after_ms: u64,
}

/// What becomes of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Strike {
    pub(super) delay: Duration,
    pub(super) fate: Fate,
    pub(super) answer_after: Duration,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Served,
    Refused {
        with: u16,
        html: bool,
        retry_after_seconds: u32,
    },
    Vanished,
    AnswerLost,
}

impl Faults {
    /// What becomes of a request for `path`.
    pub(super) fn strike(&mut self, path: &str) -> Strike {
        if !path.contains(&self.only) {
            return Strike::default();
        }

        let fate = if take_one(&mut self.spare_next) {
            Fate::Served
        } else if take_one(&mut self.refuse_next) {
            Fate::Refused {
                with: self.refuse_with,
                html: self.html,
                retry_after_seconds: self.retry_after_seconds,
            }
        } else if take_one(&mut self.vanish_next) {
            Fate::Vanished
        } else if take_one(&mut self.lose_next) {
            Fate::AnswerLost
        } else {
            Fate::Served
        };
        Strike {
            delay: Duration::from_millis(self.delay_ms),
            fate,
            answer_after: Duration::from_millis(self.answer_after_ms),
        }
    }
}

fn take_one(left: &mut u32) -> bool {
    let takes = *left > 0;
    if *left != u32::MAX {
        *left -= u32::from(takes);
    }
    takes
}

/// A way in which the vendor is not as one would like it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    // Webhooks: how they are signed
    /// No webhook is ever sent.
    Silent,
    /// A wrong `v1` entry stands before the right ones.
    WrongSignatureFirst,
    /// An entry of version `v1a` stands before the right ones.
    AsymmetricSignatureFirst,
    /// Empty, short and unversioned entries stand before the right ones, some with two spaces between.
    MalformedSignaturesFirst,
    /// Signed with a key that nobody else has.
    SignsWithAnotherKey,
    /// No signature.
    SignsNothing,
    /// The time in the headers, which is signed, is 301 seconds ago.
    OldTimestamps,
    /// It is ten minutes ahead.
    FutureTimestamps,
    /// What is sent is not what was signed: something in between has written the body anew.
    RewritesBodies,

    // Webhooks: what they say
    /// Bodies of 1.5 MB and more.
    HugeBodies,
    /// The body has an `id` too, which is that of the webhook.
    CarriesIds,
    /// The meeting stands in `data`, beside an `event`.
    WrapsInData,
    /// The meeting stands in `meeting`, its number in `recording.id` only, and there is an `event_type`.
    WrapsInMeeting,

    // Meetings
    /// Recordings have their numbers as text.
    TextIds,
    /// As before 2026: `meeting_type` is `internal` or `external`, and invitees have no domain.
    OldShape,
    /// There is no `meeting_url`.
    HidesMeetingUrls,
    /// Fields that were not asked for are left out. Otherwise they are null.
    OmitsWhatIsNotAsked,
    /// Times are those of UTC+1.
    OffsetTimes,
    /// Lists begin with the oldest. Otherwise with the newest.
    OldestFirst,
    /// One a page.
    TinyPages,

    // Content that is not there yet. Without either of these the answer is 404
    /// It is empty.
    EmptyUntilReady,
    /// It is null.
    NullUntilReady,

    // Limits
    /// Five heavy calls a minute.
    LowersHeavyLimit,

    // Downloads
    /// They fail.
    DownloadsFail,
    /// They fail because they took too long.
    DownloadsTimeOut,
    /// They never become ready.
    DownloadsHang,
    /// They are expired as soon as they are ready.
    DownloadsExpire,
    /// The file's address refuses everybody.
    FilesRefuse,
    /// Those of recordings with a picture have a file without it, too.
    VideosHaveAudio,
    /// What is sent about them is signed with a key that nobody else has. Otherwise with that of the account's oldest
    /// webhook.
    SignsDownloadsWithAnotherKey,

    // Kinder than the vendor, for the machine on which everything runs
    /// Addresses of this machine may be plain http.
    TakesLoopback,
}

/// Those in force.
pub(super) type Quirks = BTreeSet<Quirk>;
