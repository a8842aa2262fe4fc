//! SQL and rows. Every statement is one round trip, is written to be harmless when it runs twice, and
//! stands in [`STATEMENTS`], which the tests prepare against a freshly migrated database.

pub mod bookings;
pub mod charging;
pub mod events;
pub mod following;
pub mod lessons;
pub mod payments;
pub mod policy;
pub mod rooms;
pub mod sessions;
pub mod snapshots;

/// Every statement this project sends, by name.
pub const STATEMENTS: &[(&str, &str)] = &[
    ("bookings::SEEN_BY", bookings::SEEN_BY),
    ("bookings::ASSIGN_STUDENT", bookings::ASSIGN_STUDENT),
    ("events::RECORD", events::RECORD),
    ("events::ATTEMPTS", events::ATTEMPTS),
    ("events::POSTPONE", events::POSTPONE),
    ("events::REPLAY", events::REPLAY),
    ("following::CATCH_UP", following::CATCH_UP),
    ("following::WALK_ON", following::WALK_ON),
    ("lessons::LOAD", lessons::LOAD),
    ("lessons::APPLY", lessons::APPLY),
    ("payments::START", payments::START),
    ("payments::AGREE", payments::AGREE),
    ("payments::OPENED", payments::OPENED),
    ("payments::GIVE_UP", payments::GIVE_UP),
    ("payments::SEEN_BY", payments::SEEN_BY),
    ("payments::LOOK_AT_TAB", payments::LOOK_AT_TAB),
    ("payments::ASK_FOR_PART", payments::ASK_FOR_PART),
    ("payments::PAID", payments::PAID),
    ("payments::DECLINED", payments::DECLINED),
    ("payments::SETTLE", payments::SETTLE),
    ("payments::LOOK_AT_REFUND", payments::LOOK_AT_REFUND),
    ("payments::REFUNDED", payments::REFUNDED),
    ("payments::DISPUTED", payments::DISPUTED),
    ("rooms::ENTER", rooms::ENTER),
    ("rooms::OPENED", rooms::OPENED),
    ("rooms::GIVE_UP", rooms::GIVE_UP),
    ("sessions::FOR_BOOKING", sessions::FOR_BOOKING),
    ("sessions::CREATE", sessions::CREATE),
    ("sessions::SEEN_BY", sessions::SEEN_BY),
    ("sessions::CLAIM_DUE", sessions::CLAIM_DUE),
    ("sessions::DECIDE", sessions::DECIDE),
    ("sessions::NOTHING_NEW", sessions::NOTHING_NEW),
    ("sessions::SET_ASIDE", sessions::SET_ASIDE),
    ("sessions::EXPLAIN", sessions::EXPLAIN),
    ("snapshots::RECORD", snapshots::RECORD),
    ("platform::outbox::CLAIM", platform::outbox::CLAIM),
    ("platform::outbox::CONFIRM", platform::outbox::CONFIRM),
    ("platform::idempotency::ACQUIRE", platform::idempotency::ACQUIRE),
    ("platform::idempotency::COMPLETE", platform::idempotency::COMPLETE),
    ("platform::idempotency::RELEASE", platform::idempotency::RELEASE),
];
