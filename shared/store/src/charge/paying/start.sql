-- Begins a payment of a booking, or finds one that the client has begun before and can still use. The payment is
-- written down before its gateway hears of it, so that money that comes always finds its payment. At any time one
-- payment at most of each method is being begun for a booking. A payment that was begun and got no answer from its
-- gateway is abandoned: it is not handed out to anybody, but its gateway is still asked what became of it, since the
-- gateway may have heard of it.
--
-- It returns one row to the client, the tutor and the student of the booking. In it is a payment that was begun
-- (`begun_id`), or one that can still be used (`usable_id`), or neither; then the rest of the row lets the caller say
-- why. With a usable payment `is_looking` says whether the caller is to ask its gateway about it first, which is so if
-- nobody has for five seconds. Anybody else gets no row.
--
-- Sent twice, or by two at once, it begins one payment: the second finds it being begun and returns neither, so that
-- its caller can say that the payment is being started.
--
-- Parameters:
--   $1   booking's id
--   $2   id of the person who wants to pay
--   $3   method: 'card', 'card_on_file', 'mobile_money_link' or 'mobile_money'
--   $4   payment's id, if one is begun
--   $5   now
--   $6   name of the gateway of this method
--   $7   time: a payment begun before it that got no answer is abandoned
--   $8   time: a payment begun after it can still be used
--   $9   phone that pays, or NULL: the method needs none
--   $10  only currency that the gateway takes (ISO 4217), or NULL: it takes any
--   $11  least amount that the gateway takes, in the smallest unit of the currency
--   $12  highest price that the client agrees to, in the smallest unit of the booking's currency, or NULL: they have
--        named none

