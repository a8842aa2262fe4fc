-- Loads a refund for whoever is about to give the money back: what to ask of which gateway, since when the gateway may
-- have been asked before, and whether the refund is still due. There is no row if nothing is to be done about it now:
-- it has its end, it is held for an operator, or it was refused and its next try lies ahead.
--
-- That the gateway may be asked from now on is written down here, before anybody asks it. If the caller dies after
-- that, or loses the answer, the next look finds the time, and its caller first asks the gateway what became of the
-- refund. A refund that the gateway has taken ('pending') is only looked up and never asked for again, so for that no
-- time is written.
--
-- A time after $3 is left as it is, since whoever wrote it may still be talking to the gateway. So a second look soon
-- afterwards changes nothing. Of two looks at once the second waits for the lock on
-- the refund and then reads what the first has written.
--
-- The message that has asked for this look is marked as arrived, so that the sweeper does not send it once more.
--
-- Parameters:
--   $1   refund's id
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

    -- Locks the refund before it is read. Here it stands as it is before `asking` changes it. The row is kept whole as
    -- well, since `is_unasked` takes a whole refund.
    before AS (
        SELECT
            r.*,
            r AS whole
        FROM refunds r
        WHERE id = $1
          AND status IN ('opening', 'pending')
          AND coalesce(next_try_at <= $2, true)
        FOR UPDATE
    ),

    -- Writes down that the gateway may be asked from now on, or leaves the time of somebody who may be at it. If the
    -- gateway has refused the refund since that time, nobody is at it.
    asking AS (
        UPDATE refunds r
        SET asked_at = CASE
            WHEN b.asked_at > $3::timestamptz AND NOT is_unasked(b.whole) THEN b.asked_at
            ELSE $2
        END
        FROM before b
        WHERE r.id = b.id
          AND b.status = 'opening'
        RETURNING r.id, r.asked_at
    )

SELECT
    r.id,
    r.amount_minor,
    r.currency,

    -- Since when the gateway may have been asked before this look, or NULL: it was not.
    r.asked_at,
    r.status = 'pending' AS is_pending,
    r.refusals,

    -- The same, this look included, or NULL: the gateway has taken the refund already.
    asking.asked_at AS written_down_at,
    p.id AS payment_id,
    p.gateway,
    p.intent_id,
    p.payer_phone,

    -- Whether this refund is still due: after all refunds that were decided, this one among them, what is left of the
    -- booking's payments still covers what is due. A correction may have made the lesson cost more since the refund
    -- was decided. What a bank has taken back, even for now, is not left.
    (
        SELECT sum(x.amount_minor - given_back(x.id) - disputed(x.id, false))
        FROM payments x
        WHERE x.booking_id = r.booking_id
          AND x.status = 'paid'
    ) >= coalesce(d.minor, 0) AS is_due
FROM before r
JOIN payments p ON p.id = r.payment_id
JOIN bookings b ON b.id = r.booking_id
CROSS JOIN LATERAL due(b, $2::timestamptz) d
LEFT JOIN asking ON asking.id = r.id
