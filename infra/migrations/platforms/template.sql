-- To fill in: how your platform shows its tables to Firstbell. Put your tables and columns where it says `your_…`, and
-- keep the names and types of the columns that come out. `marketplace.sql`, `school.sql` and `studio.sql` are examples
-- of three shapes. Firstbell reads these views and puts one trigger on your table of bookings; nothing else of yours
-- is touched.

-- One row for each booking. A booking that is left out counts as gone: before it is agreed (first seen confirmed ahead
-- of its start) and until it begins, it is called off. So leave out what was deleted and what has no client or tutor
-- with an account, and nothing else: what is over stays in, as `completed`. An expression that can fail, as a cast can,
-- keeps its row from being followed at all until it works again: make NULL of what cannot be right.
CREATE OR REPLACE VIEW firstbell.platform_bookings WITH (security_invoker = true) AS
    SELECT
        -- uuid: the booking, the same for ever. A booking's row is found by it.
        b.id AS id,

        -- uuid, not NULL: who books and pays, as the `sub` of that person's token. Leave the row out if it is NULL.
        b.your_client_id AS client_id,

        -- uuid, not NULL: who teaches, as the `sub` of that person's token. Leave the row out if it is NULL.
        b.your_tutor_id AS tutor_id,

        -- uuid or NULL: who learns, as the `sub` of that person's token; NULL, or the client again, if the client
        -- learns. Never the id of an entry in a list of students.
        b.your_student_id AS student_id,

        -- text: pending, confirmed, completed or cancelled. Declined, rejected and expired are `cancelled`; a no-show is
        -- `completed`, as its time is over. Leave a word that you have not thought of as it is: it is then listed
        -- by name, and no lesson begins by accident.
        CASE b.your_status::text
            WHEN 'your word for asked for' THEN 'pending'
            WHEN 'your word for agreed' THEN 'confirmed'
            WHEN 'your word for held' THEN 'completed'
            WHEN 'your word for called off' THEN 'cancelled'
            ELSE b.your_status::text END AS status,

        -- timestamptz or NULL while no time is agreed: the planned start. If you keep a time without a zone, say which
        -- zone it is in: `your_start AT TIME ZONE 'UTC'`, or a column with the tutor's zone, such as 'Africa/Douala'.
        b.your_start AS session_start_time,

        -- integer or NULL while it is open: the planned length in whole minutes. More than 0.
        b.your_minutes::integer AS session_duration,

        -- bigint or NULL if there is no price: the price of the lesson in the smallest unit of its currency, not
        -- negative; 0 is a free lesson. Times 100 for most currencies, times 1 for yen or CFA francs, times 1000 for
        -- dinars. Leave it NULL for a booking that you have collected yourself, or it may be collected twice.
        round(b.your_price * 100)::bigint AS price_minor,

        -- text or NULL if there is no price: the currency's three letters, in capitals (ISO 4217).
        upper(b.your_currency) AS price_currency,

        -- boolean, not NULL: whether the learner, or a guardian, agreed that this lesson is recorded. `false` if you do
        -- not ask.
        coalesce(b.your_recording_consent, false) AS recording_consent,

        -- text or NULL: where the lesson is held, in our words: lessonspace, livekit or pencilspaces. NULL is where your deployment opens rooms.
        -- You may leave this column out. A word that we do not know is listed by name, and changes nothing. A room that is
        -- open stays, whatever you say afterwards.
        NULL::text AS classroom
    FROM public.your_bookings b
    WHERE b.your_client_id IS NOT NULL AND b.your_tutor_id IS NOT NULL;

-- One row for each person. Who is left out is shown without a name, and that is all.
CREATE OR REPLACE VIEW firstbell.platform_people AS
    SELECT
        -- uuid: the person, as above.
        p.id AS id,

        -- text or NULL: the name that the others in the lesson see.
        p.your_full_name AS full_name
    FROM public.your_people p;

-- One row for each guardian and student who are linked now. A link that is left out, or not accepted, opens nothing.
CREATE OR REPLACE VIEW firstbell.platform_links AS
    SELECT
        -- uuid: the parent or other guardian, as above.
        l.your_guardian_id AS guardian_id,

        -- uuid: the student, as above.
        l.your_student_id AS student_id,

        -- boolean: whether the other side, or your staff, agreed. It opens a child's lessons and recordings: take it
        -- from something that the guardian cannot write.
        l.your_accepted_at IS NOT NULL AS is_accepted
    FROM public.your_links l;

-- One row for each tutor and provider of rooms. A call that asks for the session of a tutor who is left out, or not
-- connected, is refused; an agreed booking gets its session by the schedule all the same. If the rooms belong to your own
-- account, make a row for each tutor, with `true`.
CREATE OR REPLACE VIEW firstbell.platform_connections AS
    SELECT
        -- uuid: the tutor, as above.
        c.your_tutor_id AS tutor_id,

        -- text: the provider's name, such as 'lessonspace'.
        c.your_provider AS provider,

        -- boolean: whether it works now.
        c.your_connection_status = 'connected' AS is_connected
    FROM public.your_connections c;

-- If you want our facts in columns of your own, write this; if not, leave it out. It is called when one of them changes, or
-- within the minute.
-- An error in it is noted and tried again; it never stops Firstbell. Write only what differs, as each write wakes
-- your triggers; `public` is on the path for these. All facts, with NULL where there is none yet: booking_id,
-- student_id, meeting_provider, meeting_provider_id, meeting_url, meeting_started_at, meeting_ended_at,
-- duration_actual (seconds), recording_url, session_artifacts (a JSON object, add it to yours), engagement_metrics,
-- session_id, session_status, charge_minor, payout_minor, fee_minor (smallest units), currency.
--
-- CREATE OR REPLACE FUNCTION firstbell.tell_platform(facts firstbell.booking_facts) RETURNS void
-- LANGUAGE plpgsql SET search_path = public, pg_temp AS $tell$
-- BEGIN
--     UPDATE public.your_bookings b
--     SET your_recording_url = facts.recording_url
--     WHERE b.id = facts.booking_id AND facts.recording_url IS NOT NULL
--       AND b.your_recording_url IS DISTINCT FROM facts.recording_url;
--
--     -- The session is over: COMPLETED_ASSUMED, NO_SHOW_STUDENT, EARLY_END_SHORT. Or it was called off: CANCELLED.
--     UPDATE public.your_bookings b
--     SET your_status = 'your word for held'
--     WHERE b.id = facts.booking_id AND b.your_status = 'your word for agreed'
--       AND facts.session_status IN ('COMPLETED_ASSUMED', 'NO_SHOW_STUDENT', 'EARLY_END_SHORT');
-- END
-- $tell$;

-- Your table of bookings gets a trigger, so that a change is followed at once. The second argument is the column
-- with the booking's id, a UUID; 'id' if you leave it out. Say it again for each other table that the first view reads and
-- whose rows name a booking; what changes elsewhere is found by a walk over all bookings, minutes later.
SELECT firstbell.follow_table('public.your_bookings', 'id');
