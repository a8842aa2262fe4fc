//! Sessions, their decisions and their ledger. Every decision is one statement: the status, the charge, the
//! event and the ledger entries stand or fall together, and only if nobody decided meanwhile.

use crate::lessons::as_json;
use crate::payments::{CARD_GATEWAY, LookAtTab};
use domain::ids::{BookingId, ProfileId};
use domain::money::Money;
use domain::payment::Collects;
use domain::session::{Session, SessionPolicy, SessionStatus};
use domain::settlement::{Facts, Settlement, Verdict};
use domain::window::Schedule;
use iso_currency::Currency;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::ids::Ids;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

/// What a session is made from, if the person is the booking's client or tutor.
/// $1 booking, $2 person.
pub const FOR_BOOKING: &str = "
    SELECT b.id, b.client_id, b.tutor_id, b.status, b.session_start_time, b.session_duration, b.price_minor,
           b.price_currency, b.agreed_at IS NOT NULL AS is_agreed,
           EXISTS (
               SELECT FROM platform_connections c WHERE c.tutor_id = b.tutor_id AND c.is_connected) AS is_connected
    FROM bookings b WHERE b.id = $1 AND $2 IN (b.client_id, b.tutor_id)";

/// Makes the booking's session, or finds the one that is there. The booking is locked and must still be what the
/// session was made from: the follower moves a booking and the session that it has by then. One that is made late starts
/// from what is known of the room.
/// $1 id, $2 booking, $3 client, $4 tutor, $5 provider, $6 start, $7 end, $8 minutes, $9 the wait's share, $10 the
/// minimum's share, $11 price, $12 currency, $13 the rules, $14 now, $15 who makes it.
pub const CREATE: &str = "
    WITH booking AS (
        SELECT id, evidence FROM bookings
        WHERE id = $2 AND client_id = $3 AND tutor_id = $4 AND session_start_time = $6 AND session_duration = $8
          AND price_minor = $11 AND price_currency = $12 AND status = 'confirmed' AND agreed_at IS NOT NULL
        FOR NO KEY UPDATE),
    made AS (
        INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
            duration_minutes, no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at,
            due_at, ask_at, evidence, policy)
        SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $7, due_once_asked($7, $14), $7, evidence, $13 FROM booking
        ON CONFLICT (booking_id) DO NOTHING RETURNING *),
    wanted AS (UPDATE bookings b SET wants_session = false FROM made WHERE b.id = made.booking_id),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data) SELECT id, 'created', $14, $15 FROM made)
    SELECT *, true AS is_new FROM made
    UNION ALL
    SELECT *, false FROM sessions WHERE booking_id = $2";

/// A session, if the person is on it. $1 session, $2 person.
pub const SEEN_BY: &str = "SELECT * FROM sessions WHERE id = $1 AND $2 IN (client_id, tutor_id)";

/// Takes what is due, in the order of its time, and leaves what another runner has taken. What the platform says of
/// a booking that cannot be followed may be that it was called off: its money waits until somebody has looked.
/// $1 now, $2 at most.
pub const CLAIM_DUE: &str = "
    SELECT * FROM sessions s
    WHERE due_at <= $1 AND NOT EXISTS (
        SELECT FROM follow_failures f WHERE f.booking_id = s.booking_id AND f.direction = 'follow')
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED";

/// The tutor marks the student absent, which shows at once and costs at the planned end; the client is told. Not while
/// what the platform says of the booking cannot be followed. $1 session, $2 now, $3 who, $4 settles at.
pub const MARK_NO_SHOW: &str = "
    WITH marked AS (
        UPDATE sessions s SET no_show_marked_at = coalesce(no_show_marked_at, $2)
        WHERE id = $1 AND status IN ('SCHEDULED', 'JOIN_OPEN') AND NOT EXISTS (
            SELECT FROM follow_failures f WHERE f.booking_id = s.booking_id AND f.direction = 'follow')
        RETURNING id, booking_id, client_id, no_show_marked_at),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, 'no_show_marked', $2, $3 FROM marked WHERE no_show_marked_at = $2),
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'no_show_marked', 'no_show/' || id || '/' || extract(epoch FROM no_show_marked_at), booking_id,
               jsonb_build_object('session_id', id, 'settles_at', $4::timestamptz), $2
        FROM marked ON CONFLICT (source) DO NOTHING)
    SELECT no_show_marked_at FROM marked";

