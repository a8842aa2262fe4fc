-- Enters that a gateway has refused a refund for now, such as because our balance there does not suffice. The refund
-- is tried again later. After the last refusal it has failed: the client is told and it waits for an operator. Until
-- somebody settles it the money is still owed, and counts as not given back.
--
-- A refusal counts once. The caller says how often the refund was refused when they looked at it; of two with the same
-- number the second finds the number raised and changes nothing.
--
-- Parameters:
--   $1   refund's id
--   $2   how often the refund had been refused before
--   $3   why it was refused, in our words
--   $4   time of the next try, or NULL: there is none
--   $5   now
--   $6   draft of the job that gives a refund back

WITH
    -- Counts the refusal and sets the next try, or fails the refund. `reconcile` looks at it ten minutes after the
    -- next try, should the job below not bring it to an end, and never again once it has failed.
    refused AS (
        UPDATE refunds
        SET
            refusals = refusals + 1,
            reason = $3,
            next_try_at = $4,
            status = CASE
                WHEN $4::timestamptz IS NULL THEN 'failed'
                ELSE status
            END,
            settled_at = CASE
                WHEN $4::timestamptz IS NULL THEN $5::timestamptz
            END,
            look_at = $4::timestamptz + interval '10 minutes'
        WHERE id = $1
          AND status = 'opening'
          AND refusals = $2
        RETURNING *
    ),

    -- Asks for the next try at its time.
    again AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT
            gen_random_uuid(),
            $6::jsonb ->> 'queue',
            about($6, id),
            $4
        FROM refused
        WHERE $4::timestamptz IS NOT NULL
    ),

    -- Tells the client that the refund has failed. The source is unique, and `REFUNDED` and `reconcile` name the same
    -- one for a refund that fails before it was done, so that the client is told once.
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
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
            $5
        FROM refused r
        JOIN payments p ON p.id = r.payment_id
        WHERE r.status = 'failed'
        ON CONFLICT (source) DO NOTHING
    )

SELECT id
FROM refused
