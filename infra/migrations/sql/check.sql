-- What would keep a platform from being adopted, or hurt it later, in words. `migrate` and `migrate --check` run this
-- file and read `pg_temp.firstbell_check()`: an 'error' must not be committed, a 'warning' is for a person to act on,
-- a 'note' is a number worth knowing. Nothing here changes anything or fails; all of it is gone with the session.
-- The words name objects, status words and currency codes, and nothing else that stands in a row.

-- Helpers --------------------------------------------------------------------------------------------------

-- An error's words. What a message quotes, in whatever language, may stand in a row, unless it is about names; and
-- what the platform's own functions say may name anybody.
CREATE OR REPLACE FUNCTION pg_temp.error_words(code text, message text) RETURNS text
LANGUAGE sql AS $words$
    SELECT format('SQLSTATE %s, %s', code, left(CASE
        WHEN code = 'P0001' THEN 'raised by a function of the platform'
        WHEN code LIKE '42%' THEN message
        ELSE regexp_replace(message, '("|[^ -~]).*("|[^ -~])', '"..."') END, 300))
$words$;

CREATE OR REPLACE FUNCTION pg_temp.rows(number bigint) RETURNS text
LANGUAGE sql AS $rows$
    SELECT number || CASE number WHEN 1 THEN ' row' ELSE ' rows' END
$rows$;

-- A word from a row, on one line and not for ever.
CREATE OR REPLACE FUNCTION pg_temp.short(word text) RETURNS text
LANGUAGE sql AS $short$
    SELECT left(regexp_replace(word, '[[:space:][:cntrl:]]+', ' ', 'g'), 40)
$short$;

CREATE OR REPLACE FUNCTION pg_temp.expected() RETURNS TABLE (view_name text, column_name text, type regtype)
LANGUAGE sql AS $expected$
    SELECT v.name, split_part(c, ' ', 1), split_part(c, ' ', 2)::regtype
    FROM (VALUES
        ('platform_bookings', 'id uuid, client_id uuid, tutor_id uuid, student_id uuid, status text, '
            'session_start_time timestamptz, session_duration integer, price_minor bigint, price_currency text, '
            'recording_consent boolean'),
        ('platform_people', 'id uuid, full_name text'),
        ('platform_links', 'guardian_id uuid, student_id uuid, is_accepted boolean'),
        ('platform_connections', 'tutor_id uuid, provider text, is_connected boolean')) AS v (name, columns)
    CROSS JOIN LATERAL string_to_table(v.columns, ', ') AS c
$expected$;

-- The columns that a view has.
CREATE OR REPLACE FUNCTION pg_temp.columns_of(view_name text) RETURNS TABLE (column_name name, type oid, shown text)
LANGUAGE sql AS $columns$
    SELECT attname, atttypid, format_type(atttypid, atttypmod)
    FROM pg_attribute
    WHERE attrelid = to_regclass('firstbell.' || view_name) AND attnum > 0 AND NOT attisdropped
$columns$;

-- Whether all columns are there to be counted, of whatever type.
CREATE OR REPLACE FUNCTION pg_temp.has_columns(wanted text) RETURNS boolean
LANGUAGE sql AS $has$
    SELECT NOT EXISTS (
        SELECT column_name FROM pg_temp.expected() WHERE view_name = wanted
        EXCEPT SELECT column_name FROM pg_temp.columns_of(wanted))
$has$;

-- The followed tables that exist; none where nothing is installed.
CREATE OR REPLACE FUNCTION pg_temp.followed() RETURNS TABLE (platform_table regclass, id_column name, has_id boolean)
LANGUAGE plpgsql AS $followed$
BEGIN
    IF to_regclass('firstbell.followed_tables') IS NOT NULL THEN
        RETURN QUERY EXECUTE $each$
            SELECT f.platform_table, f.id_column, EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = f.id_column AND NOT a.attisdropped)
            FROM firstbell.followed_tables f JOIN pg_class c ON c.oid = f.platform_table
            ORDER BY c.relname $each$;
    END IF;
