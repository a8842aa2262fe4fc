//! SQL and rows, in the product's chapters. Every statement is one round trip and is harmless when it runs twice. A
//! short one stands in the function's module, a long one beside it, in a file of its own that says what it is for. All of
//! them stand in [`STATEMENTS`], which the tests prepare against a freshly migrated database.

pub mod charge;
pub mod keep;
pub mod launch;
pub mod prove;
mod rows;

macro_rules! statements {
    ($($chapter:ident :: $module:ident :: { $($name:ident),+ $(,)? })+) => {
        &[$($((
            concat!(stringify!($chapter), "::", stringify!($module), "::", stringify!($name)),
            $chapter::$module::$name,
        )),+),+]
    };
}

/// Every statement that this project sends, by the path of its constant.
pub const STATEMENTS: &[(&str, &str)] = statements! {
    launch::bookings::{SEEN_BY, ASSIGN_STUDENT}
    launch::accounts::{CLAIM, KEEP, LEAVE}
    launch::rooms::{ENTER, ENTERED, GIVE_UP, LEAVE}
    prove::inbox::{RECORD, ATTEMPTS, POSTPONE, REPLAY}
    prove::evidence::{LOAD, APPLY}
    prove::insights::{OF}
    prove::snapshots::{RECORD}
    charge::sessions::{FOR_BOOKING, CREATE, SEEN_BY, MARK_NO_SHOW, WITHDRAW_NO_SHOW}
    charge::settling::{CLAIM_DUE, DECIDE}
    charge::explaining::{EXPLAIN}
    charge::paying::{START, AGREE, OPENED, SEEN_BY}
    charge::tab::{LOOK_AT_TAB, ASK_FOR, CLOSE, WITHDRAW_UNASKED}
    charge::refunds::{LOOK_AT, WITHDRAW, REFUSED}
    charge::books::{PAID, DECLINED, GIVE_UP, REFUNDED, DISPUTED}
    keep::following::{CATCH_UP, WALK_ON}
    keep::overdue::{RECONCILE, OVERVIEW}
    keep::tending::{TEND}
    keep::tidying::{TIDY}
};
