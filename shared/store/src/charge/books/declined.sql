-- Enters that one attempt to collect a charge was refused: by the client's bank, by the gateway, or by ourselves
-- because there is no card, no agreement or too small an amount. Either the next attempt gets its time, or the
-- collection has failed and the client is told. An amount that is too small for any card is neither tried again nor
-- told to anybody: the collection is closed, and the amount stays on the client's account as owed.
--
-- A refusal counts once. It names the attempt, and holds only while that attempt has no end: when it is entered again,
-- or comes after the next attempt has begun, it changes nothing.
--
-- Parameters:
--   $1   payment's id, which is the charge's
--   $2   number of the attempt that was refused, from 1
--   $3   reason: the gateway's code, or our word
--   $4   time of the next attempt, or NULL: there is none
--   $5   now
--   $6   draft of the job that looks at a booking's tab

WITH
    -- Ends the attempt. `reconcile` looks at the collection ten minutes after the next attempt was due, should the job
    -- below not have begun it, and never again once there is no next attempt.
    declined AS (
        UPDATE payments
        SET
            status = CASE
                WHEN $4::timestamptz IS NOT NULL THEN 'declined'
                WHEN $3 = 'amount_too_small' THEN 'closed'
                ELSE 'failed'
            END,
            reason = $3,
            next_try_at = $4,
            look_at = $4::timestamptz + interval '10 minutes',
            looks = 0
        WHERE id = $1
          AND attempt = $2
          AND status = 'opening'
        RETURNING *
    ),

    -- Asks for a look at the tab when the next attempt is due; that look begins it.
    again AS (
        INSERT INTO outbox (id, queue, envelope, due_at)
        SELECT
            gen_random_uuid(),
            $6::jsonb ->> 'queue',
            about($6, booking_id),
            $4
        FROM declined
        WHERE $4::timestamptz IS NOT NULL
    ),

    -- Tells the client that the collection has failed, or asks them to agree. The source names the attempt and is
    -- unique, so each attempt is told of once; one that is tried again later by a new card is another attempt.
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            client_id,
            CASE reason
                WHEN 'card_not_agreed' THEN 'card_agreement_needed'
                ELSE 'payment_failed'
            END,
            'payment/' || id || '/' || attempt,
            booking_id,
            jsonb_build_object(
                'payment_id', id,
                'reason', reason,
                'amount', amount_minor,
                'currency', currency,
                'tutor_id', tutor_id,
                'price', price_minor
            ),
            $5
        FROM declined
        WHERE status = 'failed'
        ON CONFLICT (source) DO NOTHING
    )

-- A refusal says nothing of an amount, so nothing can disagree.
SELECT
    EXISTS (
        SELECT
        FROM payments
        WHERE id = $1
    ) AS is_known,
    true AS agrees
