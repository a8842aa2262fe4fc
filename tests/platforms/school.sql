-- A school's tutoring service: students ask for lessons, parents approve and pay in Trinidad and Tobago dollars,
-- tutors confirm or propose another time. It holds its sessions, payments and notifications in tables of the very
-- names that Firstbell uses, with other columns, and works with them every day.

CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
    display_name text,
    username text UNIQUE,
    role text NOT NULL CHECK (role IN ('student', 'tutor', 'parent', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Asked for by the parent; it counts from when the child accepts.
CREATE TABLE public.parent_child_links (
    parent_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    child_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    accepted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (parent_id, child_id)
);

CREATE TABLE public.bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    student_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    -- NULL: the student pays.
    payer_id uuid REFERENCES public.profiles (id) ON DELETE SET NULL,
    tutor_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    subject text,
    requested_start_at timestamptz NOT NULL,
    requested_end_at timestamptz NOT NULL,
    confirmed_start_at timestamptz,
    confirmed_end_at timestamptz,
    -- Came later than the rest: old rows have none.
    duration_minutes integer,
    price_ttd numeric(10, 2),
    status text NOT NULL DEFAULT 'PENDING' CONSTRAINT bookings_status CHECK (status IN ('PENDING',
        'PENDING_PARENT_APPROVAL', 'PARENT_REJECTED', 'COUNTER_PROPOSED', 'CONFIRMED', 'DECLINED', 'CANCELLED',
        'COMPLETED', 'NO_SHOW')),
    last_action_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX bookings_slot ON public.bookings (tutor_id, confirmed_start_at) WHERE status = 'CONFIRMED';

CREATE TABLE public.sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    booking_id uuid NOT NULL UNIQUE REFERENCES public.bookings (id) ON DELETE CASCADE,
    tutor_id uuid NOT NULL,
    student_id uuid NOT NULL,
    provider text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    join_url text,
    status text NOT NULL DEFAULT 'scheduled',
    notes jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.session_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES public.sessions (id) ON DELETE CASCADE,
    event_type text NOT NULL,
    actor_id uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.payments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    booking_id uuid NOT NULL REFERENCES public.bookings (id) ON DELETE CASCADE,
    payer_id uuid REFERENCES public.profiles (id) ON DELETE SET NULL,
    amount_ttd numeric(10, 2) NOT NULL,
    status text NOT NULL DEFAULT 'initiated',
    reference text UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.notifications (
    id bigserial PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    type text NOT NULL,
    title text NOT NULL,
    message text,
    is_read boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.payout_ledger (
    session_id bigint PRIMARY KEY REFERENCES public.sessions (id) ON DELETE CASCADE,
    tutor_id uuid NOT NULL,
    amount_ttd numeric(10, 2) NOT NULL,
    status text NOT NULL DEFAULT 'owed' CHECK (status IN ('owed', 'release_ready', 'released', 'reversed'))
);

CREATE TABLE public.tutor_video_provider_connections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tutor_id uuid NOT NULL UNIQUE REFERENCES public.profiles (id) ON DELETE CASCADE,
    provider text NOT NULL CHECK (provider IN ('google_meet', 'zoom')),
    connection_status text NOT NULL DEFAULT 'connected',
    access_token_encrypted text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Triggers and functions of the platform. As with most, they name their tables without a schema.

CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $touch$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$touch$;
CREATE TRIGGER touch BEFORE UPDATE ON public.bookings FOR EACH ROW EXECUTE FUNCTION public.touch();

-- A confirmed booking gets its session, and the student hears of it.
CREATE FUNCTION public.make_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $make$
DECLARE
    made bigint;
BEGIN
    INSERT INTO sessions (booking_id, tutor_id, student_id, provider, starts_at, ends_at)
    SELECT NEW.id, NEW.tutor_id, NEW.student_id, coalesce(max(c.provider), 'google_meet'),
           coalesce(NEW.confirmed_start_at, NEW.requested_start_at), coalesce(NEW.confirmed_end_at, NEW.requested_end_at)
    FROM tutor_video_provider_connections c WHERE c.tutor_id = NEW.tutor_id
    ON CONFLICT (booking_id) DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at
    RETURNING id INTO made;
    INSERT INTO session_events (session_id, event_type, actor_id) VALUES (made, 'scheduled', auth.uid());
    INSERT INTO notifications (user_id, type, title) VALUES (NEW.student_id, 'booking_confirmed', 'Your lesson is confirmed');
    RETURN NULL;
END
$make$;
CREATE TRIGGER make_session AFTER INSERT OR UPDATE OF status, confirmed_start_at ON public.bookings
    FOR EACH ROW WHEN (NEW.status = 'CONFIRMED') EXECUTE FUNCTION public.make_session();

-- Meant for the server after a payment; nobody took it from the rest of the world.
CREATE FUNCTION public.book_paid_lesson(booking uuid, student uuid, payer uuid, tutor uuid, starts timestamptz,
    minutes integer, price numeric) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER AS $book$
BEGIN
    INSERT INTO bookings (id, student_id, payer_id, tutor_id, requested_start_at, requested_end_at, confirmed_start_at,
        confirmed_end_at, duration_minutes, price_ttd, status, last_action_by)
    VALUES (booking, student, payer, tutor, starts, starts + make_interval(mins => minutes), starts,
        starts + make_interval(mins => minutes), minutes, price, 'CONFIRMED', 'system');
    RETURN booking;
END
$book$;

-- Policies.

ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.parent_child_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.session_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.payout_ledger ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tutor_video_provider_connections ENABLE ROW LEVEL SECURITY;

CREATE POLICY "signed in people see profiles" ON public.profiles FOR SELECT TO authenticated USING (true);
CREATE POLICY "people change their profile" ON public.profiles FOR UPDATE USING (id = auth.uid());

CREATE POLICY "both see their link" ON public.parent_child_links
    FOR SELECT USING (auth.uid() IN (parent_id, child_id));
CREATE POLICY "parents ask" ON public.parent_child_links
    FOR INSERT WITH CHECK (parent_id = auth.uid() AND accepted_at IS NULL);
CREATE POLICY "children answer" ON public.parent_child_links
    FOR UPDATE USING (child_id = auth.uid()) WITH CHECK (child_id = auth.uid());
CREATE POLICY "both may end it" ON public.parent_child_links
    FOR DELETE USING (auth.uid() IN (parent_id, child_id));

CREATE POLICY "parties see their booking" ON public.bookings
    FOR SELECT USING (auth.uid() IN (student_id, payer_id, tutor_id));
CREATE POLICY "students ask for lessons" ON public.bookings FOR INSERT WITH CHECK (student_id = auth.uid());
CREATE POLICY "students change their booking" ON public.bookings FOR UPDATE USING (student_id = auth.uid());
CREATE POLICY "payers change their booking" ON public.bookings FOR UPDATE USING (payer_id = auth.uid());
CREATE POLICY "tutors change their booking" ON public.bookings FOR UPDATE USING (tutor_id = auth.uid());

CREATE POLICY "parties see their session" ON public.sessions FOR SELECT USING (auth.uid() IN (tutor_id, student_id));
CREATE POLICY "tutors change their session" ON public.sessions FOR UPDATE USING (tutor_id = auth.uid());
CREATE POLICY "parties see what happened" ON public.session_events FOR SELECT USING (
    EXISTS (SELECT FROM public.sessions s WHERE s.id = session_id AND auth.uid() IN (s.tutor_id, s.student_id)));
CREATE POLICY "parties say what happened" ON public.session_events FOR INSERT WITH CHECK (actor_id = auth.uid());

CREATE POLICY "payers see their payments" ON public.payments FOR SELECT USING (payer_id = auth.uid());
CREATE POLICY "people see their notifications" ON public.notifications FOR SELECT USING (user_id = auth.uid());
CREATE POLICY "people read their notifications" ON public.notifications FOR UPDATE USING (user_id = auth.uid());
CREATE POLICY "tutors see their payouts" ON public.payout_ledger FOR SELECT USING (tutor_id = auth.uid());

CREATE POLICY "tutors keep their connection" ON public.tutor_video_provider_connections
    USING (tutor_id = auth.uid()) WITH CHECK (tutor_id = auth.uid());
CREATE POLICY "students look whether a tutor is connected" ON public.tutor_video_provider_connections
    FOR SELECT TO authenticated USING (true);

ALTER PUBLICATION supabase_realtime ADD TABLE public.bookings, public.sessions, public.notifications;

-- People: parent and payer 1, tutor 2, student 3, stranger 4, victim 5, a second child 6.

INSERT INTO auth.users (id, email) VALUES
    ('11111111-1111-1111-1111-111111111111', 'parent@example.org'),
    ('22222222-2222-2222-2222-222222222222', 'tutor@example.org'),
    ('33333333-3333-3333-3333-333333333333', 'student@example.org'),
    ('44444444-4444-4444-4444-444444444444', 'stranger@example.org'),
    ('55555555-5555-5555-5555-555555555555', 'victim@example.org'),
    ('66666666-6666-6666-6666-666666666666', 'second@example.org');
INSERT INTO public.profiles (id, display_name, username, role) VALUES
    ('11111111-1111-1111-1111-111111111111', 'Priya Parent', 'priya', 'parent'),
    ('22222222-2222-2222-2222-222222222222', 'Terrence Tutor', 'terrence', 'tutor'),
    ('33333333-3333-3333-3333-333333333333', 'Shiva Student', 'shiva', 'student'),
    ('44444444-4444-4444-4444-444444444444', 'Stella Stranger', 'stella', 'student'),
    -- Has never chosen a name to be shown.
    ('55555555-5555-5555-5555-555555555555', NULL, 'victor', 'parent'),
    ('66666666-6666-6666-6666-666666666666', 'Cara Child', 'cara', 'student');

INSERT INTO public.parent_child_links (parent_id, child_id, accepted_at) VALUES
    ('11111111-1111-1111-1111-111111111111', '33333333-3333-3333-3333-333333333333', '2025-01-10 12:00+00');

INSERT INTO public.tutor_video_provider_connections (id, tutor_id, provider, access_token_encrypted) VALUES
    ('c0000000-0000-0000-0000-000000000001', '22222222-2222-2222-2222-222222222222', 'google_meet', 'sealed-1');

INSERT INTO public.bookings (id, student_id, payer_id, tutor_id, subject, requested_start_at, requested_end_at,
    confirmed_start_at, confirmed_end_at, duration_minutes, price_ttd, status) VALUES
    -- Held long ago: one at another time than was asked for, one from before lengths were written down.
    ('b0000000-0000-0000-0000-000000000001', '33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111',
     '22222222-2222-2222-2222-222222222222', 'Maths', '2025-03-03 20:00+00', '2025-03-03 21:00+00',
     '2025-03-03 22:00+00', '2025-03-03 23:00+00', 60, 250.00, 'COMPLETED'),
    ('b0000000-0000-0000-0000-000000000002', '44444444-4444-4444-4444-444444444444', NULL,
     '22222222-2222-2222-2222-222222222222', 'Physics', '2025-03-04 20:00+00', '2025-03-04 20:45+00',
     '2025-03-04 20:00+00', '2025-03-04 20:45+00', NULL, 187.50, 'COMPLETED'),
    -- To come, and asked for.
    ('b0000000-0000-0000-0000-000000000003', '33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111',
     '22222222-2222-2222-2222-222222222222', 'Maths', '2031-03-03 20:00+00', '2031-03-03 21:00+00',
     '2031-03-03 20:00+00', '2031-03-03 21:00+00', 60, 250.00, 'CONFIRMED'),
    ('b0000000-0000-0000-0000-000000000004', '33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111',
     '22222222-2222-2222-2222-222222222222', 'Maths', '2031-03-10 20:00+00', '2031-03-10 21:00+00',
     NULL, NULL, 60, 250.00, 'PENDING'),
    -- Waiting for the parent; refused by one; and one to which nobody came.
    ('b0000000-0000-0000-0000-000000000005', '33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111',
     '22222222-2222-2222-2222-222222222222', 'Physics', '2031-03-11 20:00+00', '2031-03-11 20:30+00',
     NULL, NULL, 30, 125.00, 'PENDING_PARENT_APPROVAL'),
    ('b0000000-0000-0000-0000-000000000006', '33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111',
     '22222222-2222-2222-2222-222222222222', 'Chess', '2025-04-01 20:00+00', '2025-04-01 21:00+00',
     NULL, NULL, 60, 300.00, 'PARENT_REJECTED'),
    ('b0000000-0000-0000-0000-000000000007', '66666666-6666-6666-6666-666666666666', '55555555-5555-5555-5555-555555555555',
     '22222222-2222-2222-2222-222222222222', 'Maths', '2025-04-02 20:00+00', '2025-04-02 21:00+00',
     '2025-04-02 20:00+00', '2025-04-02 21:00+00', 60, 250.00, 'NO_SHOW');

INSERT INTO public.payments (id, booking_id, payer_id, amount_ttd, status, reference) VALUES
    ('d0000000-0000-0000-0000-000000000001', 'b0000000-0000-0000-0000-000000000001', '11111111-1111-1111-1111-111111111111',
     250.00, 'succeeded', 'receipt-1');
