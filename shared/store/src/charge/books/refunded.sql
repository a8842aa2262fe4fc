-- Enters what became of a refund at its gateway: its status, its ledger entries with the gateway's fee, and what the
-- client is told. A refund that was done can still come back, since a bank may send the money back; its entries are
-- then taken back by others, and it has failed. A refund that had failed or was given up, and was done after all, is
-- entered as well.
--
-- A refund that has the status already is left as it is, so what is told twice is entered once. Of two at once the
-- second waits for the lock on the refund. Only the gateway's fee may be entered later than the refund, because a
-- gateway may tell of it later; and it, too, is entered once.
--
-- Parameters:
--   $1   refund's id
--   $2   new status: 'pending' (the gateway has taken it), 'done' or 'failed'
--   $3   gateway's id of the refund, or NULL: it has none
--   $4   reason of a failure: the gateway's code, or our word; or NULL: it has not failed
--   $5   now
--   $6   gateway's fee, in the smallest unit of its own currency, or NULL: the gateway does not say, or not yet
--   $7   currency of the fee, in which the gateway settles with us (ISO 4217), or NULL: as $6

WITH
    -- Locks the refund before it is read. Here it stands as it is before `changed` changes it.
    before AS (
        SELECT *
        FROM refunds
        WHERE id = $1
        FOR UPDATE
    ),

    -- Gives the refund its new status, if it can follow on the one it has. `reconcile` goes on looking at a refund that
    -- is pending now, but not at one that has its end.
    changed AS (
        UPDATE refunds r
        SET
            status = $2,
            gateway_id = coalesce($3, r.gateway_id),
            reason = $4,
            settled_at = CASE
                WHEN $2 = 'pending' THEN NULL
                ELSE $5::timestamptz
            END,
            look_at = CASE
                WHEN $2 = 'pending' THEN r.look_at
            END
        FROM before b
        WHERE r.id = b.id
          AND b.status <> $2
          AND CASE
              -- It had no end: anything may become of it.
              WHEN b.status IN ('opening', 'pending') THEN true
              -- The money had gone back: it can only come back to us. What an operator gave back by hand cannot: the
              -- gateway knows nothing of it.
              WHEN b.status = 'done' THEN $2 = 'failed' AND b.reason IS DISTINCT FROM 'by_hand'
              -- It had failed, or was held or withdrawn: it can only turn out to be done. One whose money went back
              -- before is in the books already, as given and returned, and is not entered a second time.
              ELSE $2 = 'done'
                  AND NOT EXISTS (
                      SELECT
                      FROM ledger_entries e
                      WHERE e.refund_id = b.id
                        AND e.kind = 'refund'
                  )
          END
        RETURNING r.*, b.status AS was
    ),

    -- The change, if it moved money: away from us if the refund is done now, and back to us if it was done before.
    moved AS (
        SELECT
            c.*,
            p.client_id,
            p.gateway,
            CASE
                WHEN c.status = 'done' THEN 'refund'
                ELSE 'refund_returned'
            END AS kind,
            CASE
                WHEN c.status = 'done' THEN c.amount_minor
                ELSE -c.amount_minor
            END AS amount
        FROM changed c
        JOIN payments p ON p.id = c.payment_id
        WHERE c.status = 'done'
           OR c.was = 'done'
    ),

    -- The ledger entries. The refund: our money at the gateway shrinks, and the client owes us more, as if they had not
    -- paid that part; if it came back, the amounts have the opposite signs. The fee: our money at the gateway shrinks
    -- by what the gateway takes for itself. The entries of the fee are made from `before`, so that a fee is entered
    -- also where the refund was entered before. A fee of NULL gives amounts of NULL, and these are left out like the
    -- amount 0, which the ledger refuses.
    booked AS (
        SELECT
            m.id,
            m.kind,
            m.currency,
            e.account_id,
            e.account_kind,
            e.amount
        FROM moved m
        CROSS JOIN LATERAL (
            VALUES
                (concat_ws('/', 'cash', m.gateway, m.currency), 'cash', -m.amount),
                (concat_ws('/', 'receivable', m.client_id, m.currency), 'receivable', m.amount)
        ) AS e (account_id, account_kind, amount)
        UNION ALL
        SELECT
            b.id,
            'fee',
            $7,
            e.account_id,
            e.account_kind,
            e.amount
        FROM before b
        JOIN payments p ON p.id = b.payment_id
        CROSS JOIN LATERAL (
            VALUES
                (concat_ws('/', 'cash', p.gateway, $7::text), 'cash', -$6::bigint),
                (concat_ws('/', 'gateway_fees', p.gateway, $7::text), 'gateway_fees', $6::bigint)
        ) AS e (account_id, account_kind, amount)
        WHERE $2 = 'done'
          AND e.amount <> 0
    ),

    -- Opens the accounts that are not there yet. The client's account is left out, because it was opened when the
    -- payment came. All statements insert accounts in the order of their ids, because two that open the same accounts
    -- at once could otherwise wait for each other for ever.
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, currency)
        SELECT DISTINCT
            account_id,
            account_kind,
            currency
        FROM booked
        WHERE account_kind <> 'receivable'
        ORDER BY account_id
        ON CONFLICT (id) DO NOTHING
    ),

    -- Writes the entries. The index `ledger_entries_refund_once` admits one of each kind for a refund and account, so
    -- that a fee that is told again is not entered again. The accounts may be inserted by the same statement, because
    -- references are checked at its end.
    entries AS (
        INSERT INTO ledger_entries (refund_id, account_id, kind, amount_minor, currency, created_at)
        SELECT
            id,
            account_id,
            kind,
            amount,
            currency,
            $5
        FROM booked
        ON CONFLICT (refund_id, kind, account_id) WHERE refund_id IS NOT NULL DO NOTHING
    ),

    -- Tells the client that the money has gone back, or that it could not. The source is unique, so that each of these
    -- is told once. Money that came back has a source of its own: the client may have been told of a failure before
    -- the refund was done.
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            p.client_id,
            CASE c.status
                WHEN 'done' THEN 'refunded'
                ELSE 'refund_failed'
            END,
            concat_ws(
                '/',
                'refund',
                c.id,
                CASE
                    WHEN c.was = 'done' THEN 'returned'
                    ELSE c.status
                END
            ),
            c.booking_id,
            jsonb_build_object(
                'refund_id', c.id,
                'payment_id', p.id,
                'amount', c.amount_minor,
                'currency', c.currency
            ),
            $5
        FROM changed c
        JOIN payments p ON p.id = c.payment_id
        WHERE c.status IN ('done', 'failed')
        ON CONFLICT (source) DO NOTHING
    )

-- What a gateway says of a refund is not compared with its amount. But what an operator gave back by hand and the gateway
-- as well went back twice: somebody has to look at it.
SELECT
    EXISTS (
        SELECT
        FROM before
    ) AS is_known,
    NOT EXISTS (
        SELECT
        FROM before
        WHERE status = 'done'
          AND reason = 'by_hand'
          AND $2 = 'done'
    ) AS agrees