END
$followed$;

-- The columns of tables that platform_bookings reads.
CREATE OR REPLACE FUNCTION pg_temp.read_columns() RETURNS TABLE (platform_table oid, attnum int2, attname name)
LANGUAGE sql AS $read$
    SELECT DISTINCT a.attrelid, a.attnum, a.attname
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE r.ev_class = to_regclass('firstbell.platform_bookings') AND d.refobjid <> r.ev_class AND d.refobjsubid > 0
$read$;

-- 1. The views, and what is followed -----------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pg_temp.check_shape() RETURNS TABLE (severity text, says text) LANGUAGE sql AS $shape$
    SELECT DISTINCT 'error', format(CASE
        WHEN c.oid IS NULL THEN 'The view firstbell.%s is missing: your SQL file for the platform must make it.'
        ELSE 'firstbell.%s is not a view: what is kept there does not follow the platform.' END, e.view_name)
    FROM pg_temp.expected() e
    LEFT JOIN pg_class c ON c.oid = to_regclass('firstbell.' || e.view_name)
    WHERE c.relkind IS DISTINCT FROM 'v'

    UNION ALL
    SELECT 'error', format(CASE
        WHEN c.column_name IS NULL THEN 'The view firstbell.%s lacks the column %s (%s).'
        WHEN e.column_name = 'price_minor' THEN
            'firstbell.%s.%s must be %s and is %s: cast it in the view, to a count of the currency''s smallest unit.'
        ELSE 'firstbell.%s.%s must be %s and is %s: cast it in the view.' END, e.view_name, e.column_name, e.type, c.shown)
    FROM pg_temp.expected() e
    LEFT JOIN pg_temp.columns_of(e.view_name) c ON c.column_name = e.column_name
    WHERE to_regclass('firstbell.' || e.view_name) IS NOT NULL AND c.type IS DISTINCT FROM e.type

    UNION ALL
    SELECT 'note', format('firstbell.platform_bookings.%I is a column that Firstbell does not know and ignores.', c.column_name)
    FROM pg_temp.columns_of('platform_bookings') c
    WHERE c.column_name NOT IN (SELECT e.column_name FROM pg_temp.expected() e WHERE e.view_name = 'platform_bookings')
$shape$;

CREATE OR REPLACE FUNCTION pg_temp.check_reading() RETURNS TABLE (severity text, says text) LANGUAGE plpgsql AS $reading$
DECLARE
    wanted text;
    doubled bigint;
BEGIN
    FOR wanted IN
        SELECT DISTINCT e.view_name FROM pg_temp.expected() e WHERE to_regclass('firstbell.' || e.view_name) IS NOT NULL
    LOOP
        -- Whole rows, as the follower reads them; a mere count would leave out what a column computes.
        BEGIN
            EXECUTE format('SELECT count(to_jsonb(v)) FROM firstbell.%I v', wanted);
        EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
            RETURN QUERY SELECT 'error', format('The view firstbell.%s cannot be read: %s.', wanted,
                pg_temp.error_words(SQLSTATE, SQLERRM));
        END;
    END LOOP;

    IF pg_temp.has_columns('platform_bookings') THEN
        EXECUTE 'SELECT count(*) FROM (
            SELECT FROM firstbell.platform_bookings WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1) d' INTO doubled;
        IF doubled > 0 THEN
            RETURN QUERY SELECT 'error', format('The view firstbell.platform_bookings shows %s more than once: a join in it '
                'multiplies rows.', doubled || CASE doubled WHEN 1 THEN ' booking' ELSE ' bookings' END);
        END IF;
    END IF;
END
$reading$;

