-- Makes the session of a booking, or returns the session that the booking has already. A booking has one session at
-- most, and it is made from the terms that the booking has at that moment. The caller read these terms earlier, so
-- the booking is locked here and must still say the same. The lock also keeps out the follower, which brings the
-- platform's changes into the booking and into its session: while a session is being made the follower could not see
-- it yet, and the session would keep the old terms.
--
-- Sent twice, it makes one session, because `sessions.booking_id` is unique; the second answer has `is_new` = false.
-- Of two callers at once the second waits for the lock and then makes nothing. It returns no row, because its
-- snapshot is older than the session of the first; nor is there a row if the booking has changed and has no session.
-- The caller then has to try again.
--
-- Parameters:
--   $1   session's id, if it is made
--   $2   booking's id
--   $3   client's id
--   $4   tutor's id
--   $5   name of the provider that opens rooms where the platform wants no other
--   $6   planned start
--   $7   planned end
--   $8   planned length in minutes
--   $9   part of the planned time that the tutor waits for the student, as a fraction in text such as '1/3'
--   $10  least part of the planned time that is paid where the rules pay from a minimum, as a fraction in text
--   $11  price in the smallest unit of its currency
--   $12  currency (ISO 4217)
--   $13  rules under which the session is sold, as JSON
--   $14  now
--   $15  who makes it, as JSON for the session's history

WITH
    -- Locks the booking if it still has the terms from which the caller made the session, and if there may be one:
    -- the booking is confirmed, and it was so before its start or an operator has accepted it.
    booking AS (
        SELECT id, evidence, classroom
        FROM bookings
        WHERE id = $2
          AND client_id = $3
          AND tutor_id = $4
          AND session_start_time = $6
          AND session_duration = $8
          AND price_minor = $11
          AND price_currency = $12
          AND status = 'confirmed'
          AND agreed_at IS NOT NULL
        FOR NO KEY UPDATE
    ),

    -- Makes the session, unless the booking has one. Its charge is due at the planned end, and its provider is asked
    -- first then, or while the lesson goes on if it keeps no record. People may have met before the session is made, so it begins with the evidence that the booking
    -- has.
    made AS (
        INSERT INTO sessions (
            id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at, duration_minutes,
            no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at, due_at, ask_at,
            evidence, policy
        )
        SELECT
            $1,
            id,
            $3,
            $4,
            coalesce(classroom, $5),
            $6,
            $7,
            $8,
            $9,
            $10,
            $11,
            $12,
            $7,
            due_once_asked($7, $14),
            next_question(coalesce(classroom, $5), greatest($6, $14), $7),
            evidence,
            $13
        FROM booking
        ON CONFLICT (booking_id) DO NOTHING
        RETURNING *
    ),

    -- Takes the booking off the list of those for which `keep/tending` makes a session without a call.
    wanted AS (
        UPDATE bookings b
        SET wants_session = false
        FROM made
        WHERE b.id = made.booking_id
    ),

    -- Begins the session's history, and only if this statement has made the session.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT id, 'created', $14, $15
        FROM made
    )

-- One row at most: the second part reads the snapshot, which does not show what `made` has just inserted.
SELECT *, true AS is_new
FROM made
UNION ALL
SELECT *, false
FROM sessions
WHERE booking_id = $2
