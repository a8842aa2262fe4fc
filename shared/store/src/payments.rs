//! Payments and refunds, and what they do to the ledger. What is about to be asked of a gateway is written
//! down before it is asked, in the statement that loads it; what a gateway answered enters once, together
//! with its ledger entries and the next look at the booking's tab.

use crate::events::{self, Event};
use domain::booking::BookingStatus;
use domain::gateway::{Card, Declined, Dispute, Finding, Outcome, Paid, Refunded};
use domain::ids::{BookingId, PaymentId, ProfileId, RefundId};
use domain::money::Money;
use domain::payment::{CardOnFile, Method, Payment, PaymentStatus, Refund, Tab, try_again_at};
use iso_currency::Currency;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::ids::Ids;
use platform::queue::Envelope;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// The gateway of cards on file.
pub const CARD_GATEWAY: &str = "stripe";
/// The queue of [`LookAtTab`].
pub const TABS: &str = "payments";
/// The queue of [`GiveBack`].
pub const REFUNDS: &str = "refunds";

/// The job of `capture-payment`: take the next step on a booking's tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAtTab {
    /// Whose tab.
    pub booking_id: BookingId,
}

/// The job of `refund-payment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// What to give back.
    pub refund_id: RefundId,
}

impl LookAtTab {
    /// The job as an outbox row holds it.
    pub fn envelope(booking_id: BookingId, ids: &Ids, now: Timestamp) -> Value {
        let key = format!("tab/{booking_id}");
        to_value(&Envelope::at(
            "look_at_tab",
            key,
            Self { booking_id },
            now,
            ids.next(),
        ))
    }
}

fn to_value<T: Serialize>(envelope: &Envelope<T>) -> Value {
    // Our own types: there is nothing in them that JSON cannot hold.
    serde_json::to_value(envelope).unwrap_or_default()
}

/// Begins a payment, or finds the one that the client can still use, if the client may pay this booking so.
/// A booking's parties get a row that says why not. $1 booking, $2 person, $3 method, $4 id, $5 now,
/// $6 gateway, $7 abandoned if begun before, $8 usable if begun since, $9 phone or NULL, $10 the only
/// currency or NULL, $11 the least amount, $12 the highest price that the client agrees to or NULL.
pub const START: &str = "
    WITH subject AS (
        SELECT b.id, b.client_id, b.tutor_id, b.status, b.price_minor, b.price_currency,
               b.agreed_at IS NOT NULL AS is_agreed,
               coalesce(c.charge_minor, b.price_minor) - (
                   SELECT coalesce(sum(p.amount_minor), 0)::bigint
                        - coalesce(sum((SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id)), 0)::bigint
                   FROM payments p WHERE p.booking_id = b.id AND p.status = 'paid') AS missing,
               (SELECT k.customer_id FROM saved_cards k WHERE k.client_id = b.client_id) AS customer_id
        FROM bookings b
        LEFT JOIN sessions s ON s.booking_id = b.id
        LEFT JOIN charges c ON c.session_id = s.id AND c.decision = s.decisions
        WHERE b.id = $1 AND $2 IN (b.client_id, b.tutor_id, b.student_id)
        -- Parties and price stand from here on: whoever changes them meanwhile comes before, or is told of the payment.
        FOR NO KEY UPDATE OF b),
    wanted AS (
        SELECT *, CASE WHEN $3 = 'card_on_file' THEN 0 ELSE missing END AS amount FROM subject
        WHERE client_id = $2 AND status NOT IN ('cancelled', 'unknown') AND price_currency IS NOT NULL
          AND CASE WHEN $12::bigint IS NULL THEN is_agreed OR $3 <> 'card_on_file' ELSE price_minor <= $12 END
          AND ($3 = 'card_on_file' OR missing >= greatest($11, 1)) AND ($10::text IS NULL OR price_currency = $10)),
    usable AS (
        SELECT p.id, p.link, p.created_at FROM payments p JOIN wanted w ON p.booking_id = w.id
        WHERE p.method = $3 AND p.status = 'open' AND p.created_at > $8 AND p.amount_minor = w.amount
          AND p.tutor_id = w.tutor_id AND p.price_minor = w.price_minor
        ORDER BY p.created_at DESC LIMIT 1),
    abandoned AS (
        UPDATE payments p SET status = 'closed', reason = 'abandoned' FROM wanted w
        WHERE p.booking_id = w.id AND p.method = $3 AND p.charge_id IS NULL AND p.status = 'opening'
          AND p.created_at < $7
        RETURNING p.id),
    begun AS (
        INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, amount_minor, currency,
            status, asked_at, payer_phone, created_at)
        SELECT $4, w.id, w.client_id, w.tutor_id, w.price_minor, $6, $3, w.amount, w.price_currency, 'opening', $5, $9, $5
        FROM wanted w, (SELECT count(*) FROM abandoned) AS after_that
        WHERE NOT EXISTS (SELECT FROM usable)
        ON CONFLICT (booking_id, method) WHERE status = 'opening' AND charge_id IS NULL DO NOTHING
        RETURNING id)
    SELECT s.client_id, s.status, s.is_agreed, s.price_minor, s.price_currency, s.missing, s.customer_id, w.amount,
           begun.id AS begun_id, usable.id AS usable_id, usable.link, usable.created_at
    FROM subject s LEFT JOIN wanted w ON true LEFT JOIN begun ON true LEFT JOIN usable ON true";

