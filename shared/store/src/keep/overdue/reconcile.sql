-- Looks after payments and refunds that have no end yet, for the case that no webhook and no job tells what became of
-- them. It takes those whose time for a look has come, asks for that look, and sets the time of the next: 20 minutes
-- later, then 40, and so on up to a day. If the gateway has not said for thirty days, and after twenty looks, what
-- became of something that a client was given to pay with, or of a refund, it is given up and the client is told. If
-- it happened after all, it is still entered when the gateway tells. A collection is never given up: it may have been
-- charged, and trying it again, or asking the client to pay otherwise, could take the money twice.
--
-- It also looks after money that was paid for a booking that nobody has agreed to. When the time of such a booking has
-- passed, a look at its tab gives that money back.
--
-- Sent twice, the second finds the next looks ahead and takes nothing. Of two runs at once each skips the rows that
-- the other has locked.
--
-- Parameters:
--   $1   now
--   $2   how many payments, and how many refunds, are taken in one run at most
--   $3   draft of the job that looks at a booking's tab
--   $4   draft of the job that gives a refund back

WITH
    -- Takes the payments whose time for a look has come, those that wait longest first, and works out for each whether
    -- it is given up (`is_silent`), and when it is looked at next, or NULL: never. `charge_id` tells a collection from
    -- what a client was given to pay with. A payment that is paid is looked at each day while nobody has agreed to its
    -- booking and some of it is still here.
    due_payments AS (
        SELECT
            p.id,
            p.charge_id IS NULL
                AND p.status IN ('opening', 'open')
                AND p.looks >= 20
                AND p.created_at < $1::timestamptz - interval '30 days' AS is_silent,
            CASE
                WHEN p.status IN ('opening', 'open', 'declined') THEN next_look(p.looks + 1, $1)
                WHEN p.status = 'paid' AND NOT stands(b) AND given_back(p.id) < p.amount_minor
                    THEN $1::timestamptz + interval '1 day'
            END AS next
        FROM payments p
        JOIN bookings b ON b.id = p.booking_id
        WHERE p.look_at <= $1
        ORDER BY p.look_at
        LIMIT $2
        FOR UPDATE OF p SKIP LOCKED
    ),

    -- Counts the look and sets the next, or gives the payment up.
    looked AS (
        UPDATE payments p
        SET
            looks = p.looks + 1,
            look_at = CASE
                WHEN NOT d.is_silent THEN d.next
            END,
            status = CASE
                WHEN d.is_silent THEN 'failed'
                ELSE p.status
            END,
            reason = CASE
                WHEN d.is_silent THEN 'gateway_silent'
                ELSE p.reason
            END
        FROM due_payments d
        WHERE p.id = d.id
        RETURNING p.*, d.is_silent
    ),

    -- Takes the refunds whose time for a look has come, likewise.
    due_refunds AS (
        SELECT
            r.id,
            r.looks >= 20
                AND r.created_at < $1::timestamptz - interval '30 days' AS is_silent
        FROM refunds r
        WHERE r.look_at <= $1
        ORDER BY r.look_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ),

    -- Counts the look and sets the next, or gives the refund up. What is given up here has failed and waits for an
    -- operator; it counts as not given back.
    looked_refunds AS (
        UPDATE refunds r
        SET
            looks = r.looks + 1,
            look_at = CASE
                WHEN NOT d.is_silent THEN next_look(r.looks + 1, $1)
            END,
            status = CASE
                WHEN d.is_silent THEN 'failed'
                ELSE r.status
            END,
            reason = CASE
                WHEN d.is_silent THEN 'gateway_silent'
                ELSE r.reason
            END,
            settled_at = CASE
                WHEN d.is_silent THEN $1::timestamptz
            END
        FROM due_refunds d
        WHERE r.id = d.id
          AND r.status IN ('opening', 'pending')
        RETURNING r.*, d.is_silent
    ),

    -- Asks for the looks: one at the tab of each booking, however many of its payments are due, and one at each
    -- refund. What was given up, or has nothing more to wait for, needs none.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            gen_random_uuid(),
            $3::jsonb ->> 'queue',
            about($3, t.booking_id),
            $1::timestamptz,
            senders_turn($1)
        FROM (
            SELECT DISTINCT booking_id
            FROM looked
            WHERE look_at IS NOT NULL
        ) AS t
        UNION ALL
        SELECT
            gen_random_uuid(),
            $4::jsonb ->> 'queue',
            about($4, r.id),
            $1,
            senders_turn($1)
        FROM looked_refunds r
        WHERE NOT r.is_silent
        RETURNING *
    ),

    -- Tells the clients of what was given up. The sources are unique, and the statements that enter what a gateway
    -- says of a failure name the same ones, so that a client is told once.
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            client_id,
            'payment_failed',
            'payment/' || id,
            booking_id,
            jsonb_build_object('payment_id', id, 'reason', reason),
            $1::timestamptz
        FROM looked
        WHERE is_silent
        UNION ALL
        SELECT
            p.client_id,
            'refund_failed',
            'refund/' || r.id || '/failed',
            r.booking_id,
            jsonb_build_object(
                'refund_id', r.id,
                'payment_id', p.id,
                'amount', r.amount_minor,
                'currency', r.currency
            ),
            $1
        FROM looked_refunds r
        JOIN payments p ON p.id = r.payment_id
        WHERE r.is_silent
        ON CONFLICT (source) DO NOTHING
    )

-- How many payments and refunds were asked after, how many were given up, and what is to be sent once this is
-- committed.
SELECT
    (SELECT count(*) FROM looked WHERE look_at IS NOT NULL)
        + (SELECT count(*) FROM looked_refunds WHERE NOT is_silent) AS asked,
    (SELECT count(*) FROM looked WHERE is_silent)
        + (SELECT count(*) FROM looked_refunds WHERE is_silent) AS given_up,
    (SELECT jsonb_agg(as_posted(id, queue, envelope)) FROM jobs) AS posted
