-- anon -: is refused a student on somebody's list
INSERT INTO public.students (tutor_id, full_name) VALUES ('22222222-2222-2222-2222-222222222222', 'Intruder');

-- authenticated 22222222-2222-2222-2222-222222222222: puts a student without an account on the list
INSERT INTO public.students (id, tutor_id, full_name, email)
VALUES ('57000000-0000-0000-0000-000000000010', '22222222-2222-2222-2222-222222222222', 'Nina New', 'nina@example.org')
RETURNING full_name;

-- authenticated 22222222-2222-2222-2222-222222222222: books for that student
INSERT INTO public.bookings (id, tutor_id, student_id, scheduled_at, status, payment_amount, short_code)
VALUES ('b0000000-0000-0000-0000-000000000010', '22222222-2222-2222-2222-222222222222',
    '57000000-0000-0000-0000-000000000010', '2031-04-01 10:00+00', 'confirmed', 20.00, 'NEW1')
RETURNING id, status, currency, duration_minutes;

-- authenticated 33333333-3333-3333-3333-333333333333: asks for a lesson in dollars
INSERT INTO public.bookings (id, tutor_id, student_id, scheduled_at, duration_minutes, payment_amount, currency, short_code)
VALUES ('b0000000-0000-0000-0000-000000000011', '22222222-2222-2222-2222-222222222222',
    '57000000-0000-0000-0000-000000000003', '2031-04-02 10:00+00', 50, 27.5, 'usd', 'NEW2')
RETURNING id, status;

-- authenticated 22222222-2222-2222-2222-222222222222: confirms it, with a link
UPDATE public.bookings SET status = 'confirmed', meeting_url = 'https://rooms.example.org/tariq'
WHERE id = 'b0000000-0000-0000-0000-000000000011' RETURNING status, meeting_url;

-- authenticated 33333333-3333-3333-3333-333333333333: reads what the trigger told
UPDATE public.notifications SET read = true WHERE NOT read RETURNING type, title;

-- authenticated 33333333-3333-3333-3333-333333333333: moves it
UPDATE public.bookings SET scheduled_at = '2031-04-03 10:30+00', duration_minutes = 60
WHERE id = 'b0000000-0000-0000-0000-000000000011' RETURNING scheduled_at, duration_minutes;

-- authenticated 22222222-2222-2222-2222-222222222222: is refused a short code that is taken
INSERT INTO public.bookings (tutor_id, student_id, scheduled_at, short_code)
VALUES ('22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000003', '2031-04-09 10:00+00', 'NEW2');

-- authenticated 22222222-2222-2222-2222-222222222222: declines another
UPDATE public.bookings SET status = 'cancelled_by_tutor' WHERE id = 'b0000000-0000-0000-0000-000000000004' RETURNING status;

-- authenticated 55555555-5555-5555-5555-555555555555: calls one off
UPDATE public.bookings SET status = 'cancelled_by_student' WHERE id = 'b0000000-0000-0000-0000-000000000008' RETURNING status;

-- authenticated 22222222-2222-2222-2222-222222222222: offers a lesson whose price is still open
INSERT INTO public.bookings (id, tutor_id, student_id, scheduled_at, short_code)
VALUES ('b0000000-0000-0000-0000-000000000012', '22222222-2222-2222-2222-222222222222',
    '57000000-0000-0000-0000-000000000005', '2031-04-04 10:00+00', 'NEW3')
RETURNING payment_amount, currency;

-- service_role -: notes a payment
UPDATE public.bookings SET payment_status = 'paid' WHERE id = 'b0000000-0000-0000-0000-000000000011' RETURNING payment_status;

-- authenticated 22222222-2222-2222-2222-222222222222: changes the link
UPDATE public.bookings SET meeting_url = 'https://rooms.example.org/tariq-2'
WHERE id = 'b0000000-0000-0000-0000-000000000011' RETURNING meeting_url;

