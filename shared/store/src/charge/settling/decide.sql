-- Writes decisions about sessions, any number at once. A decision is the session's status, its charge, an event in
-- its history, the ledger entries and the notifications; where money may have to move it is also the collection of
-- the charge and the job that looks at the booking's tab. All of this is written or none of it, and only if nobody
-- has decided about the session since it was read. Charges and ledger entries are never changed: a decision after the
-- first is a correction, which adds entries that take back those of the decision before it. The statement also writes
-- down when sessions that were looked at and not decided are looked at again, and sets aside the sessions that cannot
-- be read or settled. It returns the sessions that it decided.
--
-- Everything that belongs to a decision is made from `settled`, and `settled` takes a session only if it was decided
-- as often as when it was read. So a decision that is sent twice, or made by two at once, is written once, and who
-- comes second gets no row. Writing the time of the next look twice changes nothing; setting a session aside twice
-- adds a second event to its history and nothing else.
--
-- Parameters, of which $1 to $10 are arrays with one element for each decision, in the same order:
--   $1   session's id
--   $2   how often the session was decided when it was read
--   $3   id of the new charge
--   $4   new status
--   $5   charge: what the client pays, in the smallest unit of the session's currency
--   $6   payout: what the tutor gets of the charge
--   $7   fee: what is left of the charge
--   $8   explanation of the outcome, as JSON
--   $9   who decided, as JSON for the session's history
--   $10  when the session was called off, or NULL: it was not
--   $11  draft of the job that looks at a booking's tab
--   $12  now
--   $13  name of the gateway that collects from saved cards, or NULL: the platform collects what is charged
--   $14  array of the ids of sessions that were looked at and not decided
--   $15  array of the times at which those are looked at again, or NULL: not before something new is known
--   $16  array of the ids of sessions that cannot be read or settled

