-- Our own dialect: the platform that an empty Postgres gets, and the shortest example of a view. Its tables are in
-- `public`, as a platform's are; nothing of ours refers to them but the views below.

CREATE TABLE IF NOT EXISTS public.profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    full_name text
);

CREATE TABLE IF NOT EXISTS public.profile_graph (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    target_profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    relationship_type text NOT NULL,
    status text NOT NULL DEFAULT 'ACTIVE',
    -- When the other side agreed to it.
    accepted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS profile_graph_guardian ON public.profile_graph (target_profile_id, source_profile_id)
    WHERE relationship_type = 'GUARDIAN' AND status = 'ACTIVE';

CREATE TABLE IF NOT EXISTS public.bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    tutor_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    student_id uuid REFERENCES public.profiles (id) ON DELETE SET NULL,
    status text NOT NULL DEFAULT 'pending',
    session_start_time timestamptz,
    session_duration integer,
    price_minor bigint,
    price_currency text,
    recording_consent boolean NOT NULL DEFAULT false,
    classroom text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS bookings_client ON public.bookings (client_id);
CREATE INDEX IF NOT EXISTS bookings_tutor ON public.bookings (tutor_id);
CREATE INDEX IF NOT EXISTS bookings_student ON public.bookings (student_id);

CREATE TABLE IF NOT EXISTS public.tutor_video_provider_connections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tutor_id uuid NOT NULL UNIQUE REFERENCES public.profiles (id) ON DELETE CASCADE,
    provider text NOT NULL,
    connection_status text NOT NULL DEFAULT 'connected',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A platform's clients need policies of its own; without any, they read and write nothing here.
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profile_graph ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tutor_video_provider_connections ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE VIEW firstbell.platform_bookings WITH (security_invoker = true) AS
    SELECT id, client_id, tutor_id, student_id, lower(status) AS status, session_start_time, session_duration,
           price_minor, price_currency, recording_consent, classroom
    FROM public.bookings;

CREATE OR REPLACE VIEW firstbell.platform_people AS
    SELECT id, full_name FROM public.profiles;

CREATE OR REPLACE VIEW firstbell.platform_links AS
    SELECT source_profile_id AS guardian_id, target_profile_id AS student_id, accepted_at IS NOT NULL AS is_accepted
    FROM public.profile_graph
    WHERE relationship_type = 'GUARDIAN' AND status = 'ACTIVE';

CREATE OR REPLACE VIEW firstbell.platform_connections AS
    SELECT tutor_id, provider, connection_status = 'connected' AS is_connected
    FROM public.tutor_video_provider_connections;

SELECT firstbell.follow_table('public.bookings');
