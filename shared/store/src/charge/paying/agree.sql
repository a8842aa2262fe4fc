-- Writes down that the client lets the card on file pay for this booking, and for later lessons with the same tutor
-- that cost no more than this one. Only the client can agree, only to a price that stands or that they have named,
-- and only if there is a card. If the booking's own collection has failed because there was no card or no agreement,
-- it is tried again at once. One that a bank refused is not, since an agreement does not change the bank's answer.
--
-- It returns one row to the client, the tutor and the student of the booking: with the agreement, or with what the
-- caller needs to say why there is none. Anybody else gets no row.
--
-- Sent twice, it leaves the agreement as it is; the collection has left the status 'failed' by then, so it is not
-- tried twice. Of two at once the second waits for the lock on the booking.
--
-- Parameters:
--   $1   booking's id
--   $2   id of the person who agrees
--   $3   now
--   $4   highest price that the client agrees to, in the smallest unit of the booking's currency, or NULL: none was
--        named, which is enough only if the booking is agreed and its price therefore stands
--   $5   draft of the job that looks at a booking's tab

WITH
    -- Locks the booking, if the person has a part in it. The lock keeps out the follower, which brings the platform's
    -- changes into the booking: the price that is agreed to here is the price that the booking has.
    subject AS (
        SELECT
            b.id,
            b.client_id,
            b.tutor_id,
            b.status,
            b.price_minor,
            b.price_currency,
            b.agreed_at IS NOT NULL AS is_agreed,
            EXISTS (
                SELECT
                FROM saved_cards k
                WHERE k.client_id = b.client_id
            ) AS has_card
        FROM bookings b
        WHERE b.id = $1
          AND $2 IN (b.client_id, b.tutor_id, b.student_id)
        FOR NO KEY UPDATE OF b
    ),

    -- Writes the agreement, if the client may agree. What is agreed to is the booking's price, also where the client
    -- has named a higher one. A booking has one agreement; `agreed_again` says
    -- what becomes of it.
    agreed AS (
        INSERT INTO card_agreements AS g (booking_id, client_id, tutor_id, currency, up_to_minor, agreed_at)
        SELECT
            id,
            client_id,
            tutor_id,
            price_currency,
            price_minor,
            $3
        FROM subject
        WHERE client_id = $2
          AND has_card
          AND status NOT IN ('cancelled', 'unknown')
          AND price_minor IS NOT NULL
          -- The price of a booking that is not agreed may change between the client's looking and their saying yes,
          -- so they must say which price they have seen.
          AND CASE
              WHEN $4::bigint IS NULL THEN is_agreed
              ELSE price_minor <= $4
          END
        ON CONFLICT (booking_id) DO UPDATE
        SET (client_id, tutor_id, currency, up_to_minor, agreed_at) = (
            SELECT client_id, tutor_id, currency, up_to_minor, agreed_at
            FROM agreed_again(g, excluded)
        )
        RETURNING g.*
    ),

    -- Makes the booking's failed collections due again, as if they had been declined and their next try were now, if
    -- the agreement covers them and nothing but a card or an agreement was missing. The next look at the tab begins
    -- a new attempt.
    tried_again AS (
        UPDATE payments p
        SET
            status = 'declined',
            next_try_at = $3
        FROM agreed a
        WHERE p.booking_id = a.booking_id
          AND p.client_id = a.client_id
          AND p.tutor_id = a.tutor_id
          AND p.currency = a.currency
          AND p.price_minor <= a.up_to_minor
          AND p.method = 'saved_card'
          AND p.status = 'failed'
          AND p.reason IN ('no_card', 'card_not_agreed')
        RETURNING p.booking_id
    ),

    -- Asks for that look, once even if several collections are due again: a booking whose outcome was corrected may
    -- have several.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            gen_random_uuid(),
            $5::jsonb ->> 'queue',
            about($5, t.booking_id),
            $3,
            senders_turn($3)
        FROM (
            SELECT DISTINCT booking_id
            FROM tried_again
        ) AS t
        RETURNING *
    )

SELECT
    s.client_id,
    s.tutor_id,
    s.status,
    s.is_agreed,
    s.price_minor,
    s.price_currency,
    s.has_card,
    a.up_to_minor,
    a.currency,

    -- What is to be sent once this is committed.
    (
        SELECT jsonb_agg(as_posted(id, queue, envelope))
        FROM jobs
    ) AS posted
FROM subject s
LEFT JOIN agreed a ON true
