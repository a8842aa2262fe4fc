-- Takes back the mark that the student of a session is absent, on the tutor's word, and tells the client. The caller
-- has decided whether the tutor may still take it back. Here the session must still have no outcome; otherwise no row
-- is returned.
--
-- Sent twice, or by two at once, the second call finds no mark. It returns its row all the same, because the session
-- is as the tutor wants it, but adds nothing to the history and tells nobody.
--
-- Parameters:
--   $1   session's id
--   $2   now
--   $3   who takes it back, as JSON for the session's history

WITH
    -- Reads the mark before it is removed, because RETURNING below shows the session without it. The lock comes
    -- first, so that what is read here is what is removed, whatever another call did in between.
    marked AS (
        SELECT id, no_show_marked_at
        FROM sessions
        WHERE id = $1
        FOR UPDATE
    ),

    -- Removes the mark, and returns the one that was there, or NULL if there was none.
    withdrawn AS (
        UPDATE sessions s
        SET no_show_marked_at = NULL
        FROM marked
        WHERE s.id = marked.id
          AND s.status IN ('SCHEDULED', 'JOIN_OPEN')
        RETURNING
            s.id,
            s.booking_id,
            s.client_id,
            marked.no_show_marked_at
    ),

    -- Notes it in the session's history, if there was a mark.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            id,
            'no_show_withdrawn',
            $2,
            $3
        FROM withdrawn
        WHERE no_show_marked_at IS NOT NULL
    ),

    -- Tells the client, if there was a mark. The source names the mark by its time and is unique, so that the end of
    -- each mark is told once.
    notified AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            client_id,
            'no_show_withdrawn',
            'no_show/' || id || '/' || extract(epoch FROM no_show_marked_at) || '/withdrawn',
            booking_id,
            jsonb_build_object('session_id', id),
            $2
        FROM withdrawn
        WHERE no_show_marked_at IS NOT NULL
        ON CONFLICT (source) DO NOTHING
    )

SELECT id
FROM withdrawn