WITH
    -- Locks the booking, if the person has a part in it, before anything is worked out from it: whoever had to wait
    -- for the lock reads the price that is there then. Its parties and its price stand from here on, because the
    -- follower, which brings the platform's changes into a booking, needs the same lock. Either its change comes
    -- first and is seen here, or it finds the payment that is begun here, and then it only lists the change. The row
    -- is kept whole as well, since the functions below take a whole booking.
    locked AS (
        SELECT b AS whole
        FROM bookings b
        WHERE b.id = $1
          AND $2 IN (b.client_id, b.tutor_id, b.student_id)
        FOR NO KEY UPDATE
    ),

    -- The booking and what is missing on its tab. The subquery `b` takes the locked row apart into its columns.
    subject AS (
        SELECT
            b.id,
            b.client_id,
            b.tutor_id,
            b.status,
            b.price_minor,
            b.price_currency,
            d.currency AS due_currency,
            b.agreed_at IS NOT NULL AS is_agreed,
            num_nulls(b.session_start_time, b.session_duration) = 0 AS is_timed,

            -- Whether the lesson will not be held: it is called off, or its end has passed and nobody ever agreed to
            -- it. `is_off` waits for a day after that end, and what was paid goes back only then. For new money there
            -- is nothing to wait for, so it is asked what will hold in a day.
            is_off(locked.whole, $5::timestamptz + interval '1 day') AS is_off,

            still_to_pay(b.id, d.minor) AS missing,

            -- The client's record at the gateway of cards, under which a new page is opened.
            (
                SELECT k.customer_id
                FROM saved_cards k
                WHERE k.client_id = b.client_id
            ) AS customer_id
        FROM locked
        CROSS JOIN LATERAL (
            SELECT (locked.whole).*
        ) AS b
        CROSS JOIN LATERAL due(locked.whole, $5) d
    ),

    -- The payment that the client wants, if they may pay this booking in this way; no row otherwise. It is for all
    -- that is missing, or for nothing where a card is only left.
    wanted AS (
        SELECT
            *,
            CASE
                WHEN $3 = 'card_on_file' THEN 0
                ELSE missing
            END AS amount
        FROM subject
        WHERE client_id = $2
          AND status NOT IN ('cancelled', 'unknown')
          AND NOT is_off
          AND price_currency IS NOT NULL
          -- Whoever leaves a card agrees to a price. The price of a booking that is not agreed may still change, so
          -- for that one they must name the highest that they agree to. Other methods show what is to be paid.
          AND CASE
              WHEN $12::bigint IS NULL THEN is_agreed OR $3 <> 'card_on_file'
              ELSE price_minor <= $12
          END
          -- A lesson without a time is never held, nor ever found not to have been: it takes no money.
          AND ($3 = 'card_on_file' OR is_timed AND missing >= greatest($11, 1))
          AND ($10::text IS NULL OR due_currency = $10)
    ),

    -- The latest payment that an earlier call has begun in this way and that still fits: the amount, the phone, the
    -- tutor and the price are the same, and the gateway has given it a name. An abandoned payment, which is open as
    -- well, has no such name unless the answer came after all.
    usable AS (
        SELECT
            p.id,
            p.link,
            p.gateway_id,
            p.created_at
        FROM payments p
        JOIN wanted w ON p.booking_id = w.id
        WHERE p.method = $3
          AND p.status = 'open'
          AND p.gateway_id IS NOT NULL
          AND p.created_at > $8
          AND p.amount_minor = w.amount
          AND p.payer_phone IS NOT DISTINCT FROM $9
          AND p.tutor_id = w.tutor_id
          AND p.price_minor = w.price_minor
        ORDER BY p.created_at DESC
        LIMIT 1
    ),

    -- Takes it upon the caller to ask the gateway whether that payment was paid, and notes the time. Who comes within
    -- five seconds of somebody else finds the time of the other, and does not ask.
    looking AS (
        UPDATE payments p
        SET looked_at = $5
        FROM usable u
        WHERE p.id = u.id
          AND coalesce(p.looked_at, p.created_at) < $5::timestamptz - interval '5 seconds'
        RETURNING p.id
    ),

    -- Abandons the payment that was begun so long ago that whoever began it has died or got no answer. The status
    -- 'open' frees its place among those that are being begun, and has it looked up until it has an end.
    abandoned AS (
        UPDATE payments p
        SET
            status = 'open',
            reason = 'abandoned'
        FROM wanted w
        WHERE p.booking_id = w.id
          AND p.method = $3
          AND p.charge_id IS NULL
          AND p.status = 'opening'
          AND p.created_at < $7
        RETURNING p.id
    ),

    -- Begins the payment, if none can be used. The index `payments_opening` admits one payment for a booking and
    -- method that is being begun: if there is one, nothing is inserted. Postgres runs the parts of a statement that
    -- write in no certain order; counting `abandoned`, which always gives one row and changes nothing, has it
    -- finished before the insertion, which needs the place that it frees.
    begun AS (
        INSERT INTO payments (
            id, booking_id, client_id, tutor_id, price_minor, gateway, method, amount_minor, currency, status, asked_at,
            payer_phone, created_at
        )
        SELECT
            $4,
            w.id,
            w.client_id,
            w.tutor_id,
            w.price_minor,
            $6,
            $3,
            w.amount,
            w.due_currency,
            'opening',
            $5,
            $9,
            $5
        FROM wanted w, (
            SELECT count(*)
            FROM abandoned
        ) AS after_that
        WHERE NOT EXISTS (
            SELECT
            FROM usable
        )
        ON CONFLICT (booking_id, method) WHERE status = 'opening' AND charge_id IS NULL DO NOTHING
        RETURNING id
    )

-- Each part has one row at most, so the joins without a condition give one row.
SELECT
    s.client_id,
    s.status,
    s.is_agreed,
    s.is_timed,
    s.is_off,
    s.price_minor,
    s.price_currency,
    s.missing,
    s.due_currency,
    s.customer_id,
    w.amount,
    begun.id AS begun_id,
    usable.id AS usable_id,
    usable.link,
    usable.gateway_id,
    usable.created_at,
    looking.id IS NOT NULL AS is_looking
FROM subject s
LEFT JOIN wanted w ON true
LEFT JOIN begun ON true
LEFT JOIN usable ON true
LEFT JOIN looking ON true
