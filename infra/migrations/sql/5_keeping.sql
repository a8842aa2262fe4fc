-- What is kept, and for how long: nothing of ours that only passes through grows for ever. The functions' role deletes
-- nothing; it may call one function that does, and only by these rules.

-- No function ever used it.
DROP TABLE idempotency;

-- A provider's message has its use while its event may still have to be sent again by hand.
ALTER TABLE provider_events ALTER COLUMN envelope DROP NOT NULL;
COMMENT ON COLUMN provider_events.envelope IS
    'The whole message, with whatever a gateway says of who paid. NULL once it is no longer kept.';

CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX provider_events_full ON provider_events (settled_at) WHERE status = 'applied' AND envelope IS NOT NULL;
CREATE INDEX provider_events_empty ON provider_events (settled_at) WHERE status = 'applied' AND envelope IS NULL;
CREATE INDEX notifications_read ON notifications (read_at) WHERE read_at IS NOT NULL;

-- Whether a payment is disputed is asked each time it is looked at.
CREATE INDEX disputes_payment ON disputes (payment_id);

-- Removes up to `most` rows of each kind that at the instant `at` were kept for long enough, the oldest first, and
-- returns how many rows it changed. What somebody else is at is left for the next time.
-- Each list of rows is made once, as an array: a subquery with a limit may be run once for each row.
CREATE FUNCTION tidy(most integer, at timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = firstbell, pg_temp AS $tidy$
    -- Sent, and long since processed or in the dead letters, which keep a message for 14 days themselves.
    WITH sent AS (
        DELETE FROM outbox WHERE id = ANY (ARRAY(
            SELECT id FROM outbox WHERE sent_at < at - interval '14 days'
            ORDER BY sent_at LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING 1),

    -- That an event was applied is known for longer than any provider repeats it; what it said is not.
    emptied AS (
        UPDATE provider_events SET envelope = NULL WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM provider_events
            WHERE status = 'applied' AND envelope IS NOT NULL AND settled_at < at - interval '30 days'
            ORDER BY settled_at LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING 1),
    forgotten AS (
        DELETE FROM provider_events WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM provider_events
            WHERE status = 'applied' AND envelope IS NULL AND settled_at < at - interval '180 days'
            ORDER BY settled_at LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING 1),

    heard AS (
        DELETE FROM notifications WHERE id = ANY (ARRAY(
            SELECT id FROM notifications WHERE read_at < at - interval '1 year'
            ORDER BY read_at LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT (SELECT count(*) FROM sent) + (SELECT count(*) FROM emptied)
        + (SELECT count(*) FROM forgotten) + (SELECT count(*) FROM heard)
$tidy$;
