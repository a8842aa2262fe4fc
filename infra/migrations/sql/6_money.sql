-- Money that nobody may forget: what is open at a gateway is looked at again until it has an end, what could not be
-- given back stays owed, what gateways keep for themselves is in the books, and what an operator does stands on record.

-- Looking again ----------------------------------------------------------------------------------------------

ALTER TABLE payments
    -- The client's record at the gateway under which this try was asked for; by now they may have another.
    ADD COLUMN customer_id text,
    -- When it is to be looked at next, whatever the gateway tells until then; NULL when nothing can come of that.
    ADD COLUMN look_at timestamptz,
    ADD COLUMN looks integer NOT NULL DEFAULT 0,
    -- When somebody last asked its gateway on the client's behalf.
    ADD COLUMN looked_at timestamptz;

ALTER TABLE refunds
    ADD COLUMN look_at timestamptz,
    ADD COLUMN looks integer NOT NULL DEFAULT 0,
    -- How often the gateway refused what may be accepted later, and when it is asked again.
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN next_try_at timestamptz,
    DROP CONSTRAINT refunds_status_check,
    -- held: an operator must let it go; closed: withdrawn before it was asked for, or replaced by another.
    ADD CONSTRAINT refunds_status_check CHECK (status IN ('opening', 'held', 'pending', 'done', 'failed', 'closed'));
CREATE INDEX refunds_waiting ON refunds (created_at) WHERE status IN ('failed', 'held');

-- What is written down, or open again, is looked at in ten minutes, by whomever and for whatever it was written.
CREATE FUNCTION look_again() RETURNS trigger LANGUAGE plpgsql AS $look$
BEGIN
    NEW.look_at := coalesce(NEW.asked_at, NEW.created_at) + interval '10 minutes';
    NEW.looks := 0;
    RETURN NEW;
END
$look$;
CREATE TRIGGER look_again BEFORE INSERT OR UPDATE OF status ON payments FOR EACH ROW
    WHEN (NEW.look_at IS NULL AND NEW.status IN ('opening', 'open', 'declined')) EXECUTE FUNCTION look_again();
CREATE TRIGGER look_again BEFORE INSERT OR UPDATE OF status ON refunds FOR EACH ROW
    WHEN (NEW.look_at IS NULL AND NEW.status IN ('opening', 'pending')) EXECUTE FUNCTION look_again();

