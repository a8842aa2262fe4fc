-- Tutors with a studio of their own: each keeps a list of students, of whom many never sign in, and books for them.
-- Prices come in any currency. `bookings` has no row level security at all: whoever has the public key reads and
-- writes it.

CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
    full_name text,
    role text NOT NULL DEFAULT 'student' CHECK (role IN ('tutor', 'student')),
    timezone text NOT NULL DEFAULT 'UTC',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.students (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tutor_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    -- The student's own account, once there is one.
    user_id uuid REFERENCES auth.users (id) ON DELETE SET NULL,
    -- The account of a parent who books and pays for them.
    payer_user_id uuid REFERENCES auth.users (id) ON DELETE SET NULL,
    full_name text NOT NULL,
    email text,
    deleted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.student_guardians (
    guardian_user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    student_id uuid NOT NULL REFERENCES public.students (id) ON DELETE CASCADE,
    accepted_at timestamptz,
    PRIMARY KEY (guardian_user_id, student_id)
);

CREATE TABLE public.bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tutor_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    student_id uuid NOT NULL REFERENCES public.students (id) ON DELETE CASCADE,
    scheduled_at timestamptz NOT NULL,
    duration_minutes smallint NOT NULL DEFAULT 60,
    timezone text NOT NULL DEFAULT 'UTC',
    status text NOT NULL DEFAULT 'pending' CHECK (status IN
        ('pending', 'confirmed', 'completed', 'cancelled', 'cancelled_by_tutor', 'cancelled_by_student')),
    payment_status text NOT NULL DEFAULT 'unpaid',
    payment_amount numeric(12, 3),
    currency text DEFAULT 'eur',
    recording_agreed_at timestamptz,
    meeting_url text,
    recording_url text,
    actual_minutes smallint,
    short_code text UNIQUE,
    deleted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX bookings_student ON public.bookings (student_id);
CREATE INDEX bookings_tutor ON public.bookings (tutor_id, scheduled_at) WHERE deleted_at IS NULL;

CREATE TABLE public.notifications (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    type text NOT NULL,
    title text NOT NULL,
    body text,
    link text,
    read boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The platform's trigger names its tables without a schema, as most do.
CREATE FUNCTION public.booking_written() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $written$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.status <> OLD.status THEN
        INSERT INTO notifications (id, user_id, type, title)
        SELECT md5(NEW.id || NEW.status)::uuid, s.user_id, 'booking_' || NEW.status, 'Your lesson has changed'
        FROM students s WHERE s.id = NEW.student_id AND s.user_id IS NOT NULL
        ON CONFLICT (id) DO NOTHING;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END
$written$;
CREATE TRIGGER booking_written BEFORE UPDATE ON public.bookings
    FOR EACH ROW EXECUTE FUNCTION public.booking_written();

-- Policies; `bookings` was forgotten.

ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.students ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.student_guardians ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;

CREATE POLICY "anybody sees profiles" ON public.profiles FOR SELECT USING (true);
CREATE POLICY "people change their profile" ON public.profiles FOR UPDATE USING (id = auth.uid());
CREATE POLICY "tutors keep their students" ON public.students
    USING (tutor_id = auth.uid()) WITH CHECK (tutor_id = auth.uid());
CREATE POLICY "students see their own entries" ON public.students FOR SELECT USING (user_id = auth.uid());
CREATE POLICY "guardians see their links" ON public.student_guardians FOR SELECT USING (guardian_user_id = auth.uid());
CREATE POLICY "people see their notifications" ON public.notifications FOR SELECT USING (user_id = auth.uid());
CREATE POLICY "people read their notifications" ON public.notifications FOR UPDATE USING (user_id = auth.uid());

-- People: parent and payer 1, tutor 2, student 3, stranger 4, victim 5.

INSERT INTO auth.users (id, email) VALUES
    ('11111111-1111-1111-1111-111111111111', 'parent@example.org'),
    ('22222222-2222-2222-2222-222222222222', 'tutor@example.org'),
    ('33333333-3333-3333-3333-333333333333', 'student@example.org'),
    ('44444444-4444-4444-4444-444444444444', 'stranger@example.org'),
    ('55555555-5555-5555-5555-555555555555', 'victim@example.org');
INSERT INTO public.profiles (id, full_name, role, timezone) VALUES
    ('11111111-1111-1111-1111-111111111111', 'Paloma Parent', 'student', 'Europe/Madrid'),
    ('22222222-2222-2222-2222-222222222222', 'Tariq Tutor', 'tutor', 'Africa/Tunis'),
    ('33333333-3333-3333-3333-333333333333', 'Sol Student', 'student', 'Europe/Madrid'),
    ('44444444-4444-4444-4444-444444444444', 'Sten Stranger', 'tutor', 'UTC'),
    ('55555555-5555-5555-5555-555555555555', 'Vida Victim', 'student', 'Asia/Tokyo');

INSERT INTO public.students (id, tutor_id, user_id, payer_user_id, full_name, email) VALUES
    -- A child whose parent pays; an adult; one who has never signed in.
    ('57000000-0000-0000-0000-000000000003', '22222222-2222-2222-2222-222222222222', '33333333-3333-3333-3333-333333333333',
     '11111111-1111-1111-1111-111111111111', 'Sol S.', 'student@example.org'),
    ('57000000-0000-0000-0000-000000000005', '22222222-2222-2222-2222-222222222222', '55555555-5555-5555-5555-555555555555',
     NULL, 'Vida V.', 'victim@example.org'),
    ('57000000-0000-0000-0000-000000000009', '22222222-2222-2222-2222-222222222222', NULL,
     NULL, 'Nobody Yet', 'nobody@example.org');
INSERT INTO public.student_guardians VALUES
    ('11111111-1111-1111-1111-111111111111', '57000000-0000-0000-0000-000000000003', '2025-01-10 12:00+00');

INSERT INTO public.bookings (id, tutor_id, student_id, scheduled_at, duration_minutes, status, payment_status,
    payment_amount, currency, recording_agreed_at, meeting_url, short_code, deleted_at) VALUES
    -- Held long ago, in euros and in yen.
    ('b0000000-0000-0000-0000-000000000001', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000003',
     '2025-03-03 17:00+01', 60, 'completed', 'paid', 30.00, 'eur', '2025-01-11 12:00+00', 'https://rooms.example.org/old', 'AAA1', NULL),
    ('b0000000-0000-0000-0000-000000000002', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000005',
     '2025-03-04 19:00+09', 45, 'completed', 'paid', 4500, 'jpy', NULL, NULL, 'AAA2', NULL),
    -- To come, and asked for.
    ('b0000000-0000-0000-0000-000000000003', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000003',
     '2031-03-03 17:00+01', 60, 'confirmed', 'unpaid', 30.00, 'eur', '2025-01-11 12:00+00', NULL, 'AAA3', NULL),
    ('b0000000-0000-0000-0000-000000000004', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000003',
     '2031-03-10 17:00+01', 60, 'pending', 'unpaid', 30.00, 'eur', NULL, NULL, 'AAA4', NULL),
    -- Of the student without an account; called off; thrown away; and one in dinars, which have three decimals.
    ('b0000000-0000-0000-0000-000000000005', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000009',
     '2031-03-11 10:00+01', 30, 'confirmed', 'unpaid', 15.00, 'eur', NULL, NULL, 'AAA5', NULL),
    ('b0000000-0000-0000-0000-000000000006', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000005',
     '2025-04-01 19:00+09', 45, 'cancelled_by_student', 'unpaid', 4500, 'jpy', NULL, NULL, 'AAA6', NULL),
    ('b0000000-0000-0000-0000-000000000007', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000003',
     '2025-04-02 17:00+02', 60, 'confirmed', 'unpaid', 30.00, 'eur', NULL, NULL, 'AAA7', '2025-04-01 08:00+00'),
    ('b0000000-0000-0000-0000-000000000008', '22222222-2222-2222-2222-222222222222', '57000000-0000-0000-0000-000000000005',
     '2031-03-12 19:00+09', 60, 'confirmed', 'unpaid', 42.505, 'tnd', NULL, 'https://rooms.example.org/vida', 'AAA8', NULL);
