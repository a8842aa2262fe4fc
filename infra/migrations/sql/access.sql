-- Who may do what with everything in the schema; run at the end of every `migrate`, so that it holds for what was
-- made since. First everybody loses everything, by name: where default privileges name a role, PUBLIC is not
-- enough. Then the list below is granted, and nothing else.

DO $close$
DECLARE
    role_name text;
    table_name text;
BEGIN
    FOR role_name IN
        SELECT 'PUBLIC' UNION ALL
        SELECT quote_ident(rolname) FROM pg_roles
        WHERE rolname IN ('anon', 'authenticated', 'service_role', 'firstbell_service')
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA firstbell FROM %s', role_name);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA firstbell FROM %s', role_name);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA firstbell FROM %s', role_name);
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA firstbell FROM %s', role_name);
    END LOOP;

    -- Only where something is missing, since this locks the table.
    FOR table_name IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'firstbell'::regnamespace AND c.relkind = 'r' AND NOT (c.relrowsecurity AND EXISTS (
            SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'service'))
    LOOP
        EXECUTE format('ALTER TABLE firstbell.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('DROP POLICY IF EXISTS service ON firstbell.%I', table_name);
        EXECUTE format('CREATE POLICY service ON firstbell.%I TO firstbell_service USING (true) WITH CHECK (true)', table_name);
    END LOOP;
END
$close$;

-- The functions' own role.
GRANT USAGE ON SCHEMA firstbell TO firstbell_service;
GRANT SELECT, INSERT, UPDATE ON vendor_accounts, provider_events, outbox, refunds, disputes, saved_cards,
    card_agreements TO firstbell_service;
-- Whose lesson, with whom, when and for how much is the platform's to say, and the follower's to take over.
GRANT SELECT ON bookings TO firstbell_service;
GRANT UPDATE (student_id, meeting_provider, meeting_provider_id, meeting_url, meeting_started_at, meeting_ended_at,
    duration_actual, recording_url, session_artifacts, engagement_metrics, room_claim, room_claimed_until, evidence, room_key, wants_session)
    ON bookings TO firstbell_service;
GRANT SELECT, INSERT ON sessions, payments TO firstbell_service;
GRANT UPDATE (status, provider, decisions, settled_at, due_at, set_aside_at, no_show_marked_at, cancelled_at, evidence, asked_at, ask_at, asks)
    ON sessions TO firstbell_service;
GRANT UPDATE (status, reason, attempt, amount_minor, asked_at, next_try_at, gateway_id, intent_id, link, paid_at,
    customer_id, look_at, looks, looked_at) ON payments TO firstbell_service;
-- A booking that cannot be followed is not settled; one whose confirmation waits for a decision may still be held.
GRANT SELECT ON follow_failures, booking_changes TO firstbell_service;
GRANT EXECUTE ON FUNCTION next_look(integer, timestamptz), is_off(bookings, timestamptz), due(bookings, timestamptz),
    given_back(uuid), disputed(uuid, boolean), is_unasked(refunds), unasked(uuid), about(jsonb, uuid),
    as_posted(uuid, text, jsonb), senders_turn(timestamptz),
    longest_span(jsonb, timestamptz), status_here(bookings), may_be_recorded(bookings), stands(bookings), known_to_be_off(bookings, timestamptz),
    still_to_pay(uuid, bigint), agreed_again(card_agreements, card_agreements) TO firstbell_service;
GRANT SELECT, INSERT ON caas_recalculation_queue, session_events, charges, ledger_accounts, ledger_entries,
    notifications TO firstbell_service;
GRANT EXECUTE ON FUNCTION catch_up(integer, timestamptz), walk_on(integer, timestamptz), tidy(integer, timestamptz),
    merged_evidence(jsonb, jsonb), owes_an_end(jsonb, timestamptz), asked_until(sessions), due_once_asked(timestamptz, timestamptz), proof_of(jsonb, timestamptz), from_milliseconds(bigint), closes_at(sessions), next_question(text, timestamptz, timestamptz), keeps_no_record(text) TO firstbell_service;
DO $views$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['platform_people', 'platform_links', 'platform_connections'] LOOP
        IF to_regclass('firstbell.' || wanted) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON firstbell.%I TO firstbell_service', wanted);
        END IF;
    END LOOP;
END
$views$;

-- Clients that talk to Postgres directly: their own lessons and what they are told, and only to read. Not the
-- price, the room or the recording of a booking: a child and a guardian see it, too.
GRANT USAGE ON SCHEMA firstbell TO authenticated;
GRANT SELECT (id, client_id, tutor_id, student_id, status, session_start_time, session_duration, recording_consent,
    meeting_provider, meeting_started_at, meeting_ended_at, duration_actual) ON bookings TO authenticated;
-- Not who has pressed Join, nor the rules under which it was sold.
GRANT SELECT (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at, duration_minutes,
    no_show_wait_minutes, min_payable_minutes, price_minor, currency, charge_scheduled_at, status, no_show_marked_at,
    cancelled_at, waived_at, settled_at, created_at) ON sessions TO authenticated;
GRANT SELECT ON session_events, notifications TO authenticated;
GRANT EXECUTE ON FUNCTION person(), guarded_students() TO authenticated;

DO $service_role$
BEGIN
    -- The platform's own back end decides about listed changes.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        GRANT USAGE ON SCHEMA firstbell TO service_role;
        GRANT SELECT ON booking_changes, follow_failures TO service_role;
        GRANT EXECUTE ON FUNCTION accept_change(bigint, text, text, timestamptz), reject_change(bigint, text, text, timestamptz)
            TO service_role;
    END IF;
END
$service_role$;

DO $realtime$
DECLARE table_name text;
BEGIN
    -- Supabase Realtime sends what this publication names, to whom the policies let read it.
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime' AND NOT puballtables) THEN
        FOREACH table_name IN ARRAY ARRAY['bookings', 'sessions', 'session_events', 'notifications'] LOOP
            IF NOT EXISTS (
                SELECT FROM pg_publication_tables
                WHERE pubname = 'supabase_realtime' AND schemaname = 'firstbell' AND tablename = table_name)
            THEN
                EXECUTE format('ALTER PUBLICATION supabase_realtime ADD TABLE firstbell.%I', table_name);
            END IF;
        END LOOP;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    -- Somebody else's publication: the check says so, and clients ask instead of being told.
    NULL;
END
$realtime$;
