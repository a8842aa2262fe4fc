//! Payments and refunds, and what they do to the ledger. What is about to be asked of a gateway is written
//! down before it is asked, in the statement that loads it; what a gateway answered enters once, together
//! with its ledger entries and the next look at the booking's tab.

use crate::events::{self, Event};
use domain::booking::BookingStatus;
use domain::gateway::{Card, Declined, Dispute, Finding, Outcome, Paid, Refunded};
use domain::ids::{BookingId, PaymentId, ProfileId, RefundId};
use domain::money::Money;
use domain::payment::{
    CardOnFile, Method, Payment, PaymentStatus, Refund, Tab, refund_again_at, try_again_at,
};
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

impl GiveBack {
    /// The job as an outbox row holds it.
    pub fn envelope(refund_id: RefundId, ids: &Ids, now: Timestamp) -> Value {
        let key = format!("refund/{refund_id}");
        to_value(&Envelope::at(
            "give_back",
            key,
            Self { refund_id },
            now,
            ids.next(),
        ))
    }
}

fn to_value<T: Serialize>(envelope: &Envelope<T>) -> Value {
    // Our own types: there is nothing in them that JSON cannot hold.
    serde_json::to_value(envelope).unwrap_or_default()
}

/// Begins a payment, or finds the one that the client can still use, if the client may pay this booking so. Whoever
/// finds one is to ask its gateway about it first, if nobody has for some seconds. One that was begun and got no answer
/// is nobody's to use, and still looked up until its gateway says what became of it.
/// A booking's parties get a row that says why not. $1 booking, $2 person, $3 method, $4 id, $5 now,
/// $6 gateway, $7 abandoned if begun before, $8 usable if begun since, $9 phone or NULL, $10 the only
/// currency or NULL, $11 the least amount, $12 the highest price that the client agrees to or NULL.
pub const START: &str = "
    -- Parties and price stand from here on: whoever changes them meanwhile comes before, or is told of the payment. First the
    -- lock: the price is the one that is there once we have it.
    WITH locked AS (
        SELECT b AS whole FROM bookings b
        WHERE b.id = $1 AND $2 IN (b.client_id, b.tutor_id, b.student_id) FOR NO KEY UPDATE),
    subject AS (
        SELECT b.id, b.client_id, b.tutor_id, b.status, b.price_minor, b.price_currency, d.currency AS due_currency,
               b.agreed_at IS NOT NULL AS is_agreed, num_nulls(b.session_start_time, b.session_duration) = 0 AS is_timed,
               -- What has ended and was never agreed takes no money, a day before it gives back what it has.
               is_off(locked.whole, $5::timestamptz + interval '1 day') AS is_off,
               d.minor - (
                   -- What is only decided to go back is still here, and stays if it is needed.
                   SELECT coalesce(sum(p.amount_minor - given_back(p.id) + unasked(p.id) - disputed(p.id, true)), 0)::bigint
                   FROM payments p WHERE p.booking_id = b.id AND p.status = 'paid') AS missing,
               (SELECT k.customer_id FROM saved_cards k WHERE k.client_id = b.client_id) AS customer_id
        FROM locked CROSS JOIN LATERAL (SELECT (locked.whole).*) AS b CROSS JOIN LATERAL due(locked.whole, $5) d),
    wanted AS (
        SELECT *, CASE WHEN $3 = 'card_on_file' THEN 0 ELSE missing END AS amount FROM subject
        WHERE client_id = $2 AND status NOT IN ('cancelled', 'unknown') AND NOT is_off AND price_currency IS NOT NULL
          AND CASE WHEN $12::bigint IS NULL THEN is_agreed OR $3 <> 'card_on_file' ELSE price_minor <= $12 END
          -- Without a time it is never held, nor found not to have been.
          AND ($3 = 'card_on_file' OR is_timed AND missing >= greatest($11, 1)) AND ($10::text IS NULL OR due_currency = $10)),
    usable AS (
        SELECT p.id, p.link, p.gateway_id, p.created_at FROM payments p JOIN wanted w ON p.booking_id = w.id
        WHERE p.method = $3 AND p.status = 'open' AND p.gateway_id IS NOT NULL AND p.created_at > $8
          AND p.amount_minor = w.amount AND p.payer_phone IS NOT DISTINCT FROM $9
          AND p.tutor_id = w.tutor_id AND p.price_minor = w.price_minor
        ORDER BY p.created_at DESC LIMIT 1),
    looking AS (
        UPDATE payments p SET looked_at = $5 FROM usable u
        WHERE p.id = u.id AND coalesce(p.looked_at, p.created_at) < $5::timestamptz - interval '5 seconds'
        RETURNING p.id),
    abandoned AS (
        UPDATE payments p SET status = 'open', reason = 'abandoned' FROM wanted w
        WHERE p.booking_id = w.id AND p.method = $3 AND p.charge_id IS NULL AND p.status = 'opening'
          AND p.created_at < $7
        RETURNING p.id),
    begun AS (
        INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, amount_minor, currency,
            status, asked_at, payer_phone, created_at)
        SELECT $4, w.id, w.client_id, w.tutor_id, w.price_minor, $6, $3, w.amount, w.due_currency, 'opening', $5, $9, $5
        FROM wanted w, (SELECT count(*) FROM abandoned) AS after_that
        WHERE NOT EXISTS (SELECT FROM usable)
        ON CONFLICT (booking_id, method) WHERE status = 'opening' AND charge_id IS NULL DO NOTHING
        RETURNING id)
    SELECT s.client_id, s.status, s.is_agreed, s.is_timed, s.is_off, s.price_minor, s.price_currency, s.missing, s.due_currency,
           s.customer_id, w.amount, begun.id AS begun_id, usable.id AS usable_id, usable.link, usable.gateway_id,
           usable.created_at, looking.id IS NOT NULL AS is_looking
    FROM subject s LEFT JOIN wanted w ON true LEFT JOIN begun ON true LEFT JOIN usable ON true
    LEFT JOIN looking ON true";

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
        SET (client_id, tutor_id, currency, up_to_minor, agreed_at) = (
            SELECT excluded.client_id, excluded.tutor_id, excluded.currency,
                   CASE WHEN is_same THEN greatest(g.up_to_minor, excluded.up_to_minor) ELSE excluded.up_to_minor END,
                   CASE WHEN is_same THEN least(g.agreed_at, excluded.agreed_at) ELSE excluded.agreed_at END
            FROM (SELECT (g.client_id, g.tutor_id, g.currency)
                         = (excluded.client_id, excluded.tutor_id, excluded.currency) AS is_same) AS before)
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
        UPDATE payments SET status = $2, reason = $3, look_at = NULL
        WHERE id = $1 AND charge_id IS NULL AND status IN ('opening', 'open') RETURNING *),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'payment_failed', 'payment/' || id, booking_id,
               jsonb_build_object('payment_id', id, 'reason', reason), $4
        FROM given_up WHERE status = 'failed' ON CONFLICT (source) DO NOTHING)
    SELECT EXISTS (SELECT FROM payments WHERE id = $1) AS is_known, true AS agrees";