WITH
    -- The decisions, as rows.
    decided AS (
        SELECT *
        FROM unnest(
            $1::uuid[],
            $2::int[],
            $3::uuid[],
            $4::text[],
            $5::bigint[],
            $6::bigint[],
            $7::bigint[],
            $8::jsonb[],
            $9::jsonb[],
            $10::timestamptz[]
        ) AS d (
            session_id,
            decisions,
            charge_id,
            status,
            charge,
            payout,
            fee,
            explanation,
            decided_by,
            called_off_at
        )
    ),

    -- Gives each session its outcome, unless it was decided since it was read. `s.decisions` is returned as it is
    -- after the update: 1 for a first decision, more for a correction.
    settled AS (
        UPDATE sessions s
        SET
            status = d.status,
            decisions = s.decisions + 1,
            settled_at = $12,
            due_at = NULL,
            set_aside_at = NULL,
            cancelled_at = coalesce(s.cancelled_at, d.called_off_at)
        FROM decided d
        WHERE s.id = d.session_id
          AND s.decisions = d.decisions
        RETURNING
            s.id,
            s.booking_id,
            s.client_id,
            s.tutor_id,
            s.price_minor,
            s.currency,
            s.decisions,
            d.charge_id,
            d.status,
            d.charge,
            d.payout,
            d.fee,
            d.explanation,
            d.decided_by
    ),

    -- Writes the charge, also one of the amount 0, with the reasons for it.
    charged AS (
        INSERT INTO charges (
            id, session_id, decision, status, charge_minor, payout_minor, fee_minor, currency, explanation, decided_at
        )
        SELECT
            charge_id,
            id,
            decisions,
            status,
            charge,
            payout,
            fee,
            currency,
            explanation,
            $12
        FROM settled
    ),

    -- Notes the decision in the session's history.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            id,
            CASE
                WHEN decisions = 1 THEN 'settled'
                ELSE 'corrected'
            END,
            $12,
            decided_by || jsonb_build_object('status', status, 'charge_id', charge_id)
        FROM settled
    ),

    -- Tells the client of every outcome, and the tutor of a cancellation, which concerns both, whoever did it. Each
    -- decision has a charge of its own, and so sources of its own.
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            who,
            CASE
                WHEN decisions = 1 THEN 'lesson_settled'
                ELSE 'lesson_corrected'
            END,
            'charge/' || charge_id || side,
            booking_id,
            jsonb_build_object('session_id', id, 'status', status, 'charge', charge, 'currency', currency),
            $12
        FROM settled
        CROSS JOIN LATERAL (
            VALUES
                (client_id, ''),
                (tutor_id, '/tutor')
        ) AS told (who, side)
        WHERE side = ''
           OR status = 'CANCELLED'
        ON CONFLICT (source) DO NOTHING
    ),

    -- Writes down the collection of the charge, where there is something to collect and we collect it. It has the
    -- charge's id, so that a charge has one collection. No gateway hears of it here: the job below sees to that.
    collected AS (
        INSERT INTO payments (
            id, booking_id, client_id, tutor_id, price_minor, gateway, method, charge_id, amount_minor, currency,
            status, created_at
        )
        SELECT
            charge_id,
            booking_id,
            client_id,
            tutor_id,
            price_minor,
            $13,
            'saved_card',
            charge_id,
            charge,
            currency,
            'opening',
            $12
        FROM settled
        WHERE charge > 0
          AND $13::text IS NOT NULL
    ),

    -- Asks for a look at the booking's tab: the charge is to be collected, or the booking has payments of which
    -- something may have to go back. Both conditions are needed, because `payments` is read here as it was before
    -- `collected` inserted into it. The job has the charge's id: those are in the order of time, so that the index of a
    -- table that grows for ever is written at its end.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            charge_id,
            $11::jsonb ->> 'queue',
            about($11, s.booking_id),
            $12,
            senders_turn($12)
        FROM settled s
        WHERE (charge > 0 AND $13::text IS NOT NULL)
           OR EXISTS (
               SELECT
               FROM payments p
               WHERE p.booking_id = s.booking_id
           )
        RETURNING *
    ),

    -- The ledger entries of each decision: the client owes us the charge, which is positive; we owe the tutor the
    -- payout and keep the fee, which are negative. The charge is the sum of payout and fee, so the entries balance.
    -- Entries of the amount 0 are left out, because the ledger refuses them.
    booked AS (
        SELECT
            s.charge_id,
            'settlement' AS kind,
            e.account_kind,
            e.owner_id,
            s.currency,
            e.amount
        FROM settled s
        CROSS JOIN LATERAL (
            VALUES
                ('receivable', s.client_id, s.charge),
                ('payable', s.tutor_id, -s.payout),
                ('fees', NULL::uuid, -s.fee)
        ) AS e (account_kind, owner_id, amount)
        WHERE e.amount <> 0
    ),

    -- Opens the accounts that are not there yet. An account's id is its kind, owner and currency; `concat_ws` leaves
    -- out the owner that the account of the fees does not have. All statements insert accounts in the order of their
    -- ids, because two that open the same accounts at once could otherwise wait for each other for ever.
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT
            concat_ws('/', account_kind, owner_id, currency),
            account_kind,
            owner_id,
            currency
        FROM booked
        ORDER BY 1
        ON CONFLICT (id) DO NOTHING
    ),

    -- What a correction takes back: the entries of the decision before it, which are found by their charge.
    taken_back AS (
        SELECT
            e.charge_id,
            e.account_id,
            e.amount_minor,
            e.currency
        FROM settled s
        JOIN charges c
            ON s.decisions > 1
           AND c.session_id = s.id
           AND c.decision = s.decisions - 1
        JOIN ledger_entries e
            ON e.charge_id = c.id
           AND e.kind = 'settlement'
    ),

    -- Writes the entries of the new decision, and beside them those that cancel out the decision before it. The
    -- latter belong to the earlier charge. A trigger refuses the statement if the entries of a charge do not balance.
    -- Charges and accounts may be inserted by the same statement, because references are checked at its end.
    entries AS (
        INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at)
        SELECT
            charge_id,
            concat_ws('/', account_kind, owner_id, currency),
            kind,
            amount,
            currency,
            $12
        FROM booked
        UNION ALL
        SELECT
            charge_id,
            account_id,
            'reversal',
            -amount_minor,
            currency,
            $12
        FROM taken_back
    ),

    -- Writes down when the sessions that were not decided are looked at again. Whoever sends some has locked them
    -- when they were read, so nobody has decided about them since.
    later AS (
        UPDATE sessions s
        SET
            due_at = again.at,
            set_aside_at = NULL
        FROM unnest($14::uuid[], $15::timestamptz[]) AS again (session_id, at)
        WHERE s.id = again.session_id
    ),

    -- Takes the sessions that cannot be read or settled off the list of what is due, so that they do not stop the
    -- others. They are counted as set aside until somebody has mended them.
    aside AS (
        UPDATE sessions
        SET
            due_at = NULL,
            set_aside_at = $12
        WHERE id = ANY($16::uuid[])
        RETURNING id
    ),

    -- Notes in the history of these sessions that they were set aside.
    told_of_them AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            id,
            'unreadable',
            $12,
            '{"by": "schedule"}'
        FROM aside
    )

-- The sessions that were decided. The first row has all that is to be sent once this is committed.
SELECT
    id,
    CASE row_number() OVER ()
        WHEN 1 THEN (
            SELECT jsonb_agg(as_posted(id, queue, envelope))
            FROM jobs
        )
    END AS posted
FROM settled
