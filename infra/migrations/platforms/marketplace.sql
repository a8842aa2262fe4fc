-- For a marketplace: clients book tutors for themselves or for a child. The status is an enum, a party turns NULL when
-- that person leaves, and prices are pounds with decimals.

CREATE OR REPLACE VIEW firstbell.platform_bookings WITH (security_invoker = true) AS
    SELECT b.id, b.client_id, b.tutor_id, b.student_id,
           -- A word that is not here stays as it is, so that it is refused by name.
           CASE b.status::text
               WHEN 'Pending' THEN 'pending' WHEN 'Confirmed' THEN 'confirmed' WHEN 'Completed' THEN 'completed'
               WHEN 'Cancelled' THEN 'cancelled' WHEN 'Declined' THEN 'cancelled'
               ELSE b.status::text END AS status,
           b.session_start_time, b.session_duration,
           -- Anybody may write any number there. One that nobody means is no price, and no error that stops the row.
           CASE WHEN b.amount BETWEEN 0 AND 1000000 THEN round(b.amount * 100)::bigint END AS price_minor,
           'GBP' AS price_currency,
           coalesce(b.recording_allowed, false) AS recording_consent
    FROM public.bookings b
    -- Without both there is nobody to let in or to charge.
    WHERE b.client_id IS NOT NULL AND b.tutor_id IS NOT NULL;

CREATE OR REPLACE VIEW firstbell.platform_people AS
    SELECT id, full_name FROM public.profiles;

-- Clients write profile_graph themselves, so a link counts only with the consent that the server has noted.
CREATE OR REPLACE VIEW firstbell.platform_links AS
    SELECT g.source_profile_id AS guardian_id, g.target_profile_id AS student_id,
           c.accepted_at IS NOT NULL AS is_accepted
    FROM public.profile_graph g
    LEFT JOIN public.guardian_consents c
        ON c.guardian_id = g.source_profile_id AND c.student_id = g.target_profile_id
    WHERE g.relationship_type = 'GUARDIAN' AND g.status = 'ACTIVE';

CREATE OR REPLACE VIEW firstbell.platform_connections AS
    SELECT profile_id AS tutor_id, service AS provider, is_active AS is_connected
    FROM public.connected_accounts;

-- Writes what Firstbell knows into the platform's own columns, and only what differs: each write wakes the platform's
-- triggers. Those look for their tables in `public`, so it is on the path.
CREATE OR REPLACE FUNCTION firstbell.tell_platform(facts firstbell.booking_facts) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $tell$
DECLARE
    is_over boolean := coalesce(facts.session_status IN ('COMPLETED_ASSUMED', 'NO_SHOW_STUDENT', 'EARLY_END_SHORT'), false);
BEGIN
    UPDATE public.bookings b
    SET meeting_url = coalesce(facts.meeting_url, b.meeting_url),
        recording_url = coalesce(facts.recording_url, b.recording_url),
        duration_actual = coalesce(facts.duration_actual, b.duration_actual),
        -- Added to what the platform keeps there, never in its place.
        session_artifacts = coalesce(b.session_artifacts || facts.session_artifacts, nullif(facts.session_artifacts, '{}')),
        status = CASE WHEN is_over AND b.status = 'Confirmed' THEN 'Completed' ELSE b.status END
    WHERE b.id = facts.booking_id AND (
        b.meeting_url IS DISTINCT FROM coalesce(facts.meeting_url, b.meeting_url)
        OR b.recording_url IS DISTINCT FROM coalesce(facts.recording_url, b.recording_url)
        OR b.duration_actual IS DISTINCT FROM coalesce(facts.duration_actual, b.duration_actual)
        OR NOT coalesce(b.session_artifacts, '{}') @> facts.session_artifacts
        OR is_over AND b.status = 'Confirmed');
END
$tell$;

SELECT firstbell.follow_table('public.bookings');
