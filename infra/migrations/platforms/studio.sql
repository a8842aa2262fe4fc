-- For tutors with a studio of their own: students are entries of the tutor's list, and only some have an account.
-- Prices come in any currency, written in small letters; bookings are thrown away by a mark.

CREATE OR REPLACE VIEW firstbell.platform_bookings WITH (security_invoker = true) AS
    SELECT b.id, coalesce(s.payer_user_id, s.user_id) AS client_id, b.tutor_id,
           CASE WHEN s.payer_user_id <> s.user_id THEN s.user_id END AS student_id,
           -- A word that is not here stays as it is, so that it is refused by name.
           CASE WHEN b.status IN ('cancelled_by_tutor', 'cancelled_by_student') THEN 'cancelled'
                ELSE b.status END AS status,
           b.scheduled_at AS session_start_time, b.duration_minutes::integer AS session_duration,
           -- The smallest unit is a hundredth in most currencies; the rest are named.
           round(b.payment_amount * CASE WHEN upper(b.currency) IN ('JPY', 'KRW', 'CLP', 'XAF', 'XOF') THEN 1
               WHEN upper(b.currency) IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN 1000 ELSE 100 END)::bigint AS price_minor,
           upper(b.currency) AS price_currency,
           b.recording_agreed_at IS NOT NULL AS recording_consent
    FROM public.bookings b
    JOIN public.students s ON s.id = b.student_id
    -- Who has no account cannot come in. When they get one, the next walk over all bookings finds it.
    WHERE s.user_id IS NOT NULL AND b.deleted_at IS NULL;

CREATE OR REPLACE VIEW firstbell.platform_people AS
    SELECT id, full_name FROM public.profiles;

-- Links name an entry of the list; Firstbell knows the account behind it.
CREATE OR REPLACE VIEW firstbell.platform_links AS
    SELECT g.guardian_user_id AS guardian_id, s.user_id AS student_id, g.accepted_at IS NOT NULL AS is_accepted
    FROM public.student_guardians g
    JOIN public.students s ON s.id = g.student_id
    WHERE s.user_id IS NOT NULL AND s.deleted_at IS NULL;

-- Rooms belong to the platform's account: no tutor has to connect anything.
CREATE OR REPLACE VIEW firstbell.platform_connections AS
    SELECT id AS tutor_id, 'lessonspace' AS provider, true AS is_connected
    FROM public.profiles
    WHERE role = 'tutor';

-- Writes what Firstbell knows into the platform's own columns, and only what differs: each write wakes the platform's
-- triggers. Those look for their tables in `public`, so it is on the path.
CREATE OR REPLACE FUNCTION firstbell.tell_platform(facts firstbell.booking_facts) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $tell$
DECLARE
    is_over boolean := coalesce(facts.session_status IN ('COMPLETED_ASSUMED', 'NO_SHOW_STUDENT', 'EARLY_END_SHORT'), false);
    minutes smallint := round(facts.duration_actual / 60.0);
BEGIN
    UPDATE public.bookings b
    -- A link that the tutor has put there, which is in mails already, stays.
    SET meeting_url = coalesce(b.meeting_url, facts.meeting_url),
        recording_url = coalesce(facts.recording_url, b.recording_url),
        actual_minutes = coalesce(minutes, b.actual_minutes),
        status = CASE WHEN is_over AND b.status = 'confirmed' THEN 'completed' ELSE b.status END
    WHERE b.id = facts.booking_id AND (
        b.meeting_url IS DISTINCT FROM coalesce(b.meeting_url, facts.meeting_url)
        OR b.recording_url IS DISTINCT FROM coalesce(facts.recording_url, b.recording_url)
        OR b.actual_minutes IS DISTINCT FROM coalesce(minutes, b.actual_minutes)
        OR is_over AND b.status = 'confirmed');
END
$tell$;

SELECT firstbell.follow_table('public.bookings');