UPDATE payments SET look_at = now() WHERE status IN ('opening', 'open', 'declined');
UPDATE refunds SET look_at = now() WHERE status IN ('opening', 'pending');
UPDATE payments p SET look_at = now() FROM bookings b
WHERE b.id = p.booking_id AND b.agreed_at IS NULL AND p.status = 'paid' AND p.amount_minor > 0;
CREATE INDEX payments_look ON payments (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX refunds_look ON refunds (look_at) WHERE look_at IS NOT NULL;

-- After so many looks in vain: ten minutes, doubling, at most a day.
CREATE FUNCTION next_look(looks integer, at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $next$
    SELECT at + least(interval '10 minutes' * power(2, least(looks, 8)), interval '24 hours')
$next$;

-- What is due ------------------------------------------------------------------------------------------------

-- Whether a booking will not be held: it is called off, or its end has passed by a day and it was never agreed, unless
-- somebody is still to decide whether it was.
CREATE FUNCTION is_off(booking bookings, at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $off$
    SELECT booking.status = 'cancelled' OR (
        booking.agreed_at IS NULL
        AND coalesce(booking.session_start_time + make_interval(mins => coalesce(booking.session_duration, 0))
            < at - interval '1 day', false)
        AND NOT EXISTS (
            SELECT FROM booking_changes c
            WHERE c.booking_id = booking.id AND c.field = 'status' AND c.state = 'open'))
$off$;

-- What a booking costs by now: its charge, or before its outcome its price, or nothing if it will not be held.
CREATE FUNCTION due(booking bookings, at timestamptz)
RETURNS TABLE (charge_id uuid, minor bigint, currency text) LANGUAGE sql STABLE AS $due$
    SELECT c.id, coalesce(c.charge_minor, CASE WHEN is_off(booking, at) THEN 0 ELSE booking.price_minor END),
           coalesce(c.currency, booking.price_currency)
    FROM (SELECT booking.id AS booking_id) AS one
    -- One that was called off and is planned again costs its price again.
    LEFT JOIN sessions s ON s.booking_id = one.booking_id AND s.status NOT IN ('SCHEDULED', 'JOIN_OPEN')
    LEFT JOIN charges c ON c.session_id = s.id AND c.decision = s.decisions
$due$;

-- What of a payment went back or is on its way there. What failed, or was withdrawn, is not.
CREATE FUNCTION given_back(payment uuid) RETURNS bigint LANGUAGE sql STABLE AS $back$
    SELECT coalesce(sum(r.amount_minor), 0)::bigint FROM refunds r
    WHERE r.payment_id = payment AND r.status NOT IN ('failed', 'closed')
$back$;

CREATE OR REPLACE FUNCTION refuse_overrefund() RETURNS trigger LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $refund$
BEGIN
    IF EXISTS (
        SELECT FROM written w JOIN payments p ON p.id = w.payment_id
        WHERE p.status <> 'paid' OR p.currency <> w.currency OR p.amount_minor < given_back(p.id)
    ) THEN
        RAISE check_violation USING MESSAGE = 'more is given back than was paid';
    END IF;
    RETURN NULL;
END
$refund$;

-- Disputes ---------------------------------------------------------------------------------------------------

ALTER TABLE disputes
    -- Totals so far, and what of each the last change added, which is what that change entered into the books.
    ADD COLUMN withdrawn_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN withdrawn_step bigint NOT NULL DEFAULT 0,
    ADD COLUMN reinstated_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN reinstated_step bigint NOT NULL DEFAULT 0,
    ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN fee_step bigint NOT NULL DEFAULT 0,
    ADD COLUMN is_lost boolean NOT NULL DEFAULT false;
-- Until now a dispute entered the books when it was lost.
UPDATE disputes SET withdrawn_minor = amount_minor, is_lost = true WHERE status = 'lost';

-- What of a payment its client's bank has taken back; only what is taken for good, if so wanted.
CREATE FUNCTION disputed(payment uuid, only_lost boolean) RETURNS bigint LANGUAGE sql STABLE AS $disputed$
    SELECT coalesce(sum(d.withdrawn_minor - d.reinstated_minor), 0)::bigint FROM disputes d
    WHERE d.payment_id = payment AND (d.is_lost OR NOT only_lost)
$disputed$;

-- The books --------------------------------------------------------------------------------------------------

CREATE TABLE operator_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL CHECK (what IN ('retry-refund', 'settle-refund', 'adjust')),
    -- The refund's id, or the accounts.
    subject text NOT NULL,
    by text NOT NULL CHECK (by <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    at timestamptz NOT NULL,
    data jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE operator_actions IS 'What operators did with money, who it was and why.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- `gateway_fees/<gateway>/<currency>`: what gateways kept for themselves. `cash/manual/<currency>`: what was given back
-- by hand, from wherever.
ALTER TABLE ledger_accounts
    DROP CONSTRAINT ledger_accounts_kind_check,
    ADD CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ('receivable', 'payable', 'fees', 'cash', 'gateway_fees'));

-- Each payment and refund, and its gateway's fee, enters the books once; a dispute by what it changed.
ALTER TABLE ledger_entries
    ADD COLUMN dispute_id text,
    ADD COLUMN action_id bigint REFERENCES operator_actions (id),
    DROP CONSTRAINT ledger_entries_kind_check,
    ADD CONSTRAINT ledger_entries_kind_check CHECK (
        CASE WHEN kind IN ('settlement', 'reversal') THEN charge_id IS NOT NULL
             WHEN kind = 'payment' THEN payment_id IS NOT NULL
             WHEN kind IN ('dispute', 'dispute_returned', 'dispute_fee') THEN payment_id IS NOT NULL
             WHEN kind IN ('refund', 'refund_returned') THEN refund_id IS NOT NULL
             WHEN kind = 'fee' THEN num_nonnulls(payment_id, refund_id) = 1
             WHEN kind = 'adjustment' THEN action_id IS NOT NULL
             ELSE false END
        AND num_nonnulls(charge_id, payment_id, refund_id, action_id) = 1);
DROP INDEX ledger_entries_payment_once;
CREATE UNIQUE INDEX ledger_entries_payment_once ON ledger_entries (payment_id, kind, account_id)
    WHERE payment_id IS NOT NULL AND dispute_id IS NULL;

CREATE OR REPLACE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $balance$
BEGIN
    -- All entries of one fact and kind are written by one statement; here they are, and must cancel out.
    IF EXISTS (
        SELECT FROM written GROUP BY charge_id, payment_id, refund_id, action_id, kind, currency
        HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE check_violation USING MESSAGE = 'the ledger entries do not balance';
    END IF;
    RETURN NULL;
END
$balance$;

-- Operators --------------------------------------------------------------------------------------------------

-- Asks for one job, as the functions write it.
CREATE FUNCTION ask_for(job text, to_queue text, about text, subject uuid, at timestamptz) RETURNS void
LANGUAGE sql SET search_path = firstbell, pg_temp AS $ask$
    INSERT INTO outbox (id, queue, envelope, due_at)
    SELECT id, to_queue, jsonb_build_object('v', 1, 'type', job, 'id', id, 'occurred_at', at, 'correlation_id', id,
               'causation_id', NULL, 'dedupe_key', job || '/' || subject,
               'payload', jsonb_build_object(about, subject)), at
    FROM gen_random_uuid() AS id
$ask$;

-- A refund that waits for an operator, locked.
CREATE FUNCTION waiting_refund(refund uuid) RETURNS refunds
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $waiting$
DECLARE
    waiting refunds;
BEGIN
    SELECT * INTO waiting FROM refunds r WHERE r.id = refund AND r.status IN ('failed', 'held') FOR UPDATE;
    IF waiting.id IS NULL THEN
        RAISE EXCEPTION 'no refund % has failed or is held', refund USING ERRCODE = 'no_data_found';
    END IF;
    RETURN waiting;
END
$waiting$;

-- Tries a refund again that failed, or lets one go that was held. What failed is replaced: the booking's tab is looked at,
-- and what is too much by now goes back as another refund. Only where the gateway never said what became of it the
-- same one is looked up again, since it may have happened.
CREATE FUNCTION retry_refund(refund uuid, decided_by text, reason text, at timestamptz DEFAULT clock_timestamp())
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp AS $retry$
DECLARE
    waiting constant refunds := waiting_refund(refund);
    is_same constant boolean := waiting.status = 'held' OR waiting.reason = 'gateway_silent';
BEGIN
    UPDATE refunds r
    SET status = CASE WHEN NOT is_same THEN 'closed' WHEN waiting.gateway_id IS NULL THEN 'opening' ELSE 'pending' END,
        settled_at = CASE WHEN NOT is_same THEN at END
    WHERE r.id = refund;
    IF is_same THEN
        PERFORM ask_for('give_back', 'refunds', 'refund_id', refund, at);
    ELSE
        PERFORM ask_for('look_at_tab', 'payments', 'booking_id', waiting.booking_id, at);
    END IF;

    INSERT INTO operator_actions (what, subject, by, reason, at, data)
    VALUES ('retry-refund', refund, decided_by, retry_refund.reason, at,
        jsonb_build_object('was', waiting.status, 'because', waiting.reason));
END
$retry$;

-- Enters that a refund was given back by hand, and what that cost.
CREATE FUNCTION settle_refund(refund uuid, decided_by text, reason text, fee_minor bigint DEFAULT 0,
    at timestamptz DEFAULT clock_timestamp()) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp AS $settle$
DECLARE
    waiting constant refunds := waiting_refund(refund);
    paid payments;
    held bigint;
    needed bigint;
    cash constant text := concat_ws('/', 'cash', 'manual', waiting.currency);
    fees constant text := concat_ws('/', 'gateway_fees', 'manual', waiting.currency);
BEGIN
    SELECT * INTO paid FROM payments p WHERE p.id = waiting.payment_id FOR UPDATE;
    IF fee_minor < 0 THEN
        RAISE EXCEPTION 'a fee is not negative' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF waiting.status = 'failed' AND given_back(paid.id) + waiting.amount_minor > paid.amount_minor THEN
        RAISE EXCEPTION 'more would be given back than was paid: another refund took its place'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM ledger_entries e WHERE e.refund_id = refund AND e.kind = 'refund') THEN
        RAISE EXCEPTION 'it is in the books already, as given and returned: retry it, and settle the one that takes its place'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    -- What a correction has made due again is not given away.
    SELECT sum(p.amount_minor - given_back(p.id) - disputed(p.id, false)) INTO held
    FROM payments p WHERE p.booking_id = waiting.booking_id AND p.status = 'paid';
    SELECT coalesce(d.minor, 0) INTO needed
    FROM bookings b CROSS JOIN LATERAL due(b, at) d WHERE b.id = waiting.booking_id;
    -- One that failed does not count as given back so far.
    IF waiting.status = 'failed' THEN
        held := held - waiting.amount_minor;
    END IF;
    IF held < needed THEN
        RAISE EXCEPTION 'the lesson costs that money by now: nothing is to be given back'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    UPDATE refunds r SET status = 'done', reason = 'by_hand', settled_at = at, look_at = NULL WHERE r.id = refund;
    PERFORM ask_for('look_at_tab', 'payments', 'booking_id', waiting.booking_id, at);
    INSERT INTO ledger_accounts (id, kind, currency)
    VALUES (cash, 'cash', waiting.currency), (fees, 'gateway_fees', waiting.currency) ON CONFLICT (id) DO NOTHING;
    INSERT INTO ledger_entries (refund_id, account_id, kind, amount_minor, currency, created_at)
    SELECT refund, e.account_id, e.kind, e.amount, waiting.currency, at
    FROM (VALUES
        (cash, 'refund', -waiting.amount_minor),
        (concat_ws('/', 'receivable', paid.client_id, waiting.currency), 'refund', waiting.amount_minor),
        (cash, 'fee', -fee_minor),
        (fees, 'fee', fee_minor)) AS e (account_id, kind, amount)
    WHERE e.amount <> 0;
    INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
    VALUES (paid.client_id, 'refunded', 'refund/' || refund || '/done', waiting.booking_id,
        jsonb_build_object('refund_id', refund, 'payment_id', paid.id, 'amount', waiting.amount_minor,
            'currency', waiting.currency), at)
    ON CONFLICT (source) DO NOTHING;

    INSERT INTO operator_actions (what, subject, by, reason, at, data)
    VALUES ('settle-refund', refund, decided_by, settle_refund.reason, at,
        jsonb_build_object('was', waiting.status, 'because', waiting.reason, 'amount', waiting.amount_minor,
            'currency', waiting.currency, 'fee', fee_minor));
END
$settle$;

-- Enters that an amount moved from one account to another, for what nothing else enters.
CREATE FUNCTION adjust(from_account text, to_account text, minor bigint, decided_by text, reason text,
    at timestamptz DEFAULT clock_timestamp()) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp AS $adjust$
DECLARE
    account text;
    action bigint;
    code constant text := substring(from_account from '[A-Z]{3}$');
BEGIN
    IF minor <= 0 OR from_account = to_account THEN
        RAISE EXCEPTION 'an adjustment moves an amount from one account to another'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH account IN ARRAY ARRAY[from_account, to_account] LOOP
        IF account !~ '^(fees|(cash|gateway_fees)/[a-z]+|(receivable|payable)/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})/[A-Z]{3}$'
        THEN
            RAISE EXCEPTION '% is not the name of an account', account USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF right(account, 3) <> code THEN
            RAISE EXCEPTION 'both accounts must be of one currency' USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;

    INSERT INTO operator_actions (what, subject, by, reason, at, data)
    VALUES ('adjust', from_account || ' -> ' || to_account, decided_by, adjust.reason, at,
        jsonb_build_object('amount', minor, 'currency', code))
    RETURNING id INTO action;
    INSERT INTO ledger_accounts (id, kind, owner_id, currency)
    SELECT name, split_part(name, '/', 1),
           CASE WHEN split_part(name, '/', 1) IN ('receivable', 'payable') THEN split_part(name, '/', 2)::uuid END, code
    FROM unnest(ARRAY[from_account, to_account]) AS name ORDER BY name
    ON CONFLICT (id) DO NOTHING;
    INSERT INTO ledger_entries (action_id, account_id, kind, amount_minor, currency, created_at)
    VALUES (action, from_account, 'adjustment', -minor, code, at), (action, to_account, 'adjustment', minor, code, at);
END
$adjust$;
