-- Records where a dispute about a payment stands, and enters into the books what it has moved since it was last seen:
-- what the client's bank took back, what it returned, and what the gateway takes for the dispute. The gateway tells
-- totals, never steps. The statement stores the totals and enters how much each has grown.
--
-- The same totals and status told twice, or by two at once, are entered once: the second finds them stored and changes
-- nothing. What was taken and what was returned never shrink, and once a dispute is won or lost it does not go back to
-- a status without an outcome. So an old state of the dispute that is told late takes none of this back.
--
-- Parameters:
--   $1   name of the gateway
--   $2   gateway's id of the dispute
--   $3   id of the payment that is disputed
--   $4   amount that is disputed, in the smallest unit of its currency
--   $5   currency of that amount and of $10 and $11 (ISO 4217)
--   $6   status, in the gateway's words
--   $7   reason, in the gateway's words, or NULL: it gives none
--   $8   now
--   $9   whether the dispute is lost, so that the money is gone for good
--   $10  what the bank has taken back so far, in the smallest unit
--   $11  what it has returned so far, in the smallest unit
--   $12  gateway's fee for the dispute so far, in the smallest unit of its own currency, or NULL: it does not say
--   $13  currency of the fee, in which the gateway settles with us (ISO 4217), or NULL: as $12
--   $14  draft of the job that looks at a booking's tab

WITH
    -- Stores the dispute with its totals, and in the columns `…_step` how much this change has added to each. There is
    -- a row only if the payment is ours and something has changed; then the row has the steps that are to be entered.
    -- Only the fee can also shrink, when the gateway gives some of it back.
    disputed AS (
        INSERT INTO disputes AS d (
            gateway, gateway_id, payment_id, amount_minor, currency, status, reason, updated_at, is_lost,
            withdrawn_minor, withdrawn_step, reinstated_minor, reinstated_step, fee_minor, fee_step
        )
        SELECT
            $1,
            $2,
            p.id,
            $4,
            $5,
            $6,
            $7,
            $8,
            $9,
            $10,
            $10,
            $11,
            $11,
            coalesce($12, 0),
            coalesce($12, 0)
        FROM payments p
        WHERE p.id = $3
          AND p.gateway = $1
        ON CONFLICT (gateway, gateway_id) DO UPDATE
        SET
            status = $6,
            reason = $7,
            updated_at = $8,
            is_lost = d.is_lost OR $9,
            withdrawn_minor = greatest(d.withdrawn_minor, $10),
            withdrawn_step = greatest(d.withdrawn_minor, $10) - d.withdrawn_minor,
            reinstated_minor = greatest(d.reinstated_minor, $11),
            reinstated_step = greatest(d.reinstated_minor, $11) - d.reinstated_minor,
            fee_minor = coalesce($12, d.fee_minor),
            fee_step = coalesce($12, d.fee_minor) - d.fee_minor
        WHERE (d.status, d.withdrawn_minor, d.reinstated_minor, d.fee_minor) IS DISTINCT FROM (
            $6,
            greatest(d.withdrawn_minor, $10),
            greatest(d.reinstated_minor, $11),
            coalesce($12, d.fee_minor)
        )
          AND (d.status NOT IN ('won', 'lost') OR $6 IN ('won', 'lost'))
        RETURNING d.*
    ),

    -- Tells the client that we have lost the dispute, after which they owe the money again. The source names the
    -- dispute and is unique, so this is told once.
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            p.client_id,
            'dispute_lost',
            'dispute/' || d.gateway_id || '/lost',
            p.booking_id,
            jsonb_build_object('payment_id', p.id, 'amount', d.amount_minor, 'currency', d.currency),
            $8
        FROM disputed d
        JOIN payments p ON p.id = d.payment_id
        WHERE d.is_lost
        ON CONFLICT (source) DO NOTHING
    ),

    -- The ledger entries of the steps. What the bank took back: our money at the gateway shrinks, and the client owes
    -- us more. What it returned: the opposite. The fee: our money at the gateway shrinks by what the gateway takes for
    -- itself. Steps of 0 are left out, because the ledger refuses them.
    booked AS (
        SELECT
            p.id,
            d.gateway_id,
            e.*
        FROM disputed d
        JOIN payments p ON p.id = d.payment_id
        CROSS JOIN LATERAL (
            VALUES
                ('dispute', 'cash', p.gateway, NULL::uuid, d.currency, -d.withdrawn_step),
                ('dispute', 'receivable', p.client_id::text, p.client_id, d.currency, d.withdrawn_step),
                ('dispute_returned', 'cash', p.gateway, NULL, d.currency, d.reinstated_step),
                ('dispute_returned', 'receivable', p.client_id::text, p.client_id, d.currency, -d.reinstated_step),
                ('dispute_fee', 'cash', p.gateway, NULL, $13, -d.fee_step),
                ('dispute_fee', 'gateway_fees', p.gateway, NULL, $13, d.fee_step)
        ) AS e (kind, account_kind, account_of, owner_id, currency, amount)
        WHERE e.amount <> 0
    ),

    -- Opens the accounts that are not there yet. All statements insert accounts in the order of their ids, because two
    -- that open the same accounts at once could otherwise wait for each other for ever.
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT
            concat_ws('/', account_kind, account_of, currency),
            account_kind,
            owner_id,
            currency
        FROM booked
        ORDER BY 1
        ON CONFLICT (id) DO NOTHING
    ),

    -- Writes the entries. A dispute may enter the same kind several times, so no index keeps them from being written
    -- twice; that `disputed` has no row the second time does. The accounts may be inserted by the same statement,
    -- because references are checked at its end.
    entries AS (
        INSERT INTO ledger_entries (payment_id, dispute_id, account_id, kind, amount_minor, currency, created_at)
        SELECT
            id,
            gateway_id,
            concat_ws('/', account_kind, account_of, currency),
            kind,
            amount,
            currency,
            $8
        FROM booked
    ),

    -- Asks for a look at the booking's tab if money of the payment has moved: what is missing or too much may have
    -- changed. The fee is between the gateway and us.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            gen_random_uuid(),
            $14::jsonb ->> 'queue',
            about($14, p.booking_id),
            $8,
            senders_turn($8)
        FROM disputed d
        JOIN payments p ON p.id = d.payment_id
        WHERE d.withdrawn_step <> 0
           OR d.reinstated_step <> 0
        RETURNING *
    )

-- A dispute may be about a part of its payment, so its amount is not compared and nothing can disagree. `posted` is
-- what is to be sent once this is committed.
SELECT
    EXISTS (
        SELECT
        FROM payments
        WHERE id = $3
          AND gateway = $1
    ) AS is_known,
    true AS agrees,
    (
        SELECT jsonb_agg(as_posted(id, queue, envelope))
        FROM jobs
    ) AS posted
