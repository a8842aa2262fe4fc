-- For a school: a student asks, a parent approves and pays, a tutor confirms, perhaps at another time. The status is a
-- word in capitals, prices are Trinidad and Tobago dollars with decimals, and `sessions`, `payments` and
-- `notifications` are the platform's own: Firstbell does not look at them.

CREATE OR REPLACE VIEW firstbell.platform_bookings WITH (security_invoker = true) AS
    SELECT b.id, coalesce(b.payer_id, b.student_id) AS client_id, b.tutor_id,
           CASE WHEN b.payer_id <> b.student_id THEN b.student_id END AS student_id,
           -- A word that is not here stays as it is, so that it is refused by name.
           CASE WHEN b.status IN ('PENDING', 'PENDING_PARENT_APPROVAL', 'COUNTER_PROPOSED') THEN 'pending'
                WHEN b.status = 'CONFIRMED' THEN 'confirmed'
                WHEN b.status IN ('COMPLETED', 'NO_SHOW') THEN 'completed'
                WHEN b.status IN ('CANCELLED', 'DECLINED', 'PARENT_REJECTED') THEN 'cancelled'
                ELSE b.status END AS status,
           coalesce(b.confirmed_start_at, b.requested_start_at) AS session_start_time,
           -- Old rows have no length of their own.
           coalesce(b.duration_minutes, round(extract(epoch FROM coalesce(b.confirmed_end_at, b.requested_end_at)
               - coalesce(b.confirmed_start_at, b.requested_start_at)) / 60)::integer) AS session_duration,
           round(b.price_ttd * 100)::bigint AS price_minor,
           CASE WHEN b.price_ttd IS NOT NULL THEN 'TTD' END AS price_currency,
           -- Nobody is asked, so nothing is recorded.
           false AS recording_consent
    FROM public.bookings b;

CREATE OR REPLACE VIEW firstbell.platform_people AS
    SELECT id, coalesce(display_name, username) AS full_name FROM public.profiles;

CREATE OR REPLACE VIEW firstbell.platform_links AS
    SELECT parent_id AS guardian_id, child_id AS student_id, accepted_at IS NOT NULL AS is_accepted
    FROM public.parent_child_links;

CREATE OR REPLACE VIEW firstbell.platform_connections AS
    SELECT tutor_id, provider, connection_status = 'connected' AS is_connected
    FROM public.tutor_video_provider_connections;

SELECT firstbell.follow_table('public.bookings');