/// The tutor takes the mark back; the client is told. $1 session, $2 now, $3 who.
pub const WITHDRAW_NO_SHOW: &str = "
    WITH marked AS (SELECT id, no_show_marked_at FROM sessions WHERE id = $1 FOR UPDATE),
    withdrawn AS (
        UPDATE sessions s SET no_show_marked_at = NULL FROM marked
        WHERE s.id = marked.id AND s.status IN ('SCHEDULED', 'JOIN_OPEN')
        RETURNING s.id, s.booking_id, s.client_id, marked.no_show_marked_at),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, 'no_show_withdrawn', $2, $3 FROM withdrawn WHERE no_show_marked_at IS NOT NULL),
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'no_show_withdrawn', 'no_show/' || id || '/' || extract(epoch FROM no_show_marked_at) || '/withdrawn',
               booking_id, jsonb_build_object('session_id', id), $2
        FROM withdrawn WHERE no_show_marked_at IS NOT NULL ON CONFLICT (source) DO NOTHING)
    SELECT id FROM withdrawn";

/// Writes decisions, a row each: status, charge, event, ledger entries, what the client is told and, where money may
/// have to move, the collection of the charge and the job that looks at the booking's tab. A session that was decided
/// since it was read is left out. A decision after the first takes back the entries of the one before.
/// $1 sessions, $2 decisions made when read, $3 charges, $4 statuses, $5 charge, $6 payout, $7 fee,
/// $8 explanations, $9 who decided, $10 cancellations, $11 jobs, $12 now, $13 the card gateway, NULL if the
/// platform collects; $14 sessions that are not decided, $15 when each is looked at again, if ever; $16 sessions that cannot
/// be read or settled, which leave the list of what is due so that they do not stop the others.
pub const DECIDE: &str = "
    WITH decided AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::jsonb[], $9::jsonb[], $10::timestamptz[], $11::jsonb[])
        AS d (session_id, decisions, charge_id, status, charge, payout, fee, explanation, decided_by, called_off_at, job)),
    settled AS (
        UPDATE sessions s
        SET status = d.status, decisions = s.decisions + 1, settled_at = $12, due_at = NULL, set_aside_at = NULL,
            cancelled_at = coalesce(s.cancelled_at, d.called_off_at)
        FROM decided d WHERE s.id = d.session_id AND s.decisions = d.decisions
        RETURNING s.id, s.booking_id, s.client_id, s.tutor_id, s.price_minor, s.currency, s.decisions, d.charge_id,
            d.status, d.charge, d.payout, d.fee, d.explanation, d.decided_by, d.job),
    charged AS (
        INSERT INTO charges (id, session_id, decision, status, charge_minor, payout_minor, fee_minor, currency,
            explanation, decided_at)
        SELECT charge_id, id, decisions, status, charge, payout, fee, currency, explanation, $12 FROM settled),
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, CASE WHEN decisions = 1 THEN 'settled' ELSE 'corrected' END, $12,
               decided_by || jsonb_build_object('status', status, 'charge_id', charge_id)
        FROM settled),
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT who, CASE WHEN decisions = 1 THEN 'lesson_settled' ELSE 'lesson_corrected' END,
               'charge/' || charge_id || side, booking_id,
               jsonb_build_object('session_id', id, 'status', status, 'charge', charge, 'currency', currency), $12
        FROM settled CROSS JOIN LATERAL (VALUES (client_id, ''), (tutor_id, '/tutor')) AS told (who, side)
        -- That it is called off concerns both, whoever did it.
        WHERE side = '' OR status = 'CANCELLED'
        ON CONFLICT (source) DO NOTHING),
    collected AS (
        INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, charge_id, amount_minor,
            currency, status, created_at)
        SELECT charge_id, booking_id, client_id, tutor_id, price_minor, $13, 'saved_card', charge_id, charge,
            currency, 'opening', $12
        FROM settled WHERE charge > 0 AND $13::text IS NOT NULL),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT (job ->> 'id')::uuid, 'payments', job, $12 FROM settled s
        WHERE (charge > 0 AND $13::text IS NOT NULL)
           OR EXISTS (SELECT FROM payments p WHERE p.booking_id = s.booking_id)),
    booked AS (
        SELECT s.charge_id, 'settlement' AS kind, e.account_kind, e.owner_id, s.currency, e.amount
        FROM settled s CROSS JOIN LATERAL (VALUES
            ('receivable', s.client_id, s.charge),
            ('payable', s.tutor_id, -s.payout),
            ('fees', NULL::uuid, -s.fee)) AS e (account_kind, owner_id, amount)
        WHERE e.amount <> 0),
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT concat_ws('/', account_kind, owner_id, currency), account_kind, owner_id, currency FROM booked
        -- In one order everywhere: two that meet the same new people must not wait for each other.
        ORDER BY 1 ON CONFLICT (id) DO NOTHING),
    taken_back AS (
        SELECT e.charge_id, e.account_id, e.amount_minor, e.currency
        FROM settled s
        JOIN charges c ON s.decisions > 1 AND c.session_id = s.id AND c.decision = s.decisions - 1
        JOIN ledger_entries e ON e.charge_id = c.id AND e.kind = 'settlement'),
    entries AS (
        INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at)
        SELECT charge_id, concat_ws('/', account_kind, owner_id, currency), kind, amount, currency, $12 FROM booked
        UNION ALL
        SELECT charge_id, account_id, 'reversal', -amount_minor, currency, $12 FROM taken_back),
    later AS (
        UPDATE sessions s SET due_at = again.at, set_aside_at = NULL
        FROM unnest($14::uuid[], $15::timestamptz[]) AS again (session_id, at) WHERE s.id = again.session_id),
    aside AS (UPDATE sessions SET due_at = NULL, set_aside_at = $12 WHERE id = ANY($16::uuid[]) RETURNING id),
    told_of_them AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, 'unreadable', $12, '{\"by\": \"schedule\"}' FROM aside)
    SELECT id FROM settled";

