-- Lessons: people, bookings, what the providers reported, and the tables the platform crate works with.
--
-- Runs on an empty Postgres and on a Supabase database in which `profiles` and `bookings` exist already:
-- what is there is kept, what is missing is added.

-- Supabase brings `auth.uid()` and the roles that clients connect as. Elsewhere they are made here, with
-- the same meaning: the `sub` of the verified token that the gateway put into the session.
CREATE SCHEMA IF NOT EXISTS auth;

DO $shim$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    -- The functions connect as this role. It owns nothing and may do only what is granted below. The
    -- operator gives it a password.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'firstbell_service') THEN
        CREATE ROLE firstbell_service LOGIN NOINHERIT;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $uid$
            SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
        $uid$;
        GRANT USAGE ON SCHEMA auth TO anon, authenticated;
        GRANT EXECUTE ON FUNCTION auth.uid() TO anon, authenticated;
    END IF;
END
$shim$;

ALTER ROLE firstbell_service SET statement_timeout = '8s';
ALTER ROLE firstbell_service SET lock_timeout = '2s';
ALTER ROLE firstbell_service SET idle_in_transaction_session_timeout = '10s';

-- People -----------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS public.profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid()
);
ALTER TABLE public.profiles
    ADD COLUMN IF NOT EXISTS full_name text;

CREATE TABLE IF NOT EXISTS public.profile_graph (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    target_profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    relationship_type text NOT NULL,
    status text NOT NULL DEFAULT 'ACTIVE',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS profile_graph_guardian ON public.profile_graph (target_profile_id, source_profile_id)
    WHERE relationship_type = 'GUARDIAN' AND status = 'ACTIVE';

-- Bookings ---------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS public.bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL REFERENCES public.profiles (id),
    tutor_id uuid NOT NULL REFERENCES public.profiles (id),
    status text NOT NULL DEFAULT 'pending',
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.bookings
    ADD COLUMN IF NOT EXISTS student_id uuid REFERENCES public.profiles (id),
    ADD COLUMN IF NOT EXISTS session_start_time timestamptz,
    ADD COLUMN IF NOT EXISTS session_duration integer,
    ADD COLUMN IF NOT EXISTS meeting_provider text,
    ADD COLUMN IF NOT EXISTS meeting_provider_id text,
    ADD COLUMN IF NOT EXISTS meeting_url text,
    ADD COLUMN IF NOT EXISTS meeting_started_at timestamptz,
    ADD COLUMN IF NOT EXISTS meeting_ended_at timestamptz,
    ADD COLUMN IF NOT EXISTS duration_actual integer,
    ADD COLUMN IF NOT EXISTS recording_url text,
    ADD COLUMN IF NOT EXISTS recording_consent boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS session_artifacts jsonb NOT NULL DEFAULT '{}'::jsonb,
    ADD COLUMN IF NOT EXISTS engagement_metrics jsonb,
    ADD COLUMN IF NOT EXISTS price_minor bigint CHECK (price_minor >= 0),
    ADD COLUMN IF NOT EXISTS price_currency text CHECK (price_currency ~ '^[A-Z]{3}$'),
    ADD COLUMN IF NOT EXISTS room_claim uuid,
    ADD COLUMN IF NOT EXISTS room_claimed_until timestamptz;

COMMENT ON COLUMN public.bookings.student_id IS 'The learner; NULL means that the client learns.';
COMMENT ON COLUMN public.bookings.session_duration IS 'Planned length in minutes.';
COMMENT ON COLUMN public.bookings.meeting_provider_id IS 'The provider''s own room id, as its webhooks carry it.';
COMMENT ON COLUMN public.bookings.meeting_url IS 'The room''s address without anybody''s personal access.';
COMMENT ON COLUMN public.bookings.duration_actual IS 'Seconds the provider held the room open, all spans added.';
COMMENT ON COLUMN public.bookings.recording_url IS 'Where the provider is asked for the recording; useless without our key.';
COMMENT ON COLUMN public.bookings.recording_consent IS 'Without it nothing is recorded.';
COMMENT ON COLUMN public.bookings.price_minor IS
    'The price, pinned when the booking is made, in the smallest unit of price_currency (ISO 4217).';
COMMENT ON COLUMN public.bookings.room_claim IS 'The join that is opening the room right now; the others wait for it.';

CREATE INDEX IF NOT EXISTS bookings_client ON public.bookings (client_id);
CREATE INDEX IF NOT EXISTS bookings_tutor ON public.bookings (tutor_id);
CREATE INDEX IF NOT EXISTS bookings_student ON public.bookings (student_id);
CREATE UNIQUE INDEX IF NOT EXISTS bookings_room ON public.bookings (meeting_provider, meeting_provider_id);

-- What the providers reported ----------------------------------------------------------------------------

CREATE TABLE public.provider_events (
    provider text NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL,
    booking_id uuid,
    received_at timestamptz NOT NULL,
    envelope jsonb NOT NULL,
    status text NOT NULL CHECK (status IN ('waiting', 'applied', 'parked')),
    reason text,
    attempts integer NOT NULL DEFAULT 1,
    settled_at timestamptz,
    PRIMARY KEY (provider, event_id)
);
COMMENT ON COLUMN public.provider_events.status IS
    'waiting: matches nothing yet, will be tried again; applied; parked: given up, waits for a person';
CREATE INDEX provider_events_open ON public.provider_events (received_at) WHERE status IN ('waiting', 'parked');
CREATE INDEX provider_events_booking ON public.provider_events (booking_id);

CREATE TABLE IF NOT EXISTS public.caas_recalculation_queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.caas_recalculation_queue
    ADD COLUMN IF NOT EXISTS source text;
COMMENT ON COLUMN public.caas_recalculation_queue.source IS 'The fact that asks for it; the same fact asks once.';
CREATE UNIQUE INDEX caas_recalculation_queue_source ON public.caas_recalculation_queue (source);

-- The platform's own tables ------------------------------------------------------------------------------

CREATE TABLE public.outbox (
    id uuid PRIMARY KEY,
    queue text NOT NULL,
    envelope jsonb NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    sent_at timestamptz
);
CREATE INDEX outbox_due ON public.outbox (due_at) WHERE sent_at IS NULL;

CREATE TABLE public.idempotency (
    key text PRIMARY KEY,
    payload_hash bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('INPROGRESS', 'COMPLETED')),
    attempt bigint NOT NULL,
    lease_until timestamptz,
    response jsonb,
    expires_at timestamptz,
    CHECK ((state = 'INPROGRESS') = (lease_until IS NOT NULL)),
    CHECK ((state = 'COMPLETED') = (expires_at IS NOT NULL))
);