/// A payment, for the client who makes it, and whether its gateway is to be asked about it first: one that is open, and
/// that nobody has asked about for some seconds. $1 payment, $2 person, $3 now.
pub const SEEN_BY: &str = "
    WITH looking AS (
        UPDATE payments SET looked_at = $3
        WHERE id = $1 AND client_id = $2 AND status = 'open' AND charge_id IS NULL
          AND coalesce(looked_at, created_at) < $3::timestamptz - interval '5 seconds'
        RETURNING id)
    SELECT p.id, p.booking_id, p.method, p.status, p.reason, p.amount_minor, p.currency, p.link, p.created_at,
           p.paid_at, p.next_try_at, p.gateway, p.gateway_id, looking.id IS NOT NULL AS is_looking,
           coalesce((SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id AND r.status = 'done'), 0)::bigint AS refunded,
           EXISTS (SELECT FROM disputes d WHERE d.payment_id = p.id) AS is_disputed
    FROM payments p LEFT JOIN looking ON true WHERE p.id = $1 AND p.client_id = $2";

/// A booking's tab, a row for each payment. If the charge is to be collected, and nothing else was paid or may be being
/// paid, it is written down that the gateway may have been asked since now, or since the last look within five minutes,
/// which may still be at it. Otherwise how much is to be collected is known only after a look at the gateways, and
/// [`ASK_FOR`] writes it down. The collection is locked before it is read, so whoever comes second sees that somebody is at
/// it. $1 booking, $2 now.
pub const LOOK_AT_TAB: &str = "
    WITH subject AS (
        SELECT b.id, b.client_id, d.charge_id, d.minor AS due, d.currency AS due_currency
        FROM bookings b CROSS JOIN LATERAL due(b, $2::timestamptz) d
        WHERE b.id = $1),
    before AS (
        SELECT p.* FROM payments p JOIN subject s ON p.id = s.charge_id FOR NO KEY UPDATE OF p),
    asking AS (
        UPDATE payments p
        SET status = 'opening', attempt = b.attempt + (b.status = 'declined')::int, next_try_at = NULL,
            asked_at = CASE
                WHEN b.status = 'opening' AND b.asked_at > $2::timestamptz - interval '5 minutes' THEN b.asked_at
                WHEN NOT EXISTS (
                    SELECT FROM payments x
                    WHERE x.booking_id = b.booking_id AND x.id <> b.id AND x.status IN ('opening', 'open', 'paid')
                      AND x.amount_minor > 0)
                    THEN $2
                WHEN b.status = 'opening' THEN b.asked_at END,
            -- A try that was asked for is looked up where it was, whatever card its owner has by now.
            customer_id = CASE WHEN b.status = 'opening' AND b.asked_at IS NOT NULL
                THEN coalesce(b.customer_id, k.customer_id) ELSE k.customer_id END
        FROM before b LEFT JOIN saved_cards k ON k.client_id = b.client_id
        WHERE p.id = b.id AND (b.status = 'opening' OR (b.status = 'declined' AND b.next_try_at <= $2))
        RETURNING p.id, p.attempt, p.asked_at, p.customer_id, b.asked_at AS asked_before, b.status AS was)
    SELECT subject.client_id, subject.charge_id, subject.due, subject.due_currency, k.customer_id, k.card_id,
           p.id, p.created_at, p.gateway, p.gateway_id, coalesce(before.amount_minor, p.amount_minor) AS amount_minor,
           p.currency, p.price_minor, p.charge_id IS NOT NULL AS collects, g.up_to_minor,
           CASE WHEN asking.id IS NOT NULL THEN 'opening' ELSE coalesce(before.status, p.status) END AS status,
           coalesce(asking.attempt, before.attempt, p.attempt) AS attempt,
           coalesce(asking.customer_id, p.customer_id) AS asked_customer_id,
           CASE WHEN asking.was = 'opening' THEN asking.asked_before
                WHEN asking.id IS NULL AND p.status = 'opening' THEN p.asked_at END AS asked_at,
           CASE WHEN asking.id IS NOT NULL THEN asking.asked_at ELSE p.asked_at END AS asked_since,
           coalesce(asking.asked_at > $2::timestamptz - interval '5 minutes', false) AS is_written_down,
           given_back(p.id) AS refunded, disputed(p.id, false) AS disputed,
           unasked(p.id) AS unasked,
           (SELECT coalesce(sum(r.amount_minor), 0)::bigint FROM refunds r
            WHERE r.payment_id = p.id AND r.status = 'failed') AS stuck,
           (SELECT count(*) FROM refunds r WHERE r.booking_id = subject.id) AS refunds
    FROM subject
    LEFT JOIN saved_cards k ON k.client_id = subject.client_id
    LEFT JOIN payments p ON p.booking_id = subject.id AND (p.amount_minor > 0 OR p.status IN ('opening', 'open'))
    -- What the card's owner agreed to about this booking, or before it was charged.
    LEFT JOIN LATERAL (
        SELECT max(a.up_to_minor) AS up_to_minor FROM card_agreements a
        WHERE a.client_id = p.client_id AND a.tutor_id = p.tutor_id AND a.currency = p.currency
          AND (a.booking_id = p.booking_id OR a.agreed_at <= p.created_at)) g ON p.charge_id IS NOT NULL
    LEFT JOIN before ON before.id = p.id
    LEFT JOIN asking ON asking.id = p.id
    ORDER BY p.paid_at, p.id";

/// Writes down that the gateway may be asked for so much of a charge from now on, unless somebody else did since it was
/// looked at. $1 payment, $2 attempt, $3 amount, $4 now, $5 since when it was written down as it was looked at, or NULL,
/// $6 the client's record at the gateway under which it is asked for, where it will be looked up.
pub const ASK_FOR: &str = "
    UPDATE payments SET amount_minor = $3, asked_at = $4, customer_id = $6
    WHERE id = $1 AND attempt = $2 AND status = 'opening' AND asked_at IS NOT DISTINCT FROM $5::timestamptz RETURNING id";

