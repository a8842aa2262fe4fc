-- What is known of a room, as facts that can be merged; when its provider is asked; and the rules under which a lesson
-- was sold.

-- Evidence ------------------------------------------------------------------------------------------------

-- Adds what `new` knows to `old`: earliest beginnings, latest ends, and the union of everything else. Neither order nor
-- repetition changes the result. The form is that of `domain::evidence`, whose `merge` does the same.
CREATE FUNCTION merged_evidence(old jsonb, new jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $merged$
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
            -- Tutors before learners before the rest, should anybody be told as both.
            FROM (
                SELECT e.key AS who, (ARRAY['tutor', 'learner', 'nobody'])[
                           min(array_position(ARRAY['tutor', 'learner', 'nobody'], e.value))] AS side
                FROM (SELECT * FROM jsonb_each_text(old -> 'people') UNION ALL SELECT * FROM jsonb_each_text(new -> 'people')) AS e
                GROUP BY e.key) AS person), '{}'))
$merged$;

CREATE FUNCTION from_milliseconds(milliseconds bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $instant$
    SELECT timestamptz 'epoch' + milliseconds * interval '1 millisecond'
$instant$;

-- What a booking's card says of its room: the first beginning, the last end unless somebody is in the room, how long the
-- room was held open, and the longest span that has a recording. What ended before the planned start says nothing.
CREATE FUNCTION proof_of(evidence jsonb, starts_at timestamptz, OUT began_at timestamptz, OUT ended_at timestamptz,
    OUT seconds integer, OUT recorded text)
LANGUAGE sql STABLE AS $proof$
    WITH span AS (
        SELECT e.key AS id, from_milliseconds((e.value ->> 0)::bigint) AS began,
               from_milliseconds((e.value ->> 1)::bigint) AS ended, (e.value ->> 3)::boolean AS is_recorded
        FROM jsonb_each(evidence -> 'spans') AS e),
    counted AS (
        SELECT *, greatest(extract(epoch FROM ended - began), 0) AS lasted FROM span
        WHERE ended > starts_at OR starts_at IS NULL OR (ended IS NULL AND began > starts_at - interval '1 hour'))
    SELECT min(began), CASE WHEN bool_and(ended IS NOT NULL) THEN max(ended) END, sum(lasted)::integer,
           (array_agg(id ORDER BY lasted DESC, id) FILTER (WHERE is_recorded AND ended IS NOT NULL))[1]
    FROM counted
$proof$;

ALTER TABLE bookings
    ADD COLUMN evidence jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN room_key text,
    ADD COLUMN wants_session boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN bookings.evidence IS 'Who was in the room and when, as far as anybody told us; see domain::evidence.';
COMMENT ON COLUMN bookings.room_key IS 'The key with which the provider signs this room''s webhooks, sealed.';
COMMENT ON COLUMN bookings.wants_session IS 'Agreed and priced, and without a session so far.';
CREATE INDEX bookings_wanting_sessions ON bookings (session_start_time) WHERE wants_session;

ALTER TABLE sessions
    DROP COLUMN meeting_started_at,
    DROP COLUMN meeting_ended_at,
    ADD COLUMN evidence jsonb NOT NULL DEFAULT '{}',
    -- The rules under which it was sold; what is missing has its default.
    ADD COLUMN policy jsonb NOT NULL DEFAULT '{}',
    -- When its provider last answered what it saw, when it is asked again, and how often it was asked.
    ADD COLUMN asked_at timestamptz,
    ADD COLUMN ask_at timestamptz,
    ADD COLUMN asks integer NOT NULL DEFAULT 0;
CREATE INDEX sessions_to_ask ON sessions (ask_at) WHERE ask_at IS NOT NULL;
-- What could not be read or settled waits for a person.
CREATE INDEX sessions_aside ON sessions (id) WHERE due_at IS NULL AND status IN ('SCHEDULED', 'JOIN_OPEN');
UPDATE sessions SET ask_at = scheduled_end_at WHERE decisions = 0;

DO $constraints$
DECLARE constraint_name name;
BEGIN
    -- They were never named.
    FOR constraint_name IN
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'sessions'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%JOIN_OPEN%'
    LOOP
        EXECUTE format('ALTER TABLE sessions DROP CONSTRAINT %I', constraint_name);
    END LOOP;
END
$constraints$;
ALTER TABLE sessions
    ADD CONSTRAINT sessions_status_check CHECK (status IN
        ('SCHEDULED', 'JOIN_OPEN', 'COMPLETED_ASSUMED', 'NO_SHOW_STUDENT', 'NO_SHOW_TUTOR', 'NOBODY_CAME',
         'EARLY_END_SHORT', 'CANCELLED')),
    -- An outcome that was taken back is planned again, and decided again.
    ADD CONSTRAINT sessions_decided_check CHECK (decisions > 0 OR status IN ('SCHEDULED', 'JOIN_OPEN'));

-- When nobody can enter the room of a session any more.
CREATE FUNCTION closes_at(session sessions) RETURNS timestamptz LANGUAGE sql STABLE AS $closes$
    SELECT session.scheduled_end_at
         + make_interval(mins => coalesce((session.policy ->> 'closes_after_minutes')::integer, 15))
$closes$;

-- Every agreed and priced booking gets a session without anybody calling for it.
CREATE FUNCTION want_session() RETURNS trigger LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $want$
BEGIN
    NEW.wants_session := NEW.status = 'confirmed' AND NEW.agreed_at IS NOT NULL AND NEW.price_minor IS NOT NULL
        AND NEW.session_start_time IS NOT NULL AND coalesce(NEW.session_duration > 0, false)
        AND NOT EXISTS (SELECT FROM sessions s WHERE s.booking_id = NEW.id);
    RETURN NEW;
END
$want$;
CREATE TRIGGER want_session BEFORE INSERT OR UPDATE OF status, agreed_at, price_minor, session_start_time, session_duration
    ON bookings FOR EACH ROW EXECUTE FUNCTION want_session();
UPDATE bookings SET status = status WHERE status = 'confirmed' AND agreed_at IS NOT NULL;

-- The booking is followed -----------------------------------------------------------------------------------
-- As before, and the evidence window and the questions to the provider move with the lesson.

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
        recording_consent = coalesce((taken ->> 'recording_consent')::boolean, b.recording_consent)
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
      -- What was called off is not held at another time either.
      AND NOT EXISTS (
          SELECT FROM sessions s WHERE s.booking_id = b.id AND s.status NOT IN ('SCHEDULED', 'JOIN_OPEN'))
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
            ask_at = b.session_start_time + make_interval(mins => b.session_duration), asks = 0,
            status = CASE WHEN taken ? 'start' THEN 'SCHEDULED' ELSE s.status END,
            -- Who was absent from the old hour was not absent from the new one.
            no_show_marked_at = CASE WHEN taken ? 'start' THEN NULL ELSE s.no_show_marked_at END,
            cancelled_at = CASE WHEN b.status <> 'confirmed' THEN coalesce(s.cancelled_at, at) END,
            due_at = CASE WHEN b.status = 'cancelled' THEN at
                ELSE b.session_start_time + make_interval(mins => b.session_duration) END
        FROM bookings b
        WHERE b.id = booking AND s.booking_id = b.id AND s.status IN ('SCHEDULED', 'JOIN_OPEN')
        RETURNING s.id)
    INSERT INTO session_events (session_id, kind, occurred_at, data)
    SELECT id, 'booking_changed', at, jsonb_build_object('by', 'platform', 'changed', taken) FROM moved;
END
$take$;

-- As before; and a lesson that was called off may be planned again.
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
