//! SQL and rows. Every statement is one round trip, is written to be harmless when it runs twice, and
//! stands in [`STATEMENTS`], which the tests prepare against a freshly migrated database.

pub mod bookings;
pub mod charging;
pub mod lessons;
pub mod policy;
pub mod rooms;
pub mod sessions;
pub mod snapshots;

/// Every statement this project sends, by name.
pub const STATEMENTS: &[(&str, &str)] = &[
    ("bookings::SEEN_BY", bookings::SEEN_BY),
    ("bookings::ASSIGN_STUDENT", bookings::ASSIGN_STUDENT),
    ("lessons::LOAD", lessons::LOAD),
    ("lessons::APPLY", lessons::APPLY),
    ("lessons::POSTPONE", lessons::POSTPONE),
    ("lessons::REPLAY", lessons::REPLAY),
    ("rooms::ENTER", rooms::ENTER),
    ("rooms::OPENED", rooms::OPENED),
    ("rooms::GIVE_UP", rooms::GIVE_UP),
    ("sessions::FOR_BOOKING", sessions::FOR_BOOKING),
    ("sessions::CREATE", sessions::CREATE),
    ("sessions::SEEN_BY", sessions::SEEN_BY),
    ("sessions::CLAIM_DUE", sessions::CLAIM_DUE),
    ("sessions::DECIDE", sessions::DECIDE),
    ("sessions::NOTHING_NEW", sessions::NOTHING_NEW),
    ("sessions::EXPLAIN", sessions::EXPLAIN),
    ("snapshots::RECORD", snapshots::RECORD),
    ("platform::outbox::CLAIM", platform::outbox::CLAIM),
    ("platform::outbox::CONFIRM", platform::outbox::CONFIRM),
    ("platform::idempotency::ACQUIRE", platform::idempotency::ACQUIRE),
    ("platform::idempotency::COMPLETE", platform::idempotency::COMPLETE),
    ("platform::idempotency::RELEASE", platform::idempotency::RELEASE),
];
