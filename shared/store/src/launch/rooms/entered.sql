-- Saves that a person was given a way into a booking's room, and the room itself, if this call has just opened it.
-- From then on the booking's session counts as open to join. A booking keeps the room that was saved first: the call
-- must hold the claim to the opening, or name the room that is saved already. Otherwise nothing is written and no row
-- returned. A claim that has ended by itself still counts as long as nobody else has taken it over.
--
-- Sent twice, the second finds its own room saved, and the evidence that it merges is there already. It adds nothing
-- but a second event to the session's history. Of two calls at once the second waits for the lock on the booking, and
-- counts only if its room is that of the first.
--
-- Parameters:
--   $1   booking's id
--   $2   id of this call's claim
--   $3   name of the room's provider
--   $4   provider's id of the room
--   $5   room's address, without anybody's personal access
--   $6   key with which the provider signs the room's webhooks, sealed, or NULL: the provider gave none
--   $7   evidence that the person pressed Join, and by which ids the provider will name them
--   $8   now
--   $9   who was let in and as what, as JSON for the session's history

WITH
    -- Saves the room and ends the claim. The first address stays, and so does a key until the provider gives another.
    -- Evidence is merged by a union, so that neither order nor repetition changes it.
    entered AS (
        UPDATE bookings
        SET
            meeting_provider = $3,
            meeting_provider_id = $4,
            meeting_url = coalesce(meeting_url, $5),
            room_key = coalesce($6, room_key),
            evidence = merged_evidence(evidence, $7),
            room_claim = NULL,
            room_claimed_until = NULL
        WHERE id = $1
          AND (
              (meeting_provider_id IS NULL AND room_claim = $2)
              OR (meeting_provider = $3 AND meeting_provider_id = $4)
          )
        RETURNING id, evidence
    ),

    -- Opens the session, if the booking has one that is only planned; any other status stays. It is held where the room
    -- is, wherever it was to be held. The session gets all of the booking's evidence, not only the new part: something may have been entered while the session was being
    -- made, and so only for the booking.
    session AS (
        UPDATE sessions s
        SET
            status = CASE s.status
                WHEN 'SCHEDULED' THEN 'JOIN_OPEN'
                ELSE s.status
            END,
            provider = $3,
            -- Who was there has to be asked while they are, where nobody keeps a record.
            ask_at = CASE
                WHEN s.asks = 0 AND s.ask_at > $8 THEN next_question($3, greatest(s.scheduled_start_at, $8), s.ask_at)
                ELSE s.ask_at
            END,
            evidence = entered.evidence
        FROM entered
        WHERE s.booking_id = entered.id
        RETURNING s.id
    ),

    -- Notes in the session's history that somebody was let in, each time.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            id,
            'joined',
            $8,
            $9
        FROM session
    )

SELECT id
FROM entered