-- Who may see and do what --------------------------------------------------------------------------------
-- Clients that talk to Postgres directly read their own rows and change nothing that this system owns.

ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profile_graph ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.provider_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.caas_recalculation_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.firstbell_migrations ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON public.provider_events, public.caas_recalculation_queue, public.outbox,
    public.idempotency, public.firstbell_migrations FROM PUBLIC, anon, authenticated;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON public.profile_graph FROM PUBLIC, anon, authenticated;
GRANT SELECT ON public.profiles, public.profile_graph, public.bookings TO authenticated;

CREATE POLICY firstbell_own_profile ON public.profiles FOR SELECT TO authenticated
    USING (id = (SELECT auth.uid()));
CREATE POLICY firstbell_own_links ON public.profile_graph FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) IN (source_profile_id, target_profile_id));
CREATE POLICY firstbell_own_bookings ON public.bookings FOR SELECT TO authenticated
    USING (
        (SELECT auth.uid()) IN (client_id, tutor_id, student_id)
        OR EXISTS (
            SELECT FROM public.profile_graph g
            WHERE g.source_profile_id = (SELECT auth.uid()) AND g.target_profile_id = bookings.student_id
              AND g.relationship_type = 'GUARDIAN' AND g.status = 'ACTIVE'));

-- A platform may let its clients create and edit bookings. The columns below are still ours alone.
CREATE FUNCTION public.firstbell_guard_bookings() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE
    owned constant text[] := ARRAY['student_id', 'meeting_provider', 'meeting_provider_id', 'meeting_url',
        'meeting_started_at', 'meeting_ended_at', 'duration_actual', 'recording_url', 'recording_consent',
        'session_artifacts', 'engagement_metrics', 'price_minor', 'price_currency', 'room_claim',
        'room_claimed_until'];
    before jsonb := '{"session_artifacts": {}, "recording_consent": false}';
    field text;
BEGIN
    IF current_user NOT IN ('anon', 'authenticated') THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        before := to_jsonb(OLD);
    END IF;
    FOREACH field IN ARRAY owned LOOP
        IF to_jsonb(NEW) -> field IS DISTINCT FROM coalesce(before -> field, 'null'::jsonb) THEN
            RAISE insufficient_privilege USING MESSAGE = format('bookings.%s is not yours to change', field);
        END IF;
    END LOOP;
    RETURN NEW;
END
$guard$;
CREATE TRIGGER firstbell_guard_bookings BEFORE INSERT OR UPDATE ON public.bookings
    FOR EACH ROW EXECUTE FUNCTION public.firstbell_guard_bookings();

-- The functions' own role.
GRANT USAGE ON SCHEMA public TO firstbell_service;
GRANT SELECT ON public.profiles, public.profile_graph TO firstbell_service;
GRANT SELECT, UPDATE ON public.bookings TO firstbell_service;
GRANT SELECT, INSERT, UPDATE ON public.provider_events, public.outbox TO firstbell_service;
GRANT SELECT, INSERT, UPDATE ON public.idempotency TO firstbell_service;
GRANT SELECT, INSERT ON public.caas_recalculation_queue TO firstbell_service;

DO $service$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['profiles', 'profile_graph', 'bookings', 'provider_events',
        'caas_recalculation_queue', 'outbox', 'idempotency'] LOOP
        EXECUTE format('CREATE POLICY firstbell_service ON public.%I TO firstbell_service USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$service$;
