-- What Supabase brings to every project, as far as it decides who can reach what: an owner that is no superuser,
-- the roles of clients, `auth`, default privileges that open whatever is made, and the publication of Realtime.
-- Run as superuser in a new database; everything after it is done by `platform_owner`.

DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'platform_owner') THEN
        CREATE ROLE platform_owner LOGIN NOSUPERUSER CREATEROLE CREATEDB BYPASSRLS;
        CREATE ROLE anon NOLOGIN;
        CREATE ROLE authenticated NOLOGIN;
        CREATE ROLE service_role NOLOGIN BYPASSRLS;
        -- As Supabase's `postgres` may act for them, which PostgREST does.
        GRANT anon, authenticated, service_role TO platform_owner;
    END IF;
END
$roles$;

DO $database$
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO platform_owner', current_database());
END
$database$;
ALTER SCHEMA public OWNER TO platform_owner;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;

-- Harsher than Supabase, which says so for `public` only: whatever the owner makes, anywhere, is open.
ALTER DEFAULT PRIVILEGES FOR ROLE platform_owner GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE platform_owner GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE platform_owner GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE platform_owner GRANT ALL ON SCHEMAS TO anon, authenticated, service_role;

CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $uid$
    SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
$uid$;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, platform_owner;
GRANT EXECUTE ON FUNCTION auth.uid() TO anon, authenticated, service_role, platform_owner;
GRANT ALL ON auth.users TO platform_owner;

CREATE PUBLICATION supabase_realtime;
ALTER PUBLICATION supabase_realtime OWNER TO platform_owner;
