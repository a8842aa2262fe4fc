-- Payments: what clients paid, what they were given back, and where the money is.

CREATE TABLE payments (
    -- The collection of a charge has the charge's id, so that there is one.
    id uuid PRIMARY KEY,
    booking_id uuid NOT NULL REFERENCES bookings (id),
    client_id uuid NOT NULL,
    gateway text NOT NULL,
    method text NOT NULL CHECK (method IN
        ('card', 'card_on_file', 'saved_card', 'mobile_money_link', 'mobile_money')),
    charge_id uuid REFERENCES charges (id) CHECK (charge_id = id),
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text NOT NULL,
    status text NOT NULL CHECK (status IN ('opening', 'open', 'paid', 'declined', 'failed', 'closed')),
    reason text,
    -- Which try it is; each has its own key at the gateway. The next begins only after a definite refusal.
    attempt integer NOT NULL DEFAULT 1,
    asked_at timestamptz,
    next_try_at timestamptz,
    -- The gateway's name for it, and for what a refund or a dispute of it names.
    gateway_id text,
    intent_id text,
    link text,
    -- Where mobile money goes back to.
    payer_phone text,
    -- The lesson's tutor and price when it was begun: what its client agrees to by paying, or is charged for.
    tutor_id uuid NOT NULL,
    price_minor bigint NOT NULL,
    created_at timestamptz NOT NULL,
    paid_at timestamptz,
    CHECK ((method = 'saved_card') = (charge_id IS NOT NULL)),
    CHECK ((method = 'card_on_file') = (amount_minor = 0)),
    CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CHECK ((status = 'declined') = (next_try_at IS NOT NULL))
);
CREATE INDEX payments_booking ON payments (booking_id);
CREATE INDEX payments_intent ON payments (intent_id) WHERE intent_id IS NOT NULL;
CREATE INDEX payments_client_failed ON payments (client_id) WHERE status = 'failed' AND method = 'saved_card';
-- One is begun at a time: who presses twice gets the same page.
CREATE UNIQUE INDEX payments_opening ON payments (booking_id, method)
    WHERE status = 'opening' AND charge_id IS NULL;

CREATE TABLE refunds (
    id uuid PRIMARY KEY,
    booking_id uuid NOT NULL REFERENCES bookings (id),
    -- A refund is decided with all before it in view, or not at all.
    ordinal integer NOT NULL,
    payment_id uuid NOT NULL REFERENCES payments (id),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    status text NOT NULL DEFAULT 'opening' CHECK (status IN ('opening', 'pending', 'done', 'failed')),
    reason text,
    asked_at timestamptz,
    gateway_id text,
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    UNIQUE (booking_id, ordinal)
);
CREATE INDEX refunds_payment ON refunds (payment_id);

CREATE TABLE disputes (
    gateway text NOT NULL,
    gateway_id text NOT NULL,
    payment_id uuid NOT NULL REFERENCES payments (id),
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    reason text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (gateway, gateway_id)
);

CREATE TABLE saved_cards (
    client_id uuid PRIMARY KEY,
    gateway text NOT NULL,
    customer_id text NOT NULL,
    card_id text NOT NULL,
    saved_at timestamptz NOT NULL
);

-- A card pays only for lessons with a tutor to whom its owner agreed by their own call, up to the price they saw. A
-- row is one such call, about one booking: it covers that one, and what is charged later. It never reaches back.
CREATE TABLE card_agreements (
    booking_id uuid PRIMARY KEY REFERENCES bookings (id),
    client_id uuid NOT NULL,
    tutor_id uuid NOT NULL,
    currency text NOT NULL,
    up_to_minor bigint NOT NULL CHECK (up_to_minor >= 0),
    agreed_at timestamptz NOT NULL
);
CREATE INDEX card_agreements_tutor ON card_agreements (client_id, tutor_id, currency);

-- What people are told; their apps listen to their own rows.
CREATE TABLE notifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    profile_id uuid NOT NULL,
    kind text NOT NULL,
    -- The fact that it tells; the same fact is told once.
    source text NOT NULL UNIQUE,
    booking_id uuid REFERENCES bookings (id),
    data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    read_at timestamptz
);
CREATE INDEX notifications_profile ON notifications (profile_id, id DESC);

-- What enters the books. Each payment, refund and lost dispute enters them once.
CREATE TABLE ledger_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    charge_id uuid REFERENCES charges (id),
    payment_id uuid REFERENCES payments (id),
    refund_id uuid REFERENCES refunds (id),
    account_id text NOT NULL REFERENCES ledger_accounts (id),
    kind text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    currency text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT ledger_entries_kind_check CHECK (
        CASE kind WHEN 'settlement' THEN charge_id WHEN 'reversal' THEN charge_id
                  WHEN 'payment' THEN payment_id WHEN 'dispute' THEN payment_id
                  WHEN 'refund' THEN refund_id WHEN 'refund_returned' THEN refund_id END IS NOT NULL
        AND num_nonnulls(charge_id, payment_id, refund_id) = 1)
);
CREATE INDEX ledger_entries_charge ON ledger_entries (charge_id);
CREATE INDEX ledger_entries_account ON ledger_entries (account_id);
CREATE UNIQUE INDEX ledger_entries_payment_once ON ledger_entries (payment_id, kind, account_id)
    WHERE payment_id IS NOT NULL;
CREATE UNIQUE INDEX ledger_entries_refund_once ON ledger_entries (refund_id, kind, account_id)
    WHERE refund_id IS NOT NULL;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $balance$
BEGIN
    -- All entries of one fact and kind are written by one statement; here they are, and must cancel out.
    IF EXISTS (
        SELECT FROM written GROUP BY charge_id, payment_id, refund_id, kind, currency
        HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE check_violation USING MESSAGE = 'the ledger entries do not balance';
    END IF;
    RETURN NULL;
END
$balance$;
CREATE TRIGGER refuse_unbalanced AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();

CREATE FUNCTION refuse_overrefund() RETURNS trigger LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $refund$
BEGIN
    IF EXISTS (
        SELECT FROM written w JOIN payments p ON p.id = w.payment_id
        WHERE p.status <> 'paid' OR p.currency <> w.currency OR p.amount_minor <
            (SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id)
    ) THEN
        RAISE check_violation USING MESSAGE = 'more is given back than was paid';
    END IF;
    RETURN NULL;
END
$refund$;
CREATE TRIGGER refuse_overrefund AFTER INSERT ON refunds
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_overrefund();
