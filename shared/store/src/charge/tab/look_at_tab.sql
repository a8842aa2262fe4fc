-- Loads a booking's tab: what its client owes, the card on file, and a row for each payment, with what went back of
-- it. A booking without payments gives one row, in which everything that belongs to a payment is NULL. There is no row
-- only if there is no such booking.
--
-- The caller may go on to charge the card for the collection of the charge, and could die while it does, or lose the
-- answer. Therefore the time at which the gateway may be asked is written down before anybody asks it, in `asked_at`
-- of the collection. Whoever looks later finds that time and asks the gateway what became of the charge before they
-- charge the card again. This statement writes the time down itself where that is possible, which saves a round trip:
-- nothing else was paid for the booking or may be being paid, so the amount to collect is certain. Otherwise the
-- amount is certain only after the gateways were asked what became of the other payments, and `ASK_FOR` in
-- `charge/tab.rs` then writes down amount and time.
--
-- A time after $3 is left as it is, since whoever wrote it may still be talking to the gateway. So a second look soon
-- afterwards changes nothing. Of two looks at once the second waits for the lock on
-- the collection and then reads what the first has written.
--
-- The message that has asked for this look is marked as arrived, so that the sweeper does not send it once more.
--
-- Parameters:
--   $1   booking's id
--   $2   now
--   $3   time: what was written down after it may still be under way
--   $4   id of the message that asked for this look

WITH
    arrived AS (
        UPDATE outbox
        SET sent_at = $2
        WHERE id = $4
          AND sent_at IS NULL
    ),

    -- The booking and what is due: its charge, or its price if there is no charge yet.
    subject AS (
        SELECT
            b.id,
            b.client_id,
            d.charge_id,
            d.minor AS due,
            d.currency AS due_currency
        FROM bookings b
        CROSS JOIN LATERAL due(b, $2::timestamptz) d
        WHERE b.id = $1
    ),

    -- Locks the collection of the charge that is due before it is read. Here it stands as it is once we have the
    -- lock, and before `asking` changes it.
    before AS (
        SELECT p.*
        FROM payments p
        JOIN subject s ON p.id = s.charge_id
        FOR NO KEY UPDATE OF p
    ),

    -- Gets the collection ready to be made, if it is still to be made: its attempt was begun and has no end yet, or
    -- the last attempt was declined and the time of the next has come. Then the next attempt begins here, and only
    -- once, because the collection is not declined any more.
    asking AS (
        UPDATE payments p
        SET
            status = 'opening',
            attempt = b.attempt + (b.status = 'declined')::int,
            next_try_at = NULL,

            -- Since when the gateway may have been asked for this attempt.
            asked_at = CASE
                -- Somebody may be at it right now. Their time stays, or it would begin anew with each look.
                WHEN b.status = 'opening' AND b.asked_at > $3::timestamptz THEN b.asked_at
                -- Nothing else was paid or may be being paid: the caller may ask from now on.
                WHEN NOT EXISTS (
                    SELECT
                    FROM payments x
                    WHERE x.booking_id = b.booking_id
                      AND x.id <> b.id
                      AND x.status IN ('opening', 'open', 'paid')
                      AND x.amount_minor > 0
                )
                    THEN $2
                -- The amount is not certain yet. If somebody has asked for this attempt before, that still holds.
                WHEN b.status = 'opening' THEN b.asked_at
                -- Nor is it here; and nobody has asked for a new attempt yet, so the time is NULL.
            END,

            -- The client's record at the gateway under which this attempt is asked for. An attempt that may have been
            -- asked for is looked up under the record of that time, whatever card the client has by now.
            customer_id = CASE
                WHEN b.status = 'opening' AND b.asked_at IS NOT NULL THEN coalesce(b.customer_id, k.customer_id)
                ELSE k.customer_id
            END
        FROM before b
        LEFT JOIN saved_cards k ON k.client_id = b.client_id
        WHERE p.id = b.id
          AND (b.status = 'opening' OR (b.status = 'declined' AND b.next_try_at <= $2))
        RETURNING
            p.id,
            p.attempt,
            p.asked_at,
            p.customer_id,
            b.asked_at AS asked_before,
            b.status AS was
    )

