-- anon -: looks at the bookings and sees none
SELECT id FROM public.bookings;

-- anon -: is refused a booking in somebody's name
INSERT INTO public.bookings (id, client_id, tutor_id, amount)
VALUES ('b0000000-0000-0000-0000-000000000019', '55555555-5555-5555-5555-555555555555', '22222222-2222-2222-2222-222222222222', 1);

-- authenticated 11111111-1111-1111-1111-111111111111: books a lesson
INSERT INTO public.bookings (id, client_id, tutor_id, service_name, session_start_time, session_duration, amount)
VALUES ('b0000000-0000-0000-0000-000000000010', '11111111-1111-1111-1111-111111111111',
    '22222222-2222-2222-2222-222222222222', 'Geometry', '2031-04-01 15:00+00', 60, 40.00)
RETURNING id, status, payment_status;

-- authenticated 22222222-2222-2222-2222-222222222222: confirms it
UPDATE public.bookings SET status = 'Confirmed' WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING status;

-- authenticated 11111111-1111-1111-1111-111111111111: moves it
UPDATE public.bookings SET session_start_time = '2031-04-02 15:30+00', session_duration = 90
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING session_start_time, session_duration;

-- authenticated 11111111-1111-1111-1111-111111111111: says that the child will learn
UPDATE public.bookings SET student_id = '33333333-3333-3333-3333-333333333333'
WHERE id = 'b0000000-0000-0000-0000-000000000010';

-- authenticated 44444444-4444-4444-4444-444444444444: tries to take another's booking and finds none
UPDATE public.bookings SET tutor_id = '44444444-4444-4444-4444-444444444444'
WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING id;

-- service_role -: notes the payment
UPDATE public.bookings SET payment_status = 'Paid' WHERE id = 'b0000000-0000-0000-0000-000000000010' RETURNING payment_status;

-- authenticated 22222222-2222-2222-2222-222222222222: declines another
UPDATE public.bookings SET status = 'Declined' WHERE id = 'b0000000-0000-0000-0000-000000000004' RETURNING status;

-- authenticated 22222222-2222-2222-2222-222222222222: says that an old lesson was held, which scores them again
UPDATE public.bookings SET status = 'Completed' WHERE id = 'b0000000-0000-0000-0000-000000000008' RETURNING status;

-- authenticated 22222222-2222-2222-2222-222222222222: keeps a snapshot of the whiteboard
UPDATE public.bookings
SET session_artifacts = coalesce(session_artifacts, '{}') || '{"whiteboard": "boards/3.json"}', recording_url = 'https://files.example.org/3.mp4'
WHERE id = 'b0000000-0000-0000-0000-000000000003' RETURNING session_artifacts;

-- authenticated 22222222-2222-2222-2222-222222222222: puts a link of their own
UPDATE public.bookings SET meeting_url = 'https://meet.example.org/tamsin'
WHERE id = 'b0000000-0000-0000-0000-000000000003' RETURNING meeting_url;

-- authenticated 11111111-1111-1111-1111-111111111111: lists a second child
INSERT INTO public.profile_graph (id, source_profile_id, target_profile_id, relationship_type, metadata)
VALUES ('a0000000-0000-0000-0000-000000000010', '11111111-1111-1111-1111-111111111111',
    '66666666-6666-6666-6666-666666666666', 'GUARDIAN', '{"relation": "mother"}')
RETURNING status;

-- authenticated 66666666-6666-6666-6666-666666666666: the child accepts
UPDATE public.profile_graph SET status = 'ACTIVE' WHERE id = 'a0000000-0000-0000-0000-000000000010' RETURNING status;

-- service_role -: notes the consent
INSERT INTO public.guardian_consents
VALUES ('11111111-1111-1111-1111-111111111111', '66666666-6666-6666-6666-666666666666', '2025-06-01 12:00+00');

-- authenticated 44444444-4444-4444-4444-444444444444: makes himself a guardian, which the policies allow
INSERT INTO public.profile_graph (id, source_profile_id, target_profile_id, relationship_type, status)
VALUES ('a0000000-0000-0000-0000-000000000011', '44444444-4444-4444-4444-444444444444',
    '33333333-3333-3333-3333-333333333333', 'GUARDIAN', 'ACTIVE');

-- authenticated 22222222-2222-2222-2222-222222222222: connects another service
INSERT INTO public.connected_accounts (profile_id, service) VALUES ('22222222-2222-2222-2222-222222222222', 'calendar')
ON CONFLICT (profile_id, service) DO UPDATE SET is_active = true
RETURNING service, is_active;

-- authenticated 33333333-3333-3333-3333-333333333333: looks whether the tutor is connected
SELECT service, is_active FROM public.connected_accounts
WHERE profile_id = '22222222-2222-2222-2222-222222222222' ORDER BY service;

-- authenticated 22222222-2222-2222-2222-222222222222: disconnects it
DELETE FROM public.connected_accounts
WHERE profile_id = '22222222-2222-2222-2222-222222222222' AND service = 'calendar' RETURNING service;

-- authenticated 11111111-1111-1111-1111-111111111111: reviews the tutor, who is scored again
INSERT INTO public.profile_reviews (id, booking_id, reviewer_id, reviewee_id, rating)
VALUES ('e0000000-0000-0000-0000-000000000001', 'b0000000-0000-0000-0000-000000000001',
    '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222', 5);

-- service_role -: takes the next from the queue
DELETE FROM public.caas_recalculation_queue WHERE profile_id = '22222222-2222-2222-2222-222222222222'
RETURNING profile_id, reason;

-- authenticated 55555555-5555-5555-5555-555555555555: calls off the trial
UPDATE public.bookings SET status = 'Cancelled' WHERE id = 'b0000000-0000-0000-0000-000000000007' RETURNING status;

-- service_role -: gives back part of a price
INSERT INTO public.refunds (id, booking_id, amount, reason)
VALUES ('f0000000-0000-0000-0000-000000000001', 'b0000000-0000-0000-0000-000000000002', 9.50, 'ended early');

-- anon -: lowers a price through the function that was left open
SELECT public.exec_sql('UPDATE public.bookings SET amount = 0.01 WHERE id = ''b0000000-0000-0000-0000-000000000003''');

-- owner -: adds a column
ALTER TABLE public.bookings ADD COLUMN reschedule_count integer NOT NULL DEFAULT 0;

-- owner -: adds a status
ALTER TYPE public.booking_state ADD VALUE 'Disputed';

-- service_role -: uses both
UPDATE public.bookings SET status = 'Disputed', reschedule_count = 1
WHERE id = 'b0000000-0000-0000-0000-000000000001' RETURNING status, reschedule_count;

-- owner -: deletes a person, whose bookings lose their client
DELETE FROM auth.users WHERE id = '55555555-5555-5555-5555-555555555555';

-- service_role -: deletes a booking
DELETE FROM public.bookings WHERE id = 'b0000000-0000-0000-0000-000000000004' RETURNING id;

-- authenticated 11111111-1111-1111-1111-111111111111: reads their bookings
SELECT id, student_id, status, session_start_time, session_duration, amount, payment_status, meeting_url
FROM public.bookings ORDER BY id;
