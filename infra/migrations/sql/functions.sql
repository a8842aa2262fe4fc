-- Rules that the database keeps itself, each in the form that holds today. Every run of `migrate` makes them anew after the
-- migrations: a migration that has landed is never edited, and a rule that changes has its one place here. A rule that
-- has not changed since its migration still stands there.

-- The outbox ----------------------------------------------------------------------------------------------

-- A draft's envelope, once it is known what it is about. A draft has the name of its queue, an envelope, and the name
-- of the field in the envelope's payload that names its subject.
CREATE OR REPLACE FUNCTION about(draft jsonb, subject uuid) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $about$
    SELECT jsonb_set(draft -> 'envelope', ARRAY['payload', draft ->> 'subject'], to_jsonb(subject))
$about$;

-- Until when a row of the outbox is left to whoever has written it and sends it right after the commit.
CREATE OR REPLACE FUNCTION senders_turn(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $turn$
    SELECT at + interval '1 minute'
$turn$;

-- A row of the outbox as it is sent. A message has the id of its row, so that whoever receives it can mark the row.
CREATE OR REPLACE FUNCTION as_posted(id uuid, queue text, envelope jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $posted$
    SELECT jsonb_build_object('id', id, 'queue', queue, 'envelope', jsonb_set(envelope, '{id}', to_jsonb(id)))
$posted$;

-- Asks for one job, as the functions write it. Those of the release before insist on a `dedupe_key`.
CREATE OR REPLACE FUNCTION ask_for(job text, to_queue text, about text, subject uuid, at timestamptz) RETURNS void
LANGUAGE sql SET search_path = firstbell, pg_temp AS $ask$
    INSERT INTO outbox (id, queue, envelope, due_at)
    SELECT id, to_queue, jsonb_build_object('v', 1, 'type', job, 'id', id, 'occurred_at', at, 'correlation_id', id,
               'causation_id', NULL, 'dedupe_key', '', 'payload', jsonb_build_object(about, subject)), at
    FROM gen_random_uuid() AS id
$ask$;

-- Bookings ------------------------------------------------------------------------------------------------

-- A booking's status as people here see it. Its own is what the platform says; a lesson that client or tutor called off
-- here is cancelled, too, and only its session says so.
CREATE OR REPLACE FUNCTION status_here(booking bookings) RETURNS text LANGUAGE sql STABLE AS $status$
    SELECT CASE
        WHEN EXISTS (SELECT FROM sessions s WHERE s.booking_id = booking.id AND s.status = 'CANCELLED') THEN 'cancelled'
        ELSE booking.status END
$status$;

-- Whether a lesson may be recorded, and its recording shown. Consent may be withdrawn at any time, and counts at once: while
-- the platform's words cannot be followed, it may have been.
CREATE OR REPLACE FUNCTION may_be_recorded(booking bookings) RETURNS boolean LANGUAGE sql STABLE AS $recorded$
    SELECT coalesce(booking.recording_consent, false) AND NOT EXISTS (
        SELECT FROM follow_failures f WHERE f.booking_id = booking.id AND f.direction = 'follow')
$recorded$;

-- Whether the parties and the price of a booking stand. One that the platform has taken back to be confirmed anew stands
-- only for the session that it has.
CREATE OR REPLACE FUNCTION stands(booking bookings) RETURNS boolean LANGUAGE sql STABLE AS $stands$
    SELECT booking.agreed_at IS NOT NULL AND (
        booking.status <> 'pending' OR EXISTS (SELECT FROM sessions s WHERE s.booking_id = booking.id))
$stands$;

-- Whether a booking will not be held: it is called off, or its end has passed by a day and it does not stand, unless somebody
-- is still to decide whether it does.
CREATE OR REPLACE FUNCTION is_off(booking bookings, at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $off$
    SELECT booking.status = 'cancelled' OR (
        NOT stands(booking)
        AND coalesce(booking.session_start_time + make_interval(mins => coalesce(booking.session_duration, 0))
            < at - interval '1 day', false)
        AND NOT EXISTS (
            SELECT FROM booking_changes c
            WHERE c.booking_id = booking.id AND c.field = 'status' AND c.state = 'open'))
$off$;

-- When the tab of a booking is looked at to which money came and that does not stand: a minute after it is known that it
-- will not be held.
CREATE OR REPLACE FUNCTION known_to_be_off(booking bookings, at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $known$
    SELECT coalesce(booking.session_start_time + make_interval(mins => coalesce(booking.session_duration, 0)), at)
        + interval '1 day 1 minute'
$known$;

-- Evidence ------------------------------------------------------------------------------------------------

-- Adds what `new` knows to `old`: earliest beginnings, latest ends, and the union of everything else. Neither order nor
-- repetition changes the result. Whoever is told as tutor and as learner is neither for certain. The form is that of `domain::evidence`, whose `merge` does the same.
CREATE OR REPLACE FUNCTION merged_evidence(old jsonb, new jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $merged$
    SELECT jsonb_build_object(
        'spans', coalesce((
            SELECT jsonb_object_agg(id, jsonb_build_array(began, ended, is_idled, is_recorded))
            FROM (
                SELECT e.key AS id, min((e.value ->> 0)::bigint) AS began, max((e.value ->> 1)::bigint) AS ended,
                       bool_or((e.value ->> 2)::boolean) AS is_idled, bool_or((e.value ->> 3)::boolean) AS is_recorded
                FROM (SELECT * FROM jsonb_each(old -> 'spans') UNION ALL SELECT * FROM jsonb_each(new -> 'spans')) AS e
                GROUP BY e.key) AS span), '{}'),
        'ends', coalesce((
            SELECT jsonb_object_agg(id, told)
            FROM (
                SELECT e.key AS id, max(e.value::bigint) AS told
                FROM (SELECT * FROM jsonb_each_text(old -> 'ends') UNION ALL SELECT * FROM jsonb_each_text(new -> 'ends')) AS e
                GROUP BY e.key) AS hint), '{}'),
        'marks', coalesce((
            SELECT jsonb_agg(mark ORDER BY mark)
            FROM (SELECT jsonb_array_elements(old -> 'marks') UNION SELECT jsonb_array_elements(new -> 'marks')) AS m (mark)), '[]'),
        'people', coalesce((
            SELECT jsonb_object_agg(who, side)
            FROM (
                SELECT e.key AS who, CASE
                           WHEN bool_or(e.value = 'unclear') OR bool_or(e.value = 'tutor') AND bool_or(e.value = 'learner')
                               THEN 'unclear'
                           WHEN bool_or(e.value = 'tutor') THEN 'tutor'
                           WHEN bool_or(e.value = 'learner') THEN 'learner'
                           ELSE 'nobody' END AS side
                FROM (SELECT * FROM jsonb_each_text(old -> 'people') UNION ALL SELECT * FROM jsonb_each_text(new -> 'people')) AS e
                GROUP BY e.key) AS person), '{}'))
$merged$;

-- Whether a provider has still to show an end around a lesson: of a time that runs as far as it has shown, or one that it
-- told of. Of what began two hours or more before the lesson it is not asked any more.
CREATE OR REPLACE FUNCTION owes_an_end(evidence jsonb, starts_at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $owes$
    SELECT EXISTS (
            SELECT FROM jsonb_each(evidence -> 'spans') AS span
            WHERE span.value ->> 1 IS NULL
              AND from_milliseconds((span.value ->> 0)::bigint) > starts_at - interval '2 hours')
        OR EXISTS (
            SELECT FROM jsonb_each_text(evidence -> 'ends') AS told
            WHERE NOT coalesce(evidence -> 'spans' ? told.key, false)
              AND from_milliseconds(told.value::bigint) > starts_at - interval '2 hours')
$owes$;

-- The span whose recording is the lesson's: the longest that has ended, of those that `proof_of` counts. NULL if none has.
CREATE OR REPLACE FUNCTION longest_span(evidence jsonb, starts_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $longest$
    SELECT e.key FROM jsonb_each(evidence -> 'spans') AS e
    WHERE from_milliseconds((e.value ->> 1)::bigint) > starts_at OR starts_at IS NULL AND e.value ->> 1 IS NOT NULL
    ORDER BY (e.value ->> 1)::bigint - (e.value ->> 0)::bigint DESC, e.key LIMIT 1
$longest$;

-- Whether a classroom keeps no record of who was in a room, so that it has to be asked while the lesson goes on.
CREATE OR REPLACE FUNCTION keeps_no_record(classroom text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $record$
    SELECT classroom IN ('livekit')
$record$;

-- When a classroom is asked next about a lesson that ends at `ends_at`, of which nothing was to be asked before `from_when`: at
-- that end, and each ten minutes until then if it keeps no record.
CREATE OR REPLACE FUNCTION next_question(classroom text, from_when timestamptz, ends_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $question$
    SELECT CASE WHEN keeps_no_record(classroom) THEN least(from_when + interval '10 minutes', ends_at) ELSE ends_at END
$question$;

-- Until when the provider of a session is asked what it saw: shortly before what is known decides without it.
CREATE OR REPLACE FUNCTION asked_until(session sessions) RETURNS timestamptz LANGUAGE sql STABLE AS $until$
    SELECT closes_at(session) + interval '23 hours 30 minutes'
$until$;

-- When a session may be settled that is made at `made_at` for a lesson that ends at `ends_at`: at that end. Of a lesson so
-- long ago that what is known would decide without its provider, that is asked first.
CREATE OR REPLACE FUNCTION due_once_asked(ends_at timestamptz, made_at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $due$
    SELECT CASE WHEN ends_at < made_at - interval '1 day' THEN made_at + interval '1 hour' ELSE ends_at END
$due$;

-- Money ---------------------------------------------------------------------------------------------------

-- What an agreement says once its owner has agreed again. With the same tutor and in the same currency that takes nothing
-- back: since when, and up to how much, only grow.
CREATE OR REPLACE FUNCTION agreed_again(before card_agreements, again card_agreements) RETURNS card_agreements
LANGUAGE plpgsql IMMUTABLE AS $again$
BEGIN
    IF (before.client_id, before.tutor_id, before.currency) = (again.client_id, again.tutor_id, again.currency) THEN
        again.up_to_minor := greatest(before.up_to_minor, again.up_to_minor);
        again.agreed_at := least(before.agreed_at, again.agreed_at);
    END IF;
    RETURN again;
END
$again$;

-- Whether a refund is only decided: its gateway was never asked for it, or has refused it since and will be asked again.
CREATE OR REPLACE FUNCTION is_unasked(refund refunds) RETURNS boolean LANGUAGE sql IMMUTABLE AS $unasked$
    SELECT refund.status IN ('opening', 'held')
       AND (refund.asked_at IS NULL OR coalesce(refund.next_try_at > refund.asked_at, false))
$unasked$;

-- What of a payment is only decided to go back.
CREATE OR REPLACE FUNCTION unasked(payment uuid) RETURNS bigint LANGUAGE sql STABLE AS $unasked$
    SELECT coalesce(sum(r.amount_minor), 0)::bigint FROM refunds r WHERE r.payment_id = payment AND is_unasked(r)
$unasked$;

-- What a client may still pay of what a booking costs by now: what is due, less what was paid and is still here. Money
-- that was decided to go back and that no gateway was asked for counts as still here: that refund will be withdrawn if
-- the money is needed. What a bank took back counts as gone only once the dispute is lost, so that nobody pays twice
-- while it is open. What a card is charged without its owner is for `Tab::balance` in `domain::charge::tab`: of the same
-- money, but nothing that a bank took back is asked of a card again.
CREATE OR REPLACE FUNCTION still_to_pay(booking uuid, due_minor bigint) RETURNS bigint LANGUAGE sql STABLE AS $pay$
    SELECT due_minor - coalesce(sum(p.amount_minor - given_back(p.id) + unasked(p.id) - disputed(p.id, true)), 0)::bigint
    FROM payments p WHERE p.booking_id = booking AND p.status = 'paid'
$pay$;

-- The booking is followed -----------------------------------------------------------------------------------

-- Whether a word is a classroom's, as `domain::launch::classroom` has them.
CREATE OR REPLACE FUNCTION is_classroom(word text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $classroom$
    SELECT word IN ('lessonspace', 'livekit', 'pencilspaces')
$classroom$;

-- What a row says, of the platform's view or of our copy, field by field in the words of `booking_changes`.
CREATE OR REPLACE FUNCTION terms(said jsonb) RETURNS jsonb
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
        'recording_consent', coalesce(said ->> 'recording_consent', 'false')::boolean,
        -- A platform's view need not have this column.
        'classroom', CASE WHEN said ->> 'classroom' IS NOT NULL AND NOT is_classroom(said ->> 'classroom')
            THEN 'unknown' ELSE said ->> 'classroom' END) END;
END
$terms$;

-- Takes terms of a booking over, as they are checked: its session moves with it, with the evidence window and the questions to
-- the provider, and people are told.
CREATE OR REPLACE FUNCTION take_terms(booking uuid, taken jsonb, at timestamptz) RETURNS void
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
        classroom = CASE WHEN taken ? 'classroom' THEN taken ->> 'classroom' ELSE b.classroom END
    WHERE b.id = booking;

    -- What the provider saw before the new time is no evidence for it.
    UPDATE bookings b
    SET (meeting_started_at, meeting_ended_at, duration_actual) =
        (SELECT p.began_at, p.ended_at, p.seconds FROM proof_of(b.evidence, b.session_start_time) p)
    WHERE b.id = booking AND taken ? 'start' AND b.evidence <> '{}';

    -- Everybody on an agreed lesson is told that it was moved, whoever moved it.
    INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
    SELECT who, 'lesson_moved', concat_ws('/', 'moved', booking, who, at), booking,
           jsonb_build_object('starts_at', taken -> 'start'), at
    FROM bookings b, unnest(ARRAY[b.client_id, b.tutor_id, b.student_id]) AS who
    WHERE b.id = booking AND b.agreed_at IS NOT NULL AND taken ->> 'start' IS NOT NULL AND who IS NOT NULL
      AND b.status <> 'cancelled'
      -- What was called off is not held at another time either.
      AND NOT EXISTS (
          SELECT FROM sessions s WHERE s.booking_id = b.id AND s.status NOT IN ('SCHEDULED', 'JOIN_OPEN'))
    ON CONFLICT (source) DO NOTHING;

    -- Money that was paid for a lesson that will not be held goes back.
    -- So it does if the lesson is to be confirmed anew, and nobody does.
    UPDATE payments p SET look_at = known_to_be_off(b, at)
    FROM bookings b
    WHERE b.id = booking AND taken ->> 'status' = 'pending' AND NOT stands(b)
      AND p.booking_id = b.id AND p.status = 'paid' AND p.amount_minor > 0 AND p.look_at IS NULL;

    PERFORM ask_for('look_at_tab', 'payments', 'booking_id', booking, at)
    WHERE taken ->> 'status' = 'cancelled' AND EXISTS (SELECT FROM payments p WHERE p.booking_id = booking);

    WITH moved AS (
        UPDATE sessions s
        SET client_id = b.client_id, tutor_id = b.tutor_id, price_minor = b.price_minor, currency = b.price_currency,
            scheduled_start_at = b.session_start_time, duration_minutes = b.session_duration,
            scheduled_end_at = ends.planned, charge_scheduled_at = ends.planned, asks = 0,
            ask_at = next_question(s.provider, b.session_start_time, ends.planned),
            status = CASE WHEN taken ? 'start' THEN 'SCHEDULED' ELSE s.status END,
            -- Who was absent from the old hour was not absent from the new one.
            no_show_marked_at = CASE WHEN taken ? 'start' THEN NULL ELSE s.no_show_marked_at END,
            provider = CASE WHEN b.meeting_provider_id IS NULL THEN coalesce(b.classroom, s.provider) ELSE s.provider END,
            cancelled_at = CASE WHEN b.status <> 'confirmed' THEN coalesce(s.cancelled_at, at) END,
            waived_at = CASE WHEN b.status <> 'confirmed' THEN s.waived_at END,
            -- The provider is asked about the new time before anything is decided of it, even where that has passed.
            asked_at = CASE WHEN taken ? 'start' THEN NULL ELSE s.asked_at END,
            due_at = CASE WHEN b.status = 'cancelled' THEN at
                WHEN taken ? 'start' THEN greatest(ends.planned, at + interval '5 minutes')
                ELSE ends.planned END
        FROM bookings b
        CROSS JOIN LATERAL (SELECT b.session_start_time + make_interval(mins => b.session_duration) AS planned) AS ends
        WHERE b.id = booking AND s.booking_id = b.id AND s.status IN ('SCHEDULED', 'JOIN_OPEN')
        RETURNING s.id)
    INSERT INTO session_events (session_id, kind, occurred_at, data)
    SELECT id, 'booking_changed', at, jsonb_build_object('by', 'platform', 'changed', taken) FROM moved;
END
$take$;

-- Brings one booking's copy to what the platform says, as far as that may be taken over. Harmless twice.
-- `lists_late`: whether confirmations after the start, and words that we do not know, are listed; not so when a
-- platform is adopted, whose past is full of them.
-- `said_in`: the platform's transaction, where that is not this one.
CREATE OR REPLACE FUNCTION follow_booking(booking uuid, at timestamptz, lists_late boolean, said_in text DEFAULT NULL) RETURNS void
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
            -- Until its room is open a lesson may be held elsewhere, but only where we know how.
            WHEN field = 'classroom' THEN they_have ->> field IS DISTINCT FROM 'unknown'
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
                CASE WHEN they_have ->> field = 'unknown' THEN said -> field ELSE they_have -> field END, at);
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

-- An operator lets a change of the platform's count that was listed. A lesson that was called off may be planned again.
CREATE OR REPLACE FUNCTION accept_change(change bigint, decided_by text, reason text, at timestamptz DEFAULT clock_timestamp())
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = firstbell, pg_temp SET timezone = 'UTC' AS $accept$
DECLARE
    listed booking_changes;
    taken jsonb;
    planned_again timestamptz;
BEGIN
    SELECT * INTO listed FROM booking_changes c WHERE c.id = change AND c.state = 'open';
    IF listed.id IS NULL THEN
        RAISE EXCEPTION 'there is no open change %', change USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM FROM bookings b WHERE b.id = listed.booking_id FOR NO KEY UPDATE;
    -- Who settles the session at this moment comes first: what was settled is not changed.
    PERFORM FROM sessions s WHERE s.booking_id = listed.booking_id FOR UPDATE;
    SELECT * INTO listed FROM booking_changes c WHERE c.id = change AND c.state = 'open' FOR UPDATE;
    IF listed.id IS NULL THEN
        RAISE EXCEPTION 'change % was decided meanwhile', change USING ERRCODE = 'no_data_found';
    END IF;

    taken := jsonb_build_object(listed.field, listed.theirs);
    -- What was held although nobody had agreed to it in time is agreed to now, and settled by what is known of it.
    IF taken = '{"status": "completed"}' AND EXISTS (
        SELECT FROM bookings b WHERE b.id = listed.booking_id AND b.agreed_at IS NULL)
    THEN
        taken := '{"status": "confirmed"}';
    END IF;

    -- A lesson that was called off and settled so is planned again, at the platform's time, if that is still to come: its
    -- outcome is then a correction.
    IF taken = '{"status": "confirmed"}' THEN
        SELECT (b.seen ->> 'session_start_time')::timestamptz INTO planned_again
        FROM bookings b JOIN sessions s ON s.booking_id = b.id
        WHERE b.id = listed.booking_id AND s.status = 'CANCELLED' AND (b.seen ->> 'session_start_time')::timestamptz > at;
        IF planned_again IS NOT NULL THEN
            UPDATE sessions s SET status = 'SCHEDULED', cancelled_at = NULL WHERE s.booking_id = listed.booking_id;
            taken := taken || jsonb_build_object('start', planned_again);
            UPDATE booking_changes c SET state = 'withdrawn', decided_at = at
            WHERE c.booking_id = listed.booking_id AND c.field = 'start' AND c.state = 'open';
        END IF;
    END IF;
    IF EXISTS (
        SELECT FROM sessions s
        WHERE s.booking_id = listed.booking_id AND s.status NOT IN ('SCHEDULED', 'JOIN_OPEN'))
    THEN
        RAISE EXCEPTION 'the session is settled: what it cost is changed by a correction, not by its booking'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF listed.field = 'client_id' AND EXISTS (SELECT FROM payments p WHERE p.booking_id = listed.booking_id) THEN
        RAISE EXCEPTION 'the client has begun to pay: cancel this booking and make another'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF listed.field = 'classroom' THEN
        RAISE EXCEPTION 'there is no classroom %: the view translates it', listed.theirs USING ERRCODE = 'invalid_parameter_value';
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

    PERFORM take_terms(listed.booking_id, taken, at);
    UPDATE bookings b SET agreed_at = coalesce(b.agreed_at, at)
    WHERE b.id = listed.booking_id AND taken ->> 'status' = 'confirmed';

    -- Called off after its start, which only an operator can do.
    UPDATE sessions s SET waived_at = at, due_at = at
    WHERE s.booking_id = listed.booking_id AND s.status IN ('SCHEDULED', 'JOIN_OPEN') AND s.scheduled_start_at <= at
      AND listed.field = 'status' AND listed.theirs IN ('"cancelled"', '"pending"');

    UPDATE booking_changes c
    SET state = 'accepted', decided_by = accept_change.decided_by, reason = accept_change.reason, decided_at = at
    WHERE c.id = change;
END
$accept$;
