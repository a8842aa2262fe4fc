-- Loads a booking with what decides whether a person may enter its room, and, if the room is not open yet, tries to
-- claim the opening for this call. One call holds the claim at a time, so that a room is opened once, however many
-- people press Join at the same instant; the others wait and look again. There is a row for every booking that
-- exists, also for a stranger: the domain decides whether the person may enter. The conditions on the claim do not
-- replace that decision. They only prevent claims that would be of no use, and a caller whom the domain refuses gives
-- the claim back.
--
-- Sent twice, the second finds the claim as its own. Of two calls at once the second waits for the lock on the
-- booking and then sees that the first holds the claim. A claim ends by itself after a while, should its holder have
-- died.
--
-- Parameters:
--   $1   booking's id
--   $2   id of the person who wants to enter
--   $3   now
--   $4   latest start of a lesson whose room may be open now: now + how long before the start a room opens
--   $5   time after which a lesson ends whose room may be open now: now - how long after the end a room closes
--   $6   id of this call's claim
--   $7   when the claim ends by itself
--   $8   name of the provider that opens rooms where the platform wants no other

WITH
    -- Claims the opening of the room, if there is no room, nobody else's claim is in force, and the booking and the
    -- person look as if the room may be opened now.
    claimed AS (
        UPDATE bookings
        SET
            room_claim = $6,
            room_claimed_until = $7
        WHERE id = $1
          AND meeting_provider_id IS NULL
          AND (room_claim IS NULL OR room_claim = $6 OR room_claimed_until <= $3)
          AND status = 'confirmed'
          AND NOT EXISTS (
              SELECT
              FROM sessions s
              WHERE s.booking_id = bookings.id
                AND s.status = 'CANCELLED'
          )
          AND session_start_time <= $4
          AND session_start_time + make_interval(mins => session_duration) > $5
          AND (
              $2 IN (client_id, tutor_id, student_id)
              OR EXISTS (
                  SELECT
                  FROM platform_links l
                  WHERE l.guardian_id = $2
                    AND l.student_id = bookings.student_id
                    AND l.is_accepted
              )
          )
        RETURNING id
    )

SELECT
    b.id,
    b.client_id,
    b.tutor_id,
    b.student_id,
    b.session_start_time,
    status_here(b) AS status,
    b.session_duration,
    -- Where the room is, if it was opened.
    CASE
        WHEN b.meeting_provider_id IS NOT NULL THEN b.meeting_provider
    END AS classroom,
    -- Where the platform wants it.
    b.classroom AS wanted_classroom,
    b.meeting_provider_id,
    -- Another call claimed the opening before this statement, and left the claim: it may have opened a room.
    b.room_claim IS NOT NULL AND b.room_claim <> $6 AS was_claimed,
    a.vendor_id AS account,
    b.meeting_started_at,
    b.meeting_ended_at,
    b.duration_actual,

    CASE
        WHEN may_be_recorded(b) THEN b.recording_url
    END AS recording_url,
    may_be_recorded(b) AS recording_consent,
    p.full_name,
    EXISTS (
        SELECT
        FROM platform_links l
        WHERE l.guardian_id = $2
          AND l.student_id = b.student_id
          AND l.is_accepted
    ) AS is_guardian,
    EXISTS (
        SELECT
        FROM claimed
    ) AS is_claimed
FROM bookings b

-- A person whom the platform does not show may enter all the same; their name is NULL then.
LEFT JOIN platform_people p ON p.id = $2

-- The account that the person has at the vendor, where one is wanted.
LEFT JOIN vendor_accounts a
    ON a.classroom = coalesce(CASE WHEN b.meeting_provider_id IS NOT NULL THEN b.meeting_provider END, b.classroom, $8)
    AND a.kind = CASE WHEN $2 = b.tutor_id THEN 'Teacher' ELSE 'Student' END
    AND a.profile_id = $2
WHERE b.id = $1
