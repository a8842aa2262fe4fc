-- Gives up the collections of a booking that are not to be made any more, and decides a refund, if there is something
-- to give back. Both were worked out from the tab as it was looked at before, and happen only if that still holds. If
-- something else is due by now, nothing happens at all. A collection is given up only if nobody has written down since
-- that its gateway may be asked for it. A refund is decided only if it is the next in the order of the booking's
-- refunds, so that all that were decided before it were in view. Whoever has decided another refund meanwhile, or
-- changed what is due, has also asked for another look at the tab.
--
-- The refund's id is returned if it was decided here. Sent twice, or by two at once, the collections are closed once
-- and the refund is decided once: of two with the same ordinal the second inserts nothing, asks for no job and returns
-- no row.
--
-- Parameters:
--   $1   array of the ids of the collections to give up
--   $2   refund's id, or NULL: there is nothing to give back; then $5, $6 and $7 are NULL, too
--   $3   booking's id
--   $4   refund's ordinal: one more than the number of the booking's refunds when the tab was looked at
--   $5   id of the payment out of which money goes back
--   $6   amount that goes back, in the smallest unit of its currency
--   $7   currency of that amount (ISO 4217)
--   $8   now
--   $9   draft of the job that gives a refund back
--   $10  draft of the job that looks at a booking's tab
--   $11  array, in the order of $1: since when the gateway may have been asked for each collection when the tab was
--        looked at, or NULL: it was not asked
--   $12  what was due when the tab was looked at, in the smallest unit of its currency
--   $13  amount above which an operator must let a refund go, if it is not certain that the phone is the payer's

WITH
    -- The booking, if the same is due as when its tab was looked at. Otherwise no row, and nothing below happens.
    subject AS (
        SELECT b.id
        FROM bookings b
        CROSS JOIN LATERAL due(b, $8) d
        WHERE b.id = $3
          AND d.minor = $12::bigint
    ),

    -- Closes the collections. A time that differs from the one that was seen means that somebody has begun to collect
    -- since, and then the collection stays. `reconcile` does not look at a closed one again.
    given_up AS (
        UPDATE payments p
        SET
            status = 'closed',
            reason = 'not_needed',
            next_try_at = NULL,
            look_at = NULL
        FROM subject, unnest($1::uuid[], $11::timestamptz[]) AS seen (id, asked_at)
        WHERE p.id = seen.id
          AND p.asked_at IS NOT DISTINCT FROM seen.asked_at
          AND p.status IN ('opening', 'declined')
    ),

    -- Writes the refund down before its gateway hears of it, unless another has taken its ordinal. Of a link of mobile
    -- money the gateway does not say who has paid it, and the money would go back to the phone that the client has
    -- named. Above a certain amount it is held until an operator lets it go, because somebody else's wallet could be
    -- emptied in this way.
    refund AS (
        INSERT INTO refunds (id, booking_id, ordinal, payment_id, amount_minor, currency, status, created_at)
        SELECT
            $2,
            $3,
            $4,
            p.id,
            $6,
            $7,
            CASE
                WHEN p.method = 'mobile_money_link' AND $6::bigint > $13::bigint THEN 'held'
                ELSE 'opening'
            END,
            $8
        FROM subject, payments p
        WHERE p.id = $5
          AND $2::uuid IS NOT NULL
        ON CONFLICT (booking_id, ordinal) DO NOTHING
        RETURNING id, status
    ),

    -- Asks for the refund to be given back, unless it is held, and for another look at the tab: a refund is out of one
    -- payment, and more may have to go back out of another.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            gen_random_uuid(),
            draft ->> 'queue',
            about(draft, subject),
            $8,
            senders_turn($8)
        FROM refund
        CROSS JOIN LATERAL (
            VALUES
                ($9::jsonb, refund.id, refund.status = 'opening'),
                ($10::jsonb, $3, true)
        ) AS job (draft, subject, is_wanted)
        WHERE is_wanted
        RETURNING *
    )

-- The refund, if it was decided here, and what is to be sent once this is committed.
SELECT
    id,
    (
        SELECT jsonb_agg(as_posted(id, queue, envelope))
        FROM jobs
    ) AS posted
FROM refund