/// Enters money that came: the payment, its ledger entries, the card to keep with what its owner agreed to by
/// paying, and the next look at every tab that this may change. Once; a second time changes nothing, but that a fee of
/// which the gateway had not told before is entered. Other money under the same payment is not that: it is for a person. Money for a booking that nobody has agreed to is looked at
/// again when its time has passed. $1 payment, $2 amount, $3 currency, $4 gateway's id, $5 intent or NULL, $6 now,
/// $7 customer or NULL, $8 card or NULL, $9 a job of any tab, $10 the gateway's fee or NULL, $11 its currency or NULL.
pub const PAID: &str = "
    WITH known AS (SELECT * FROM payments WHERE id = $1 FOR NO KEY UPDATE),
    agreeing AS (
        SELECT amount_minor = $2 AND currency = $3 AND (
                   status <> 'paid' OR CASE WHEN intent_id IS NOT NULL AND $5::text IS NOT NULL THEN intent_id = $5
                                            ELSE coalesce(gateway_id = $4, true) END) AS agrees
        FROM known),
    paid AS (
        UPDATE payments p
        SET status = 'paid', paid_at = $6, next_try_at = NULL, reason = NULL,
            gateway_id = coalesce($4, p.gateway_id), intent_id = coalesce($5, p.intent_id),
            look_at = (
                SELECT coalesce(b.session_start_time + make_interval(mins => coalesce(b.session_duration, 0)), $6::timestamptz)
                       + interval '1 day 1 minute'
                FROM bookings b WHERE b.id = p.booking_id AND b.agreed_at IS NULL AND p.amount_minor > 0)
        FROM known k WHERE p.id = k.id AND k.status <> 'paid' AND k.amount_minor = $2 AND k.currency = $3
        RETURNING p.*),
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
        SET (client_id, tutor_id, currency, up_to_minor, agreed_at) = (
            SELECT excluded.client_id, excluded.tutor_id, excluded.currency,
                   CASE WHEN is_same THEN greatest(g.up_to_minor, excluded.up_to_minor) ELSE excluded.up_to_minor END,
                   CASE WHEN is_same THEN least(g.agreed_at, excluded.agreed_at) ELSE excluded.agreed_at END
            FROM (SELECT (g.client_id, g.tutor_id, g.currency)
                         = (excluded.client_id, excluded.tutor_id, excluded.currency) AS is_same) AS before)
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
        SELECT p.id, 'payment' AS kind, p.currency, e.account_id, e.account_kind, e.owner_id, e.amount
        FROM paid p CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', p.gateway, p.currency), 'cash', NULL::uuid, p.amount_minor),
            (concat_ws('/', 'receivable', p.client_id, p.currency), 'receivable', p.client_id, -p.amount_minor))
            AS e (account_id, account_kind, owner_id, amount)
        WHERE e.amount <> 0
        UNION ALL
        SELECT k.id, 'fee', $11, e.account_id, e.account_kind, NULL, e.amount
        FROM known k CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', k.gateway, $11::text), 'cash', -$10::bigint),
            (concat_ws('/', 'gateway_fees', k.gateway, $11::text), 'gateway_fees', $10::bigint))
            AS e (account_id, account_kind, amount)
        WHERE e.amount <> 0 AND (SELECT agrees FROM agreeing)),
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT account_id, account_kind, owner_id, currency FROM booked ORDER BY account_id
        ON CONFLICT (id) DO NOTHING),
    entries AS (
        INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
        SELECT id, account_id, kind, amount, currency, $6 FROM booked
        ON CONFLICT (payment_id, kind, account_id) WHERE payment_id IS NOT NULL AND dispute_id IS NULL DO NOTHING),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'charged', 'payment/' || id || '/paid', booking_id,
               jsonb_build_object('payment_id', id, 'amount', amount_minor, 'currency', currency), $6
        FROM paid WHERE method = 'saved_card' ON CONFLICT (source) DO NOTHING),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments',
               jsonb_set(jsonb_set($9, '{payload,booking_id}', to_jsonb(t.booking_id)), '{id}', to_jsonb(gen_random_uuid())), $6
        FROM (
            SELECT booking_id FROM paid WHERE amount_minor > 0
            UNION SELECT booking_id FROM tried_again) AS t)
    SELECT EXISTS (SELECT FROM known) AS is_known,
           coalesce((SELECT agrees FROM agreeing), false) AS agrees";

/// Enters a refusal of one attempt to collect: the next try, or what the client is told. What is too small for any card
/// is not tried again, nor is anybody told: it stays on the client's account.
/// $1 payment, $2 attempt, $3 reason, $4 next try at or NULL, $5 now, $6 a job of any tab.
pub const DECLINED: &str = "
    WITH declined AS (
        UPDATE payments
        SET status = CASE WHEN $4::timestamptz IS NOT NULL THEN 'declined' WHEN $3 = 'amount_too_small' THEN 'closed'
                          ELSE 'failed' END,
            reason = $3, next_try_at = $4, look_at = $4::timestamptz + interval '10 minutes', looks = 0
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

/// Gives up collections that are not to be made, and decides a refund if no other was decided meanwhile; neither, if
/// what is due has changed since it was seen. A refund to a phone that the gateway does not know to be the payer's
/// waits for an operator above a certain amount.
/// $1 payments, $2 refund or NULL, $3 booking, $4 ordinal, $5 payment to refund, $6 amount, $7 currency,
/// $8 now, $9 the refund's job, $10 a look at the tab, $11 since when each of $1 was asked for when it was seen,
/// $12 what was due when it was seen, $13 the amount above which an operator must see it.
pub const SETTLE: &str = "
    WITH subject AS (
        SELECT b.id FROM bookings b CROSS JOIN LATERAL due(b, $8) d WHERE b.id = $3 AND d.minor = $12::bigint),
    given_up AS (
        UPDATE payments p SET status = 'closed', reason = 'not_needed', next_try_at = NULL, look_at = NULL
        FROM subject, unnest($1::uuid[], $11::timestamptz[]) AS seen (id, asked_at)
        WHERE p.id = seen.id AND p.asked_at IS NOT DISTINCT FROM seen.asked_at AND p.status IN ('opening', 'declined')),
    refund AS (
        INSERT INTO refunds (id, booking_id, ordinal, payment_id, amount_minor, currency, status, created_at)
        SELECT $2, $3, $4, p.id, $6, $7,
               CASE WHEN p.method = 'mobile_money_link' AND $6::bigint > $13::bigint THEN 'held' ELSE 'opening' END, $8
        FROM subject, payments p WHERE p.id = $5 AND $2::uuid IS NOT NULL
        ON CONFLICT (booking_id, ordinal) DO NOTHING RETURNING id, status),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), job.queue, job.envelope, $8
        FROM refund, (VALUES ('refunds', $9::jsonb), ('payments', $10::jsonb)) AS job (queue, envelope)
        WHERE job.queue = 'payments' OR refund.status = 'opening')
    SELECT id FROM refund";