/// Why a session costs what it costs: its decisions, latest first, their ledger entries and, for the client,
/// how it was paid.
/// $1 session, $2 person.
pub const EXPLAIN: &str = "
    SELECT c.decision, c.status, c.charge_minor, c.payout_minor, c.fee_minor, c.currency, c.explanation, c.decided_at,
           coalesce((
               SELECT jsonb_agg(jsonb_build_object('account', split_part(e.account_id, '/', 1), 'kind', e.kind,
                                                   'amount', e.amount_minor) ORDER BY e.id)
               FROM ledger_entries e WHERE e.charge_id = c.id), '[]') AS entries,
           coalesce((
               SELECT jsonb_agg(jsonb_build_object('id', p.id, 'method', p.method, 'status', p.status,
                   'amount', jsonb_build_object('amount', p.amount_minor, 'currency', p.currency),
                   'refunded', jsonb_build_object('currency', p.currency, 'amount', coalesce((
                       SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id AND r.status = 'done'), 0)))
                   ORDER BY p.created_at, p.id)
               FROM payments p
               WHERE p.booking_id = s.booking_id AND s.client_id = $2 AND p.amount_minor > 0 AND p.status <> 'closed'),
               '[]') AS payments
    FROM sessions s LEFT JOIN charges c ON c.session_id = s.id
    WHERE s.id = $1 AND $2 IN (s.client_id, s.tutor_id)
    ORDER BY c.decision DESC NULLS LAST";

/// What a session is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Bookable {
    /// Who pays.
    pub client: ProfileId,
    /// Who teaches.
    pub tutor: ProfileId,
    /// `bookings.status`.
    pub status: domain::booking::BookingStatus,
    /// When it is planned.
    pub schedule: Option<Schedule>,
    /// The pinned price.
    pub price: Option<Money>,
    /// Whether it was confirmed before its start, or an operator let that count.
    pub is_agreed: bool,
    /// Whether the tutor has a connected meeting provider.
    pub is_connected: bool,
}

/// A session's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// `sessions.id`.
    pub id: Uuid,
    /// The session.
    pub session: Session,
    /// Where it stands.
    pub status: SessionStatus,
    /// What is known of it.
    pub facts: Facts,
    /// How often it was decided.
    pub decisions: i32,
}

/// A decision about a session that was read as `stored`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<'a> {
    /// The session as it was read.
    pub stored: &'a Stored,
    /// Its outcome, with the facts that led to it.
    pub settlement: Settlement,
}

/// A decision on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The final status.
    pub status: String,
    /// 1, or more for a correction.
    pub decision: i32,
    /// Charge, payout and fee.
    pub amounts: [Money; 3],
    /// The domain's explanation, as it was stored.
    pub explanation: Value,
    /// The ledger entries.
    pub entries: Value,
    /// How it was paid; for the client only.
    pub payments: Value,
    /// When it was decided.
    pub decided_at: Timestamp,
}

