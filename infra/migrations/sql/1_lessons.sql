-- Lessons: our copy of the platform's bookings, what the providers reported, and the tables the platform crate
-- works with. Names are those of the schema `firstbell`, which the runner has made, closed and put first.

-- Roles ------------------------------------------------------------------------------------------------

DO $roles$
DECLARE wanted text;
BEGIN
    -- Whom clients connect as. Supabase has them; elsewhere they are made, with the same meaning.
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;

    -- The functions connect as this role. It owns nothing and may do only what `access.sql` grants. The
    -- operator gives it a password.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'firstbell_service') THEN
        CREATE ROLE firstbell_service LOGIN NOINHERIT;
    END IF;
END
$roles$;

ALTER ROLE firstbell_service SET search_path = firstbell;
ALTER ROLE firstbell_service SET statement_timeout = '8s';
ALTER ROLE firstbell_service SET lock_timeout = '2s';
ALTER ROLE firstbell_service SET idle_in_transaction_session_timeout = '10s';

-- The person whose verified token the request carries, as Supabase's gateway puts it into the session.
CREATE FUNCTION person() RETURNS uuid LANGUAGE sql STABLE AS $person$
    SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
$person$;

-- Bookings ---------------------------------------------------------------------------------------------
-- The first part is what the platform says, as far as it is followed (`4_platform.sql`); the second is ours.

CREATE TABLE bookings (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL,
    tutor_id uuid NOT NULL,
    student_id uuid,
    status text NOT NULL CHECK (status IN ('pending', 'confirmed', 'completed', 'cancelled', 'unknown')),
    session_start_time timestamptz,
    session_duration integer,
    price_minor bigint CHECK (price_minor >= 0),
    price_currency text CHECK (price_currency ~ '^[A-Z]{3}$'),
    recording_consent boolean NOT NULL DEFAULT false,
    agreed_at timestamptz,
    seen jsonb,
    gone_in text,

    meeting_provider text,
    meeting_provider_id text,
    meeting_url text,
    meeting_started_at timestamptz,
    meeting_ended_at timestamptz,
    duration_actual integer,
    recording_url text,
    session_artifacts jsonb NOT NULL DEFAULT '{}',
    engagement_metrics jsonb,
    room_claim uuid,
    room_claimed_until timestamptz,
    CHECK ((price_minor IS NULL) = (price_currency IS NULL))
);

COMMENT ON COLUMN bookings.student_id IS 'The learner; NULL means that the client learns.';
COMMENT ON COLUMN bookings.status IS 'unknown: the platform used a word that its view does not translate.';
COMMENT ON COLUMN bookings.session_duration IS 'Planned length in minutes.';
COMMENT ON COLUMN bookings.price_minor IS 'The price in the smallest unit of price_currency (ISO 4217).';
COMMENT ON COLUMN bookings.recording_consent IS 'Without it nothing is recorded.';
COMMENT ON COLUMN bookings.agreed_at IS
    'When it was first seen confirmed before its start. From then on parties and price stand; without it there is no session.';
COMMENT ON COLUMN bookings.seen IS 'The row of platform_bookings when it was last looked at; NULL when it was gone.';
COMMENT ON COLUMN bookings.gone_in IS 'The transaction in which the platform''s row was deleted.';
COMMENT ON COLUMN bookings.meeting_provider_id IS 'The provider''s own room id, as its webhooks carry it.';
COMMENT ON COLUMN bookings.meeting_url IS 'The room''s address without anybody''s personal access.';
COMMENT ON COLUMN bookings.duration_actual IS 'Seconds the provider held the room open, all spans added.';
COMMENT ON COLUMN bookings.recording_url IS 'Where the provider is asked for the recording; useless without our key.';
COMMENT ON COLUMN bookings.room_claim IS 'The join that is opening the room right now; the others wait for it.';

CREATE INDEX bookings_client ON bookings (client_id);
CREATE INDEX bookings_tutor ON bookings (tutor_id);
CREATE INDEX bookings_student ON bookings (student_id);
CREATE UNIQUE INDEX bookings_room ON bookings (meeting_provider, meeting_provider_id);

-- What the providers reported ----------------------------------------------------------------------------

CREATE TABLE provider_events (
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
COMMENT ON COLUMN provider_events.status IS
    'waiting: matches nothing yet, will be tried again; applied; parked: given up, waits for a person';
CREATE INDEX provider_events_open ON provider_events (received_at) WHERE status IN ('waiting', 'parked');
CREATE INDEX provider_events_booking ON provider_events (booking_id);

CREATE TABLE caas_recalculation_queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    profile_id uuid NOT NULL,
    source text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN caas_recalculation_queue.source IS 'The fact that asks for it; the same fact asks once.';

-- What the platform crate keeps ----------------------------------------------------------------------------

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    queue text NOT NULL,
    envelope jsonb NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    sent_at timestamptz
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE sent_at IS NULL;

CREATE TABLE idempotency (
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