-- Of the collection of the charge there are up to three versions. `p` is as it was when this statement began,
-- `before` as it was once it was locked, and `asking` as this statement has changed it; the last that there is
-- counts. Every other payment is in `p` alone.
SELECT
    subject.client_id,
    subject.charge_id,
    subject.due,
    subject.due_currency,
    k.customer_id,
    k.card_id,
    p.id,
    p.created_at,
    p.gateway,
    p.gateway_id,
    coalesce(before.amount_minor, p.amount_minor) AS amount_minor,
    p.currency,
    p.price_minor,
    p.charge_id IS NOT NULL AS collects,
    g.up_to_minor,
    CASE
        WHEN asking.id IS NOT NULL THEN 'opening'
        ELSE coalesce(before.status, p.status)
    END AS status,
    coalesce(asking.attempt, before.attempt, p.attempt) AS attempt,
    coalesce(asking.customer_id, p.customer_id) AS asked_customer_id,

    -- Since when the gateway may have been asked for this attempt before this look, or NULL: it was not. An attempt
    -- that has a time here is looked up before it is asked for again. A new attempt has none.
    CASE
        WHEN asking.was = 'opening' THEN asking.asked_before
        WHEN asking.id IS NULL AND p.status = 'opening' THEN p.asked_at
    END AS asked_at,

    -- The same, this look included: the time that is in the table now. `ASK_FOR` and `CLOSE` name this time, and leave
    -- the collection as it is if the table has another one by then.
    CASE
        WHEN asking.id IS NOT NULL THEN asking.asked_at
        ELSE p.asked_at
    END AS asked_since,

    -- Whether it is written down already, by this look or by one that may still be under way, that the gateway may
    -- be asked, so that `ASK_FOR` is not needed.
    coalesce(asking.asked_at > $3::timestamptz, false) AS is_written_down,

    -- What went back of the payment or is on its way back, what the client's bank has taken back, what is only
    -- decided to go back, and what should have gone back and could not.
    given_back(p.id) AS refunded,
    disputed(p.id, false) AS disputed,
    unasked(p.id) AS unasked,
    (
        SELECT coalesce(sum(r.amount_minor), 0)::bigint
        FROM refunds r
        WHERE r.payment_id = p.id
          AND r.status = 'failed'
    ) AS stuck,

    -- How many refunds were decided for the booking so far. The next refund gets the next number.
    (
        SELECT count(*)
        FROM refunds r
        WHERE r.booking_id = subject.id
    ) AS refunds
FROM subject
LEFT JOIN saved_cards k ON k.client_id = subject.client_id
-- A card that was only left has the amount 0. Once that is done, it has nothing to do with the tab any more.
LEFT JOIN payments p
    ON p.booking_id = subject.id
   AND (p.amount_minor > 0 OR p.status IN ('opening', 'open'))
-- For a collection, the highest price of this tutor's lessons that the card's owner has agreed to, about this booking
-- or about any before this one was charged. An agreement about another booking never reaches back.
LEFT JOIN LATERAL (
    SELECT max(a.up_to_minor) AS up_to_minor
    FROM card_agreements a
    WHERE a.client_id = p.client_id
      AND a.tutor_id = p.tutor_id
      AND a.currency = p.currency
      AND (a.booking_id = p.booking_id OR a.agreed_at <= p.created_at)
) g ON p.charge_id IS NOT NULL
LEFT JOIN before ON before.id = p.id
LEFT JOIN asking ON asking.id = p.id
-- In the order in which they were paid, which decides out of which payment money goes back.
ORDER BY p.paid_at, p.id