/// A refund that has no end yet and may be asked for, since when its gateway may have been asked for it before this look, and whether it is
/// still due. That it may be asked now is written down like that of [`LOOK_AT_TAB`]; what the gateway has taken already
/// is only looked up. Locked before it is read: of two at once the second sees that the first is at it. $1 refund, $2 now.
pub const LOOK_AT_REFUND: &str = "
    WITH before AS (
        SELECT r.*, r AS whole FROM refunds r
        WHERE id = $1 AND status IN ('opening', 'pending') AND coalesce(next_try_at <= $2, true) FOR UPDATE),
    asking AS (
        UPDATE refunds r
        SET asked_at = CASE
            WHEN b.asked_at > $2::timestamptz - interval '5 minutes' AND NOT is_unasked(b.whole) THEN b.asked_at ELSE $2 END
        FROM before b WHERE r.id = b.id AND b.status = 'opening' RETURNING r.id, r.asked_at)
    SELECT r.id, r.amount_minor, r.currency, r.asked_at, r.status = 'pending' AS is_pending, r.refusals,
           asking.asked_at AS written_down_at, p.id AS payment_id, p.gateway, p.intent_id, p.payer_phone,
           (SELECT sum(x.amount_minor - given_back(x.id) - disputed(x.id, false))
            FROM payments x WHERE x.booking_id = r.booking_id AND x.status = 'paid') >= coalesce(d.minor, 0) AS is_due
    FROM before r
    JOIN payments p ON p.id = r.payment_id
    JOIN bookings b ON b.id = r.booking_id CROSS JOIN LATERAL due(b, $2::timestamptz) d
    LEFT JOIN asking ON asking.id = r.id";

/// Enters what became of a refund: its status, its ledger entries with the gateway's fee, what the client is told. A
/// refund that was done and came back is taken back. What was given up and happened after all is entered. What an operator
/// gave back by hand, and the gateway has given back as well, is for a person. $1 refund,
/// $2 'pending', 'done' or 'failed', $3 gateway's id or NULL, $4 reason or NULL, $5 now, $6 the gateway's fee or NULL,
/// $7 its currency or NULL.
pub const REFUNDED: &str = "
    WITH before AS (SELECT * FROM refunds WHERE id = $1 FOR UPDATE),
    changed AS (
        UPDATE refunds r
        SET status = $2, gateway_id = coalesce($3, r.gateway_id), reason = $4,
            settled_at = CASE WHEN $2 = 'pending' THEN NULL ELSE $5::timestamptz END,
            look_at = CASE WHEN $2 = 'pending' THEN r.look_at END
        FROM before b
        WHERE r.id = b.id AND b.status <> $2 AND CASE
            WHEN b.status IN ('opening', 'pending') THEN true
            -- What an operator gave back by hand is no news of the gateway's.
            WHEN b.status = 'done' THEN $2 = 'failed' AND b.reason IS DISTINCT FROM 'by_hand'
            ELSE $2 = 'done' AND NOT EXISTS (
                SELECT FROM ledger_entries e WHERE e.refund_id = b.id AND e.kind = 'refund') END
        RETURNING r.*, b.status AS was),
    moved AS (
        SELECT c.*, p.client_id, p.gateway, CASE WHEN c.status = 'done' THEN 'refund' ELSE 'refund_returned' END AS kind,
               CASE WHEN c.status = 'done' THEN c.amount_minor ELSE -c.amount_minor END AS amount
        FROM changed c JOIN payments p ON p.id = c.payment_id WHERE c.status = 'done' OR c.was = 'done'),
    booked AS (
        SELECT m.id, m.kind, m.currency, e.account_id, e.account_kind, e.amount
        FROM moved m CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', m.gateway, m.currency), 'cash', -m.amount),
            (concat_ws('/', 'receivable', m.client_id, m.currency), 'receivable', m.amount))
            AS e (account_id, account_kind, amount)
        UNION ALL
        SELECT b.id, 'fee', $7, e.account_id, e.account_kind, e.amount
        FROM before b JOIN payments p ON p.id = b.payment_id CROSS JOIN LATERAL (VALUES
            (concat_ws('/', 'cash', p.gateway, $7::text), 'cash', -$6::bigint),
            (concat_ws('/', 'gateway_fees', p.gateway, $7::text), 'gateway_fees', $6::bigint))
            AS e (account_id, account_kind, amount)
        WHERE $2 = 'done' AND e.amount <> 0),
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, currency)
        SELECT DISTINCT account_id, account_kind, currency FROM booked WHERE account_kind <> 'receivable' ORDER BY account_id
        ON CONFLICT (id) DO NOTHING),
    entries AS (
        INSERT INTO ledger_entries (refund_id, account_id, kind, amount_minor, currency, created_at)
        SELECT id, account_id, kind, amount, currency, $5 FROM booked
        ON CONFLICT (refund_id, kind, account_id) WHERE refund_id IS NOT NULL DO NOTHING),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT p.client_id, CASE c.status WHEN 'done' THEN 'refunded' ELSE 'refund_failed' END,
               -- It may have failed before it was done and came back.
               concat_ws('/', 'refund', c.id, CASE WHEN c.was = 'done' THEN 'returned' ELSE c.status END), c.booking_id,
               jsonb_build_object('refund_id', c.id, 'payment_id', p.id, 'amount', c.amount_minor, 'currency', c.currency), $5
        FROM changed c JOIN payments p ON p.id = c.payment_id
        WHERE c.status IN ('done', 'failed') ON CONFLICT (source) DO NOTHING)
    SELECT EXISTS (SELECT FROM before) AS is_known,
           NOT EXISTS (SELECT FROM before WHERE status = 'done' AND reason = 'by_hand' AND $2 = 'done') AS agrees";