fn currency(code: &str) -> Result<Currency, DatabaseError> {
    Currency::from_code(code).ok_or(DatabaseError::Unexpected("currency"))
}

fn json<T: DeserializeOwned>(row: &Row, name: &'static str) -> Result<T, DatabaseError> {
    let Json(value) = column(row, name)?;
    Ok(value)
}

/// Whether nobody gets into a room of this provider but by our launch.
pub fn enters_through_us(provider: &str) -> bool {
    provider == "lessonspace"
}

fn read(row: &Row) -> Result<Stored, DatabaseError> {
    let price = Money::new(column(row, "price_minor")?, currency(column(row, "currency")?)?);
    let schedule = Schedule::new(
        column(row, "scheduled_start_at")?,
        column(row, "duration_minutes")?,
    );
    let status: &str = column(row, "status")?;
    Ok(Stored {
        id: column(row, "id")?,
        session: Session {
            booking: BookingId(column(row, "booking_id")?),
            client: ProfileId(column(row, "client_id")?),
            tutor: ProfileId(column(row, "tutor_id")?),
            schedule: schedule.ok_or(DatabaseError::Unexpected("schedule"))?,
            price,
            policy: json(row, "policy")?,
            is_entered_through_us: enters_through_us(column(row, "provider")?),
        },
        status: status.parse().map_err(|_| DatabaseError::Unexpected("status"))?,
        facts: Facts {
            evidence: json(row, "evidence")?,
            asked_at: column(row, "asked_at")?,
            no_show_marked_at: column(row, "no_show_marked_at")?,
            cancelled_at: column(row, "cancelled_at")?,
            waived_at: column(row, "waived_at")?,
        },
        decisions: column(row, "decisions")?,
    })
}

/// Loads what a session would be made from; `None` for strangers.
pub async fn for_booking(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
) -> Result<Option<Bookable>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&booking.0, Type::UUID), (&person.0, Type::UUID)];
    let Some(row) = database.query_opt(FOR_BOOKING, &params).await? else {
        return Ok(None);
    };
    let (start, minutes) = (
        column(&row, "session_start_time")?,
        column::<Option<i32>>(&row, "session_duration")?,
    );
    let price: Option<i64> = column(&row, "price_minor")?;
    let code: Option<&str> = column(&row, "price_currency")?;
    let price =
        Option::zip(price, code).and_then(|(minor, code)| Some(Money::new(minor, currency(code).ok()?)));
    Ok(Some(Bookable {
        client: ProfileId(column(&row, "client_id")?),
        tutor: ProfileId(column(&row, "tutor_id")?),
        status: domain::booking::BookingStatus::from(column::<&str>(&row, "status")?),
        schedule: Option::zip(start, minutes).and_then(|(start, minutes)| Schedule::new(start, minutes)),
        price,
        is_agreed: column(&row, "is_agreed")?,
        is_connected: column(&row, "is_connected")?,
    }))
}

/// Makes the session, or finds the one its booking has; the flag says whether it is new.
pub async fn create(
    database: &Database,
    session: &Session,
    provider: &str,
    id: Uuid,
    by: &Value,
    now: Timestamp,
) -> Result<(Stored, bool), DatabaseError> {
    let minutes = i32::try_from(session.duration_minutes()).unwrap_or(i32::MAX);
    let rules = Rules::of(&session.policy);
    let (start, end) = (session.schedule.starts_at(), session.schedule.ends_at());
    let (price, code) = (session.price.minor(), session.price.currency().code());
    let params: [Param<'_>; 15] = [
        (&id, Type::UUID),
        (&session.booking.0, Type::UUID),
        (&session.client.0, Type::UUID),
        (&session.tutor.0, Type::UUID),
        (&provider, Type::TEXT),
        (&start, Type::TIMESTAMPTZ),
        (&end, Type::TIMESTAMPTZ),
        (&minutes, Type::INT4),
        (&rules.wait, Type::TEXT),
        (&rules.minimum, Type::TEXT),
        (&price, Type::INT8),
        (&code, Type::TEXT),
        (&rules.whole, Type::JSONB),
        (&now, Type::TIMESTAMPTZ),
        (by, Type::JSONB),
    ];
    let row = database.query_opt(CREATE, &params).await?;
    // Made by somebody else between this statement's snapshot and its insert, or the booking was moved: try again.
    let row = row.ok_or(DatabaseError::Unavailable(
        "the session is being made, or its booking changes",
    ))?;
    Ok((read(&row)?, column(&row, "is_new")?))
}

