-- A Supabase database of a platform that existed before Firstbell: its own roles, auth.uid(), status type,
-- columns and rows.
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
    $$ SELECT '11111111-1111-1111-1111-111111111111'::uuid $$;
CREATE TYPE public.booking_status AS ENUM ('Pending', 'Confirmed', 'Cancelled');
CREATE TABLE public.profiles (
    id uuid PRIMARY KEY,
    full_name text,
    email text UNIQUE
);
CREATE TABLE public.bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid REFERENCES public.profiles (id),
    tutor_id uuid REFERENCES public.profiles (id),
    session_start_time timestamptz,
    session_duration integer,
    price integer,
    status public.booking_status NOT NULL DEFAULT 'Pending'
);
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
INSERT INTO public.profiles VALUES
    ('11111111-1111-1111-1111-111111111111', 'Old Client', 'client@example.org'),
    ('22222222-2222-2222-2222-222222222222', 'Old Tutor', 'tutor@example.org');
INSERT INTO public.bookings (client_id, tutor_id, session_start_time, session_duration, price, status) VALUES
    ('11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222', now(), 60, 4500, 'Confirmed');