/// The client lets the card on file pay for this booking and for later lessons with its tutor, up to its price. If the
/// booking's own charge waited for that, it is tried again; what a bank refused is not. A booking's parties get a row
/// that says why not. $1 booking, $2 person, $3 now,
/// $4 the highest price that the client agrees to or NULL, $5 a job of any tab.
pub const AGREE: &str = "
    WITH subject AS (
        SELECT b.id, b.client_id, b.tutor_id, b.status, b.price_minor, b.price_currency,
               b.agreed_at IS NOT NULL AS is_agreed,
               EXISTS (SELECT FROM saved_cards k WHERE k.client_id = b.client_id) AS has_card
        FROM bookings b WHERE b.id = $1 AND $2 IN (b.client_id, b.tutor_id, b.student_id)
        FOR NO KEY UPDATE OF b),
    agreed AS (
        INSERT INTO card_agreements AS g (booking_id, client_id, tutor_id, currency, up_to_minor, agreed_at)
        SELECT id, client_id, tutor_id, price_currency, price_minor, $3 FROM subject
        WHERE client_id = $2 AND has_card AND status NOT IN ('cancelled', 'unknown') AND price_minor IS NOT NULL
          AND CASE WHEN $4::bigint IS NULL THEN is_agreed ELSE price_minor <= $4 END
        ON CONFLICT (booking_id) DO UPDATE
        SET client_id = excluded.client_id, tutor_id = excluded.tutor_id, currency = excluded.currency,
            up_to_minor = excluded.up_to_minor, agreed_at = excluded.agreed_at
        RETURNING g.*),
    tried_again AS (
        UPDATE payments p SET status = 'declined', next_try_at = $3 FROM agreed a
        WHERE p.booking_id = a.booking_id AND p.client_id = a.client_id AND p.tutor_id = a.tutor_id
          AND p.currency = a.currency AND p.price_minor <= a.up_to_minor
          AND p.method = 'saved_card' AND p.status = 'failed' AND p.reason IN ('no_card', 'card_not_agreed')
        RETURNING p.booking_id),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments',
               jsonb_set(jsonb_set($5, '{payload,booking_id}', to_jsonb(t.booking_id)), '{id}', to_jsonb(gen_random_uuid())), $3
        FROM (SELECT DISTINCT booking_id FROM tried_again) AS t)
    SELECT s.client_id, s.tutor_id, s.status, s.is_agreed, s.price_minor, s.price_currency, s.has_card,
           a.up_to_minor, a.currency
    FROM subject s LEFT JOIN agreed a ON true";

/// Keeps what the gateway gave for a payment that was begun. $1 payment, $2 gateway's id, $3 link or NULL.
pub const OPENED: &str = "
    UPDATE payments SET gateway_id = coalesce(gateway_id, $2), link = $3,
        status = CASE WHEN status = 'opening' THEN 'open' ELSE status END
    WHERE id = $1 RETURNING status";

/// Gives a payment up that was begun and not paid, and tells the client if it failed.
/// $1 payment, $2 'failed' or 'closed', $3 reason, $4 now.
pub const GIVE_UP: &str = "
    WITH given_up AS (
        UPDATE payments SET status = $2, reason = $3
        WHERE id = $1 AND charge_id IS NULL AND status IN ('opening', 'open') RETURNING *),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'payment_failed', 'payment/' || id, booking_id,
               jsonb_build_object('payment_id', id, 'reason', reason), $4
        FROM given_up WHERE status = 'failed' ON CONFLICT (source) DO NOTHING)
    SELECT EXISTS (SELECT FROM payments WHERE id = $1) AS is_known, true AS agrees";

/// A payment, for the client who makes it. $1 payment, $2 person.
pub const SEEN_BY: &str = "
    SELECT p.id, p.booking_id, p.method, p.status, p.reason, p.amount_minor, p.currency, p.link, p.created_at,
           p.paid_at, p.next_try_at,
           coalesce((SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id AND r.status = 'done'), 0)::bigint AS refunded,
           EXISTS (SELECT FROM disputes d WHERE d.payment_id = p.id) AS is_disputed
    FROM payments p WHERE p.id = $1 AND p.client_id = $2";

/// A booking's tab, a row for each payment. If the charge is to be collected, and nothing was paid that would make
/// that unlikely, it is written down that the gateway may have been asked since now, or since the last look
/// within two minutes, which may still be at it. $1 booking, $2 now.
pub const LOOK_AT_TAB: &str = "
    WITH subject AS (
        SELECT b.id, b.client_id, c.id AS charge_id,
               coalesce(c.charge_minor, CASE WHEN b.status = 'cancelled' THEN 0 ELSE b.price_minor END)
                   AS due,
               coalesce(c.currency, b.price_currency) AS due_currency
        FROM bookings b
        LEFT JOIN sessions s ON s.booking_id = b.id
        LEFT JOIN charges c ON c.session_id = s.id AND c.decision = s.decisions
        WHERE b.id = $1),
    asking AS (
        UPDATE payments p
        SET status = 'opening', attempt = p.attempt + (p.status = 'declined')::int, next_try_at = NULL,
            asked_at = CASE
                WHEN p.status = 'opening' AND p.asked_at > $2::timestamptz - interval '2 minutes' THEN p.asked_at
                WHEN NOT EXISTS (
                    SELECT FROM payments x WHERE x.booking_id = subject.id AND x.status = 'paid' AND x.amount_minor > 0)
                    THEN $2
                WHEN p.status = 'opening' THEN p.asked_at END
        FROM subject WHERE p.id = subject.charge_id
          AND (p.status = 'opening' OR (p.status = 'declined' AND p.next_try_at <= $2))
        RETURNING p.id, p.attempt, p.asked_at)
    SELECT subject.client_id, subject.charge_id, subject.due, subject.due_currency, k.customer_id, k.card_id,
           p.id, p.created_at, p.gateway, p.gateway_id, p.amount_minor, p.currency, p.price_minor,
           p.charge_id IS NOT NULL AS collects, g.up_to_minor,
           CASE WHEN asking.id IS NULL THEN p.status ELSE 'opening' END AS status,
           coalesce(asking.attempt, p.attempt) AS attempt,
           CASE WHEN p.status = 'opening' AND p.asked_at <> $2 THEN p.asked_at END AS asked_at,
           asking.asked_at IS NOT NULL AS is_written_down,
           coalesce((SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id), 0)::bigint AS refunded,
           (SELECT count(*) FROM refunds r WHERE r.booking_id = subject.id) AS refunds
    FROM subject
    LEFT JOIN saved_cards k ON k.client_id = subject.client_id
    LEFT JOIN payments p ON p.booking_id = subject.id AND p.amount_minor > 0
    -- What the card's owner agreed to about this booking, or before it was charged.
    LEFT JOIN LATERAL (
        SELECT max(a.up_to_minor) AS up_to_minor FROM card_agreements a
        WHERE a.client_id = p.client_id AND a.tutor_id = p.tutor_id AND a.currency = p.currency
          AND (a.booking_id = p.booking_id OR a.agreed_at <= p.created_at)) g ON p.charge_id IS NOT NULL
    LEFT JOIN asking ON asking.id = p.id
    ORDER BY p.paid_at, p.id";