/// The rules under which a session is sold, as its row keeps them.
pub(crate) struct Rules {
    pub(crate) wait: String,
    pub(crate) minimum: String,
    pub(crate) whole: Value,
}

impl Rules {
    pub(crate) fn of(policy: &SessionPolicy) -> Self {
        Self {
            wait: policy.no_show_wait.to_string(),
            minimum: policy.min_payable.to_string(),
            whole: as_json(policy),
        }
    }
}

/// Marks the student absent; since when they are, or `None` if that does not count any more.
pub async fn mark_no_show(
    database: &Database,
    stored: &Stored,
    by: &Value,
    now: Timestamp,
) -> Result<Option<Timestamp>, DatabaseError> {
    let settles_at = stored.session.charge_scheduled_at();
    let params: [Param<'_>; 4] = [
        (&stored.id, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (by, Type::JSONB),
        (&settles_at, Type::TIMESTAMPTZ),
    ];
    let row = database.query_opt(MARK_NO_SHOW, &params).await?;
    row.map(|row| column(&row, "no_show_marked_at")).transpose()
}

/// Takes the mark back; `false` if the session has an outcome by now.
pub async fn withdraw_no_show(
    database: &Database,
    session: Uuid,
    by: &Value,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&session, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (by, Type::JSONB),
    ];
    Ok(database.query_opt(WITHDRAW_NO_SHOW, &params).await?.is_some())
}

/// Loads a session for somebody on it; `None` for strangers.
pub async fn seen_by(
    database: &Database,
    session: Uuid,
    person: ProfileId,
) -> Result<Option<Stored>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&session, Type::UUID), (&person.0, Type::UUID)];
    database
        .query_opt(SEEN_BY, &params)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The parameters of [`DECIDE`], column by column.
#[derive(Default)]
struct Columns<'a> {
    sessions: Vec<Uuid>,
    decisions: Vec<i32>,
    charges: Vec<Uuid>,
    statuses: Vec<&'static str>,
    charge: Vec<i64>,
    payout: Vec<i64>,
    fee: Vec<i64>,
    explanations: Vec<Value>,
    by: Vec<&'a Value>,
    cancellations: Vec<Option<Timestamp>>,
    jobs: Vec<Value>,
    later: (Vec<Uuid>, Vec<Option<Timestamp>>),
    aside: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    fn of(decisions: &'a [Decision<'a>], by: &'a Value, ids: &Ids, now: Timestamp) -> Self {
        let mut columns = Self::default();
        for Decision { stored, settlement } in decisions {
            columns.sessions.push(stored.id);
            columns.decisions.push(stored.decisions);
            columns.charges.push(ids.next());
            columns.statuses.push(settlement.status.word());
            columns.charge.push(settlement.charge.minor());
            columns.payout.push(settlement.payout.minor());
            columns.fee.push(settlement.fee.minor());
            columns
                .explanations
                .push(serde_json::to_value(&settlement.explanation).unwrap_or_default());
            columns.by.push(by);
            columns
                .cancellations
                .push(settlement.explanation.known.cancelled_at);
            columns
                .jobs
                .push(LookAtTab::envelope(stored.session.booking, ids, now));
        }
        columns
    }

    fn params<'b>(&'b self, now: &'b Timestamp, gateway: &'b Gateway) -> [Param<'b>; 16] {
        [
            (&self.sessions, Type::UUID_ARRAY),
            (&self.decisions, Type::INT4_ARRAY),
            (&self.charges, Type::UUID_ARRAY),
            (&self.statuses, Type::TEXT_ARRAY),
            (&self.charge, Type::INT8_ARRAY),
            (&self.payout, Type::INT8_ARRAY),
            (&self.fee, Type::INT8_ARRAY),
            (&self.explanations, Type::JSONB_ARRAY),
            (&self.by, Type::JSONB_ARRAY),
            (&self.cancellations, Type::TIMESTAMPTZ_ARRAY),
            (&self.jobs, Type::JSONB_ARRAY),
            (now, Type::TIMESTAMPTZ),
            (gateway, Type::TEXT),
            (&self.later.0, Type::UUID_ARRAY),
            (&self.later.1, Type::TIMESTAMPTZ_ARRAY),
            (&self.aside, Type::UUID_ARRAY),
        ]
    }
}

/// The gateway that a charge is collected by, if we collect.
type Gateway = Option<&'static str>;

