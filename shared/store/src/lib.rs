//! SQL and rows. Every statement is one round trip, is written to be harmless when it runs twice, and
//! stands in [`STATEMENTS`], which the tests prepare against a freshly migrated database.

pub mod bookings;
pub mod charging;
pub mod events;
pub mod following;
pub mod keeping;
pub mod lessons;
pub mod payments;
pub mod policy;
pub mod rooms;
pub mod sessions;
pub mod snapshots;
pub mod tending;

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
    ("keeping::TIDY", keeping::TIDY),
    ("lessons::LOAD", lessons::LOAD),
    ("lessons::APPLY", lessons::APPLY),
    ("payments::START", payments::START),
    ("payments::AGREE", payments::AGREE),
    ("payments::OPENED", payments::OPENED),
    ("payments::GIVE_UP", payments::GIVE_UP),
    ("payments::SEEN_BY", payments::SEEN_BY),
    ("payments::LOOK_AT_TAB", payments::LOOK_AT_TAB),
    ("payments::ASK_FOR", payments::ASK_FOR),
    ("payments::PAID", payments::PAID),
    ("payments::DECLINED", payments::DECLINED),
    ("payments::SETTLE", payments::SETTLE),
    ("payments::LOOK_AT_REFUND", payments::LOOK_AT_REFUND),
    ("payments::REFUNDED", payments::REFUNDED),
    ("payments::DISPUTED", payments::DISPUTED),
    ("payments::WITHDRAW", payments::WITHDRAW),
    ("payments::WITHDRAW_UNASKED", payments::WITHDRAW_UNASKED),
    ("payments::REFUND_REFUSED", payments::REFUND_REFUSED),
    ("payments::RECONCILE", payments::RECONCILE),
    ("payments::OVERVIEW", payments::OVERVIEW),
    ("rooms::ENTER", rooms::ENTER),
    ("rooms::ENTERED", rooms::ENTERED),
    ("rooms::GIVE_UP", rooms::GIVE_UP),
    ("sessions::FOR_BOOKING", sessions::FOR_BOOKING),
    ("sessions::CREATE", sessions::CREATE),
    ("sessions::MARK_NO_SHOW", sessions::MARK_NO_SHOW),
    ("sessions::WITHDRAW_NO_SHOW", sessions::WITHDRAW_NO_SHOW),
    ("sessions::SEEN_BY", sessions::SEEN_BY),
    ("sessions::CLAIM_DUE", sessions::CLAIM_DUE),
    ("sessions::DECIDE", sessions::DECIDE),
    ("sessions::EXPLAIN", sessions::EXPLAIN),
    ("snapshots::RECORD", snapshots::RECORD),
    ("tending::TEND", tending::TEND),
    ("platform::outbox::CLAIM", platform::outbox::CLAIM),
    ("platform::outbox::CONFIRM", platform::outbox::CONFIRM),
];
