-- Loads why a session costs what it costs, for its client or its tutor: its decisions, the latest first, each with
-- its ledger entries, and for the client alone the payments of the booking. Anybody else gets no row. A session
-- without a decision gives one row, in which everything that belongs to a decision is NULL, so that the caller can
-- tell it from a session that the person may not see.
--
-- It only reads.
--
-- Parameters:
--   $1   session's id
--   $2   id of the person who asks

SELECT
    c.decision,
    c.status,
    c.charge_minor,
    c.payout_minor,
    c.fee_minor,
    c.currency,
    c.explanation,
    c.decided_at,

    -- The ledger entries of this decision, in the order in which they were written; if it was corrected, the entries
    -- that take it back are among them. The first part of an account's id is its kind; whose account it is, and in
    -- which currency, is not shown.
    coalesce(
        (
            SELECT jsonb_agg(
                jsonb_build_object(
                    'account', split_part(e.account_id, '/', 1),
                    'kind', e.kind,
                    'amount', e.amount_minor
                )
                ORDER BY e.id
            )
            FROM ledger_entries e
            WHERE e.charge_id = c.id
        ),
        '[]'
    ) AS entries,

    -- The payments of the booking with what went back of each, in the order in which they were begun; the same in
    -- every row, and empty for the tutor. Left out are cards that were only saved, which have the amount 0, and
    -- payments that were closed because they were not needed any more, had expired or were never answered.
    coalesce(
        (
            SELECT jsonb_agg(
                jsonb_build_object(
                    'id', p.id,
                    'method', p.method,
                    'status', p.status,
                    'amount', jsonb_build_object('amount', p.amount_minor, 'currency', p.currency),
                    'refunded', jsonb_build_object(
                        'currency', p.currency,
                        'amount', coalesce(
                            (
                                SELECT sum(r.amount_minor)
                                FROM refunds r
                                WHERE r.payment_id = p.id
                                  AND r.status = 'done'
                            ),
                            0
                        )
                    )
                )
                ORDER BY p.created_at, p.id
            )
            FROM payments p
            WHERE p.booking_id = s.booking_id
              AND s.client_id = $2
              AND p.amount_minor > 0
              AND p.status <> 'closed'
        ),
        '[]'
    ) AS payments
FROM sessions s
LEFT JOIN charges c ON c.session_id = s.id
WHERE s.id = $1
  AND $2 IN (s.client_id, s.tutor_id)
ORDER BY c.decision DESC NULLS LAST