/// Writes down that the gateway may be asked for part of a charge from now on, if it was not asked yet in this
/// attempt. $1 payment, $2 attempt, $3 amount, $4 now.
pub const ASK_FOR_PART: &str = "
    UPDATE payments SET amount_minor = $3, asked_at = $4
    WHERE id = $1 AND attempt = $2 AND status = 'opening' AND asked_at IS NULL RETURNING id";

/// Enters money that came: the payment, its ledger entries, the card to keep with what its owner agreed to by
/// paying, and the next look at every tab that this may change. Once; a second time changes nothing. $1 payment, $2 amount, $3 currency,
/// $4 gateway's id, $5 intent or NULL, $6 now, $7 customer or NULL, $8 card or NULL, $9 a job of any tab.
pub const PAID: &str = "
    WITH known AS (SELECT * FROM payments WHERE id = $1),
    paid AS (
        UPDATE payments p
        SET status = 'paid', paid_at = $6, next_try_at = NULL, reason = NULL,
            gateway_id = coalesce($4, p.gateway_id), intent_id = coalesce($5, p.intent_id)
        WHERE p.id = $1 AND p.status <> 'paid' AND p.amount_minor = $2 AND p.currency = $3
        RETURNING *),
    card AS (
        INSERT INTO saved_cards (client_id, gateway, customer_id, card_id, saved_at)
        SELECT client_id, gateway, $7, $8, $6 FROM paid WHERE $7::text IS NOT NULL AND $8::text IS NOT NULL
        ON CONFLICT (client_id) DO UPDATE
        SET gateway = excluded.gateway, customer_id = excluded.customer_id, card_id = excluded.card_id,
            saved_at = excluded.saved_at
        RETURNING client_id),
    agreed AS (
        INSERT INTO card_agreements AS g (booking_id, client_id, tutor_id, currency, up_to_minor, agreed_at)
        -- What their page showed them: the amount that they paid, or that a card was left for this price.
        SELECT booking_id, client_id, tutor_id, currency,
               CASE method WHEN 'card' THEN least(amount_minor, price_minor) ELSE price_minor END, $6
        FROM paid WHERE method IN ('card', 'card_on_file')
        ON CONFLICT (booking_id) DO UPDATE
        SET client_id = excluded.client_id, tutor_id = excluded.tutor_id, currency = excluded.currency,
            up_to_minor = excluded.up_to_minor, agreed_at = excluded.agreed_at
        RETURNING g.*),
    -- A new card is tried for what its owner agreed to: the booking that it was left for, and what was agreed to before
    -- it was charged. Not for what somebody else has charged meanwhile.
    tried_again AS (
        UPDATE payments p SET status = 'declined', next_try_at = $6 FROM card
        WHERE p.client_id = card.client_id AND p.method = 'saved_card' AND p.status = 'failed'
          AND (p.booking_id IN (SELECT booking_id FROM agreed) OR EXISTS (
              SELECT FROM card_agreements a
              WHERE a.client_id = p.client_id AND a.tutor_id = p.tutor_id AND a.currency = p.currency
                AND p.price_minor <= a.up_to_minor AND a.agreed_at <= p.created_at))
        RETURNING p.booking_id),
    booked AS (
        SELECT p.id, p.currency, e.account_id, e.kind, e.owner_id, e.amount
        FROM paid p CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', p.gateway, p.currency), 'cash', NULL::uuid, p.amount_minor),
            (concat_ws('/', 'receivable', p.client_id, p.currency), 'receivable', p.client_id, -p.amount_minor))
            AS e (account_id, kind, owner_id, amount)
        WHERE e.amount <> 0),
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT account_id, kind, owner_id, currency FROM booked ON CONFLICT (id) DO NOTHING),
    entries AS (
        INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
        SELECT id, account_id, 'payment', amount, currency, $6 FROM booked),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments',
               jsonb_set(jsonb_set($9, '{payload,booking_id}', to_jsonb(t.booking_id)), '{id}', to_jsonb(gen_random_uuid())), $6
        FROM (
            SELECT booking_id FROM paid WHERE amount_minor > 0 AND NOT EXISTS (
                SELECT FROM charges c JOIN sessions s ON s.id = c.session_id AND s.decisions = c.decision
                WHERE c.id = paid.charge_id)
            UNION SELECT booking_id FROM tried_again) AS t)
    SELECT EXISTS (SELECT FROM known) AS is_known,
           coalesce((SELECT amount_minor = $2 AND currency = $3 FROM known), false) AS agrees";

