//! How the vendor misbehaves for as long as it is told to.

use serde::Deserialize;
use std::collections::BTreeSet;

/// A way in which the vendor is not as one would like it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    // The key
    /// The key was revoked: 401 from now on.
    KeyRevoked,
    /// The plan has no API any more: 403 from now on.
    PlanLapsed,

    // How it answers
    /// Refusals have their text in `error` instead of `message`.
    SaysError,
    /// Refusals have their text in `err` instead of `message`.
    SaysErr,
    /// What was made is answered with 201 instead of 200.
    SaysCreated,
    /// A PATCH is answered with 200 and an empty body.
    PatchesSayNothing,
    /// Filters are ignored: lists have all rows.
    IgnoresFilters,
    /// Filters are refused, however they are written.
    RefusesFilters,
    /// Rows of lists have no `externalId`.
    BareRows,
    /// A row per page, whatever size is asked for.
    TinyPages,
    /// Lists begin with the newest instead of the oldest.
    NewestFirst,

    // Users and links
    /// An e-mail that is taken makes a second user instead of a refusal.
    TakesTakenEmails,
    /// A user with an `externalId` is refused, in the words of the database behind the vendor.
    RefusesExternalIds,
    /// Magic links have run out when they arrive.
    LinksExpired,

    // Spaces
    /// A space whose `externalId` is taken is not refused: the answer is the first one.
    ReturnsFirstSpace,
    /// A space whose `externalId` is taken is not refused: there are two of it.
    MakesSecondSpace,
    /// The institution has sites, and a space must name one.
    HasSites,
    /// Participants wait for a host to admit them, whatever the settings say.
    WaitingRoomStays,
    /// Every session is recorded, unless its space has `disableAlwaysOnRecording`.
    AlwaysRecords,

    // Analytics
    /// Sessions that run or are not analysed yet are shown, with a status that says so and without people.
    ShowsUnfinished,
    /// Sessions are not shown even when their end was told.
    AnalyticsMissing,
    /// Sessions are shown as unfinished even when their end was told.
    AnalyticsUnfinished,
    /// Whoever has two tabs is two attendees, whose times overlap.
    SplitsAttendees,
    /// Sessions and attendees end before they begin.
    EndsBeforeStart,
    /// Of whoever crashed nobody knows when they left.
    CrashesHaveNoEnd,

    // Recordings
    /// No recording is listed, even when it was told of.
    RecordingsLag,
    /// The list of a space's recordings has no pages: it is an array.
    RecordingsAreArrays,
    /// Recordings have a `fileSize` of 0.
    RecordingsHaveNoSize,
    /// Recordings have a `duration` of 0.
    RecordingsHaveNoLength,
    /// Recordings have their `duration` in milliseconds instead of seconds.
    RecordingsInMilliseconds,

    // Webhooks
    /// No webhook is ever sent.
    Silent,
    /// Nobody is told of as leaving.
    LosesLeaves,
    /// No end of a session is told.
    LosesSessionEnds,
    /// Before each event comes one that nobody has heard of.
    UnknownEvents,
    /// Events of recordings have nothing but the space, the time and what they are.
    BareRecordingEvents,
    /// Times of events are whole seconds since 1970.
    EpochSeconds,
    /// Times of events are milliseconds since 1970.
    EpochMilliseconds,
    /// Sent with another secret.
    WrongBearer,
    /// Sent with the secret of the other environment.
    StagingBearer,
    /// Sent without any secret.
    NoBearer,
    /// Sent with `X-Pencil-Signature` besides.
    Signs,
    /// Sent with a wrong `X-Pencil-Signature` besides.
    SignsWrongly,
    /// Bodies are changed on their way, after they were signed: they name another session, another user, and numbers
    /// that no event of this vendor has.
    Tampers,
    /// An event that is not taken is not sent again.
    DeliversOnce,
}

/// Those in force.
pub(super) type Quirks = BTreeSet<Quirk>;