/// Records a dispute, and enters into the books what it moved since it was last seen: what the bank took back, what it
/// returned, what the gateway takes for it. The sums are totals, so they only grow, and what is told late changes nothing.
/// $1 gateway, $2 gateway's id, $3 payment, $4 amount, $5 currency, $6 status, $7 reason, $8 now, $9 whether it is lost,
/// $10 taken back so far, $11 returned so far, $12 the gateway's fee or NULL, $13 its currency or NULL, $14 a job of any tab.
pub const DISPUTED: &str = "
    WITH disputed AS (
        INSERT INTO disputes AS d (gateway, gateway_id, payment_id, amount_minor, currency, status, reason, updated_at,
            is_lost, withdrawn_minor, withdrawn_step, reinstated_minor, reinstated_step, fee_minor, fee_step)
        SELECT $1, $2, p.id, $4, $5, $6, $7, $8, $9, $10, $10, $11, $11, coalesce($12, 0), coalesce($12, 0)
        FROM payments p WHERE p.id = $3 AND p.gateway = $1
        ON CONFLICT (gateway, gateway_id) DO UPDATE
        SET status = $6, reason = $7, updated_at = $8, is_lost = d.is_lost OR $9,
            withdrawn_minor = greatest(d.withdrawn_minor, $10),
            withdrawn_step = greatest(d.withdrawn_minor, $10) - d.withdrawn_minor,
            reinstated_minor = greatest(d.reinstated_minor, $11),
            reinstated_step = greatest(d.reinstated_minor, $11) - d.reinstated_minor,
            fee_minor = coalesce($12, d.fee_minor), fee_step = coalesce($12, d.fee_minor) - d.fee_minor
        WHERE (d.status, d.withdrawn_minor, d.reinstated_minor, d.fee_minor) IS DISTINCT FROM
              ($6, greatest(d.withdrawn_minor, $10), greatest(d.reinstated_minor, $11), coalesce($12, d.fee_minor))
          AND (d.status NOT IN ('won', 'lost') OR $6 IN ('won', 'lost'))
        RETURNING d.*),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT p.client_id, 'dispute_lost', 'dispute/' || d.gateway_id || '/lost', p.booking_id,
               jsonb_build_object('payment_id', p.id, 'amount', d.amount_minor, 'currency', d.currency), $8
        FROM disputed d JOIN payments p ON p.id = d.payment_id WHERE d.is_lost ON CONFLICT (source) DO NOTHING),
    booked AS (
        SELECT p.id, d.gateway_id, e.*
        FROM disputed d JOIN payments p ON p.id = d.payment_id CROSS JOIN LATERAL (VALUES
            ('dispute', 'cash', p.gateway, NULL::uuid, d.currency, -d.withdrawn_step),
            ('dispute', 'receivable', p.client_id::text, p.client_id, d.currency, d.withdrawn_step),
            ('dispute_returned', 'cash', p.gateway, NULL, d.currency, d.reinstated_step),
            ('dispute_returned', 'receivable', p.client_id::text, p.client_id, d.currency, -d.reinstated_step),
            ('dispute_fee', 'cash', p.gateway, NULL, $13, -d.fee_step),
            ('dispute_fee', 'gateway_fees', p.gateway, NULL, $13, d.fee_step))
            AS e (kind, account_kind, account_of, owner_id, currency, amount)
        WHERE e.amount <> 0),
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT concat_ws('/', account_kind, account_of, currency), account_kind, owner_id, currency
        FROM booked ORDER BY 1
        ON CONFLICT (id) DO NOTHING),
    entries AS (
        INSERT INTO ledger_entries (payment_id, dispute_id, account_id, kind, amount_minor, currency, created_at)
        SELECT id, gateway_id, concat_ws('/', account_kind, account_of, currency), kind, amount, currency, $8 FROM booked),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments',
               jsonb_set(jsonb_set($14, '{payload,booking_id}', to_jsonb(p.booking_id)), '{id}', to_jsonb(gen_random_uuid())), $8
        FROM disputed d JOIN payments p ON p.id = d.payment_id WHERE d.withdrawn_step <> 0 OR d.reinstated_step <> 0)
    SELECT EXISTS (SELECT FROM payments WHERE id = $3 AND gateway = $1) AS is_known, true AS agrees";

/// Withdraws a refund that is not due any more and that its gateway was not asked for, and asks for another look at the
/// tab. $1 refund, $2 since when it was written down that it may be asked, $3 now, $4 a job of any tab.
pub const WITHDRAW: &str = "
    WITH withdrawn AS (
        UPDATE refunds SET status = 'closed', reason = 'not_due', settled_at = $3, look_at = NULL
        WHERE id = $1 AND status = 'opening' AND asked_at = $2 RETURNING booking_id)
    INSERT INTO outbox (id, queue, envelope, due_at)
    SELECT gen_random_uuid(), 'payments',
           jsonb_set(jsonb_set($4, '{payload,booking_id}', to_jsonb(booking_id)), '{id}', to_jsonb(gen_random_uuid())), $3
    FROM withdrawn RETURNING id";

/// Withdraws the refunds of a booking that no gateway was asked for yet, and asks for another look at the tab, if what is
/// due is still what was seen. $1 booking, $2 due, $3 now, $4 a look at the tab.
pub const WITHDRAW_UNASKED: &str = "
    WITH withdrawn AS (
        UPDATE refunds r SET status = 'closed', reason = 'not_due', settled_at = $3, look_at = NULL
        FROM bookings b CROSS JOIN LATERAL due(b, $3::timestamptz) d
        WHERE b.id = $1 AND d.minor = $2::bigint AND r.booking_id = b.id AND is_unasked(r)
        RETURNING r.id)
    INSERT INTO outbox (id, queue, envelope, due_at)
    SELECT gen_random_uuid(), 'payments', $4, $3 WHERE EXISTS (SELECT FROM withdrawn) RETURNING id";

/// Enters that a gateway refused a refund that it may accept later: the next try, or what the client is told.
/// $1 refund, $2 refusals before, $3 reason, $4 next try at or NULL, $5 now, $6 the refund's job.
pub const REFUND_REFUSED: &str = "
    WITH refused AS (
        UPDATE refunds
        SET refusals = refusals + 1, reason = $3, next_try_at = $4,
            status = CASE WHEN $4::timestamptz IS NULL THEN 'failed' ELSE status END,
            settled_at = CASE WHEN $4::timestamptz IS NULL THEN $5::timestamptz END,
            look_at = $4::timestamptz + interval '10 minutes'
        WHERE id = $1 AND status = 'opening' AND refusals = $2 RETURNING *),
    again AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'refunds', $6, $4 FROM refused WHERE $4::timestamptz IS NOT NULL),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT p.client_id, 'refund_failed', 'refund/' || r.id || '/failed', r.booking_id,
               jsonb_build_object('refund_id', r.id, 'payment_id', p.id, 'amount', r.amount_minor, 'currency', r.currency), $5
        FROM refused r JOIN payments p ON p.id = r.payment_id
        WHERE r.status = 'failed' ON CONFLICT (source) DO NOTHING)
    SELECT id FROM refused";