/// Enters a refusal of one attempt to collect: the next try, or what the client is told.
/// $1 payment, $2 attempt, $3 reason, $4 next try at or NULL, $5 now, $6 a job of any tab.
pub const DECLINED: &str = "
    WITH declined AS (
        UPDATE payments SET status = CASE WHEN $4::timestamptz IS NULL THEN 'failed' ELSE 'declined' END,
            reason = $3, next_try_at = $4
        WHERE id = $1 AND attempt = $2 AND status = 'opening' RETURNING *),
    again AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments',
               jsonb_set(jsonb_set($6, '{payload,booking_id}', to_jsonb(booking_id)), '{id}', to_jsonb(gen_random_uuid())), $4
        FROM declined WHERE $4::timestamptz IS NOT NULL),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, CASE reason WHEN 'card_not_agreed' THEN 'card_agreement_needed' ELSE 'payment_failed' END,
               'payment/' || id || '/' || attempt, booking_id,
               jsonb_build_object('payment_id', id, 'reason', reason, 'amount', amount_minor, 'currency', currency,
                                  'tutor_id', tutor_id, 'price', price_minor), $5
        FROM declined WHERE status = 'failed' ON CONFLICT (source) DO NOTHING)
    SELECT EXISTS (SELECT FROM payments WHERE id = $1) AS is_known, true AS agrees";

/// Gives up collections that are not to be made, and decides a refund if no other was decided meanwhile.
/// $1 payments, $2 refund or NULL, $3 booking, $4 ordinal, $5 payment to refund, $6 amount, $7 currency,
/// $8 now, $9 the refund's job, $10 a look at the tab.
pub const SETTLE: &str = "
    WITH given_up AS (
        UPDATE payments SET status = 'closed', reason = 'not_needed', next_try_at = NULL
        WHERE id = ANY($1) AND status IN ('opening', 'declined')),
    refund AS (
        INSERT INTO refunds (id, booking_id, ordinal, payment_id, amount_minor, currency, created_at)
        SELECT $2, $3, $4, $5, $6, $7, $8 WHERE $2::uuid IS NOT NULL
        ON CONFLICT (booking_id, ordinal) DO NOTHING RETURNING id),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), job.queue, job.envelope, $8
        FROM refund, (VALUES ('refunds', $9::jsonb), ('payments', $10::jsonb)) AS job (queue, envelope))
    SELECT id FROM refund";

/// A refund to be made, and since when its gateway may have been asked for it before this look, which is
/// written down like that of [`LOOK_AT_TAB`]. $1 refund, $2 now.
pub const LOOK_AT_REFUND: &str = "
    WITH before AS (SELECT id, asked_at FROM refunds WHERE id = $1),
    asking AS (
        UPDATE refunds
        SET asked_at = CASE WHEN asked_at > $2::timestamptz - interval '2 minutes' THEN asked_at ELSE $2 END
        WHERE id = $1 AND status = 'opening' RETURNING *)
    SELECT r.id, r.amount_minor, r.currency, before.asked_at, p.id AS payment_id,
           p.gateway, p.intent_id, p.payer_phone
    FROM asking r JOIN before ON before.id = r.id JOIN payments p ON p.id = r.payment_id";

/// Enters what became of a refund: its status, its ledger entries, what the client is told. A refund that was
/// done and came back is taken back. $1 refund, $2 'pending', 'done' or 'failed', $3 gateway's id or NULL,
/// $4 reason or NULL, $5 now.
pub const REFUNDED: &str = "
    WITH changed AS (
        UPDATE refunds r
        SET status = $2, gateway_id = coalesce($3, r.gateway_id), reason = $4,
            settled_at = CASE WHEN $2 = 'pending' THEN NULL ELSE $5::timestamptz END
        FROM refunds old
        WHERE r.id = $1 AND old.id = r.id AND r.status <> $2
          AND (r.status IN ('opening', 'pending') OR (r.status = 'done' AND $2 = 'failed'))
        RETURNING r.*, old.status AS was),
    moved AS (
        SELECT c.*, p.client_id, p.gateway, CASE WHEN c.status = 'done' THEN 'refund' ELSE 'refund_returned' END AS kind,
               CASE WHEN c.status = 'done' THEN c.amount_minor ELSE -c.amount_minor END AS amount
        FROM changed c JOIN payments p ON p.id = c.payment_id WHERE c.status = 'done' OR c.was = 'done'),
    entries AS (
        INSERT INTO ledger_entries (refund_id, account_id, kind, amount_minor, currency, created_at)
        SELECT m.id, e.account_id, m.kind, e.amount, m.currency, $5
        FROM moved m CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', m.gateway, m.currency), -m.amount),
            (concat_ws('/', 'receivable', m.client_id, m.currency), m.amount)) AS e (account_id, amount)),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT p.client_id, CASE c.status WHEN 'done' THEN 'refunded' ELSE 'refund_failed' END,
               'refund/' || c.id || '/' || c.status, c.booking_id,
               jsonb_build_object('refund_id', c.id, 'payment_id', p.id, 'amount', c.amount_minor, 'currency', c.currency), $5
        FROM changed c JOIN payments p ON p.id = c.payment_id
        WHERE c.status IN ('done', 'failed') ON CONFLICT (source) DO NOTHING)
    SELECT EXISTS (SELECT FROM refunds WHERE id = $1) AS is_known, true AS agrees";

