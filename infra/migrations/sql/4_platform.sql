-- The platform beside us. It shows its bookings through one view that it owns, `platform_bookings`; the follower
-- brings each change of them into our copy. What the follower may take over, and what it only lists:
--
-- | the platform's row                      | before it is agreed | agreed, not begun     | begun  |
-- | --------------------------------------- | ------------------- | --------------------- | ------ |
-- | client, tutor, student, price, length   | taken               | listed                | listed |
-- | start                                   | taken               | taken if in the future, else listed | listed |
-- | cancelled, or gone                      | taken               | taken                 | listed |
-- | pending, and confirmed again            | taken               | taken                 | listed |
-- | confirmed after it was cancelled        | taken               | listed                | listed |
-- | confirmed only after its start          | listed              | -                     | -      |
-- | completed                               | taken               | says nothing: what was held is what was proven |
-- | a status word that we do not know       | taken as `unknown`, and listed by name | listed | listed |
-- | consent to recording, given             | taken               | listed                | listed |
-- | consent to recording, withdrawn         | taken               | taken                 | taken  |
--
-- A booking is agreed when it is first seen confirmed before its start. Parties, price and length, which the price is
-- for, stand from the first payment on, too. Begun: its start, as we have it, has passed.

CREATE TABLE booking_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    booking_id uuid NOT NULL,
    -- client_id, tutor_id, student_id, price, start, minutes, status or recording_consent
    field text NOT NULL,
    ours jsonb NOT NULL,
    theirs jsonb NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'rejected', 'withdrawn')),
    listed_at timestamptz NOT NULL,
    decided_by text,
    reason text,
    decided_at timestamptz,
    CHECK ((state IN ('accepted', 'rejected')) = (decided_by IS NOT NULL AND reason IS NOT NULL)),
    CHECK ((state = 'open') = (decided_at IS NULL))
);
COMMENT ON TABLE booking_changes IS 'What the platform changed and we did not follow, for an operator to decide.';
CREATE UNIQUE INDEX booking_changes_open ON booking_changes (booking_id, field) WHERE state = 'open';

-- What could not be followed or told, and is tried again each minute. Only ever added to by those who must not wait.
CREATE TABLE follow_failures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    booking_id uuid NOT NULL,
    -- follow: from the platform to us; tell: from us to the platform
    direction text NOT NULL CHECK (direction IN ('follow', 'tell')),
    sqlstate text NOT NULL,
    message text NOT NULL,
    -- What the platform said of the booking's status then, `gone` without a row, and in which transaction.
    said text,
    said_in text NOT NULL DEFAULT pg_current_xact_id()::text,
    failed_at timestamptz NOT NULL,
    tried_at timestamptz
);
CREATE INDEX follow_failures_booking ON follow_failures (booking_id);

-- Where the walk over all bookings, which finds what no trigger told, goes on, and whether it has ever come to its
-- end: before that a platform is only being adopted. One row.
CREATE TABLE follow_walk (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    is_adopted boolean NOT NULL DEFAULT false,
    after uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);
INSERT INTO follow_walk DEFAULT VALUES;

-- The platform's tables that have, or are about to get, our trigger.
CREATE TABLE followed_tables (
    platform_table regclass PRIMARY KEY,
    id_column name NOT NULL
);

-- From the platform to us --------------------------------------------------------------------------------

-- A change of what is listed is another change: whoever decides decides about what they saw.
CREATE FUNCTION list_change(booking uuid, changed text, we_have jsonb, they_have jsonb, at timestamptz) RETURNS void
LANGUAGE sql SET search_path = firstbell, pg_temp AS $list$
    UPDATE booking_changes c SET state = 'withdrawn', decided_at = at
    WHERE c.booking_id = booking AND c.field = changed AND c.state = 'open'
      AND (c.ours, c.theirs) IS DISTINCT FROM (coalesce(we_have, 'null'), coalesce(they_have, 'null'));

    INSERT INTO booking_changes (booking_id, field, ours, theirs, listed_at)
    VALUES (booking, changed, coalesce(we_have, 'null'), coalesce(they_have, 'null'), at)
    ON CONFLICT (booking_id, field) WHERE state = 'open' DO NOTHING
$list$;

