-- anon -: looks at the bookings and sees none
SELECT id FROM public.bookings;

-- anon -: is refused a notification
INSERT INTO public.notifications (user_id, type, title) VALUES ('33333333-3333-3333-3333-333333333333', 'news', 'Hello');

-- anon -: makes a confirmed lesson at another's cost through the function that was left open
SELECT public.book_paid_lesson('b0000000-0000-0000-0000-000000000018', '44444444-4444-4444-4444-444444444444',
    '55555555-5555-5555-5555-555555555555', '22222222-2222-2222-2222-222222222222', '2031-05-05 15:00+00', 60, 999.00);

-- authenticated 33333333-3333-3333-3333-333333333333: asks for a lesson that the parent must approve
INSERT INTO public.bookings (id, student_id, payer_id, tutor_id, subject, requested_start_at, requested_end_at,
    duration_minutes, price_ttd, status)
VALUES ('b0000000-0000-0000-0000-000000000010', '33333333-3333-3333-3333-333333333333',
    '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222', 'Chemistry',
    '2031-04-01 20:00+00', '2031-04-01 21:00+00', 60, 275.00, 'PENDING_PARENT_APPROVAL')
RETURNING id, status;

-- authenticated 11111111-1111-1111-1111-111111111111: the parent approves it
UPDATE public.bookings SET status = 'PENDING', last_action_by = 'parent'
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING status;

-- authenticated 22222222-2222-2222-2222-222222222222: the tutor proposes another time
UPDATE public.bookings SET status = 'COUNTER_PROPOSED', last_action_by = 'tutor',
    requested_start_at = '2031-04-02 20:00+00', requested_end_at = '2031-04-02 21:15+00', duration_minutes = 75
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING status, requested_start_at;

-- authenticated 33333333-3333-3333-3333-333333333333: the student agrees
UPDATE public.bookings SET status = 'PENDING', last_action_by = 'student'
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING status;

-- authenticated 22222222-2222-2222-2222-222222222222: the tutor confirms, which makes the session
UPDATE public.bookings SET status = 'CONFIRMED', confirmed_start_at = requested_start_at, confirmed_end_at = requested_end_at
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING status, confirmed_start_at, confirmed_end_at;

-- authenticated 33333333-3333-3333-3333-333333333333: sees the session
SELECT booking_id, provider, starts_at, ends_at, status FROM public.sessions ORDER BY booking_id;

-- authenticated 33333333-3333-3333-3333-333333333333: reads and marks what the trigger told
UPDATE public.notifications SET is_read = true WHERE NOT is_read RETURNING type, title;

-- authenticated 22222222-2222-2222-2222-222222222222: cannot confirm two lessons for one hour
UPDATE public.bookings SET status = 'CONFIRMED', confirmed_start_at = '2031-04-02 20:00+00', confirmed_end_at = '2031-04-02 21:00+00'
WHERE id = 'b0000000-0000-0000-0000-000000000004';

-- authenticated 22222222-2222-2222-2222-222222222222: declines the other
UPDATE public.bookings SET status = 'DECLINED', last_action_by = 'tutor'
WHERE id = 'b0000000-0000-0000-0000-000000000004' RETURNING status;

-- authenticated 44444444-4444-4444-4444-444444444444: tries another's booking and finds none
UPDATE public.bookings SET payer_id = NULL WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING id;

-- service_role -: moves a confirmed lesson, and the session with it
UPDATE public.bookings SET confirmed_start_at = '2031-03-04 20:00+00', confirmed_end_at = '2031-03-04 21:00+00'
WHERE id = 'b0000000-0000-0000-0000-000000000003' RETURNING confirmed_start_at;

-- authenticated 22222222-2222-2222-2222-222222222222: connects anew with another provider
UPDATE public.tutor_video_provider_connections SET provider = 'zoom', access_token_encrypted = 'sealed-2'
WHERE tutor_id = '22222222-2222-2222-2222-222222222222' RETURNING provider, connection_status;