/// Records a dispute; one that is lost takes the money back out of the ledger. $1 gateway, $2 gateway's id,
/// $3 intent, $4 amount, $5 currency, $6 status, $7 reason, $8 now, $9 whether it is lost.
pub const DISPUTED: &str = "
    WITH disputed AS (
        INSERT INTO disputes AS d (gateway, gateway_id, payment_id, amount_minor, currency, status, reason, updated_at)
        SELECT $1, $2, p.id, $4, $5, $6, $7, $8 FROM payments p WHERE p.gateway = $1 AND p.intent_id = $3
        ON CONFLICT (gateway, gateway_id) DO UPDATE SET status = $6, reason = $7, updated_at = $8
        WHERE d.status <> $6
        RETURNING d.*),
    entries AS (
        INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
        SELECT p.id, e.account_id, 'dispute', e.amount, d.currency, $8
        FROM disputed d JOIN payments p ON p.id = d.payment_id CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', p.gateway, p.currency), -d.amount_minor),
            (concat_ws('/', 'receivable', p.client_id, p.currency), d.amount_minor)) AS e (account_id, amount)
        WHERE $9 ON CONFLICT DO NOTHING)
    SELECT EXISTS (SELECT FROM payments WHERE gateway = $1 AND intent_id = $3) AS is_known, true AS agrees";

/// The client's order for a payment.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// For which booking.
    pub booking: BookingId,
    /// Who asks.
    pub person: ProfileId,
    /// How they want to pay.
    pub method: Method,
    /// The gateway that does that.
    pub gateway: &'static str,
    /// The phone that pays, and that a difference goes back to.
    pub phone: Option<&'a str>,
    /// The only currency that the gateway takes.
    pub only_currency: Option<&'static str>,
    /// The least amount that the gateway takes, in minor units.
    pub least_minor: i64,
    /// The highest price, in minor units, that the client agrees to.
    pub up_to_minor: Option<i64>,
    /// One that was begun before and got no further is abandoned.
    pub abandoned_before: Timestamp,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// Who pays this booking.
    pub client: ProfileId,
    /// `bookings.status`.
    pub status: BookingStatus,
    /// Whether it is agreed, so that its price stands.
    pub is_agreed: bool,
    /// The lesson's price.
    pub price: Option<Money>,
    /// What is missing, in the booking's currency; `None` without a pinned price.
    pub missing: Option<Money>,
    /// The client's customer record at the card gateway.
    pub customer: Option<String>,
    /// The payment, if there is one now.
    pub payment: Option<Begun>,
}

/// What came of a client's agreement to their card's paying for a tutor's lessons.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Who pays this booking.
    pub client: ProfileId,
    /// Who teaches it.
    pub tutor: ProfileId,
    /// `bookings.status`.
    pub status: BookingStatus,
    /// Whether it is agreed, so that its price stands.
    pub is_agreed: bool,
    /// The lesson's price.
    pub price: Option<Money>,
    /// Whether the client has a card on file.
    pub has_card: bool,
    /// Up to which price the client has agreed by now; `None` if they may not, or there is nothing to agree to.
    pub up_to: Option<Money>,
}

/// A payment that can be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// Its id.
    pub id: PaymentId,
    /// How much.
    pub amount: Money,
    /// What an earlier order got for it and when; `None` if it is new and the gateway is still to be asked.
    pub earlier: Option<(Option<String>, Timestamp)>,
}

/// A payment as its client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// `payments.id`.
    pub id: PaymentId,
    /// What for.
    pub booking: BookingId,
    /// How.
    pub method: Method,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why it stands there, for a refusal.
    pub reason: Option<String>,
    /// How much.
    pub amount: Money,
    /// How much was given back.
    pub refunded: Money,
    /// Where to pay, while that works.
    pub link: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When the money came.
    pub paid_at: Option<Timestamp>,
    /// When the card is tried again.
    pub next_try_at: Option<Timestamp>,
    /// Whether it was disputed.
    pub is_disputed: bool,
}

/// A tab, and what it takes to talk to gateways about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The tab.
    pub tab: Tab,
    /// The card on file.
    pub card: Option<Card>,
    /// Its payments at their gateways.
    pub lines: Vec<Line>,
    /// How many refunds were decided so far.
    pub refunds: i32,
}

/// A payment at its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The payment.
    pub id: PaymentId,
    /// `stripe`, `fapshi`.
    pub gateway: String,
    /// The gateway's name for it, if it said one.
    pub gateway_id: Option<String>,
    /// Whether it collects a charge.
    pub collects: bool,
    /// Which try it is.
    pub attempt: i32,
    /// The amount of this try.
    pub amount: Money,
    /// When it was begun, which is before any gateway heard of it.
    pub created_at: Timestamp,
    /// Whether it is written down that its gateway may be asked now.
    pub is_written_down: bool,
}

/// A refund to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub id: RefundId,
    /// How much.
    pub amount: Money,
    /// Since when its gateway may have been asked for it; `None` if it was not.
    pub asked_at: Option<Timestamp>,
    /// Out of which payment.
    pub payment: PaymentId,
    /// At which gateway.
    pub gateway: String,
    /// The gateway's name for what is refunded.
    pub intent: Option<String>,
    /// Where mobile money goes back to.
    pub phone: Option<String>,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is in the books, since now or since before.
    Yes,
    /// There is nothing here that it is about.
    Unknown,
    /// It is about another amount or currency.
    Disagrees,
}