/// Claims what has no end yet and is due for a look, asks for that look, and says when the next is due: each takes twice
/// as long as the one before, up to a day. What a client was given to pay with, and a refund, of which the gateway
/// does not say for a month what became of it, is given up and told to the client; a collection never is, since
/// trying it again could take the money twice. Money that was paid for a booking that nobody agreed to is looked at
/// when its time has passed. $1 now, $2 at most of each, $3 a look at any tab, $4 any refund's job.
pub const RECONCILE: &str = "
    WITH due_payments AS (
        SELECT p.id,
               p.charge_id IS NULL AND p.status IN ('opening', 'open') AND p.looks >= 20
                   AND p.created_at < $1::timestamptz - interval '30 days' AS is_silent,
               CASE WHEN p.status IN ('opening', 'open', 'declined') THEN next_look(p.looks + 1, $1)
                    WHEN p.status = 'paid' AND b.agreed_at IS NULL AND given_back(p.id) < p.amount_minor
                    THEN $1::timestamptz + interval '1 day' END AS next
        FROM payments p JOIN bookings b ON b.id = p.booking_id
        WHERE p.look_at <= $1 ORDER BY p.look_at LIMIT $2 FOR UPDATE OF p SKIP LOCKED),
    looked AS (
        UPDATE payments p
        SET looks = p.looks + 1, look_at = CASE WHEN NOT d.is_silent THEN d.next END,
            status = CASE WHEN d.is_silent THEN 'failed' ELSE p.status END,
            reason = CASE WHEN d.is_silent THEN 'gateway_silent' ELSE p.reason END
        FROM due_payments d WHERE p.id = d.id RETURNING p.*, d.is_silent),
    due_refunds AS (
        SELECT r.id, r.looks >= 20 AND r.created_at < $1::timestamptz - interval '30 days' AS is_silent
        FROM refunds r WHERE r.look_at <= $1 ORDER BY r.look_at LIMIT $2 FOR UPDATE SKIP LOCKED),
    looked_refunds AS (
        UPDATE refunds r
        SET looks = r.looks + 1, look_at = CASE WHEN NOT d.is_silent THEN next_look(r.looks + 1, $1) END,
            status = CASE WHEN d.is_silent THEN 'failed' ELSE r.status END,
            reason = CASE WHEN d.is_silent THEN 'gateway_silent' ELSE r.reason END,
            settled_at = CASE WHEN d.is_silent THEN $1::timestamptz END
        FROM due_refunds d WHERE r.id = d.id AND r.status IN ('opening', 'pending') RETURNING r.*, d.is_silent),
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT gen_random_uuid(), 'payments',
               jsonb_set(jsonb_set($3, '{payload,booking_id}', to_jsonb(t.booking_id)), '{id}', to_jsonb(gen_random_uuid())), $1
        FROM (SELECT DISTINCT booking_id FROM looked WHERE look_at IS NOT NULL) AS t
        UNION ALL
        SELECT gen_random_uuid(), 'refunds',
               jsonb_set(jsonb_set($4, '{payload,refund_id}', to_jsonb(r.id)), '{id}', to_jsonb(gen_random_uuid())), $1
        FROM looked_refunds r WHERE NOT r.is_silent),
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT client_id, 'payment_failed', 'payment/' || id, booking_id,
               jsonb_build_object('payment_id', id, 'reason', reason), $1::timestamptz
        FROM looked WHERE is_silent
        UNION ALL
        SELECT p.client_id, 'refund_failed', 'refund/' || r.id || '/failed', r.booking_id,
               jsonb_build_object('refund_id', r.id, 'payment_id', p.id, 'amount', r.amount_minor, 'currency', r.currency), $1
        FROM looked_refunds r JOIN payments p ON p.id = r.payment_id WHERE r.is_silent
        ON CONFLICT (source) DO NOTHING)
    SELECT (SELECT count(*) FROM looked WHERE look_at IS NOT NULL)
           + (SELECT count(*) FROM looked_refunds WHERE NOT is_silent) AS asked,
           (SELECT count(*) FROM looked WHERE is_silent)
           + (SELECT count(*) FROM looked_refunds WHERE is_silent) AS given_up";

/// What waits, for whoever watches: since when, in seconds, the oldest payment is open and the oldest refund without an
/// end, of those that were due for a look at least once, and how many refunds have failed. $1 now.
pub const OVERVIEW: &str = "
    SELECT coalesce((
               SELECT extract(epoch FROM $1::timestamptz - min(created_at)) FROM payments
               WHERE look_at IS NOT NULL AND looks > 0 AND status IN ('opening', 'open')), 0)::bigint AS open_payment_seconds,
           coalesce((
               SELECT extract(epoch FROM $1::timestamptz - min(since)) FROM (
                   SELECT min(created_at) AS since FROM refunds
                   WHERE look_at IS NOT NULL AND looks > 0 AND status IN ('opening', 'pending')
                   UNION ALL SELECT min(created_at) FROM refunds WHERE status = 'held') AS waiting), 0)::bigint
               AS open_refund_seconds,
           (SELECT count(*) FROM refunds WHERE status = 'failed') AS failed_refunds";

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
    /// Whether it will not be held: it ended and nobody had agreed to it.
    pub is_off: bool,
    /// Whether it is known when it is held, and for how long.
    pub is_timed: bool,
    /// The lesson's price.
    pub price: Option<Money>,
    /// What is missing, in the currency of the charge, before there is one of the price; `None` without a price.
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
    /// What an earlier order got for it; `None` if it is new and the gateway is still to be asked.
    pub earlier: Option<Earlier>,
}

/// What an order got that can still be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// The page, if there is one.
    pub link: Option<String>,
    /// The gateway's name for it.
    pub gateway_id: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether its gateway is to be asked first whether it was paid; nobody has for some seconds.
    pub is_looking: bool,
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
    /// `stripe`, `fapshi`.
    pub gateway: String,
    /// The gateway's name for it, if it said one.
    pub gateway_id: Option<String>,
    /// Whether its gateway is to be asked first where it stands: it is open, and nobody has for some seconds.
    pub is_looking: bool,
}

