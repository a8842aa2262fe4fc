-- A marketplace of private tutors: clients book from a listing, pay in pounds, and may book for a child. Its habits
-- are those of many: an enum for the status, parties that turn NULL when a person leaves, and policies that let
-- both sides change any column of their booking.

CREATE TYPE public.booking_state AS ENUM ('Pending', 'Confirmed', 'Completed', 'Cancelled', 'Declined');

CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
    full_name text,
    email text,
    roles text[] NOT NULL DEFAULT '{client}',
    timezone text NOT NULL DEFAULT 'Europe/London',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Who knows whom. People write it with their own token, so it proves nothing by itself.
CREATE TABLE public.profile_graph (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    target_profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    relationship_type text NOT NULL CHECK (relationship_type IN ('GUARDIAN', 'SOCIAL', 'BOOKING', 'AGENT_REFERRAL')),
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'ACTIVE', 'BLOCKED')),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source_profile_id, target_profile_id, relationship_type),
    CHECK (source_profile_id <> target_profile_id)
);

-- The server notes here that a student, or who stands for them, agreed to a guardian. No client can write it.
CREATE TABLE public.guardian_consents (
    guardian_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    student_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    accepted_at timestamptz NOT NULL,
    PRIMARY KEY (guardian_id, student_id)
);

CREATE TABLE public.bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid REFERENCES public.profiles (id) ON DELETE SET NULL,
    tutor_id uuid REFERENCES public.profiles (id) ON DELETE SET NULL,
    student_id uuid REFERENCES public.profiles (id) ON DELETE SET NULL,
    service_name text,
    -- NULL while the two have not found a time.
    session_start_time timestamptz,
    session_duration integer,
    amount numeric,
    status public.booking_state NOT NULL DEFAULT 'Pending',
    payment_status text NOT NULL DEFAULT 'Pending',
    recording_allowed boolean,
    meeting_url text,
    recording_url text,
    duration_actual integer,
    session_artifacts jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX bookings_client ON public.bookings (client_id);
CREATE INDEX bookings_tutor ON public.bookings (tutor_id);