impl Entered {
    fn read(rows: &[Row]) -> Result<Self, DatabaseError> {
        let row = rows.first().ok_or(DatabaseError::Unexpected("no row"))?;
        Ok(match (column(row, "is_known")?, column(row, "agrees")?) {
            (true, true) => Self::Yes,
            (true, false) => Self::Disagrees,
            (false, _) => Self::Unknown,
        })
    }
}

fn money(row: &Row, minor: &'static str, code: &'static str) -> Result<Option<Money>, DatabaseError> {
    let (minor, code): (Option<i64>, Option<&str>) = (column(row, minor)?, column(row, code)?);
    let Some((minor, code)) = Option::zip(minor, code) else {
        return Ok(None);
    };
    let currency = Currency::from_code(code).ok_or(DatabaseError::Unexpected("currency"))?;
    Ok(Some(Money::new(minor, currency)))
}

fn amount(row: &Row, minor: &'static str) -> Result<Money, DatabaseError> {
    money(row, minor, "currency")?.ok_or(DatabaseError::Unexpected(minor))
}

fn word<T: std::str::FromStr>(row: &Row, name: &'static str) -> Result<T, DatabaseError> {
    let word: &str = column(row, name)?;
    word.parse().map_err(|_| DatabaseError::Unexpected(name))
}

/// Begins a payment or finds one that works; `None` for strangers.
pub async fn start(
    database: &Database,
    order: &Order<'_>,
    id: PaymentId,
    now: Timestamp,
) -> Result<Option<Started>, DatabaseError> {
    let usable_since = now.saturating_sub(order.method.lives()).unwrap_or(now);
    let method = order.method.word();
    let params: [Param<'_>; 12] = [
        (&order.booking.0, Type::UUID),
        (&order.person.0, Type::UUID),
        (&method, Type::TEXT),
        (&id.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&order.gateway, Type::TEXT),
        (&order.abandoned_before, Type::TIMESTAMPTZ),
        (&usable_since, Type::TIMESTAMPTZ),
        (&order.phone, Type::TEXT),
        (&order.only_currency, Type::TEXT),
        (&order.least_minor, Type::INT8),
        (&order.up_to_minor, Type::INT8),
    ];
    let row = database.query_opt(START, &params).await?;
    row.as_ref().map(read_started).transpose()
}

fn read_started(row: &Row) -> Result<Started, DatabaseError> {
    let (begun, usable): (Option<Uuid>, Option<Uuid>) = (column(row, "begun_id")?, column(row, "usable_id")?);
    let amount = money(row, "amount", "price_currency")?;
    let payment = match (begun, usable, amount) {
        (Some(id), _, Some(amount)) => Some(Begun {
            id: PaymentId(id),
            amount,
            earlier: None,
        }),
        (None, Some(id), Some(amount)) => Some(Begun {
            id: PaymentId(id),
            amount,
            earlier: Some((column(row, "link")?, column(row, "created_at")?)),
        }),
        _ => None,
    };
    Ok(Started {
        client: ProfileId(column(row, "client_id")?),
        status: BookingStatus::from(column::<&str>(row, "status")?),
        is_agreed: column(row, "is_agreed")?,
        price: money(row, "price_minor", "price_currency")?,
        missing: money(row, "missing", "price_currency")?,
        customer: column(row, "customer_id")?,
        payment,
    })
}

/// Lets the client's card on file pay for the tutor of `booking`; `None` for strangers.
pub async fn agree(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
    up_to_minor: Option<i64>,
    ids: &Ids,
    now: Timestamp,
) -> Result<Option<Agreement>, DatabaseError> {
    // The statement puts in the bookings whose charges waited.
    let job = LookAtTab::envelope(booking, ids, now);
    let params: [Param<'_>; 5] = [
        (&booking.0, Type::UUID),
        (&person.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&up_to_minor, Type::INT8),
        (&job, Type::JSONB),
    ];
    let row = database.query_opt(AGREE, &params).await?;
    row.as_ref().map(read_agreement).transpose()
}

fn read_agreement(row: &Row) -> Result<Agreement, DatabaseError> {
    Ok(Agreement {
        client: ProfileId(column(row, "client_id")?),
        tutor: ProfileId(column(row, "tutor_id")?),
        status: BookingStatus::from(column::<&str>(row, "status")?),
        is_agreed: column(row, "is_agreed")?,
        price: money(row, "price_minor", "price_currency")?,
        has_card: column(row, "has_card")?,
        up_to: money(row, "up_to_minor", "currency")?,
    })
}

/// Keeps what the gateway gave; returns where the payment stands now.
pub async fn opened(
    database: &Database,
    payment: PaymentId,
    gateway_id: &str,
    link: Option<&str>,
) -> Result<PaymentStatus, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&payment.0, Type::UUID),
        (&gateway_id, Type::TEXT),
        (&link, Type::TEXT),
    ];
    let row = database.query_opt(OPENED, &params).await?;
    word(&row.ok_or(DatabaseError::Unexpected("no row"))?, "status")
}

/// The payment, if `person` makes it.
pub async fn seen_by(
    database: &Database,
    payment: PaymentId,
    person: ProfileId,
) -> Result<Option<Seen>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&payment.0, Type::UUID), (&person.0, Type::UUID)];
    let row = database.query_opt(SEEN_BY, &params).await?;
    row.as_ref().map(read_seen).transpose()
}

fn read_seen(row: &Row) -> Result<Seen, DatabaseError> {
    Ok(Seen {
        id: PaymentId(column(row, "id")?),
        booking: BookingId(column(row, "booking_id")?),
        method: word(row, "method")?,
        status: word(row, "status")?,
        reason: column(row, "reason")?,
        amount: amount(row, "amount_minor")?,
        refunded: amount(row, "refunded")?,
        link: column(row, "link")?,
        created_at: column(row, "created_at")?,
        paid_at: column(row, "paid_at")?,
        next_try_at: column(row, "next_try_at")?,
        is_disputed: column(row, "is_disputed")?,
    })
}

