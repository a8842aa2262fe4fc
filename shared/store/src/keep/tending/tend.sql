-- Does the work on lessons that no call and no webhook causes. First, it makes the sessions of bookings that are
-- agreed and priced and have none. Second, it has the providers asked what they saw in the rooms of sessions for
-- which the time to ask has come: at the planned end, when the room has closed, and from then on after five minutes,
-- doubled each time, until half an hour before the outcome is decided without the provider. A room that nobody has
-- opened is not asked about. Third, it counts what is late or waits for a person.
--
-- Sent twice, the second does none of it again: these bookings do not want a session any more, and the next times to
-- ask lie ahead. Of two runs at once each skips the rows that the other has locked.
--
-- Parameters:
--   $1   now
--   $2   how many bookings, and how many sessions, are taken in one run at most
--   $3   name of the provider that opens rooms where the platform wants no other
--   $4   part of the planned time that the tutor waits for the student, as a fraction in text such as '1/3'
--   $5   least part of the planned time that is paid where the rules pay from a minimum, as a fraction in text
--   $6   rules under which new sessions are sold, as JSON
--   $7   draft of the job that asks a provider about a booking's room

WITH
    -- Takes bookings that want a session, the earliest lessons first. The lock keeps out the follower, which brings
    -- the platform's changes into a booking and into its session: it could not see a session that is still being
    -- made.
    wanted AS (
        SELECT
            *,
            session_start_time + make_interval(mins => session_duration) AS ends_at
        FROM bookings
        WHERE wants_session
        ORDER BY session_start_time
        LIMIT $2
        FOR NO KEY UPDATE SKIP LOCKED
    ),

    -- Makes their sessions, one for a booking, since `booking_id` is unique. The charge is due at the planned end, and the
    -- provider is asked first then, or while the lesson goes on if it keeps no record. People may have met before the session is made, so it begins with the evidence
    -- that the booking has.
    made AS (
        INSERT INTO sessions (
            id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at, duration_minutes,
            no_show_wait_share, min_payable_share, price_minor, currency, charge_scheduled_at, due_at, ask_at,
            evidence, policy
        )
        SELECT
            gen_random_uuid(),
            id,
            client_id,
            tutor_id,
            coalesce(classroom, $3),
            session_start_time,
            ends_at,
            session_duration,
            $4,
            $5,
            price_minor,
            price_currency,
            ends_at,
            due_once_asked(ends_at, $1),
            next_question(coalesce(classroom, $3), greatest(session_start_time, $1), ends_at),
            evidence,
            $6
        FROM wanted
        ON CONFLICT (booking_id) DO NOTHING
        RETURNING id
    ),

    -- These bookings have a session now, or turned out to have one already: none of them wants one any more.
    served AS (
        UPDATE bookings b
        SET wants_session = false
        FROM wanted
        WHERE b.id = wanted.id
    ),

    -- Begins the history of each new session, and only of those that this statement has made.
    told AS (
        INSERT INTO session_events (session_id, kind, occurred_at, data)
        SELECT
            id,
            'created',
            $1,
            '{"by": "schedule"}'
        FROM made
    ),

    -- Takes the sessions for which the time to ask the provider has come, those that wait longest first. The provider
    -- owes something if it has still to show an end, or if it has not answered since the room closed.
    due AS (
        SELECT
            s.id,
            s.booking_id,
            s.provider,
            s.scheduled_end_at AS ends_at,
            closes_at(s) AS closes_at,
            asked_until(s) AS asked_until,
            b.evidence,
            b.meeting_provider_id,
            owes_an_end(b.evidence, s.scheduled_start_at) OR coalesce(s.asked_at < closes_at(s), true) AS owes
        FROM sessions s
        JOIN bookings b ON b.id = s.booking_id
        WHERE s.ask_at <= $1
        ORDER BY s.ask_at
        LIMIT $2
        FOR UPDATE OF s SKIP LOCKED
    ),

    -- Sets when the provider is asked next, and counts in `asks` the questions since the room closed. It also brings
    -- in evidence that the session lacks: what was entered for the booking at the moment at which the session was
    -- being made could not be entered for the session, too. A decided session that learns of something in this way is
    -- due at once; for one that is not decided, the decision will read the evidence at its time. Merging the same
    -- evidence twice changes nothing.
    asked AS (
        UPDATE sessions s
        SET
            evidence = merged_evidence(s.evidence, due.evidence),
            due_at = CASE
                WHEN s.decisions > 0 AND merged_evidence(s.evidence, due.evidence) <> s.evidence THEN $1
                ELSE s.due_at
            END,
            asks = CASE
                WHEN $1 >= due.closes_at THEN s.asks + 1
                ELSE s.asks
            END,
            ask_at = CASE
                -- The lesson goes on, and only now can it be asked who is there.
                WHEN $1 < due.ends_at THEN next_question(due.provider, $1, due.ends_at)
                -- The planned end has passed and the room is still open: the provider is asked next when it closes.
                WHEN $1 < due.closes_at THEN due.closes_at
                -- Nobody has opened the room and nobody can any more, or this is the last question.
                WHEN due.meeting_provider_id IS NULL OR $1 >= due.asked_until THEN NULL
                -- After 5, 10, 20, … minutes. Eight doublings come to 21 hours; the limit keeps the shift in range.
                ELSE least($1::timestamptz + interval '5 minutes' * (1 << least(s.asks, 8)), due.asked_until)
            END
        FROM due
        WHERE s.id = due.id
    ),

    -- Writes the jobs that ask the providers, one for each room that was opened.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            gen_random_uuid(),
            $7::jsonb ->> 'queue',
            about($7, booking_id),
            $1,
            senders_turn($1)
        FROM due
        WHERE meeting_provider_id IS NOT NULL
        RETURNING *
    )

-- One row, also when nothing is due. The subqueries read the tables as they were before this run: what it has just
-- taken up still counts as late.
SELECT
    -- Sessions made, rooms asked about, and rooms asked about for the last time although an answer is still owed.
    (SELECT count(*) FROM made) AS made,
    count(*) FILTER (WHERE meeting_provider_id IS NOT NULL) AS asked,
    count(*) FILTER (WHERE meeting_provider_id IS NOT NULL AND $1 >= asked_until AND owes) AS given_up,

    -- Events that wait for what they are about, and events and sessions that wait for a person.
    (SELECT count(*) FROM provider_events WHERE status = 'waiting') AS waiting,
    (SELECT count(*) FROM provider_events WHERE status = 'parked') AS parked,
    (SELECT count(*) FROM sessions WHERE set_aside_at IS NOT NULL) AS aside,

    -- For how many seconds the session has been due that waits longest to be settled, and the one that waits longest
    -- to be asked about; NULL if none waits.
    (SELECT extract(epoch FROM $1 - min(due_at))::bigint FROM sessions WHERE due_at <= $1) AS overdue,
    (SELECT extract(epoch FROM $1 - min(ask_at))::bigint FROM sessions WHERE ask_at <= $1) AS unasked,

    -- What is to be sent once this is committed.
    (SELECT jsonb_agg(as_posted(id, queue, envelope)) FROM jobs) AS posted
FROM due