CREATE OR REPLACE FUNCTION pg_temp.check_following() RETURNS TABLE (severity text, says text) LANGUAGE sql AS $following$
    SELECT 'error', 'No table is followed: your SQL file for the platform must end with SELECT firstbell.follow_table(''...'').'
    WHERE NOT EXISTS (SELECT FROM pg_temp.followed())

    -- The trigger would find no id, and follow nothing.
    UNION ALL
    SELECT 'error', format('%s is followed by its column %I, which it does not have: name the column that holds the '
        'booking''s id, as in SELECT firstbell.follow_table(%L, ''...'').', platform_table, id_column, platform_table)
    FROM pg_temp.followed() WHERE NOT has_id

    UNION ALL
    SELECT 'warning', format('%s has no trigger firstbell_follow for its column %I, or a disabled one, so that its changes '
        'are noticed late: `migrate` puts it back.', f.platform_table, f.id_column)
    FROM pg_temp.followed() f
    -- Before that it has not been made yet.
    WHERE EXISTS (SELECT FROM firstbell.follow_walk w WHERE w.is_adopted) AND NOT EXISTS (
        SELECT FROM pg_trigger t
        WHERE t.tgrelid = f.platform_table AND t.tgname = 'firstbell_follow' AND t.tgenabled IN ('O', 'A')
          AND t.tgargs = convert_to(f.id_column::text, getdatabaseencoding()) || '\x00')

    UNION ALL
    SELECT 'warning', format('The publication supabase_realtime belongs to %s: have them run ALTER PUBLICATION '
        'supabase_realtime ADD TABLE firstbell.bookings, firstbell.sessions, firstbell.session_events, '
        'firstbell.notifications, or no client is told of anything by Realtime.', pg_get_userbyid(p.pubowner))
    FROM pg_publication p
    WHERE p.pubname = 'supabase_realtime' AND NOT p.puballtables AND NOT EXISTS (
        SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname = 'firstbell')

    -- A booking that is hidden from the follower looks deleted, and its lesson is cancelled.
    UNION ALL
    SELECT DISTINCT 'warning', format('Row level security of %s hides rows from %s, who reads the view: run `migrate` '
        'as the owner of the table, or as a role with BYPASSRLS.', c.platform_table::regclass, current_user)
    FROM pg_temp.read_columns() c
    WHERE row_security_active(c.platform_table)
$following$;

-- 2. Numbers -------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pg_temp.check_bookings() RETURNS TABLE (severity text, says text) LANGUAGE plpgsql AS $bookings$
DECLARE
    n record;
    f record;
    all_rows bigint;
    left_out bigint;
