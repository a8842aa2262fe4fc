//! Accounts at vendors that want one before anybody may enter. Such a vendor makes another account whenever it is asked, so
//! one call at a time has it made, and it is written down before the vendor is asked.

use domain::ids::ProfileId;
use domain::launch::classroom::Classroom;
use jiff::{SignedDuration, Timestamp};
use platform::database::{Database, DatabaseError, Param, column};
use tokio_postgres::types::Type;
use uuid::Uuid;

/// How long a claim holds by itself: a little longer than an invocation lasts.
const CLAIM_LASTS: SignedDuration = SignedDuration::from_secs(25);

/// Claims the making of an account, unless it is there or somebody else has it made. Says what was there before.
/// $1 classroom, $2 what the vendor is to take them for, $3 person, $4 claim, $5 until when it holds, $6 now.
pub const CLAIM: &str = "
    WITH claimed AS (
        INSERT INTO vendor_accounts AS a (classroom, kind, profile_id, claim, claimed_until)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (classroom, kind, profile_id) DO UPDATE
        SET claim = $4, claimed_until = $5
        WHERE a.vendor_id IS NULL AND (a.claim = $4 OR a.claimed_until <= $6)
        RETURNING 1)
    SELECT a.vendor_id, a.profile_id IS NOT NULL AS was_claimed, EXISTS (SELECT FROM claimed) AS is_ours
    FROM (SELECT) AS nothing
    LEFT JOIN vendor_accounts a ON a.classroom = $1 AND a.kind = $2 AND a.profile_id = $3";

/// Saves the account, if nobody else's was saved meanwhile. $1 to $3 as above, $4 the vendor's id, $5 claim.
pub const KEEP: &str = "
    UPDATE vendor_accounts SET vendor_id = $4
    WHERE classroom = $1 AND kind = $2 AND profile_id = $3 AND vendor_id IS NULL AND claim = $5
    RETURNING vendor_id";

/// Lets the next call try at once, and see that this one may have had an account made. $1 claim, $2 now.
pub const LEAVE: &str = "
    UPDATE vendor_accounts SET claimed_until = $2 WHERE claim = $1 AND vendor_id IS NULL RETURNING profile_id";

/// Whose account, and what the vendor is to take them for.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// Where.
    pub classroom: Classroom,
    /// What the vendor is to take them for, in its words.
    pub kind: &'a str,
    /// Who.
    pub profile: ProfileId,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// There is an account, with this id of the vendor's.
    Kept(String),
    /// This call has it made.
    Ours {
        /// Whether an earlier call may have had one made and could not save it.
        may_exist: bool,
    },
    /// Another call has it made right now.
    Theirs,
}

/// Claims the making of an account.
pub async fn claim(
    database: &Database,
    holder: Holder<'_>,
    claim: Uuid,
    now: Timestamp,
) -> Result<Claim, DatabaseError> {
    let until = now.saturating_add(CLAIM_LASTS).unwrap_or(Timestamp::MAX);
    let classroom = holder.classroom.word();
    let params: [Param<'_>; 6] = [
        (&classroom, Type::TEXT),
        (&holder.kind, Type::TEXT),
        (&holder.profile.0, Type::UUID),
        (&claim, Type::UUID),
        (&until, Type::TIMESTAMPTZ),
        (&now, Type::TIMESTAMPTZ),
    ];

    let row = database.query_opt(CLAIM, &params).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;

    let kept: Option<String> = column(&row, "vendor_id")?;
    Ok(match (kept, column(&row, "is_ours")?) {
        (Some(id), _) => Claim::Kept(id),
        (None, true) => Claim::Ours {
            may_exist: column(&row, "was_claimed")?,
        },
        (None, false) => Claim::Theirs,
    })
}

/// Saves the account; `false` if this call's claim was taken over meanwhile.
pub async fn keep(
    database: &Database,
    holder: Holder<'_>,
    account: &str,
    claim: Uuid,
) -> Result<bool, DatabaseError> {
    let classroom = holder.classroom.word();
    let params: [Param<'_>; 5] = [
        (&classroom, Type::TEXT),
        (&holder.kind, Type::TEXT),
        (&holder.profile.0, Type::UUID),
        (&account, Type::TEXT),
        (&claim, Type::UUID),
    ];
    Ok(database.query_opt(KEEP, &params).await?.is_some())
}

/// Ends a claim that has saved nothing.
pub async fn leave(database: &Database, claim: Uuid, now: Timestamp) -> Result<(), DatabaseError> {
    let params: [Param<'_>; 2] = [(&claim, Type::UUID), (&now, Type::TIMESTAMPTZ)];
    database.query(LEAVE, &params).await.map(drop)
}
