-- Marks the student of a session as absent, on the tutor's word, and tells the client. The mark is seen at once, but
-- costs nothing before the planned end; until then the tutor can take it back. The caller has decided whether the
-- tutor may mark it now. Here the session must still have no outcome, and every change that the platform made to its
-- booking must have been followed: one that could not be followed may be a cancellation. Otherwise no row is
-- returned.
--
-- Sent twice, or by two at once, the first mark keeps its time and the client is told once. Only where the very same
-- statement is sent again, because its answer was lost, the session's history gets its event a second time.
--
-- Parameters:
--   $1   session's id
--   $2   now
--   $3   who marks it, as JSON for the session's history
--   $4   when the mark begins to cost: the planned end, which the client is told

WITH
    -- Sets the mark, unless there is one: the second call finds and returns the time of the first. `follow_failures`
    -- has a row for a booking with direction 'follow' while the platform's changes to it could not be taken over.
    marked AS (
        UPDATE sessions s
        SET no_show_marked_at = coalesce(no_show_marked_at, $2)
        WHERE id = $1
          AND status IN ('SCHEDULED', 'JOIN_OPEN')
          AND NOT EXISTS (
              SELECT
              FROM follow_failures f
              WHERE f.booking_id = s.booking_id
                AND f.direction = 'follow'
          )
        RETURNING
            id,
            booking_id,
            client_id,
            no_show_marked_at
    ),

    -- Notes the mark in the session's history if it has the time of this call, and so was not set by an earlier one.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            id,
            'no_show_marked',
            $2,
            $3
        FROM marked
        WHERE no_show_marked_at = $2
    ),

    -- Tells the client. The source contains the time of the mark and is unique: each mark is told once, while one
    -- that is set anew after it was taken back is told again.
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            client_id,
            'no_show_marked',
            'no_show/' || id || '/' || extract(epoch FROM no_show_marked_at),
            booking_id,
            jsonb_build_object('session_id', id, 'settles_at', $4::timestamptz),
            $2
        FROM marked
        ON CONFLICT (source) DO NOTHING
    )

SELECT no_show_marked_at
FROM marked