/// Looks at a booking's tab; `None` if there is no such booking or it has no price.
pub async fn look_at_tab(
    database: &Database,
    booking: BookingId,
    now: Timestamp,
) -> Result<Option<Open>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&booking.0, Type::UUID), (&now, Type::TIMESTAMPTZ)];
    let rows = database.query(LOOK_AT_TAB, &params).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let Some(due) = money(row, "due", "due_currency")? else {
        return Ok(None);
    };
    let (customer, card): (Option<String>, Option<String>) =
        (column(row, "customer_id")?, column(row, "card_id")?);
    let card = Option::zip(customer, card).map(|(customer, card)| Card { customer, card });
    let charge = column::<Option<Uuid>>(row, "charge_id")?.map(PaymentId);
    let (mut payments, mut lines) = (Vec::new(), Vec::new());
    let mut on_file = CardOnFile::None;
    for row in rows
        .iter()
        .filter(|row| matches!(column::<Option<Uuid>>(row, "id"), Ok(Some(_))))
    {
        let payment = read_payment(row)?;
        if Some(payment.id) == charge {
            let up_to = money(row, "up_to_minor", "currency")?;
            on_file = CardOnFile::of(card.is_some(), amount(row, "price_minor")?, up_to);
        }
        payments.push(payment);
        lines.push(read_line(row)?);
    }
    let refunds: i64 = column(row, "refunds")?;
    let tab = Tab {
        client: ProfileId(column(row, "client_id")?),
        due,
        charge,
        card: on_file,
        payments,
    };
    Ok(Some(Open {
        tab,
        card,
        lines,
        refunds: i32::try_from(refunds).unwrap_or(i32::MAX),
    }))
}

fn read_payment(row: &Row) -> Result<Payment, DatabaseError> {
    Ok(Payment {
        id: PaymentId(column(row, "id")?),
        status: word(row, "status")?,
        amount: amount(row, "amount_minor")?,
        refunded: amount(row, "refunded")?,
        collects: column(row, "collects")?,
        asked_at: column(row, "asked_at")?,
    })
}

fn read_line(row: &Row) -> Result<Line, DatabaseError> {
    Ok(Line {
        id: PaymentId(column(row, "id")?),
        gateway: column(row, "gateway")?,
        gateway_id: column(row, "gateway_id")?,
        collects: column(row, "collects")?,
        attempt: column(row, "attempt")?,
        amount: amount(row, "amount_minor")?,
        created_at: column(row, "created_at")?,
        is_written_down: column(row, "is_written_down")?,
    })
}

