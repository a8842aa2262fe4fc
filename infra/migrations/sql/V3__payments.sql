-- Payments: what clients paid, what they were given back, and where the money is.

CREATE TABLE public.payments (
    -- The collection of a charge has the charge's id, so that there is one.
    id uuid PRIMARY KEY,
    booking_id uuid NOT NULL REFERENCES public.bookings (id),
    client_id uuid NOT NULL REFERENCES public.profiles (id),
    gateway text NOT NULL,
    method text NOT NULL CHECK (method IN
        ('card', 'card_on_file', 'saved_card', 'mobile_money_link', 'mobile_money')),
    charge_id uuid REFERENCES public.charges (id) CHECK (charge_id = id),
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
    created_at timestamptz NOT NULL,
    paid_at timestamptz,
    CHECK ((method = 'saved_card') = (charge_id IS NOT NULL)),
    CHECK ((method = 'card_on_file') = (amount_minor = 0)),
    CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CHECK ((status = 'declined') = (next_try_at IS NOT NULL))
);
CREATE INDEX payments_booking ON public.payments (booking_id);
CREATE INDEX payments_intent ON public.payments (intent_id) WHERE intent_id IS NOT NULL;
CREATE INDEX payments_client_failed ON public.payments (client_id) WHERE status = 'failed' AND method = 'saved_card';
-- One is begun at a time: who presses twice gets the same page.
CREATE UNIQUE INDEX payments_opening ON public.payments (booking_id, method)
    WHERE status = 'opening' AND charge_id IS NULL;

CREATE TABLE public.refunds (
    id uuid PRIMARY KEY,
    booking_id uuid NOT NULL REFERENCES public.bookings (id),
    -- A refund is decided with all before it in view, or not at all.
    ordinal integer NOT NULL,
    payment_id uuid NOT NULL REFERENCES public.payments (id),
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
CREATE INDEX refunds_payment ON public.refunds (payment_id);

CREATE TABLE public.disputes (
    gateway text NOT NULL,
    gateway_id text NOT NULL,
    payment_id uuid NOT NULL REFERENCES public.payments (id),
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    reason text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (gateway, gateway_id)
);

CREATE TABLE public.saved_cards (
    client_id uuid PRIMARY KEY REFERENCES public.profiles (id) ON DELETE CASCADE,
    gateway text NOT NULL,
    customer_id text NOT NULL,
    card_id text NOT NULL,
    saved_at timestamptz NOT NULL
);

-- What people are told; their apps listen to their own rows.
CREATE TABLE public.notifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    profile_id uuid NOT NULL REFERENCES public.profiles (id) ON DELETE CASCADE,
    kind text NOT NULL,
    -- The fact that it tells; the same fact is told once.
    source text NOT NULL UNIQUE,
    booking_id uuid REFERENCES public.bookings (id),
    data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    read_at timestamptz
);
CREATE INDEX notifications_profile ON public.notifications (profile_id, id DESC);

-- The ledger takes payments, refunds and lost disputes beside charges. Each fact enters it once.
ALTER TABLE public.ledger_accounts
    DROP CONSTRAINT ledger_accounts_kind_check,
    ADD CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ('receivable', 'payable', 'fees', 'cash'));
ALTER TABLE public.ledger_entries
    ALTER COLUMN charge_id DROP NOT NULL,
    ADD COLUMN payment_id uuid REFERENCES public.payments (id),
    ADD COLUMN refund_id uuid REFERENCES public.refunds (id),
    DROP CONSTRAINT ledger_entries_kind_check,
    ADD CONSTRAINT ledger_entries_kind_check CHECK (
        CASE kind WHEN 'settlement' THEN charge_id WHEN 'reversal' THEN charge_id
                  WHEN 'payment' THEN payment_id WHEN 'dispute' THEN payment_id
                  WHEN 'refund' THEN refund_id WHEN 'refund_returned' THEN refund_id END IS NOT NULL
        AND num_nonnulls(charge_id, payment_id, refund_id) = 1);
CREATE UNIQUE INDEX ledger_entries_payment_once ON public.ledger_entries (payment_id, kind, account_id)
    WHERE payment_id IS NOT NULL;
CREATE UNIQUE INDEX ledger_entries_refund_once ON public.ledger_entries (refund_id, kind, account_id)
    WHERE refund_id IS NOT NULL;

CREATE OR REPLACE FUNCTION public.firstbell_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $balance$
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

CREATE FUNCTION public.firstbell_refuse_overrefund() RETURNS trigger LANGUAGE plpgsql AS $refund$
BEGIN
    IF EXISTS (
        SELECT FROM written w JOIN public.payments p ON p.id = w.payment_id
        WHERE p.status <> 'paid' OR p.currency <> w.currency OR p.amount_minor <
            (SELECT sum(r.amount_minor) FROM public.refunds r WHERE r.payment_id = p.id)
    ) THEN
        RAISE check_violation USING MESSAGE = 'more is given back than was paid';
    END IF;
    RETURN NULL;
END
$refund$;
CREATE TRIGGER firstbell_refuse_overrefund AFTER INSERT ON public.refunds
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION public.firstbell_refuse_overrefund();

-- Who may see what ---------------------------------------------------------------------------------------

ALTER TABLE public.payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.refunds ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.disputes ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.saved_cards ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON public.payments, public.refunds, public.disputes, public.saved_cards, public.notifications
    FROM PUBLIC, anon, authenticated;
GRANT SELECT ON public.notifications TO authenticated;
CREATE POLICY firstbell_own_notifications ON public.notifications FOR SELECT TO authenticated
    USING (profile_id = (SELECT auth.uid()));

GRANT SELECT, INSERT, UPDATE ON public.payments, public.refunds, public.disputes, public.saved_cards
    TO firstbell_service;
GRANT SELECT, INSERT ON public.notifications TO firstbell_service;

DO $service$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['payments', 'refunds', 'disputes', 'saved_cards', 'notifications'] LOOP
        EXECUTE format('CREATE POLICY firstbell_service ON public.%I TO firstbell_service USING (true) WITH CHECK (true)', name);
    END LOOP;
    -- Supabase Realtime sends what this publication names.
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime' AND NOT puballtables) THEN
        ALTER PUBLICATION supabase_realtime ADD TABLE public.notifications;
    END IF;
END
$service$;