BEGIN
    IF NOT pg_temp.has_columns('platform_bookings') THEN
        RETURN;
    END IF;

    -- The casts let a view be counted whose types are still wrong.
    EXECUTE $count$
        SELECT count(*) AS bookings,
               count(*) FILTER (WHERE id IS NULL) AS without_id,
               count(*) FILTER (WHERE client_id IS NULL OR tutor_id IS NULL) AS without_party,
               count(*) FILTER (WHERE is_upcoming AND price IS NULL) AS without_price,
               count(*) FILTER (WHERE is_upcoming AND start IS NULL) AS without_time,
               count(*) FILTER (WHERE price IS NOT NULL AND currency IS NULL) AS only_price,
               count(*) FILTER (WHERE price IS NULL AND currency IS NOT NULL) AS only_currency,
               count(*) FILTER (WHERE price < 0) AS negative,
               count(*) FILTER (WHERE (minutes BETWEEN 1 AND 1440) IS NOT TRUE) AS odd_length,
               count(*) FILTER (WHERE currency !~ '^[A-Z]{3}$') AS odd_currency,
               array_to_string((array_agg(DISTINCT pg_temp.short(currency)) FILTER (WHERE currency !~ '^[A-Z]{3}$'))[:10],
                   ''', ''') AS odd_codes
        FROM (SELECT id, client_id, tutor_id, price_minor::numeric AS price, price_currency::text AS currency,
                     session_start_time::timestamptz AS start, session_duration::numeric AS minutes,
                     status::text IN ('pending', 'confirmed')
                         AND coalesce(session_start_time::timestamptz > now(), true) AS is_upcoming
              FROM firstbell.platform_bookings) b $count$ INTO n;

    RETURN QUERY
    SELECT c.severity, format('platform_bookings ' || c.words || '.', pg_temp.rows(c.number), n.odd_codes)
    FROM (VALUES
        ('note', n.bookings, 'shows %s'),
        ('warning', n.without_id, 'has %s without an id, which cannot be followed: leave them out of the view'),
        ('warning', n.without_party, 'has %s without a client or a tutor, which nobody can join or pay: leave them out'),
        ('warning', n.without_price, 'has %s of upcoming lessons without a price, which cannot be paid: fill price_minor'),
        ('warning', n.without_time, 'has %s of upcoming lessons without a time, which cannot be held: fill session_start_time'),
        ('warning', n.only_price, 'has %s with a price and no currency, which counts as no price'),
        ('warning', n.only_currency, 'has %s with a currency and no price, which counts as no price'),
        ('warning', n.negative, 'has %s with a negative price'),
        ('warning', n.odd_length, 'has %s whose session_duration is missing or not between 1 and 1440 minutes'),
        ('warning', n.odd_currency, 'has %s whose currency is not three upper case letters (''%s''): translate it in the view')
        ) AS c (severity, number, words)
    WHERE c.number > 0 OR c.severity = 'note';

    RETURN QUERY EXECUTE $status$
        SELECT 'warning', format(CASE WHEN word IS NULL THEN '%s %s no status; nobody can join or pay %s.'
            ELSE '%s %s the status ''%4$s'', which the view does not translate; nobody can join or pay %3$s.' END,
            pg_temp.rows(number), CASE number WHEN 1 THEN 'has' ELSE 'have' END, CASE number WHEN 1 THEN 'it' ELSE 'them' END,
            word)
        FROM (SELECT pg_temp.short(status::text) AS word, count(*) AS number
              FROM firstbell.platform_bookings
              WHERE (status::text IN ('pending', 'confirmed', 'completed', 'cancelled')) IS NOT TRUE
              GROUP BY 1 ORDER BY number DESC, word LIMIT 20) s $status$;

    FOR f IN SELECT * FROM pg_temp.followed() WHERE has_id LOOP
        EXECUTE format('SELECT (SELECT count(*) FROM %1$s), count(*) FROM %1$s t
                        WHERE NOT EXISTS (SELECT FROM firstbell.platform_bookings v WHERE v.id::text = t.%2$I::text)',
            f.platform_table, f.id_column) INTO all_rows, left_out;
        RETURN QUERY SELECT 'note', format('platform_bookings leaves out %s of the %s of %s.',
            left_out, pg_temp.rows(all_rows), f.platform_table) WHERE left_out > 0;
    END LOOP;
END
$bookings$;

CREATE OR REPLACE FUNCTION pg_temp.check_people() RETURNS TABLE (severity text, says text) LANGUAGE plpgsql AS $people$
BEGIN
    IF pg_temp.has_columns('platform_links') THEN
        RETURN QUERY EXECUTE $links$
            SELECT 'note', format('Guardian links in platform_links: %s count, and %s are not accepted and '
                'let nobody in.', count(*) FILTER (WHERE is_accepted), count(*) FILTER (WHERE is_accepted IS NOT TRUE))
            FROM firstbell.platform_links $links$;
    END IF;

    IF pg_temp.has_columns('platform_connections') AND pg_temp.has_columns('platform_bookings') THEN
        RETURN QUERY EXECUTE $connections$
            SELECT 'note', format('Of the tutors of upcoming lessons (%s), %s have no connection to a video provider in '
                'platform_connections.', count(*), count(*) FILTER (WHERE NOT is_connected))
            FROM (SELECT b.tutor_id, coalesce(bool_or(c.is_connected), false) AS is_connected
                  FROM firstbell.platform_bookings b
                  LEFT JOIN firstbell.platform_connections c ON c.tutor_id::text = b.tutor_id::text
                  WHERE b.tutor_id IS NOT NULL AND b.status::text IN ('pending', 'confirmed')
                    AND coalesce(b.session_start_time::timestamptz > now(), true)
                  GROUP BY b.tutor_id) t $connections$;
    END IF;