impl Seen {
    /// As it is after its gateway said so, and that was entered.
    #[must_use]
    pub fn after(self, outcome: Outcome, now: Timestamp) -> Self {
        let (status, reason) = match outcome {
            Outcome::Paid(_) => (PaymentStatus::Paid, None),
            Outcome::Expired => (PaymentStatus::Closed, Some("expired".to_owned())),
            Outcome::Failed(reason) => (PaymentStatus::Failed, Some(reason)),
            Outcome::Declined(_) | Outcome::Open => return self,
        };
        Self {
            status,
            reason,
            paid_at: (status == PaymentStatus::Paid).then_some(now),
            ..self
        }
    }
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

impl Open {
    /// The collection of the charge that counts.
    pub fn collection(&self) -> Option<(&Payment, &Line)> {
        let mut both = self.tab.payments.iter().zip(&self.lines);
        both.find(|(payment, _)| Some(payment.id) == self.tab.charge)
    }
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
    /// The client's record at the gateway under which this try was asked for.
    pub customer: Option<String>,
    /// When it was begun, which is before any gateway heard of it.
    pub created_at: Timestamp,
    /// Since when it may have been asked for, this look included.
    pub asked_since: Option<Timestamp>,
    /// Whether it is written down that its gateway may be asked now.
    pub is_written_down: bool,
}

/// A refund that has no end yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub id: RefundId,
    /// How much.
    pub amount: Money,
    /// Since when its gateway may have been asked for it before this look; `None` if it was not.
    pub asked_at: Option<Timestamp>,
    /// The same, this look included.
    pub asked_since: Option<Timestamp>,
    /// Whether its gateway has taken it already, so that it must not be asked for again.
    pub is_pending: bool,
    /// Whether so much is still too much on its tab.
    pub is_due: bool,
    /// How often its gateway refused it so far.
    pub refusals: i32,
    /// Out of which payment.
    pub payment: PaymentId,
    /// At which gateway.
    pub gateway: String,
    /// The gateway's name for what is refunded.
    pub intent: Option<String>,
    /// Where mobile money goes back to.
    pub phone: Option<String>,
}

/// What [`reconcile`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Payments and refunds for which a look was asked.
    pub asked: u64,
    /// Of which the gateway never said what became of them, and which a person was told of.
    pub given_up: u64,
}

/// What waits for gateways and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overview {
    /// Age of the oldest payment without an end; 0 if there is none.
    pub open_payment_seconds: u64,
    /// Age of the oldest refund that is neither made nor failed, those that an operator must let go included.
    pub open_refund_seconds: u64,
    /// Refunds that failed and that nobody has retried or settled.
    pub failed_refunds: u64,
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
    let amount = money(row, "amount", "due_currency")?;
    let payment = match (begun, usable, amount) {
        (Some(id), _, Some(amount)) => Some(Begun {
            id: PaymentId(id),
            amount,
            earlier: None,
        }),
        (None, Some(id), Some(amount)) => Some(Begun {
            id: PaymentId(id),
            amount,
            earlier: Some(Earlier {
                link: column(row, "link")?,
                gateway_id: column(row, "gateway_id")?,
                since: column(row, "created_at")?,
                is_looking: column(row, "is_looking")?,
            }),
        }),
        _ => None,
    };
    Ok(Started {
        client: ProfileId(column(row, "client_id")?),
        status: BookingStatus::from(column::<&str>(row, "status")?),
        is_agreed: column(row, "is_agreed")?,
        is_timed: column(row, "is_timed")?,
        is_off: column(row, "is_off")?,
        price: money(row, "price_minor", "price_currency")?,
        missing: money(row, "missing", "due_currency")?,
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
    now: Timestamp,
) -> Result<Option<Seen>, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&payment.0, Type::UUID),
        (&person.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
    ];
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
        gateway: column(row, "gateway")?,
        gateway_id: column(row, "gateway_id")?,
        is_looking: column(row, "is_looking")?,
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
        unasked: amount(row, "unasked")?,
        stuck: amount(row, "stuck")?,
        disputed: amount(row, "disputed")?,
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
        customer: column(row, "asked_customer_id")?,
        created_at: column(row, "created_at")?,
        asked_since: column(row, "asked_since")?,
        is_written_down: column(row, "is_written_down")?,
    })
}

/// Writes down that so much of a charge is about to be asked for; `false` if somebody was faster.
pub async fn ask_for(
    database: &Database,
    line: &Line,
    card: &Card,
    amount: Money,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let minor = amount.minor();
    let params: [Param<'_>; 6] = [
        (&line.id.0, Type::UUID),
        (&line.attempt, Type::INT4),
        (&minor, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
        (&line.asked_since, Type::TIMESTAMPTZ),
        (&card.customer, Type::TEXT),
    ];
    Ok(database.query_opt(ASK_FOR, &params).await?.is_some())
}

/// What to do about a tab as it was seen.
#[derive(Debug, Clone, Copy)]
pub struct Settling<'a> {
    /// Whose tab.
    pub booking: BookingId,
    /// The tab.
    pub open: &'a Open,
    /// Collections to give up.
    pub given_up: &'a [PaymentId],
    /// Money to give back.
    pub refund: Option<&'a Refund>,
    /// Above so many minor units a refund to a phone that is not known to be the payer's waits for an operator.
    pub review_above_minor: i64,
}

/// Gives up collections and decides a refund; `false` if another refund was decided, or something else is due, since
/// the tab was looked at. Whoever did that has asked for another look.
pub async fn settle(
    database: &Database,
    settling: Settling<'_>,
    ids: &Ids,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let Settling {
        booking,
        open,
        given_up,
        refund,
        review_above_minor,
    } = settling;
    let lines = open.lines.iter().filter(|line| given_up.contains(&line.id));
    let (given_up, asked_since): (Vec<Uuid>, Vec<Option<Timestamp>>) =
        lines.map(|line| (line.id.0, line.asked_since)).unzip();
    let id = refund.map(|_| ids.next());
    let ordinal = open.refunds.saturating_add(1);
    let payment = refund.map(|refund| refund.payment.0);
    let minor = refund.map(|refund| refund.amount.minor());
    let code = refund.map(|refund| refund.amount.currency().code());
    let job = id.map(|id| GiveBack::envelope(RefundId(id), ids, now));
    let again = LookAtTab::envelope(booking, ids, now);
    let due = open.tab.due.minor();
    let params: [Param<'_>; 13] = [
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
        (&asked_since, Type::TIMESTAMPTZ_ARRAY),
        (&due, Type::INT8),
        (&review_above_minor, Type::INT8),
    ];
    let decided = !database.query(SETTLE, &params).await?.is_empty();
    Ok(decided || refund.is_none())
}