-- service_role -: notes that the student agreed to be recorded
UPDATE public.bookings SET recording_agreed_at = '2025-06-01 12:00+00'
WHERE id = 'b0000000-0000-0000-0000-000000000012' RETURNING recording_agreed_at;

-- authenticated 44444444-4444-4444-4444-444444444444: finds none of another's students
UPDATE public.students SET tutor_id = '44444444-4444-4444-4444-444444444444'
WHERE tutor_id = '22222222-2222-2222-2222-222222222222' RETURNING id;

-- anon -: changes a price, as nothing forbids it
UPDATE public.bookings SET payment_amount = 0.5 WHERE id = 'b0000000-0000-0000-0000-000000000003' RETURNING payment_amount;

-- service_role -: the student without an account gets one
UPDATE public.students SET user_id = '44444444-4444-4444-4444-444444444444'
WHERE id = '57000000-0000-0000-0000-000000000010' RETURNING user_id;

-- service_role -: sends the reminders of a day
INSERT INTO public.notifications (id, user_id, type, title, link)
SELECT md5(b.id || 'reminder')::uuid, s.user_id, 'reminder', 'Your lesson is tomorrow', b.meeting_url
FROM public.bookings b JOIN public.students s ON s.id = b.student_id
WHERE b.scheduled_at::date BETWEEN '2031-04-01' AND '2031-04-03' AND b.status = 'confirmed' AND s.user_id IS NOT NULL;

-- service_role -: completes what is past
UPDATE public.bookings SET status = 'completed', actual_minutes = 58
WHERE scheduled_at < '2026-01-01' AND status = 'confirmed' RETURNING id, status;

-- authenticated 22222222-2222-2222-2222-222222222222: throws a booking away
UPDATE public.bookings SET deleted_at = '2025-06-01 12:00+00'
WHERE id = 'b0000000-0000-0000-0000-000000000012' RETURNING id;

-- service_role -: brings it back, and six others from a calendar
INSERT INTO public.bookings (id, tutor_id, student_id, scheduled_at, duration_minutes, payment_amount, short_code)
SELECT ('b0000000-0000-0000-0000-0000000000' || n)::uuid, '22222222-2222-2222-2222-222222222222',
    '57000000-0000-0000-0000-000000000005', '2031-06-01 10:00+00'::timestamptz + make_interval(days => n), 45, 30, 'CAL' || n
FROM generate_series(12, 18) AS n
ON CONFLICT (id) DO UPDATE SET deleted_at = NULL, scheduled_at = excluded.scheduled_at
RETURNING id, scheduled_at;

-- owner -: at last closes the table
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;

-- anon -: sees none any more
SELECT id FROM public.bookings;

-- owner -: lets tutors in
CREATE POLICY "tutors keep their bookings" ON public.bookings
    USING (tutor_id = auth.uid()) WITH CHECK (tutor_id = auth.uid());

-- authenticated 22222222-2222-2222-2222-222222222222: moves one under the new rules
UPDATE public.bookings SET scheduled_at = '2031-03-05 16:00+00'
WHERE id = 'b0000000-0000-0000-0000-000000000003' RETURNING scheduled_at;

-- owner -: adds a column and an index
ALTER TABLE public.bookings ADD COLUMN reschedule_count smallint NOT NULL DEFAULT 0, ADD UNIQUE (tutor_id, scheduled_at);

-- service_role -: removes a student with all bookings
DELETE FROM public.students WHERE id = '57000000-0000-0000-0000-000000000009' RETURNING full_name;

-- owner -: deletes an account, whose entry stays on the list
DELETE FROM auth.users WHERE id = '55555555-5555-5555-5555-555555555555';

-- authenticated 22222222-2222-2222-2222-222222222222: reads the week
SELECT id, scheduled_at, duration_minutes, status, payment_status, payment_amount, currency, meeting_url
FROM public.bookings WHERE deleted_at IS NULL ORDER BY id;