fn collecting_gateway(collects: Collects) -> Gateway {
    match collects {
        Collects::Firstbell => Some(CARD_GATEWAY),
        Collects::Platform => None,
    }
}

/// Writes one decision by whoever `by` says; `false` if somebody else decided meanwhile.
pub async fn decide(
    database: &Database,
    decision: Decision<'_>,
    by: &Value,
    collects: Collects,
    ids: &Ids,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let decisions = [decision];
    let (columns, gateway) = (
        Columns::of(&decisions, by, ids, now),
        collecting_gateway(collects),
    );
    let decided = database.query(DECIDE, &columns.params(&now, &gateway)).await?;
    Ok(!decided.is_empty())
}

/// A batch that could not be settled, of which nothing was.
#[derive(Debug)]
pub struct Unsettled {
    /// Why.
    pub error: DatabaseError,
    /// The session that was taken first, if any was.
    pub first: Option<Uuid>,
}

/// Settles up to `most` due sessions in one transaction of two round trips: take, decide by `settle`, write.
/// Any number of these may run at once. Returns how many were taken; an error says which was taken first.
pub async fn settle_due(
    database: &Database,
    settle: impl Fn(&Stored) -> Verdict,
    most: i64,
    collects: Collects,
    ids: &Ids,
    now: Timestamp,
) -> Result<usize, Unsettled> {
    let (transaction, rows) = database
        .begin(CLAIM_DUE, &[(&now, Type::TIMESTAMPTZ), (&most, Type::INT8)])
        .await
        .map_err(|error| Unsettled { error, first: None })?;
    let first = rows.first().and_then(|row| column(row, "id").ok());
    let unsettled = |error| Unsettled { error, first };
    let (mut due, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::<Uuid>::new());
    for row in &rows {
        match read(row) {
            Ok(stored) => due.push(stored),
            Err(error) => {
                let id = column(row, "id").map_err(unsettled)?;
                tracing::error!(session_id = %id, %error, "a session cannot be read");
                unreadable.push(id);
            }
        }
    }

    let (mut decisions, mut later) = (Vec::with_capacity(due.len()), (Vec::new(), Vec::new()));
    for stored in &due {
        let again = match settle(stored) {
            Verdict::Decided(settlement) => {
                let settlement = *settlement;
                decisions.push(Decision { stored, settlement });
                continue;
            }
            Verdict::Wait(until) => Some(until),
            Verdict::Stands => None,
        };
        later.0.push(stored.id);
        later.1.push(again);
    }

    let (by, gateway) = (
        serde_json::json!({"by": "schedule"}),
        collecting_gateway(collects),
    );
    let columns = Columns {
        later,
        aside: unreadable,
        ..Columns::of(&decisions, &by, ids, now)
    };
    transaction
        .commit(DECIDE, &columns.params(&now, &gateway))
        .await
        .map_err(unsettled)?;
    Ok(rows.len())
}

/// Sets a session aside that the database refuses to settle.
pub async fn set_aside(database: &Database, session: Uuid, now: Timestamp) -> Result<(), DatabaseError> {
    tracing::error!(session_id = %session, "a session cannot be settled");
    let columns = Columns {
        aside: vec![session],
        ..Columns::default()
    };
    database
        .query(DECIDE, &columns.params(&now, &None))
        .await
        .map(drop)
}

/// Loads a session's decisions, latest first; `None` for strangers, empty before the first.
pub async fn explain(
    database: &Database,
    session: Uuid,
    person: ProfileId,
) -> Result<Option<Vec<Explained>>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&session, Type::UUID), (&person.0, Type::UUID)];
    let rows = database.query(EXPLAIN, &params).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let decided = rows
        .iter()
        .filter(|row| matches!(column::<Option<i32>>(row, "decision"), Ok(Some(_))));
    decided.map(read_explained).collect::<Result<_, _>>().map(Some)
}

fn read_explained(row: &Row) -> Result<Explained, DatabaseError> {
    let currency = currency(column(row, "currency")?)?;
    let amount = |name| Ok::<_, DatabaseError>(Money::new(column(row, name)?, currency));
    Ok(Explained {
        status: column(row, "status")?,
        decision: column(row, "decision")?,
        amounts: [
            amount("charge_minor")?,
            amount("payout_minor")?,
            amount("fee_minor")?,
        ],
        explanation: column(row, "explanation")?,
        entries: column(row, "entries")?,
        payments: column(row, "payments")?,
        decided_at: column(row, "decided_at")?,
    })
}