CREATE TABLE public.refunds (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    booking_id uuid NOT NULL REFERENCES public.bookings (id) ON DELETE CASCADE,
    amount numeric NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.connected_accounts (
    profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    service text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (profile_id, service)
);

CREATE TABLE public.profile_reviews (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    booking_id uuid REFERENCES public.bookings (id) ON DELETE SET NULL,
    reviewer_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    reviewee_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    rating integer NOT NULL CHECK (rating BETWEEN 1 AND 5),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.caas_recalculation_queue (
    id serial PRIMARY KEY,
    profile_id uuid NOT NULL UNIQUE REFERENCES public.profiles (id) ON DELETE CASCADE,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Triggers of the platform. As with most, they name their tables without a schema.

CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $touch$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$touch$;
CREATE TRIGGER touch BEFORE UPDATE ON public.profiles FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TRIGGER touch BEFORE UPDATE ON public.bookings FOR EACH ROW EXECUTE FUNCTION public.touch();

CREATE FUNCTION public.score_again() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $score$
BEGIN
    INSERT INTO caas_recalculation_queue (profile_id, reason)
    SELECT p.id, TG_ARGV[0] FROM profiles p WHERE p.id = (to_jsonb(NEW) ->> TG_ARGV[1])::uuid
    ON CONFLICT (profile_id) DO UPDATE SET reason = excluded.reason;
    RETURN NULL;
END
$score$;
CREATE TRIGGER score_again AFTER INSERT ON public.profiles
    FOR EACH ROW WHEN ('tutor' = ANY (NEW.roles)) EXECUTE FUNCTION public.score_again('sign-up', 'id');
CREATE TRIGGER score_again AFTER INSERT ON public.profile_reviews
    FOR EACH ROW EXECUTE FUNCTION public.score_again('review', 'reviewee_id');
CREATE TRIGGER score_again AFTER UPDATE OF status ON public.bookings
    FOR EACH ROW WHEN (NEW.status = 'Completed' AND OLD.status <> 'Completed')
    EXECUTE FUNCTION public.score_again('lesson', 'tutor_id');

-- Left over from a migration tool, and open to everybody.
CREATE FUNCTION public.exec_sql(statement text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $exec$
BEGIN
    EXECUTE statement;
END
$exec$;

-- Policies.

ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profile_graph ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.guardian_consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.refunds ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.connected_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profile_reviews ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.caas_recalculation_queue ENABLE ROW LEVEL SECURITY;

CREATE POLICY "anybody sees profiles" ON public.profiles FOR SELECT USING (true);
CREATE POLICY "people change their profile" ON public.profiles FOR UPDATE USING (id = auth.uid());

CREATE POLICY "people see their links" ON public.profile_graph
    FOR SELECT USING (auth.uid() IN (source_profile_id, target_profile_id));
CREATE POLICY "people make links" ON public.profile_graph
    FOR INSERT WITH CHECK (auth.uid() = source_profile_id);
CREATE POLICY "people change their links" ON public.profile_graph
    FOR UPDATE USING (auth.uid() IN (source_profile_id, target_profile_id));
CREATE POLICY "people remove their links" ON public.profile_graph
    FOR DELETE USING (auth.uid() IN (source_profile_id, target_profile_id));

CREATE POLICY "both see their consent" ON public.guardian_consents
    FOR SELECT USING (auth.uid() IN (guardian_id, student_id));

CREATE POLICY "parties see their booking" ON public.bookings
    FOR SELECT USING (auth.uid() IN (client_id, tutor_id, student_id));
CREATE POLICY "clients book" ON public.bookings FOR INSERT WITH CHECK (auth.uid() = client_id);
CREATE POLICY "client and tutor update their booking" ON public.bookings
    FOR UPDATE USING (auth.uid() IN (client_id, tutor_id)) WITH CHECK (true);

CREATE POLICY "clients see their refunds" ON public.refunds FOR SELECT USING (
    EXISTS (SELECT FROM public.bookings b WHERE b.id = booking_id AND b.client_id = auth.uid()));

CREATE POLICY "people keep their accounts" ON public.connected_accounts
    USING (profile_id = auth.uid()) WITH CHECK (profile_id = auth.uid());
CREATE POLICY "anybody signed in sees who is connected" ON public.connected_accounts
    FOR SELECT TO authenticated USING (true);

CREATE POLICY "anybody sees reviews" ON public.profile_reviews FOR SELECT USING (true);
CREATE POLICY "people review" ON public.profile_reviews FOR INSERT WITH CHECK (reviewer_id = auth.uid());

ALTER PUBLICATION supabase_realtime ADD TABLE public.bookings;

-- People: client and parent 1, tutor 2, student 3, stranger 4, victim 5, a second child 6.

INSERT INTO auth.users (id, email) VALUES
    ('11111111-1111-1111-1111-111111111111', 'parent@example.org'),
    ('22222222-2222-2222-2222-222222222222', 'tutor@example.org'),
    ('33333333-3333-3333-3333-333333333333', 'student@example.org'),
    ('44444444-4444-4444-4444-444444444444', 'stranger@example.org'),
    ('55555555-5555-5555-5555-555555555555', 'victim@example.org'),
    ('66666666-6666-6666-6666-666666666666', 'second@example.org');
INSERT INTO public.profiles (id, full_name, email, roles)
SELECT u.id, p.full_name, u.email, p.roles
FROM (VALUES (1, 'Philippa Client', '{client}'::text[]), (2, 'Tamsin Tutor', '{tutor,client}'), (3, 'Sam Student', '{student}'),
             (4, 'Simon Stranger', '{client,tutor}'), (5, 'Vera Victim', '{client}'), (6, 'Cleo Child', '{student}'))
    AS p (digit, full_name, roles)
JOIN auth.users u ON left(u.id::text, 1) = p.digit::text
ORDER BY p.digit;

INSERT INTO public.profile_graph (id, source_profile_id, target_profile_id, relationship_type, status, metadata) VALUES
    ('a0000000-0000-0000-0000-000000000001', '11111111-1111-1111-1111-111111111111', '33333333-3333-3333-3333-333333333333',
     'GUARDIAN', 'ACTIVE', '{"relation": "mother"}'),
    ('a0000000-0000-0000-0000-000000000002', '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222',
     'SOCIAL', 'ACTIVE', '{}');
INSERT INTO public.guardian_consents VALUES
    ('11111111-1111-1111-1111-111111111111', '33333333-3333-3333-3333-333333333333', '2025-01-10 12:00+00');

INSERT INTO public.connected_accounts (profile_id, service) VALUES
    ('22222222-2222-2222-2222-222222222222', 'lessonspace');

INSERT INTO public.bookings (id, client_id, tutor_id, student_id, service_name, session_start_time, session_duration, amount,
    status, payment_status, recording_allowed, recording_url, session_artifacts) VALUES
    -- Held and paid long ago; one with papers of the platform's own, one without any.
    ('b0000000-0000-0000-0000-000000000001', '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222',
     '33333333-3333-3333-3333-333333333333', 'Algebra', '2025-03-03 16:00+00', 60, 35.00, 'Completed', 'Paid', true,
     'https://files.example.org/1.mp4', '{"no_show_report": {"by": "tutor"}}'),
    ('b0000000-0000-0000-0000-000000000002', '55555555-5555-5555-5555-555555555555', '22222222-2222-2222-2222-222222222222',
     NULL, 'Calculus', '2025-03-04 17:00+00', 45, 28.50, 'Completed', 'Paid', NULL, NULL, NULL),
    -- To come, and asked for. Old rows repeat the client where nobody else learns.
    ('b0000000-0000-0000-0000-000000000003', '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222',
     '33333333-3333-3333-3333-333333333333', 'Algebra', '2031-03-03 16:00+00', 60, 35.00, 'Confirmed', 'Paid', true, NULL, NULL),
    ('b0000000-0000-0000-0000-000000000004', '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222',
     '11111111-1111-1111-1111-111111111111', 'Statistics', '2031-03-10 16:00+00', 60, 35.00, 'Pending', 'Pending', false, NULL, NULL),
    -- Refused.
    ('b0000000-0000-0000-0000-000000000005', '55555555-5555-5555-5555-555555555555', '22222222-2222-2222-2222-222222222222',
     NULL, 'Calculus', '2025-04-01 17:00+00', 45, 28.50, 'Declined', 'Cancelled', NULL, NULL, NULL),
    -- The client has left the platform.
    ('b0000000-0000-0000-0000-000000000006', NULL, '22222222-2222-2222-2222-222222222222',
     NULL, 'Algebra', '2025-02-01 10:00+00', 60, 30.00, 'Completed', 'Paid', NULL, NULL, NULL),
    -- Neither time nor price yet.
    ('b0000000-0000-0000-0000-000000000007', '55555555-5555-5555-5555-555555555555', '22222222-2222-2222-2222-222222222222',
     NULL, 'Trial', NULL, NULL, NULL, 'Pending', 'Pending', NULL, NULL, NULL),
    -- Past, and nobody has said that it was held. A price to half a penny, as a discount makes it.
    ('b0000000-0000-0000-0000-000000000008', '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222',
     NULL, 'Statistics', '2025-05-05 09:00+00', 30, 17.325, 'Confirmed', 'Paid', NULL, NULL, '{}');