-- What a row says, of the platform's view or of our copy, field by field in the words of the table above.
CREATE FUNCTION terms(said jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $terms$
BEGIN
    RETURN CASE WHEN said IS NULL THEN '{"status": "cancelled"}' ELSE jsonb_build_object(
        'client_id', said -> 'client_id',
        'tutor_id', said -> 'tutor_id',
        -- The learner who books for themselves is no separate student.
        'student_id', nullif(said -> 'student_id', said -> 'client_id'),
        -- What is no price and no time is none: one bad value must not keep the rest from being followed.
        'price', CASE WHEN (said ->> 'price_minor')::numeric >= 0 AND said ->> 'price_currency' ~ '^[A-Z]{3}$'
            THEN jsonb_build_object('minor', said -> 'price_minor', 'currency', said -> 'price_currency') END,
        'start', CASE WHEN (said ->> 'session_start_time')::timestamptz BETWEEN '1970-01-01' AND '2200-01-01'
            THEN said -> 'session_start_time' END,
        'minutes', CASE WHEN (said ->> 'session_duration')::numeric BETWEEN 1 AND 1440
            THEN said -> 'session_duration' END,
        'status', CASE WHEN said ->> 'status' IN ('pending', 'confirmed', 'completed', 'cancelled')
            THEN said ->> 'status' ELSE 'unknown' END,
        'recording_consent', coalesce(said ->> 'recording_consent', 'false')::boolean) END;
END
$terms$;

-- Takes the given terms into our copy, and into its session while nothing is decided about that. A session of a
-- booking that is not confirmed counts as called off since then, for as long as that lasts.
CREATE FUNCTION take_terms(booking uuid, taken jsonb, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $take$
BEGIN
    UPDATE bookings b
    SET client_id = CASE WHEN taken ? 'client_id' THEN (taken ->> 'client_id')::uuid ELSE b.client_id END,
        tutor_id = CASE WHEN taken ? 'tutor_id' THEN (taken ->> 'tutor_id')::uuid ELSE b.tutor_id END,
        student_id = CASE WHEN taken ? 'student_id' THEN (taken ->> 'student_id')::uuid ELSE b.student_id END,
        price_minor = CASE WHEN taken ? 'price' THEN (taken #>> '{price,minor}')::bigint ELSE b.price_minor END,
        price_currency = CASE WHEN taken ? 'price' THEN taken #>> '{price,currency}' ELSE b.price_currency END,
        session_start_time = CASE WHEN taken ? 'start' THEN (taken ->> 'start')::timestamptz ELSE b.session_start_time END,
        session_duration = CASE WHEN taken ? 'minutes' THEN (taken ->> 'minutes')::integer ELSE b.session_duration END,
        status = coalesce(taken ->> 'status', b.status),
        recording_consent = coalesce((taken ->> 'recording_consent')::boolean, b.recording_consent),
        -- What the provider saw before the new time is no evidence for it.
        meeting_started_at = CASE WHEN b.meeting_ended_at < (taken ->> 'start')::timestamptz THEN NULL ELSE b.meeting_started_at END,
        meeting_ended_at = CASE WHEN b.meeting_ended_at < (taken ->> 'start')::timestamptz THEN NULL ELSE b.meeting_ended_at END
    WHERE b.id = booking;

    -- Everybody on an agreed lesson is told that it was moved, whoever moved it.
    INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
    SELECT who, 'lesson_moved', concat_ws('/', 'moved', booking, who, at), booking,
           jsonb_build_object('starts_at', taken -> 'start'), at
    FROM bookings b, unnest(ARRAY[b.client_id, b.tutor_id, b.student_id]) AS who
    WHERE b.id = booking AND b.agreed_at IS NOT NULL AND taken ->> 'start' IS NOT NULL AND who IS NOT NULL
    ON CONFLICT (source) DO NOTHING;

    -- Money that was paid for a lesson that will not be held goes back.
    INSERT INTO outbox (id, queue, envelope, due_at)
    SELECT job, 'payments', jsonb_build_object('v', 1, 'type', 'look_at_tab', 'id', job, 'occurred_at', at,
               'correlation_id', job, 'causation_id', NULL, 'dedupe_key', 'tab/' || booking,
               'payload', jsonb_build_object('booking_id', booking)), at
    FROM gen_random_uuid() AS job
    WHERE taken ->> 'status' = 'cancelled' AND EXISTS (SELECT FROM payments p WHERE p.booking_id = booking);

    WITH moved AS (
        UPDATE sessions s
        SET client_id = b.client_id, tutor_id = b.tutor_id, price_minor = b.price_minor, currency = b.price_currency,
            scheduled_start_at = b.session_start_time, duration_minutes = b.session_duration,
            scheduled_end_at = b.session_start_time + make_interval(mins => b.session_duration),
            charge_scheduled_at = b.session_start_time + make_interval(mins => b.session_duration),
            meeting_started_at = b.meeting_started_at, meeting_ended_at = b.meeting_ended_at,
            cancelled_at = CASE WHEN b.status <> 'confirmed' THEN coalesce(s.cancelled_at, at) END,
            due_at = CASE WHEN b.status = 'cancelled' THEN at
                ELSE b.session_start_time + make_interval(mins => b.session_duration) END
        FROM bookings b
        WHERE b.id = booking AND s.booking_id = b.id AND s.decisions = 0
        RETURNING s.id)
    INSERT INTO session_events (session_id, kind, occurred_at, data)
    SELECT id, 'booking_changed', at, jsonb_build_object('by', 'platform', 'changed', taken) FROM moved;
END
$take$;

-- Brings one booking's copy to what the platform says, as far as the table above allows. Harmless twice.
-- `lists_late`: whether confirmations after the start, and words that we do not know, are listed; not so when a
-- platform is adopted, whose past is full of them.
-- `said_in`: the platform's transaction, where that is not this one.
CREATE FUNCTION follow_booking(booking uuid, at timestamptz, lists_late boolean, said_in text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp SET timezone = 'UTC'
-- Rows that a policy hides from us are not gone: reading them fails instead.
SET row_security = off AS $follow$
DECLARE
    said jsonb;
    ours bookings;
    we_have jsonb;
    they_have jsonb;
    they_had jsonb;
    taken jsonb := '{}';
    field text;
    starts_at timestamptz;
    is_pinned boolean;
    has_begun boolean;
    is_followed boolean;
    is_offered boolean;
    this_transaction constant text := coalesce(said_in, pg_current_xact_id()::text);
BEGIN
    -- Most writes change nothing that is looked at here. Those take no lock.
    SELECT to_jsonb(v) INTO said FROM platform_bookings v WHERE v.id = booking;
    SELECT * INTO ours FROM bookings b WHERE b.id = booking;
    IF ours.seen IS NOT DISTINCT FROM said THEN
        RETURN;
    END IF;

    -- First the lock, then another look: who waited for it must not write back what was true before. A new copy
    -- begins as a booking that nobody has confirmed.
    INSERT INTO bookings (id, client_id, tutor_id, status)
    SELECT booking, (said ->> 'client_id')::uuid, (said ->> 'tutor_id')::uuid, 'pending' WHERE ours.id IS NULL
    ON CONFLICT (id) DO NOTHING;
    SELECT * INTO ours FROM bookings b WHERE b.id = booking FOR NO KEY UPDATE;
    SELECT to_jsonb(v) INTO said FROM platform_bookings v WHERE v.id = booking;

    we_have := terms(to_jsonb(ours));
    they_have := terms(said);
    they_had := CASE WHEN ours.seen IS NOT NULL THEN terms(ours.seen) ELSE '{}' END;
    -- A lesson that was called off in time was, however late that can be followed.
    IF they_have ->> 'status' = 'cancelled' THEN
        at := least(at, (
            SELECT min(f.failed_at) FROM follow_failures f
            WHERE f.booking_id = booking AND f.direction = 'follow' AND f.said IN ('cancelled', 'gone')));
    END IF;
    is_pinned := ours.agreed_at IS NOT NULL OR EXISTS (SELECT FROM payments p WHERE p.booking_id = booking);
    has_begun := ours.agreed_at IS NOT NULL AND coalesce(ours.session_start_time <= at, false);
    starts_at := coalesce((they_have ->> 'start')::timestamptz, 'infinity');
    -- A confirmation that came late waits for an operator, also where the platform says by now that it was held.
    is_offered := ours.agreed_at IS NULL AND EXISTS (
        SELECT FROM booking_changes c
        WHERE c.booking_id = booking AND c.state = 'open' AND c.field = 'status' AND c.theirs = '"confirmed"');

    FOR field IN SELECT jsonb_object_keys(they_have) LOOP
        CONTINUE WHEN they_have -> field = we_have -> field;
        -- What was not taken before is not taken now; but whether a confirmation is late depends on the start, too.
        CONTINUE WHEN they_have -> field = they_had -> field
            AND (is_pinned OR field <> 'status' OR they_have -> 'start' = they_had -> 'start');
        CONTINUE WHEN (ours.agreed_at IS NOT NULL OR is_offered) AND field = 'status' AND they_have ->> field = 'completed';
        CONTINUE WHEN said IS NULL AND ours.status = 'completed';

        is_followed := CASE
            -- A lesson that begins as it is booked is not late yet.
            WHEN field = 'status' AND they_have ->> field = 'confirmed' AND ours.agreed_at IS NULL
                THEN starts_at > at - interval '1 minute' OR NOT lists_late
            WHEN NOT is_pinned THEN true
            WHEN field = 'start' THEN NOT has_begun AND starts_at > at AND they_have -> field <> 'null'
            WHEN field = 'recording_consent' THEN they_have -> field = 'false'
            WHEN field = 'status' THEN NOT has_begun AND CASE they_have ->> field
                WHEN 'cancelled' THEN true
                WHEN 'pending' THEN ours.status = 'confirmed'
                -- A row that is deleted and made again at once was never gone.
                WHEN 'confirmed' THEN ours.status = 'pending' OR ours.gone_in IS NOT DISTINCT FROM this_transaction
                ELSE false END
            ELSE false END;

        IF is_followed THEN
            taken := taken || jsonb_build_object(field, they_have -> field);
        END IF;
        IF NOT is_followed OR (they_have ->> field = 'unknown' AND lists_late) THEN
            -- A word that we do not know is listed by its name.
            PERFORM list_change(booking, field, we_have -> field,
                CASE WHEN they_have ->> field = 'unknown' THEN said -> 'status' ELSE they_have -> field END, at);
        END IF;
    END LOOP;

    IF taken <> '{}' THEN
        PERFORM take_terms(booking, taken, at);
    END IF;
    UPDATE bookings b
    SET seen = said,
        gone_in = CASE WHEN said IS NULL THEN this_transaction END,
        agreed_at = coalesce(b.agreed_at, CASE
            WHEN b.status = 'confirmed' AND coalesce(b.session_start_time > at - interval '1 minute', true) THEN at END)
    WHERE b.id = booking;

    -- What the platform took back needs nobody's decision any more; nor does what it says was held after all.
    UPDATE booking_changes c SET state = 'withdrawn', decided_at = at
    WHERE c.booking_id = booking AND c.state = 'open' AND (
        c.field <> 'status' AND they_have -> c.field = (we_have || taken) -> c.field
        OR c.field = 'status' AND they_have ->> 'status' <> 'unknown' AND (
            they_have -> 'status' = (we_have || taken) -> 'status'
            OR ours.agreed_at IS NOT NULL AND they_have ->> 'status' = 'completed'));
END
$follow$;

-- The least that must come through whatever else cannot be read: that a lesson was called off before it began.
CREATE FUNCTION follow_cancellation(booking uuid, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp SET row_security = off AS $cancellation$
DECLARE
    ours bookings;
    word text;
BEGIN
    SELECT * INTO ours FROM bookings b WHERE b.id = booking FOR NO KEY UPDATE;
    SELECT v.status INTO word FROM platform_bookings v WHERE v.id = booking;
    IF (NOT FOUND OR word = 'cancelled') AND ours.status IN ('pending', 'confirmed', 'unknown')
        AND NOT (ours.agreed_at IS NOT NULL AND coalesce(ours.session_start_time <= at, false))
    THEN
        PERFORM take_terms(booking, '{"status": "cancelled"}', at);
    END IF;
END
$cancellation$;

-- Follows one booking and never fails: NULL, or the error's code and message.
CREATE FUNCTION try_to_follow(booking uuid, at timestamptz, lists_late boolean, said_in text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $try$
DECLARE
    code text;
    why text;
BEGIN
    PERFORM follow_booking(booking, at, lists_late, said_in);
    RETURN NULL;
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, why = MESSAGE_TEXT;
    IF code NOT IN ('55P03', '57014') THEN
        BEGIN
            PERFORM follow_cancellation(booking, at);
        EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
            why := why || '; nor could a cancellation be looked for';
        END;
    END IF;
    RETURN code || ' ' || why;
END
$try$;

-- What the platform says of the booking's status, where that can be read. Not where reading is what makes
-- transactions fail.
CREATE FUNCTION said_status(booking uuid) RETURNS text
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $said$
DECLARE
    word text;
BEGIN
    IF current_setting('transaction_isolation') = 'serializable' THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(v.status, 'nothing') INTO word FROM platform_bookings v WHERE v.id = booking;
    RETURN coalesce(word, 'gone');
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    RETURN NULL;
END
$said$;

-- Notes a failure, never fails, and waits for nobody: a row is added, whatever is there. What is not even noted is
-- found by the walk over all bookings.
CREATE FUNCTION note_failure(booking uuid, to_where text, failure text, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $note$
DECLARE
    this_transaction constant text := pg_current_xact_id()::text;
BEGIN
    -- Where not even that works, it is tried once in a transaction.
    IF current_setting('firstbell.notes_nothing_in', true) IS DISTINCT FROM this_transaction THEN
        INSERT INTO follow_failures (booking_id, direction, sqlstate, message, said, failed_at)
        VALUES (booking, to_where, left(failure, 5), substr(failure, 7, 500),
            CASE to_where WHEN 'follow' THEN said_status(booking) END, at);
    END IF;
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    PERFORM set_config('firstbell.notes_nothing_in', this_transaction, true);
    RAISE WARNING 'firstbell could not note of booking %: %', booking, failure;
END
$note$;

-- Whether whoever writes now may have to wait for us: not if they did in the same transaction already and in vain, or
-- were told to stop meanwhile; and not if they do not see what others have committed since they began, for then
-- neither would we. What is not followed at once is noted, and followed within the minute.
CREATE FUNCTION may_wait() RETURNS boolean LANGUAGE sql AS $wait$
    SELECT current_setting('firstbell.waits_no_more_in', true) IS DISTINCT FROM pg_current_xact_id()::text
       AND current_setting('transaction_isolation') = 'read committed'
$wait$;

CREATE FUNCTION waited_in_vain(failure text) RETURNS void LANGUAGE sql AS $vain$
    SELECT set_config('firstbell.waits_no_more_in', pg_current_xact_id()::text, true)
    WHERE left(failure, 5) IN ('55P03', '57014')
$vain$;

-- The trigger on the platform's table. It runs as its owner, whoever writes; it waits for nobody for long, and
-- nothing in it can fail the platform's write.
CREATE FUNCTION follow() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp SET lock_timeout = '100ms' AS $trigger$
DECLARE
    ids uuid[] := '{}';
    booking uuid;
    failure text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        ids := ids || (to_jsonb(OLD) ->> TG_ARGV[0])::uuid;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        ids := ids || (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
    END IF;
    IF ids[1] = ids[2] THEN
        ids := ids[1:1];
    END IF;

    FOREACH booking IN ARRAY ids LOOP
        IF booking IS NULL THEN
            RAISE WARNING 'firstbell found no id in column % of %', TG_ARGV[0], TG_TABLE_NAME;
            CONTINUE;
        END IF;
        -- The clock's time: a transaction that began before the lesson did is not earlier than it. Who deleted rows that
        -- were followed puts them back the same way, whatever has happened since: the locks are theirs already.
        failure := '00000 not followed at once';
        IF may_wait() OR TG_OP = 'INSERT' AND current_setting('firstbell.deletes_in', true) = pg_current_xact_id()::text THEN
            failure := try_to_follow(booking, clock_timestamp(), true);
            PERFORM waited_in_vain(failure);
        END IF;
        IF failure IS NOT NULL THEN
            PERFORM note_failure(booking, 'follow', failure, clock_timestamp());
        ELSIF TG_OP = 'DELETE' THEN
            PERFORM set_config('firstbell.deletes_in', pg_current_xact_id()::text, true);
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    -- Between two bookings, before the first, or because these functions themselves are gone.
    failure := SQLSTATE || ' ' || SQLERRM;
    BEGIN
        PERFORM waited_in_vain(failure);
        FOREACH booking IN ARRAY ids LOOP
            PERFORM note_failure(booking, 'follow', failure, clock_timestamp());
        END LOOP;
    EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
        RAISE WARNING 'firstbell could not follow %: %', TG_TABLE_NAME, failure;
    END;
    RETURN NULL;
END
$trigger$;

-- Names a table of the platform whose rows are followed, and the column with the booking's id.
CREATE FUNCTION follow_table(platform_table regclass, id_column name DEFAULT 'id') RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $name$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = platform_table AND a.attname = id_column AND a.atttypid IN ('uuid'::regtype, 'text'::regtype, 'varchar'::regtype)
    ) THEN
        RAISE EXCEPTION 'table % has no column % with a UUID in it', platform_table, id_column;
    END IF;
    INSERT INTO followed_tables VALUES (platform_table, id_column)
    ON CONFLICT ON CONSTRAINT followed_tables_pkey DO UPDATE SET id_column = excluded.id_column;
END
$name$;

-- Puts the trigger on them; the last thing that `migrate` does, since it locks the tables against writers. Leaves alone
-- one that is right already. For every write, whatever its columns: a trigger of the platform may change others.
CREATE FUNCTION attach_followers() RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $attach$
DECLARE
    followed followed_tables;
BEGIN
    FOR followed IN SELECT * FROM followed_tables LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_trigger t
            WHERE t.tgrelid = followed.platform_table AND t.tgname = 'firstbell_follow' AND t.tgenabled = 'O'
              AND t.tgargs = convert_to(followed.id_column, getdatabaseencoding()) || '\x00'::bytea);
        EXECUTE format('CREATE OR REPLACE TRIGGER firstbell_follow AFTER INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION firstbell.follow(%L)', followed.platform_table, followed.id_column);
    END LOOP;
END
$attach$;

-- Follows up to `most` bookings with an id above `after`, of the platform and of ours; returns the last, or NULL at
-- the end. The same function that the trigger calls, over the view.
CREATE FUNCTION follow_next(after uuid, most integer, at timestamptz) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp SET lock_timeout = '100ms' AS $next$
DECLARE
    began constant timestamptz := clock_timestamp();
    lists_late constant boolean := (SELECT is_adopted FROM follow_walk);
    booking uuid;
    last uuid;
    failure text;
BEGIN
    FOR booking IN
        SELECT id FROM (
            (SELECT v.id FROM platform_bookings v WHERE v.id > after ORDER BY v.id LIMIT most)
            UNION (SELECT b.id FROM bookings b WHERE b.id > after ORDER BY b.id LIMIT most)) AS either
        ORDER BY id LIMIT most
    LOOP
        failure := try_to_follow(booking, at, lists_late);
        IF failure IS NOT NULL THEN
            PERFORM note_failure(booking, 'follow', failure, at);
        END IF;
        last := booking;
        -- Where every booking is locked by somebody, the rest has to wait for the next call.
        EXIT WHEN clock_timestamp() > began + interval '2 seconds';
    END LOOP;
    RETURN last;
END
$next$;

-- From us to the platform --------------------------------------------------------------------------------

-- What we know of a booking, for whoever keeps it in columns of their own.
CREATE VIEW booking_facts AS
    SELECT b.id AS booking_id, b.student_id, b.meeting_provider, b.meeting_provider_id, b.meeting_url,
           b.meeting_started_at, b.meeting_ended_at, b.duration_actual, b.recording_url, b.session_artifacts,
           b.engagement_metrics, s.id AS session_id, s.status AS session_status, c.charge_minor, c.payout_minor,
           c.fee_minor, c.currency
    FROM bookings b
    LEFT JOIN sessions s ON s.booking_id = b.id
    LEFT JOIN charges c ON c.session_id = s.id AND c.decision = s.decisions;

-- Tells the platform of one booking, by the platform's own function, and never fails: NULL, or the error's code and
-- message. The function and the triggers that it sets off are the platform's: they find the platform's names, and
-- never ours.
CREATE FUNCTION try_to_tell(booking uuid) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $try$
DECLARE
    facts firstbell.booking_facts;
    code text;
    why text;
BEGIN
    SELECT * INTO facts FROM firstbell.booking_facts f WHERE f.booking_id = booking;
    PERFORM firstbell.tell_platform(facts);
    RETURN NULL;
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, why = MESSAGE_TEXT;
    RETURN code || ' ' || why;
END
$try$;

-- A booking's facts are told at once. Of sessions thousands are settled in one transaction, which must not hold as many
-- of the platform's rows: they are noted, and told within the minute.
CREATE FUNCTION tell() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp SET lock_timeout = '100ms' AS $tell$
DECLARE
    booking constant uuid := to_jsonb(NEW) ->> TG_ARGV[0];
    failure text := '00000 not told at once';
BEGIN
    IF TG_TABLE_NAME = 'bookings' AND may_wait() THEN
        failure := try_to_tell(booking);
        PERFORM waited_in_vain(failure);
    END IF;
    IF failure IS NOT NULL THEN
        PERFORM note_failure(booking, 'tell', failure, clock_timestamp());
    END IF;
    RETURN NULL;
END
$tell$;

-- Listens to our own changes, for as long as the platform says what is to be done with them. A change that came from the
-- platform (there is another trigger above) is not told back to it.
CREATE FUNCTION tell_of_changes() RETURNS void
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $listen$
DECLARE
    is_wanted constant boolean := to_regprocedure('firstbell.tell_platform(firstbell.booking_facts)') IS NOT NULL;
    is_there constant boolean := EXISTS (
        SELECT FROM pg_trigger t WHERE t.tgrelid = 'bookings'::regclass AND t.tgname = 'tell');
BEGIN
    IF is_wanted = is_there THEN
        RETURN;
    END IF;
    IF is_there THEN
        DROP TRIGGER tell ON bookings;
        DROP TRIGGER tell ON sessions;
        DELETE FROM follow_failures WHERE direction = 'tell';
        RETURN;
    END IF;
    CREATE TRIGGER tell AFTER UPDATE OF student_id, meeting_provider, meeting_provider_id, meeting_url,
        meeting_started_at, meeting_ended_at, duration_actual, recording_url, session_artifacts, engagement_metrics
        ON bookings FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND
            (OLD.student_id, OLD.meeting_provider, OLD.meeting_provider_id, OLD.meeting_url, OLD.meeting_started_at,
             OLD.meeting_ended_at, OLD.duration_actual, OLD.recording_url, OLD.session_artifacts, OLD.engagement_metrics)
            IS DISTINCT FROM
            (NEW.student_id, NEW.meeting_provider, NEW.meeting_provider_id, NEW.meeting_url, NEW.meeting_started_at,
             NEW.meeting_ended_at, NEW.duration_actual, NEW.recording_url, NEW.session_artifacts, NEW.engagement_metrics))
        EXECUTE FUNCTION tell('id');
    CREATE TRIGGER tell AFTER UPDATE OF status, decisions ON sessions FOR EACH ROW
        WHEN (pg_trigger_depth() = 0 AND (OLD.status, OLD.decisions) IS DISTINCT FROM (NEW.status, NEW.decisions))
        EXECUTE FUNCTION tell('booking_id');
END
$listen$;

-- What is left over ----------------------------------------------------------------------------------------

-- Tries again what failed, up to `most`, and says what waits for a person. Short transactions: it is called until nothing
-- is left that can be mended.
CREATE FUNCTION catch_up(most integer, at timestamptz, OUT healed bigint, OUT failing bigint, OUT to_decide bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp SET lock_timeout = '100ms' AS $catch_up$
DECLARE
    began constant timestamptz := clock_timestamp();
    failed record;
    failure text;
BEGIN
    healed := 0;
    FOR failed IN
        -- What we were only too busy for counts from when it was written.
        SELECT f.booking_id, f.direction, max(f.id) AS last_id, max(f.said_in) AS said_in,
               min(f.failed_at) FILTER (WHERE f.sqlstate IN ('00000', '55P03', '57014')) AS since
        FROM follow_failures f
        GROUP BY f.booking_id, f.direction
        ORDER BY max(f.tried_at) NULLS FIRST, last_id
        LIMIT most
    LOOP
        failure := CASE failed.direction
            WHEN 'tell' THEN try_to_tell(failed.booking_id)
            ELSE try_to_follow(failed.booking_id, coalesce(failed.since, at), true, failed.said_in) END;

        -- Of what has failed since, nothing is touched. What still fails keeps its notes, which say since when.
        IF failure IS NULL THEN
            DELETE FROM follow_failures f
            WHERE f.booking_id = failed.booking_id AND f.direction = failed.direction AND f.id <= failed.last_id;
        ELSE
            UPDATE follow_failures f SET tried_at = at WHERE f.id = failed.last_id;
        END IF;
        healed := healed + (failure IS NULL)::integer;
        EXIT WHEN clock_timestamp() > began + interval '2 seconds';
    END LOOP;

    failing := (SELECT count(DISTINCT (f.booking_id, f.direction)) FROM follow_failures f);
    to_decide := (SELECT count(*) FROM booking_changes WHERE state = 'open');
END
$catch_up$;

-- Walks on over all bookings, for what no trigger told; begins anew at the end. Two at once walk the same way twice, which
-- does no harm.
CREATE FUNCTION walk_on(most integer, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp AS $walk$
DECLARE
    last uuid := follow_next((SELECT after FROM follow_walk), most, at);
BEGIN
    UPDATE follow_walk w
    SET after = coalesce(last, '00000000-0000-0000-0000-000000000000'), is_adopted = w.is_adopted OR last IS NULL;
END
$walk$;

-- An operator lets a listed change count: in the copy, and in the session while nothing is decided about that.
CREATE FUNCTION accept_change(change bigint, decided_by text, reason text, at timestamptz DEFAULT clock_timestamp())
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp SET timezone = 'UTC' AS $accept$
DECLARE
    listed booking_changes;
BEGIN
    SELECT * INTO listed FROM booking_changes c WHERE c.id = change AND c.state = 'open';
    IF listed.id IS NULL THEN
        RAISE EXCEPTION 'there is no open change %', change USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM FROM bookings b WHERE b.id = listed.booking_id FOR NO KEY UPDATE;
    SELECT * INTO listed FROM booking_changes c WHERE c.id = change AND c.state = 'open' FOR UPDATE;
    IF listed.id IS NULL THEN
        RAISE EXCEPTION 'change % was decided meanwhile', change USING ERRCODE = 'no_data_found';
    END IF;

    IF EXISTS (SELECT FROM sessions s WHERE s.booking_id = listed.booking_id AND s.decisions > 0) THEN
        RAISE EXCEPTION 'the session is settled: what it cost is changed by a correction, not by its booking'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF listed.field = 'client_id' AND EXISTS (SELECT FROM payments p WHERE p.booking_id = listed.booking_id) THEN
        RAISE EXCEPTION 'the client has begun to pay: cancel this booking and make another'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF listed.field = 'status' AND listed.theirs ->> 0 NOT IN ('pending', 'confirmed', 'completed', 'cancelled') THEN
        RAISE EXCEPTION 'the view does not translate the status %', listed.theirs USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF listed.field = 'price' AND listed.theirs ->> 'currency' <> listed.ours ->> 'currency' THEN
        RAISE EXCEPTION 'the currency of a lesson that is agreed stays: cancel this booking and make another'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF listed.field IN ('start', 'minutes', 'price', 'client_id', 'tutor_id') AND listed.theirs = 'null' THEN
        RAISE EXCEPTION 'a booking cannot do without %: cancel it instead', listed.field
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    PERFORM take_terms(listed.booking_id, jsonb_build_object(listed.field, listed.theirs), at);
    UPDATE bookings b SET agreed_at = coalesce(b.agreed_at, at)
    WHERE b.id = listed.booking_id AND listed.field = 'status' AND listed.theirs = '"confirmed"';

    -- Called off after its start, which only an operator can do.
    UPDATE sessions s SET waived_at = at, due_at = at
    WHERE s.booking_id = listed.booking_id AND s.decisions = 0 AND s.scheduled_start_at <= at
      AND listed.field = 'status' AND listed.theirs IN ('"cancelled"', '"pending"');

    UPDATE booking_changes c
    SET state = 'accepted', decided_by = accept_change.decided_by, reason = accept_change.reason, decided_at = at
    WHERE c.id = change;
END
$accept$;

-- An operator leaves our copy as it is. The change is listed again when the platform changes the field again.
CREATE FUNCTION reject_change(change bigint, decided_by text, reason text, at timestamptz DEFAULT clock_timestamp())
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp AS $reject$
BEGIN
    UPDATE booking_changes c
    SET state = 'rejected', decided_by = reject_change.decided_by, reason = reject_change.reason, decided_at = at
    WHERE c.id = change AND c.state = 'open';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no open change %', change USING ERRCODE = 'no_data_found';
    END IF;
END
$reject$;

-- Whose guardian the person of the request is; for the policies of clients.
CREATE FUNCTION guarded_students() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = firstbell, pg_temp AS $guarded$
BEGIN
    RETURN QUERY SELECT l.student_id FROM platform_links l WHERE l.guardian_id = person() AND l.is_accepted;
END
$guarded$;

-- What clients that talk to Postgres directly may see of the tables that `access.sql` lets them read.
CREATE POLICY own ON bookings FOR SELECT TO authenticated
    USING ((SELECT person()) IN (client_id, tutor_id, student_id) OR student_id IN (SELECT guarded_students()));
CREATE POLICY own ON sessions FOR SELECT TO authenticated
    USING ((SELECT person()) IN (client_id, tutor_id));
CREATE POLICY own ON session_events FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM sessions s WHERE s.id = session_id AND (SELECT person()) IN (s.client_id, s.tutor_id)));
CREATE POLICY own ON notifications FOR SELECT TO authenticated
    USING (profile_id = (SELECT person()));