END
$people$;

-- 3. The platform's functions that decide about lessons as their owner ------------------------------------------

CREATE OR REPLACE FUNCTION pg_temp.check_functions() RETURNS TABLE (severity text, says text) LANGUAGE sql AS $functions$
    WITH written AS (
        SELECT f.platform_table, format(
            '\m(?:insert\s+into|merge\s+into|update|delete\s+from|truncate(?:\s+table)?)\s+(?:only\s+)?'
            '(?:"?%s"?\s*\.\s*)?"?%s(?:"|\M)',
            regexp_replace(n.nspname, '(\W)', '\\\1', 'g'), regexp_replace(c.relname, '(\W)', '\\\1', 'g')) AS pattern
        FROM pg_temp.followed() f
        JOIN pg_class c ON c.oid = f.platform_table
        JOIN pg_namespace n ON n.oid = c.relnamespace
    ),
    open AS (
        -- The source without its comments; what stands in quotes is kept, `--` and all.
        SELECT p.oid, p.prokind, l.lanname, r.callers,
               regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_function_sqlbody(p.oid)),
                   '(''(?:[^'']|'''')*'')|--[^\n]*|/\*(?:[^*]|\*+[^*/])*\*+/', '\1 ', 'g') AS source
        FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_language l ON l.oid = p.prolang
        CROSS JOIN LATERAL (
            SELECT string_agg(rolname, ' and ' ORDER BY rolname) AS callers FROM pg_roles r
            WHERE rolname IN ('anon', 'authenticated') AND has_schema_privilege(r.oid, n.oid, 'USAGE')
              AND has_function_privilege(r.oid, p.oid, 'EXECUTE')) r
        WHERE p.prosecdef AND p.prokind IN ('f', 'p') AND r.callers IS NOT NULL
          AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
          AND n.nspname NOT IN ('information_schema', 'firstbell') AND n.nspname NOT LIKE 'pg\_%'
          AND NOT EXISTS (
              SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    ),
    guessed AS (
        -- Only where a statement can begin is EXECUTE dynamic SQL.
        SELECT o.*, w.tables,
               CASE o.lanname
                   WHEN 'plpgsql' THEN o.source ~* ('(?:^|;|>>|\m(?:begin|then|else|loop|query|in|for))\s*'
                       'execute\M(?!\s+(?:function|procedure|on)\M)')
                   WHEN 'sql' THEN false
                   ELSE o.source ~* '\m(?:execute|spi_\w+)\M' END AS is_dynamic
        FROM open o
        CROSS JOIN LATERAL (
            SELECT string_agg(platform_table::text, ' and ') AS tables FROM written WHERE o.source ~* pattern) w
    )
    SELECT 'warning', format('%s runs with the rights of its owner, %s may call it, and it seems to %s: whoever calls it '
        'may decide about lessons. To close it: REVOKE EXECUTE ON %s %s FROM PUBLIC, anon, authenticated;',
        g.oid::regprocedure, g.callers,
        concat_ws(' and to ', 'write to ' || g.tables, CASE WHEN g.is_dynamic THEN 'run dynamic SQL' END),
        CASE g.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, g.oid::regprocedure)
    FROM guessed g
    WHERE g.tables IS NOT NULL OR g.is_dynamic
    ORDER BY g.oid::regprocedure::text
$functions$;

-- 4. What clients may write themselves ----------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pg_temp.check_policies() RETURNS TABLE (severity text, says text) LANGUAGE sql AS $policies$
    SELECT 'warning', format(a.words, r.rolname, f.platform_table, w.columns, CASE
        WHEN NOT t.relrowsecurity THEN 'the table has no row level security'
        WHEN r.rolbypassrls THEN 'the role bypasses row level security'
        ELSE 'by policy ' || p.policies END)
    FROM pg_temp.followed() f
    JOIN pg_class t ON t.oid = f.platform_table
    JOIN pg_roles r ON r.rolname IN ('anon', 'authenticated') AND has_schema_privilege(r.oid, t.relnamespace, 'USAGE')
    CROSS JOIN (VALUES
        ('UPDATE', 'w', '%1$s may change %3$s in rows of %2$s (%4$s): after confirmation such changes are listed and not '
            'followed, but until then they count.'),
        ('INSERT', 'a', '%1$s may insert rows into %2$s (%4$s) and set %3$s: a client may insert a booking that is '
            'already confirmed.')
        ) AS a (privilege, command, words)
    CROSS JOIN LATERAL (
        SELECT string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum) AS columns FROM pg_temp.read_columns() c
        WHERE c.platform_table = t.oid AND has_column_privilege(r.oid, t.oid, c.attnum, a.privilege)) w
    CROSS JOIN LATERAL (
        SELECT string_agg(format('"%s"', y.polname), ', ' ORDER BY y.polname) AS policies FROM pg_policy y
        WHERE y.polrelid = t.oid AND y.polpermissive AND y.polcmd::text IN (a.command, '*')
          -- A policy that lets nothing through is a way to say no.
          AND 'false' NOT IN (coalesce(pg_get_expr(y.polqual, t.oid), ''), coalesce(pg_get_expr(y.polwithcheck, t.oid), ''))
          AND EXISTS (
              SELECT FROM unnest(y.polroles) AS who
              WHERE CASE who WHEN 0 THEN true ELSE pg_has_role(r.oid, who, 'USAGE') END)) p
    WHERE w.columns IS NOT NULL AND (NOT t.relrowsecurity OR r.rolbypassrls OR p.policies IS NOT NULL)
    ORDER BY t.relname, r.rolname, a.privilege DESC
$policies$;

-- 5. Who reaches what of ours ----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pg_temp.check_access() RETURNS TABLE (severity text, says text) LANGUAGE sql AS $access$
    -- What access.sql grants to those who are not ours. Keep the two together.
    WITH allowed (grantee, privilege, object) AS (
        VALUES ('authenticated', 'USAGE', 'schema firstbell'),
               ('authenticated', 'SELECT', 'session_events'),
               ('authenticated', 'SELECT', 'notifications'),
               ('authenticated', 'EXECUTE', 'person()'),
               ('authenticated', 'EXECUTE', 'guarded_students()'),
               ('service_role', 'USAGE', 'schema firstbell'),
               ('service_role', 'SELECT', 'booking_changes'), ('service_role', 'SELECT', 'follow_failures'),
               ('service_role', 'EXECUTE', 'accept_change(bigint, text, text, timestamp with time zone)'),
               ('service_role', 'EXECUTE', 'reject_change(bigint, text, text, timestamp with time zone)')
        UNION ALL
        SELECT 'authenticated', 'SELECT', 'bookings.' || c FROM unnest(ARRAY[
            'id', 'client_id', 'tutor_id', 'student_id', 'status', 'session_start_time', 'session_duration',
            'recording_consent', 'meeting_provider', 'meeting_started_at', 'meeting_ended_at', 'duration_actual']) c
        UNION ALL
        SELECT 'authenticated', 'SELECT', 'sessions.' || c FROM unnest(ARRAY[
            'id', 'booking_id', 'client_id', 'tutor_id', 'provider', 'scheduled_start_at', 'scheduled_end_at',
            'duration_minutes', 'no_show_wait_minutes', 'min_payable_minutes', 'price_minor', 'currency',
            'charge_scheduled_at', 'status', 'no_show_marked_at', 'cancelled_at', 'waived_at', 'settled_at', 'created_at']) c
    ),
    objects (object, acl) AS (
        SELECT 'schema firstbell', nspacl FROM pg_namespace WHERE oid = to_regnamespace('firstbell')
        UNION ALL
        SELECT relname, relacl FROM pg_class
        WHERE relnamespace = to_regnamespace('firstbell') AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT c.relname || '.' || a.attname, a.attacl FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace('firstbell') AND a.attnum > 0
        UNION ALL
        -- A function that nobody has granted or revoked is open to everybody.
        SELECT format('%s(%s)', proname, oidvectortypes(proargtypes)), coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc WHERE pronamespace = to_regnamespace('firstbell')
    ),
    granted AS (
        SELECT o.object, coalesce(r.rolname::text, 'PUBLIC') AS grantee,
               g.privilege_type || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege
        FROM objects o
        CROSS JOIN LATERAL aclexplode(o.acl) g
        LEFT JOIN pg_roles r ON r.oid = g.grantee
        WHERE g.grantee = 0 OR r.rolname IN ('anon', 'authenticated', 'service_role')
    )
    SELECT 'error', format('%s has %s on %s%s, which Firstbell does not grant: revoke it, or run `migrate` again.',
        g.grantee, string_agg(g.privilege, ', ' ORDER BY g.privilege),
        CASE WHEN g.object LIKE 'schema %' THEN '' ELSE 'firstbell.' END, g.object)
    FROM granted g
    WHERE (g.grantee, g.privilege, g.object) NOT IN (SELECT * FROM allowed)
    GROUP BY g.grantee, g.object

    UNION ALL
    SELECT 'error', 'anon can reach the schema firstbell, itself, through PUBLIC or through a role that it belongs to: '
        'revoke USAGE on the schema there.'
    FROM pg_roles WHERE rolname = 'anon' AND has_schema_privilege(oid, to_regnamespace('firstbell'), 'USAGE')

    UNION ALL
    SELECT 'error', format('firstbell.%1$I has no row level security, so that whoever may read it reads all of it: ALTER '
        'TABLE firstbell.%1$I ENABLE ROW LEVEL SECURITY;', relname)
    FROM pg_class WHERE relnamespace = to_regnamespace('firstbell') AND relkind = 'r' AND NOT relrowsecurity
$access$;

-- 6. What one look at a booking costs ----------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pg_temp.check_cost() RETURNS TABLE (severity text, says text) LANGUAGE plpgsql AS $cost$
DECLARE
    plan json;
BEGIN
    IF NOT pg_temp.has_columns('platform_bookings') THEN
        RETURN;
    END IF;

    EXECUTE $one$
        EXPLAIN (FORMAT JSON, VERBOSE)
        SELECT to_jsonb(v) FROM firstbell.platform_bookings v WHERE v.id = '00000000-0000-0000-0000-000000000001'::uuid
    $one$ INTO plan;

    -- A table that was never analysed, as in a restored copy, is judged by its size.
    RETURN QUERY
    SELECT DISTINCT 'warning', format('Looking up one booking in platform_bookings reads all of %s, on each write of a '
        'booking: make an index for it, and leave the id in the view as it is in the table.', c.oid::regclass)
    FROM jsonb_path_query(plan::jsonb, 'strict $.** ? (@."Node Type" == "Seq Scan")') AS node
    JOIN pg_class c ON c.oid = to_regclass(format('%I.%I', node ->> 'Schema', node ->> 'Relation Name'))
    WHERE c.reltuples > 10000 OR (c.reltuples < 0 AND pg_relation_size(c.oid) > 2000000);
END
$cost$;

-- All of it ------------------------------------------------------------------------------------------------------------

-- With the follower's search_path: what the views call must be found with that one.
CREATE OR REPLACE FUNCTION pg_temp.firstbell_check() RETURNS TABLE (severity text, says text)
LANGUAGE plpgsql SET search_path = firstbell, pg_temp AS $check$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['shape', 'reading', 'following', 'bookings', 'people', 'functions', 'policies',
        'access', 'cost']
    LOOP
        BEGIN
            RETURN QUERY EXECUTE format('SELECT c.severity, c.says FROM pg_temp.%I() c', 'check_' || part);
        EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
            RETURN QUERY SELECT CASE WHEN part IN ('shape', 'following', 'access') THEN 'error' ELSE 'warning' END,
                format('The check of %s could not be done: %s.', part, pg_temp.error_words(SQLSTATE, SQLERRM));
        END;
    END LOOP;
END
$check$;