/// Writes down that part of a charge is about to be asked for; `false` if somebody was faster.
pub async fn ask_for_part(
    database: &Database,
    line: &Line,
    amount: Money,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let minor = amount.minor();
    let params: [Param<'_>; 4] = [
        (&line.id.0, Type::UUID),
        (&line.attempt, Type::INT4),
        (&minor, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
    ];
    Ok(database.query_opt(ASK_FOR_PART, &params).await?.is_some())
}

/// Gives up collections and decides a refund; `false` if another refund was decided meanwhile.
pub async fn settle(
    database: &Database,
    booking: BookingId,
    open: &Open,
    given_up: &[PaymentId],
    refund: Option<&Refund>,
    ids: &Ids,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let given_up: Vec<Uuid> = given_up.iter().map(|id| id.0).collect();
    let id = refund.map(|_| ids.next());
    let ordinal = open.refunds.saturating_add(1);
    let payment = refund.map(|refund| refund.payment.0);
    let minor = refund.map(|refund| refund.amount.minor());
    let code = refund.map(|refund| refund.amount.currency().code());
    let job = id.map(|id| {
        let payload = GiveBack {
            refund_id: RefundId(id),
        };
        to_value(&Envelope::at(
            "give_back",
            format!("refund/{id}"),
            payload,
            now,
            ids.next(),
        ))
    });
    let again = LookAtTab::envelope(booking, ids, now);
    let params: [Param<'_>; 10] = [
        (&given_up, Type::UUID_ARRAY),
        (&id, Type::UUID),
        (&booking.0, Type::UUID),
        (&ordinal, Type::INT4),
        (&payment, Type::UUID),
        (&minor, Type::INT8),
        (&code, Type::TEXT),
        (&now, Type::TIMESTAMPTZ),
        (&job, Type::JSONB),
        (&again, Type::JSONB),
    ];
    let decided = !database.query(SETTLE, &params).await?.is_empty();
    Ok(decided || refund.is_none())
}

/// Looks at a refund to be made; `None` if its gateway has taken it already.
pub async fn look_at_refund(
    database: &Database,
    refund: RefundId,
    now: Timestamp,
) -> Result<Option<Due>, DatabaseError> {
    let params: [Param<'_>; 2] = [(&refund.0, Type::UUID), (&now, Type::TIMESTAMPTZ)];
    let row = database.query_opt(LOOK_AT_REFUND, &params).await?;
    row.as_ref().map(read_due).transpose()
}

fn read_due(row: &Row) -> Result<Due, DatabaseError> {
    Ok(Due {
        id: RefundId(column(row, "id")?),
        amount: amount(row, "amount_minor")?,
        asked_at: column(row, "asked_at")?,
        payment: PaymentId(column(row, "payment_id")?),
        gateway: column(row, "gateway")?,
        intent: column(row, "intent_id")?,
        phone: column(row, "payer_phone")?,
    })
}

/// A statement with its parameters, owned: it goes out alone, or as the first of a transaction.
struct Entry {
    sql: &'static str,
    params: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Entry {
    /// The statement for what a gateway found; `None` if that changes nothing here.
    fn of(finding: &Finding, ids: &Ids, now: Timestamp) -> Option<Self> {
        match finding {
            Finding::Payment(payment, outcome) => Self::payment(*payment, outcome, ids, now),
            Finding::Refund(refund, refunded) => Some(Self::refund(*refund, refunded, now)),
            Finding::Dispute(dispute) => Some(Self::dispute(dispute, now)),
            Finding::NotOurs => None,
        }
    }

    fn payment(payment: PaymentId, outcome: &Outcome, ids: &Ids, now: Timestamp) -> Option<Self> {
        // The statement puts in the booking, which gateways do not name.
        let job = || LookAtTab::envelope(BookingId(Uuid::nil()), ids, now);
        match outcome {
            Outcome::Paid(paid) => Some(Self::paid(payment, paid, job(), now)),
            Outcome::Declined(declined) => Some(Self::declined(payment, declined, job(), now)),
            Outcome::Expired => Some(Self::given_up(payment, PaymentStatus::Closed, "expired", now)),
            Outcome::Failed(reason) => Some(Self::given_up(payment, PaymentStatus::Failed, reason, now)),
            Outcome::Open => None,
        }
    }

    fn paid(payment: PaymentId, paid: &Paid, job: Value, now: Timestamp) -> Self {
        let card = paid.card.as_ref();
        Self {
            sql: PAID,
            params: vec![
                (Box::new(payment.0), Type::UUID),
                (Box::new(paid.amount.minor()), Type::INT8),
                (Box::new(paid.amount.currency().code()), Type::TEXT),
                (Box::new(paid.gateway_id.clone()), Type::TEXT),
                (Box::new(paid.intent.clone()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(card.map(|card| card.customer.clone())), Type::TEXT),
                (Box::new(card.map(|card| card.card.clone())), Type::TEXT),
                (Box::new(job), Type::JSONB),
            ],
        }
    }

    fn declined(payment: PaymentId, declined: &Declined, job: Value, now: Timestamp) -> Self {
        let next_try_at = try_again_at(declined.attempt, declined.advice, now);
        Self {
            sql: DECLINED,
            params: vec![
                (Box::new(payment.0), Type::UUID),
                (Box::new(declined.attempt), Type::INT4),
                (Box::new(declined.reason.clone()), Type::TEXT),
                (Box::new(next_try_at), Type::TIMESTAMPTZ),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(job), Type::JSONB),
            ],
        }
    }

    fn given_up(payment: PaymentId, status: PaymentStatus, reason: &str, now: Timestamp) -> Self {
        Self {
            sql: GIVE_UP,
            params: vec![
                (Box::new(payment.0), Type::UUID),
                (Box::new(status.word()), Type::TEXT),
                (Box::new(reason.to_owned()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
            ],
        }
    }

    fn refund(refund: RefundId, refunded: &Refunded, now: Timestamp) -> Self {
        let (status, gateway_id, reason) = match refunded {
            Refunded::Pending { gateway_id } => ("pending", Some(gateway_id), None),
            Refunded::Done { gateway_id } => ("done", Some(gateway_id), None),
            Refunded::Failed { gateway_id, reason } => ("failed", gateway_id.as_ref(), Some(reason)),
        };
        Self {
            sql: REFUNDED,
            params: vec![
                (Box::new(refund.0), Type::UUID),
                (Box::new(status), Type::TEXT),
                (Box::new(gateway_id.cloned()), Type::TEXT),
                (Box::new(reason.cloned()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
            ],
        }
    }

    fn dispute(dispute: &Dispute, now: Timestamp) -> Self {
        Self {
            sql: DISPUTED,
            params: vec![
                (Box::new(CARD_GATEWAY), Type::TEXT),
                (Box::new(dispute.gateway_id.clone()), Type::TEXT),
                (Box::new(dispute.intent.clone()), Type::TEXT),
                (Box::new(dispute.amount.minor()), Type::INT8),
                (Box::new(dispute.amount.currency().code()), Type::TEXT),
                (Box::new(dispute.status.clone()), Type::TEXT),
                (Box::new(dispute.reason.clone()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(dispute.is_lost), Type::BOOL),
            ],
        }
    }

    fn params(&self) -> Vec<Param<'_>> {
        self.params
            .iter()
            .map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// Enters what a gateway found.
pub async fn enter(
    database: &Database,
    finding: &Finding,
    ids: &Ids,
    now: Timestamp,
) -> Result<Entered, DatabaseError> {
    match Entry::of(finding, ids, now) {
        Some(entry) => Entered::read(&database.query(entry.sql, &entry.params()).await?),
        None => Ok(Entered::Yes),
    }
}

/// Enters what a gateway found and records the event that told of it, in one transaction. An event that matches
/// nothing is not recorded.
pub async fn enter_with(
    database: &Database,
    finding: &Finding,
    event: &Event<'_>,
    ids: &Ids,
    now: Timestamp,
) -> Result<Entered, DatabaseError> {
    let Some(entry) = Entry::of(finding, ids, now) else {
        events::record_alone(database, event, now).await?;
        return Ok(Entered::Yes);
    };
    let (transaction, rows) = database.begin(entry.sql, &entry.params()).await?;
    let entered = Entered::read(&rows)?;
    if entered == Entered::Yes {
        events::record(transaction, event, now).await?;
    }
    Ok(entered)
}
