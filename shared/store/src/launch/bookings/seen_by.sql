-- Loads a booking for a person who may see it: its client, its tutor, its student, or a guardian of its student. For
-- anybody else there is no row, as if there were no such booking. The statement has to see to that itself, because
-- the role under which it runs may read every booking. It also says whether the person is a guardian of the booking's
-- student, and whether they are one of another student, who may be about to be assigned.
--
-- It only reads.
--
-- Parameters:
--   $1   booking's id
--   $2   id of the person who asks
--   $3   id of another student, or NULL: nobody asks about one

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
    b.meeting_started_at,
    b.meeting_ended_at,
    b.duration_actual,

    CASE
        WHEN may_be_recorded(b) THEN b.recording_url
    END AS recording_url,
    b.session_artifacts,
    guards.student AS is_guardian,
    guards.other AS guards_other
FROM bookings b

-- One row for each booking, from one look at the person's links to both students. Without any link bool_or is NULL,
-- which means that they are a guardian of neither.
CROSS JOIN LATERAL (
    SELECT
        coalesce(bool_or(l.student_id = b.student_id), false) AS student,
        coalesce(bool_or(l.student_id = $3), false) AS other
    FROM platform_links l
    WHERE l.guardian_id = $2
      AND l.student_id IN (b.student_id, $3)
      AND l.is_accepted
) guards
WHERE b.id = $1
  AND ($2 IN (b.client_id, b.tutor_id, b.student_id) OR guards.student)
