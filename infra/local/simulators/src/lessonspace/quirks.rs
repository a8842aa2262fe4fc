//! How the vendor misbehaves.

use serde::Deserialize;
use std::collections::BTreeSet;

/// Answers that are late or fail, for a while.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every answer takes so long before anything happens. Two first launches of one id that overlap in that time make
    /// two rooms: the vendor promises one room per id, not what happens in a race.
    pub delay_ms: u64,
    /// Every launch is answered so late, after everything has happened.
    pub answer_after_ms: u64,
    /// So many answers go well first.
    pub spare_next: u32,
    /// So many answers from then on fail; the greatest number is for ever.
    pub fail_next: u32,
    /// With this status; 503 if 0. 200 only makes sense with `html`.
    pub fail_with: u16,
    /// With a page for people instead of JSON.
    pub html: bool,
    /// And with a Retry-After of so many seconds; without one if 0.
    pub retry_after_seconds: u32,
}

/// A way in which the vendor is not as one would like it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    // Webhooks
    /// No webhook is ever sent.
    Silent,
    /// Events have no prefix.
    BareNames,
    /// `user.joined` and `user.left`.
    PastTense,
    /// Whoever enters first is told of before the session's start.
    JoinsBeforeStarts,
    /// The header names another event than the one that happened.
    LyingHeaders,
    /// Sent with spaces, signed without.
    SignsCompact,
    /// Signed with another room's key.
    SignsWithAnotherKey,
    /// Half a signature.
    SignsHalf,
    /// No signature.
    SignsNothing,
    /// `webhooks` of the first launch count for ever.
    FirstLaunchCounts,
    /// Unknown keys among the webhooks do not void them.
    TakesUnknownHooks,

    // Sessions
    /// Sessions that have ended are shown without their end.
    Lags,
    /// The room's own list does not exist.
    NoRoomList,
    /// No logs, and nobody is connected.
    HidesLogs,
    /// No profiles.
    HidesProfiles,
    /// Of a recording, and of the space, rows say nothing.
    BareRows,
    /// Nobody is logged or told of as leaving.
    LosesLeaves,
    /// Nobody is logged as coming.
    LosesJoins,
    /// Things are logged that nobody has heard of.
    LogsMore,
    /// Lists have no pages: they are arrays.
    Arrays,
    /// Oldest first.
    OldestFirst,
    /// A session per page.
    TinyPages,
    /// The next page is on another host.
    ForeignNext,
    /// Filters are ignored: rows of every room and any time.
    IgnoresFilters,
    /// More than five lists in a second are refused.
    LimitsRate,

    // Launches
    /// Another key at each launch of a room.
    ChangesSecrets,
    /// Two first launches at once: the second fails with 500.
    RacesFail,
    /// Learners have to knock.
    WaitingRoom,
    /// Everything is recorded, whatever was asked for.
    RecordsAnyway,
    /// `session_id` names a session that never runs.
    StaleSessionIds,
    /// Each launch gives its visitor another id.
    NewUserEachLaunch,
    /// All visitors have one id.
    OneUserForAll,

    // Recordings
    /// Recordings take for ever: 404.
    RecordingsPrepare,
    /// The address of a recording is null.
    RecordingsAreNull,
    /// The answer about a recording is empty.
    RecordingsAreEmpty,
    /// All recordings were deleted.
    RecordingsDeleted,
    /// Links to recordings have run out.
    LinksExpired,
}

/// Those in force.
pub(super) type Quirks = BTreeSet<Quirk>;
