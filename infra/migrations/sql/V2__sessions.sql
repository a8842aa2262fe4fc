-- Sessions and their money: what is planned, what happened, what it costs and who owes whom.

CREATE TABLE IF NOT EXISTS public.tutor_video_provider_connections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tutor_id uuid NOT NULL UNIQUE REFERENCES public.profiles (id) ON DELETE CASCADE,
    provider text NOT NULL,
    connection_status text NOT NULL DEFAULT 'connected',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.sessions (
    id uuid PRIMARY KEY,
    booking_id uuid NOT NULL UNIQUE REFERENCES public.bookings (id),
    client_id uuid NOT NULL REFERENCES public.profiles (id),
    tutor_id uuid NOT NULL REFERENCES public.profiles (id),
    provider text NOT NULL,
    scheduled_start_at timestamptz NOT NULL,
    scheduled_end_at timestamptz NOT NULL CHECK (scheduled_end_at > scheduled_start_at),
    duration_minutes integer NOT NULL,
    no_show_wait_minutes integer NOT NULL,
    min_payable_minutes integer NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency text NOT NULL,
    charge_scheduled_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'SCHEDULED' CHECK (status IN
        ('SCHEDULED', 'JOIN_OPEN', 'COMPLETED_ASSUMED', 'NO_SHOW_STUDENT', 'EARLY_END_SHORT', 'CANCELLED')),
    -- The next instant at which something is to be decided; NULL when nothing is.
    due_at timestamptz,
    -- How often it was decided: 0 before its outcome, 1 after, more after corrections.
    decisions integer NOT NULL DEFAULT 0,
    meeting_started_at timestamptz,
    meeting_ended_at timestamptz,
    no_show_marked_at timestamptz,
    cancelled_at timestamptz,
    settled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((decisions = 0) = (status IN ('SCHEDULED', 'JOIN_OPEN')))
);
-- Only what is due costs anything, however many sessions there are.
CREATE INDEX sessions_due ON public.sessions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX sessions_client ON public.sessions (client_id);
CREATE INDEX sessions_tutor ON public.sessions (tutor_id);

CREATE TABLE public.session_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES public.sessions (id),
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    data jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX session_events_session ON public.session_events (session_id);

-- What a session costs. A correction is a new decision; the old one stays.
CREATE TABLE public.charges (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES public.sessions (id),
    decision integer NOT NULL,
    status text NOT NULL,
    charge_minor bigint NOT NULL CHECK (charge_minor >= 0),
    payout_minor bigint NOT NULL CHECK (payout_minor >= 0),
    fee_minor bigint NOT NULL CHECK (fee_minor >= 0),
    currency text NOT NULL,
    explanation jsonb NOT NULL,
    decided_at timestamptz NOT NULL,
    UNIQUE (session_id, decision),
    CHECK (charge_minor = payout_minor + fee_minor)
);

-- The ledger: double entry, append-only. A positive amount is owed to us, a negative one by us.
CREATE TABLE public.ledger_accounts (
    -- `receivable/<client>/<currency>`, `payable/<tutor>/<currency>`, `fees/<currency>`
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('receivable', 'payable', 'fees')),
    owner_id uuid REFERENCES public.profiles (id),
    currency text NOT NULL
);

CREATE TABLE public.ledger_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    charge_id uuid NOT NULL REFERENCES public.charges (id),
    account_id text NOT NULL REFERENCES public.ledger_accounts (id),
    kind text NOT NULL CHECK (kind IN ('settlement', 'reversal')),
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    currency text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ledger_entries_charge ON public.ledger_entries (charge_id);
CREATE INDEX ledger_entries_account ON public.ledger_entries (account_id);

CREATE FUNCTION public.firstbell_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $balance$
BEGIN
    -- All entries of one charge and kind are written by one statement; here they are, and must cancel out.
    IF EXISTS (
        SELECT FROM written GROUP BY charge_id, kind, currency HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE check_violation USING MESSAGE = 'the ledger entries do not balance';
    END IF;
    RETURN NULL;
END
$balance$;
CREATE TRIGGER firstbell_refuse_unbalanced AFTER INSERT ON public.ledger_entries
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION public.firstbell_refuse_unbalanced();

CREATE FUNCTION public.firstbell_append_only() RETURNS trigger LANGUAGE plpgsql AS $append$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format('%s is append-only', TG_TABLE_NAME);
END
$append$;
CREATE TRIGGER firstbell_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION public.firstbell_append_only();
CREATE TRIGGER firstbell_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.charges
    FOR EACH STATEMENT EXECUTE FUNCTION public.firstbell_append_only();

-- Who may see what ---------------------------------------------------------------------------------------

ALTER TABLE public.tutor_video_provider_connections ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.session_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.charges ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.ledger_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.ledger_entries ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON public.tutor_video_provider_connections, public.sessions, public.session_events, public.charges,
    public.ledger_accounts, public.ledger_entries FROM PUBLIC, anon, authenticated;
GRANT SELECT ON public.sessions, public.session_events TO authenticated;

CREATE POLICY firstbell_own_sessions ON public.sessions FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) IN (client_id, tutor_id));
CREATE POLICY firstbell_own_session_events ON public.session_events FOR SELECT TO authenticated
    USING (EXISTS (
        SELECT FROM public.sessions s
        WHERE s.id = session_id AND (SELECT auth.uid()) IN (s.client_id, s.tutor_id)));

GRANT SELECT ON public.tutor_video_provider_connections TO firstbell_service;
GRANT SELECT, INSERT, UPDATE ON public.sessions TO firstbell_service;
GRANT SELECT, INSERT ON public.session_events, public.charges, public.ledger_accounts, public.ledger_entries
    TO firstbell_service;

DO $service$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tutor_video_provider_connections', 'sessions', 'session_events', 'charges',
        'ledger_accounts', 'ledger_entries'] LOOP
        EXECUTE format('CREATE POLICY firstbell_service ON public.%I TO firstbell_service USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$service$;