-- authenticated 33333333-3333-3333-3333-333333333333: looks whether the tutor is connected
SELECT provider, connection_status FROM public.tutor_video_provider_connections
WHERE tutor_id = '22222222-2222-2222-2222-222222222222';

-- authenticated 22222222-2222-2222-2222-222222222222: disconnects
DELETE FROM public.tutor_video_provider_connections
WHERE tutor_id = '22222222-2222-2222-2222-222222222222' RETURNING provider;

-- authenticated 22222222-2222-2222-2222-222222222222: and connects again
INSERT INTO public.tutor_video_provider_connections (id, tutor_id, provider)
VALUES ('c0000000-0000-0000-0000-000000000002', '22222222-2222-2222-2222-222222222222', 'google_meet')
ON CONFLICT (tutor_id) DO UPDATE SET provider = excluded.provider RETURNING provider, connection_status;

-- authenticated 44444444-4444-4444-4444-444444444444: is refused a connection in another's name
INSERT INTO public.tutor_video_provider_connections (tutor_id, provider)
VALUES ('11111111-1111-1111-1111-111111111111', 'zoom');

-- service_role -: notes a payment
INSERT INTO public.payments (id, booking_id, payer_id, amount_ttd, status, reference)
VALUES ('d0000000-0000-0000-0000-000000000010', 'b0000000-0000-0000-0000-000000000010',
    '11111111-1111-1111-1111-111111111111', 275.00, 'succeeded', 'receipt-10');

-- authenticated 22222222-2222-2222-2222-222222222222: begins the session
UPDATE public.sessions SET status = 'in_progress', notes = '{"topic": "acids"}'
WHERE booking_id = 'b0000000-0000-0000-0000-000000000010' RETURNING status;

-- authenticated 22222222-2222-2222-2222-222222222222: says so in its history
INSERT INTO public.session_events (session_id, event_type, actor_id)
SELECT id, 'joined', '22222222-2222-2222-2222-222222222222' FROM public.sessions
WHERE booking_id = 'b0000000-0000-0000-0000-000000000010';

-- service_role -: completes the booking
UPDATE public.bookings SET status = 'COMPLETED', last_action_by = 'system'
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING status;

-- service_role -: owes the tutor their part
INSERT INTO public.payout_ledger (session_id, tutor_id, amount_ttd)
SELECT id, tutor_id, 255.75 FROM public.sessions WHERE booking_id = 'b0000000-0000-0000-0000-000000000010'
RETURNING amount_ttd, status;

-- authenticated 11111111-1111-1111-1111-111111111111: asks a second child
INSERT INTO public.parent_child_links (parent_id, child_id)
VALUES ('11111111-1111-1111-1111-111111111111', '66666666-6666-6666-6666-666666666666');

-- authenticated 66666666-6666-6666-6666-666666666666: the child accepts
UPDATE public.parent_child_links SET accepted_at = '2025-06-01 12:00+00'
WHERE child_id = '66666666-6666-6666-6666-666666666666' RETURNING parent_id;

-- owner -: takes away the rule for statuses to allow one more, and adds a column
ALTER TABLE public.bookings DROP CONSTRAINT bookings_status, ADD COLUMN hold_reason text;

-- service_role -: holds a lesson
UPDATE public.bookings SET status = 'ON_HOLD', hold_reason = 'flood'
WHERE id = 'b0000000-0000-0000-0000-000000000003' RETURNING status, hold_reason;

-- owner -: deletes a person, whose bookings and sessions go too or lose their payer
DELETE FROM auth.users WHERE id IN ('44444444-4444-4444-4444-444444444444', '55555555-5555-5555-5555-555555555555');

-- authenticated 11111111-1111-1111-1111-111111111111: reads the family's bookings
SELECT id, student_id, status, confirmed_start_at, duration_minutes, price_ttd FROM public.bookings ORDER BY id;
