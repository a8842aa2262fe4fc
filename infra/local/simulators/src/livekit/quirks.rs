//! How the vendor misbehaves.

use serde::Deserialize;
use std::collections::BTreeSet;

/// Answers that are late, fail or get lost, for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Only this method is hit, `CreateRoom` say; all if empty.
    pub only: String,
    /// So many requests go well first.
    pub spare_next: u32,
    /// Every answer takes so long before anything happens.
    pub delay_ms: u64,
    /// So many requests fail before anything happens; the greatest number is for ever.
    pub fail_next: u32,
    /// With this status; 503 if 0. 200 only makes sense with `html`.
    pub fail_with: u16,
    /// With a page for people instead of JSON.
    pub html: bool,
    /// And with a Retry-After of so many seconds; without one if 0.
    pub retry_after_seconds: u32,
    /// So many requests get lost on the way: nothing happens, and nothing is answered.
    pub vanish_next: u32,
    /// So many answers get lost on the way, after everything has happened.
    pub lose_next: u32,
    /// So many requests are answered with `fail_with` though everything has happened.
    pub fail_after_next: u32,
    /// Every answer takes so long, after everything has happened.
    pub answer_after_ms: u64,
    /// So many egresses find no worker: whoever starts one is told so, and what they asked for besides has happened.
    pub no_worker_next: u32,
    /// And is told only after so long. The vendor takes 20 seconds.
    pub no_worker_after_ms: u64,
}

/// A way in which the vendor is not as one would like it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    // What is told
    /// No webhook is ever sent.
    Silent,
    /// Nobody is told of as leaving.
    LosesLefts,
    /// Nobody is told of as joining.
    LosesJoins,
    /// Of an egress only the end is told.
    LosesEgressStarts,
    /// Whoever comes again is told of as joining, and only then as having left.
    JoinsBeforeLefts,
    /// Egresses have no status.
    LosesStatuses,
    /// Fields that nobody has heard of, at every level.
    UnknownFields,
    /// States, kinds and reasons that nobody has heard of.
    UnknownEnums,
    /// A metadata of two megabytes in each event.
    HugeBodies,

    // How it is signed: of several, the last in this list counts
    /// The token ran out 50 seconds ago: within the leeway.
    SignedLate,
    /// The token ran out 70 seconds ago.
    SignedTooLate,
    /// The token is valid in 50 seconds: within the leeway.
    SignedEarly,
    /// The token is valid in 70 seconds.
    SignedTooEarly,
    /// The token has no end.
    SignedForever,
    /// Signed with another secret.
    SignedWithAnotherSecret,
    /// Signed by somebody whose key nobody knows.
    SignedByAnotherKey,
    /// The token says that it is not signed.
    SignedByNone,
    /// HS512.
    SignedByHs512,
    /// No hash of the body.
    SignedWithoutHash,
    /// The hash in the alphabet of URLs.
    SignedUrlSafe,
    /// The hash in hexadecimal.
    SignedInHex,
    /// The hash of another body.
    SignedAnotherBody,
    /// Somebody's token for joining a room.
    SignedByJoinToken,
    /// `Bearer ` before the token.
    SignedByBearer,
    /// No token.
    Unsigned,

    // Rooms
    /// A deleted room dies slowly: whoever creates or joins it within ten seconds gets the old one, and is thrown out.
    DeletedRoomsLinger,
    /// A room that is created again takes over what the request says. The newest server leaves it as it is.
    RoomsAreUpdated,
    /// The participants of a room that does not exist are an empty list.
    AbsentRoomsAreEmpty,
    /// Lists of participants still name those who left last.
    ListsLag,

    // Egress
    /// No egress service is connected.
    NoEgress,
    /// Rooms exist, and yet no egress finds them.
    RoomsHideFromEgress,
    /// Tracks are published, and yet no egress gets its start signal.
    StartSignalsGetLost,
    /// Ended egresses are forgotten at once.
    ForgetsEgresses,
    /// The place of a file is a link that dies after seven days.
    LocationsArePresigned,
}

/// Those in force.
pub(super) type Quirks = BTreeSet<Quirk>;

impl Faults {
    /// What becomes of a request for `method`.
    pub(super) fn meet(&mut self, method: &str) -> Fate {
        let is_other = !self.only.is_empty() && self.only != method;
        if is_other || take_one(&mut self.spare_next) {
            return Fate::Heard;
        }
        if take_one(&mut self.vanish_next) {
            return Fate::Vanished;
        }
        if take_one(&mut self.fail_next) {
            return Fate::Failed;
        }
        Fate::Heard
    }

    /// What becomes of the answer to a request that was carried out.
    pub(super) fn answer(&mut self, method: &str) -> Fate {
        if !self.only.is_empty() && self.only != method {
            return Fate::Heard;
        }
        if take_one(&mut self.lose_next) {
            return Fate::Vanished;
        }
        if take_one(&mut self.fail_after_next) {
            return Fate::Failed;
        }
        Fate::Heard
    }

    /// Whether an egress finds no worker.
    pub(super) fn lacks_worker(&mut self) -> bool {
        take_one(&mut self.no_worker_next)
    }
}

/// What becomes of a request or of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Heard,
    Vanished,
    Failed,
}

fn take_one(left: &mut u32) -> bool {
    let takes = *left > 0;
    if *left != u32::MAX {
        *left -= u32::from(takes);
    }
    takes
}
