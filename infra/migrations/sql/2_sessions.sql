-- Sessions and their money: what is planned, what happened, what it costs and who owes whom.

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    booking_id uuid NOT NULL UNIQUE REFERENCES bookings (id),
    client_id uuid NOT NULL,
    tutor_id uuid NOT NULL,
    provider text NOT NULL,
    scheduled_start_at timestamptz NOT NULL,
    scheduled_end_at timestamptz NOT NULL CHECK (scheduled_end_at > scheduled_start_at),
    duration_minutes integer NOT NULL CHECK (duration_minutes > 0),
    -- Parts of the planned time, as fractions; pinned, while the planned time may still be moved.
    no_show_wait_share text NOT NULL CHECK (no_show_wait_share ~ '^\d{1,9}/[1-9]\d{0,8}$'),
    min_payable_share text NOT NULL CHECK (min_payable_share ~ '^\d{1,9}/[1-9]\d{0,8}$'),
    no_show_wait_minutes integer NOT NULL GENERATED ALWAYS AS (duration_minutes::bigint
        * split_part(no_show_wait_share, '/', 1)::integer / split_part(no_show_wait_share, '/', 2)::integer) STORED,
    min_payable_minutes integer NOT NULL GENERATED ALWAYS AS (duration_minutes::bigint
        * split_part(min_payable_share, '/', 1)::integer / split_part(min_payable_share, '/', 2)::integer) STORED,
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
    -- When an operator accepted that it is not charged although it had begun.
    waived_at timestamptz,
    settled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((decisions = 0) = (status IN ('SCHEDULED', 'JOIN_OPEN')))
);
-- Only what is due costs anything, however many sessions there are.
CREATE INDEX sessions_due ON sessions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX sessions_client ON sessions (client_id);
CREATE INDEX sessions_tutor ON sessions (tutor_id);

CREATE TABLE session_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id),
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    data jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX session_events_session ON session_events (session_id);

-- What a session costs. A correction is a new decision; the old one stays.
CREATE TABLE charges (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id),
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
CREATE TABLE ledger_accounts (
    -- `receivable/<client>/<currency>`, `payable/<tutor>/<currency>`, `fees/<currency>`, `cash/<gateway>/<currency>`
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('receivable', 'payable', 'fees', 'cash')),
    -- No reference to the platform's people: the books stay when a person is deleted.
    owner_id uuid,
    currency text NOT NULL
);

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $append$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format('%s is append-only', TG_TABLE_NAME);
END
$append$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON charges
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
