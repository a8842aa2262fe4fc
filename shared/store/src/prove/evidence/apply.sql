-- Enters what a provider said of a booking's room, when it was asked. Its evidence is merged into the booking and its
-- session, and what the booking shows of the lesson is worked out anew. If an event of the provider made us ask, the
-- event is recorded as applied in the same statement. The session is made due where the news may lead to an outcome,
-- or to another one. The statement also sets when the provider is asked next. It is not asked any more once it has
-- answered after the room had closed and owes neither an end nor a recording.
--
-- The count that is returned is 1 if the news was entered, and 0 if there is no such booking or the event was applied
-- before. An event counts once: of two statements with the same event the second waits for the first, finds the event
-- applied and does nothing. Without an event the statement may be sent any number of times and in any order, because
-- a merge only ever adds. All that is repeated then is the entry in the session's history and, for a session that has
-- no outcome yet, another look at it.
--
-- Parameters:
--   $1   name of the provider, or NULL: no event made us ask
--   $2   event's id at the provider, or NULL: there is no event
--   $3   event's kind in the provider's words, or 'asked'
--   $4   booking's id
--   $5   when the event was received, or NULL: there is no event
--   $6   whole message of the event, as its envelope, or NULL: there is no event
--   $7   now
--   $8   evidence, or '{}': the provider said nothing of the room
--   $9   when the provider was asked, or NULL: it was not asked
--   $10  addresses at which the recordings are asked for, as a JSON object by the ids of their spans
--   $11  what the provider has measured of people, as JSON, or NULL: nothing; it stands for all that it measured before

WITH
    -- Records the event as applied, if there is one. An event that had to wait or was parked has its row already, and
    -- is applied now. For one that was applied before nothing is returned, and then nothing below happens.
    event AS (
        INSERT INTO provider_events AS e (
            provider, event_id, kind, booking_id, received_at, envelope, status, settled_at
        )
        SELECT
            $1,
            $2,
            $3,
            $4,
            $5,
            $6,
            'applied',
            $7
        WHERE $1::text IS NOT NULL
        ON CONFLICT (provider, event_id) DO UPDATE
        SET
            status = 'applied',
            kind = $3,
            envelope = $6,
            reason = NULL,
            settled_at = $7,
            attempts = e.attempts + 1
        WHERE e.status <> 'applied'
        RETURNING e.booking_id
    ),

    -- Locks the booking before its evidence is read. Somebody else may be merging at the same time: whoever waited
    -- for the lock reads what the other has written, and adds to that.
    locked AS (
        SELECT
            id,
            evidence,
            session_start_time,
            recording_consent
        FROM bookings
        WHERE id = $4
          AND (
              $1::text IS NULL
              OR EXISTS (
                  SELECT
                  FROM event
              )
          )
        FOR NO KEY UPDATE
    ),

    -- All that is known of the room by now, and what it proves: the first beginning, the last end, for how long the
    -- room was held open, and of which span the recording is shown. OFFSET 0 keeps Postgres from merging anew
    -- wherever the result is used. A recording is owed where recording was agreed to, every span has ended and the
    -- longest of them has no recording: a shorter one may have its own earlier.
    subject AS (
        SELECT
            b.id,
            whole.evidence,
            proof.*,
            coalesce(b.recording_consent, false)
                AND proof.ended_at IS NOT NULL
                AND proof.recorded IS DISTINCT FROM longest_span(whole.evidence, b.session_start_time) AS owes_a_recording
        FROM locked b
        CROSS JOIN LATERAL (
            SELECT merged_evidence(b.evidence, $8) AS evidence
            OFFSET 0
        ) AS whole
        CROSS JOIN LATERAL proof_of(whole.evidence, b.session_start_time) AS proof
    ),

    -- Writes both into the booking, unless the provider said nothing of the room. Without consent to recording no
    -- address of a recording is kept; with it, one that is known stays until there is another.
    lesson AS (
        UPDATE bookings b
        SET
            evidence = s.evidence,
            meeting_started_at = s.began_at,
            meeting_ended_at = s.ended_at,
            duration_actual = s.seconds,
            engagement_metrics = coalesce($11, b.engagement_metrics),
            recording_url = CASE
                WHEN b.recording_consent THEN coalesce($10::jsonb ->> s.recorded, b.recording_url)
            END
        FROM subject s
        WHERE b.id = s.id
          AND $8::jsonb <> '{}'
        RETURNING
            b.id,
            b.tutor_id,
            b.meeting_started_at,
            b.meeting_ended_at
    ),

    -- Brings the session up to date, if the booking has one. It gets all of the evidence, not only the new part:
    -- something may have been entered while the session was being made, and so only for the booking.
    session AS (
        UPDATE sessions s
        SET
            evidence = subject.evidence,
            asked_at = greatest(s.asked_at, $9),
            ask_at = CASE
                -- The provider has said its last word: it was asked after the room had closed, and owes nothing.
                WHEN $9 >= closes_at(s)
                    AND NOT owes_an_end(subject.evidence, s.scheduled_start_at)
                    AND NOT subject.owes_a_recording
                    THEN NULL
                -- It is asked at the time that is set. Where none is left, the news may have brought up something
                -- that the provider owes after all: it is asked in five minutes.
                WHEN $7 < asked_until(s)
                    THEN coalesce(s.ask_at, $7::timestamptz + interval '5 minutes')
                ELSE s.ask_at
            END,
            due_at = CASE
                -- Without an outcome, a session may be decided from its planned end on.
                WHEN s.status IN ('SCHEDULED', 'JOIN_OPEN')
                    AND $7 >= s.scheduled_end_at
                    THEN $7
                -- With an outcome, it is looked at again if something is new. That the provider was asked again and
                -- had nothing to add is new, too: an outcome may have been assumed because no answer had come.
                WHEN s.status NOT IN ('SCHEDULED', 'JOIN_OPEN')
                    AND (subject.evidence <> s.evidence OR $9 > coalesce(s.asked_at, '-infinity'))
                    THEN $7
                ELSE s.due_at
            END
        FROM subject
        WHERE s.booking_id = subject.id
        RETURNING s.id
    ),

    -- Notes in the session's history what was learnt, if the provider said anything of the room. Both tables have one
    -- row at most, so their product has, too.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            session.id,
            $3,
            $7,
            jsonb_build_object(
                'by', 'provider',
                'started_at', lesson.meeting_started_at,
                'ended_at', lesson.meeting_ended_at
            )
        FROM session, lesson
    ),

    -- Asks for the tutor's credibility to be recalculated when a lesson has ended. The source names the booking and
    -- the end and is unique, so that each end asks once, from whichever event it was learnt.
    credibility AS (
        INSERT INTO caas_recalculation_queue (profile_id, source)
        SELECT tutor_id, id || '/ended/' || extract(epoch FROM meeting_ended_at)
        FROM lesson
        WHERE meeting_ended_at IS NOT NULL
        ON CONFLICT (source) DO NOTHING
    )

SELECT count(*) AS applied
FROM subject