/// Looks at a refund; `None` if nothing is to be done about it: it has its end, or waits for an operator.
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
        asked_since: column(row, "written_down_at")?,
        is_pending: column(row, "is_pending")?,
        is_due: column(row, "is_due")?,
        refusals: column(row, "refusals")?,
        payment: PaymentId(column(row, "payment_id")?),
        gateway: column(row, "gateway")?,
        intent: column(row, "intent_id")?,
        phone: column(row, "payer_phone")?,
    })
}

/// Withdraws a refund that is not due any more, and that nobody has asked for since `due` was read.
pub async fn withdraw(
    database: &Database,
    due: &Due,
    ids: &Ids,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    // The statement puts in the booking.
    let job = LookAtTab::envelope(BookingId(Uuid::nil()), ids, now);
    let params: [Param<'_>; 4] = [
        (&due.id.0, Type::UUID),
        (&due.asked_since, Type::TIMESTAMPTZ),
        (&now, Type::TIMESTAMPTZ),
        (&job, Type::JSONB),
    ];
    database.query(WITHDRAW, &params).await.map(drop)
}

/// Withdraws the refunds of a tab that no gateway was asked for yet; what they would give back is due by now.
pub async fn withdraw_unasked(
    database: &Database,
    booking: BookingId,
    open: &Open,
    ids: &Ids,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let due = open.tab.due.minor();
    let job = LookAtTab::envelope(booking, ids, now);
    let params: [Param<'_>; 4] = [
        (&booking.0, Type::UUID),
        (&due, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
        (&job, Type::JSONB),
    ];
    database.query(WITHDRAW_UNASKED, &params).await.map(drop)
}

/// Enters that a gateway refused a refund that it may accept later: it is tried again, or left to a person.
pub async fn refused(
    database: &Database,
    due: &Due,
    reason: &str,
    ids: &Ids,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let next_try_at = refund_again_at(due.refusals, now);
    let job = GiveBack::envelope(due.id, ids, now);
    let params: [Param<'_>; 6] = [
        (&due.id.0, Type::UUID),
        (&due.refusals, Type::INT4),
        (&reason, Type::TEXT),
        (&next_try_at, Type::TIMESTAMPTZ),
        (&now, Type::TIMESTAMPTZ),
        (&job, Type::JSONB),
    ];
    database.query(REFUND_REFUSED, &params).await.map(drop)
}

/// Asks for a look at up to `most` payments and `most` refunds that have no end yet, and gives up those of which their
/// gateway has not told for a month. One round trip; any number of these may run at once.
pub async fn reconcile(
    database: &Database,
    most: i64,
    ids: &Ids,
    now: Timestamp,
) -> Result<Reconciled, DatabaseError> {
    // The statement puts in the bookings and the refunds.
    let tab = LookAtTab::envelope(BookingId(Uuid::nil()), ids, now);
    let refund = GiveBack::envelope(RefundId(Uuid::nil()), ids, now);
    let params: [Param<'_>; 4] = [
        (&now, Type::TIMESTAMPTZ),
        (&most, Type::INT8),
        (&tab, Type::JSONB),
        (&refund, Type::JSONB),
    ];
    let row = database.query_opt(RECONCILE, &params).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;
    Ok(Reconciled {
        asked: count(&row, "asked")?,
        given_up: count(&row, "given_up")?,
    })
}

/// What waits, for whoever watches.
pub async fn overview(database: &Database, now: Timestamp) -> Result<Overview, DatabaseError> {
    let row = database.query_opt(OVERVIEW, &[(&now, Type::TIMESTAMPTZ)]).await?;
    let row = row.ok_or(DatabaseError::Unexpected("no row"))?;
    Ok(Overview {
        open_payment_seconds: count(&row, "open_payment_seconds")?,
        open_refund_seconds: count(&row, "open_refund_seconds")?,
        failed_refunds: count(&row, "failed_refunds")?,
    })
}

fn count(row: &Row, name: &'static str) -> Result<u64, DatabaseError> {
    Ok(u64::try_from(column::<i64>(row, name)?).unwrap_or(0))
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
            Finding::Dispute(dispute) => Some(Self::dispute(dispute, ids, now)),
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
        let (fee, fee_currency) = parts(paid.fee);
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
                (Box::new(fee), Type::INT8),
                (Box::new(fee_currency), Type::TEXT),
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
        let (status, gateway_id, reason, fee) = match refunded {
            Refunded::Pending { gateway_id } => ("pending", Some(gateway_id), None, None),
            Refunded::Done { gateway_id, fee } => ("done", Some(gateway_id), None, *fee),
            Refunded::Failed { gateway_id, reason } => ("failed", gateway_id.as_ref(), Some(reason), None),
        };
        let (fee, fee_currency) = parts(fee);
        Self {
            sql: REFUNDED,
            params: vec![
                (Box::new(refund.0), Type::UUID),
                (Box::new(status), Type::TEXT),
                (Box::new(gateway_id.cloned()), Type::TEXT),
                (Box::new(reason.cloned()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(fee), Type::INT8),
                (Box::new(fee_currency), Type::TEXT),
            ],
        }
    }

    fn dispute(dispute: &Dispute, ids: &Ids, now: Timestamp) -> Self {
        let (fee, fee_currency) = parts(dispute.fee);
        // The statement puts in the booking.
        let job = LookAtTab::envelope(BookingId(Uuid::nil()), ids, now);
        Self {
            sql: DISPUTED,
            params: vec![
                (Box::new(CARD_GATEWAY), Type::TEXT),
                (Box::new(dispute.gateway_id.clone()), Type::TEXT),
                (Box::new(dispute.payment.0), Type::UUID),
                (Box::new(dispute.amount.minor()), Type::INT8),
                (Box::new(dispute.amount.currency().code()), Type::TEXT),
                (Box::new(dispute.status.clone()), Type::TEXT),
                (Box::new(dispute.reason.clone()), Type::TEXT),
                (Box::new(now), Type::TIMESTAMPTZ),
                (Box::new(dispute.is_lost), Type::BOOL),
                (Box::new(dispute.withdrawn.minor()), Type::INT8),
                (Box::new(dispute.reinstated.minor()), Type::INT8),
                (Box::new(fee), Type::INT8),
                (Box::new(fee_currency), Type::TEXT),
                (Box::new(job), Type::JSONB),
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

/// An amount's two columns.
fn parts(money: Option<Money>) -> (Option<i64>, Option<&'static str>) {
    (
        money.map(Money::minor),
        money.map(|money| money.currency().code()),
    )
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
