-- Enters money that has come: the payment and its ledger entries, the card to keep, what the card's owner has agreed
-- to by paying, and a look at every tab that this may change. Money is entered whenever it comes, also for a payment
-- that had failed or was given up; what turns out to be too much goes back. It is entered only if the gateway says the
-- same amount and currency as the payment. A payment of the amount 0 is a card that was left and took no money.
-- Other money under a payment that is paid already is not entered: somebody has to look at it.
--
-- A payment is entered once: whoever comes second finds it paid, and nothing that is made from `paid` happens again.
-- Only the gateway's fee may be entered later, because a gateway may tell of it later than of the money; and it, too,
-- is entered once.
--
-- Parameters:
--   $1   payment's id
--   $2   amount that came, in the smallest unit of its currency
--   $3   currency of that amount (ISO 4217)
--   $4   gateway's id of the payment
--   $5   gateway's id of what refunds and disputes refer to, or NULL: there is none
--   $6   now
--   $7   gateway's id of the client whose card is kept, or NULL: no card is kept
--   $8   gateway's id of that card, or NULL: no card is kept
--   $9   draft of the job that looks at a booking's tab
--   $10  gateway's fee, in the smallest unit of its own currency, or NULL: the gateway does not say, or not yet
--   $11  currency of the fee, in which the gateway settles with us (ISO 4217), or NULL: as $10

WITH
    -- The payment as it was before, if it is ours. It is locked before it is read: of two at once the second sees what
    -- the first has entered. From it follows what is returned, and the entries of the fee.
    known AS (
        SELECT *
        FROM payments
        WHERE id = $1
        FOR NO KEY UPDATE
    ),

    -- Whether the gateway tells of the same money: the amount, and what the payment was paid with, if it was paid
    -- before. A gateway may name a payment by its page or by its charge, so the charge counts where both name it.
    agreeing AS (
        SELECT
            amount_minor = $2
            AND currency = $3
            AND (
                status <> 'paid'
                OR CASE
                    WHEN intent_id IS NOT NULL AND $5::text IS NOT NULL THEN intent_id = $5
                    ELSE coalesce(gateway_id = $4, true)
                END
            ) AS agrees
        FROM known
    ),

    -- Marks the payment as paid, unless it is or the amounts disagree.
    paid AS (
        UPDATE payments p
        SET
            status = 'paid',
            paid_at = $6,
            next_try_at = NULL,
            reason = NULL,
            gateway_id = coalesce($4, p.gateway_id),
            intent_id = coalesce($5, p.intent_id),

            -- Money for a booking that nobody has agreed to goes back if that stays so: `due` asks for nothing any
            -- more a day after the lesson's end, and then `reconcile` looks at the tab. Otherwise there is nothing
            -- more to look for.
            look_at = (
                SELECT known_to_be_off(b, $6)
                FROM bookings b
                WHERE b.id = p.booking_id
                  AND NOT stands(b)
                  AND p.amount_minor > 0
            )
        FROM known k
        WHERE p.id = k.id
          AND k.status <> 'paid'
          AND k.amount_minor = $2
          AND k.currency = $3
        RETURNING p.*
    ),

    -- Keeps the card, in place of the one that the client has left before.
    card AS (
        INSERT INTO saved_cards (client_id, gateway, customer_id, card_id, saved_at)
        SELECT
            client_id,
            gateway,
            $7,
            $8,
            $6
        FROM paid
        WHERE $7::text IS NOT NULL
          AND $8::text IS NOT NULL
        ON CONFLICT (client_id) DO UPDATE
        SET
            gateway = excluded.gateway,
            customer_id = excluded.customer_id,
            card_id = excluded.card_id,
            saved_at = excluded.saved_at
        RETURNING client_id
    ),

    -- Writes down that the client's card may pay for this booking, and for later lessons with the same tutor up to a
    -- price: the one that the client has seen. Who paid by card has seen the amount on the gateway's page; who left a
    -- card has left it for the lesson's price. A booking has one agreement; `agreed_again` says
    -- what becomes of it.
    agreed AS (
        INSERT INTO card_agreements AS g (booking_id, client_id, tutor_id, currency, up_to_minor, agreed_at)
        SELECT
            booking_id,
            client_id,
            tutor_id,
            currency,
            CASE method
                WHEN 'card' THEN least(amount_minor, price_minor)
                ELSE price_minor
            END,
            $6
        FROM paid
        WHERE method IN ('card', 'card_on_file')
        ON CONFLICT (booking_id) DO UPDATE
        SET (client_id, tutor_id, currency, up_to_minor, agreed_at) = (
            SELECT client_id, tutor_id, currency, up_to_minor, agreed_at
            FROM agreed_again(g, excluded)
        )
        RETURNING g.*
    ),

    -- With a new card, makes those of the client's failed collections due again that the card may pay: the collection
    -- of the booking for which it was left, and collections of charges to which the client had agreed before they
    -- were charged. A charge that somebody else has brought about by naming this client in a booking is left alone.
    -- The agreement that `agreed` writes cannot be seen in the table yet, therefore both conditions. The next look at
    -- the tab begins a new attempt, and checks the agreement once more.
    tried_again AS (
        UPDATE payments p
        SET
            status = 'declined',
            next_try_at = $6
        FROM card
        WHERE p.client_id = card.client_id
          AND p.method = 'saved_card'
          AND p.status = 'failed'
          AND (
              p.booking_id IN (
                  SELECT booking_id
                  FROM agreed
              )
              OR EXISTS (
                  SELECT
                  FROM card_agreements a
                  WHERE a.client_id = p.client_id
                    AND a.tutor_id = p.tutor_id
                    AND a.currency = p.currency
                    AND p.price_minor <= a.up_to_minor
                    AND a.agreed_at <= p.created_at
              )
          )
        RETURNING p.booking_id
    ),

    -- The ledger entries. The payment: our money at the gateway grows, and the client owes us less. The fee: our money
    -- at the gateway shrinks by what the gateway keeps for itself. The entries of the payment are made from `paid`;
    -- those of the fee from `known`, so that a fee is entered also where the money was entered before. A fee of NULL
    -- gives amounts of NULL, and these are left out like the amount 0, which the ledger refuses.
    booked AS (
        SELECT
            p.id,
            'payment' AS kind,
            p.currency,
            e.account_id,
            e.account_kind,
            e.owner_id,
            e.amount
        FROM paid p
        CROSS JOIN LATERAL (
            VALUES
                (concat_ws('/', 'cash', p.gateway, p.currency), 'cash', NULL::uuid, p.amount_minor),
                (concat_ws('/', 'receivable', p.client_id, p.currency), 'receivable', p.client_id, -p.amount_minor)
        ) AS e (account_id, account_kind, owner_id, amount)
        WHERE e.amount <> 0
        UNION ALL
        SELECT
            k.id,
            'fee',
            $11,
            e.account_id,
            e.account_kind,
            NULL,
            e.amount
        FROM known k
        CROSS JOIN LATERAL (
            VALUES
                (concat_ws('/', 'cash', k.gateway, $11::text), 'cash', -$10::bigint),
                (concat_ws('/', 'gateway_fees', k.gateway, $11::text), 'gateway_fees', $10::bigint)
        ) AS e (account_id, account_kind, amount)
        WHERE e.amount <> 0
          AND (
              SELECT agrees
              FROM agreeing
          )
    ),

    -- Opens the accounts that are not there yet. All statements insert accounts in the order of their ids, because two
    -- that open the same accounts at once could otherwise wait for each other for ever.
    accounts AS (
        INSERT INTO ledger_accounts (id, kind, owner_id, currency)
        SELECT DISTINCT
            account_id,
            account_kind,
            owner_id,
            currency
        FROM booked
        ORDER BY account_id
        ON CONFLICT (id) DO NOTHING
    ),

    -- Writes the entries. The index `ledger_entries_payment_once` admits one of each kind for a payment and account,
    -- so that a fee that is told again is not entered again. The accounts may be inserted by the same statement,
    -- because references are checked at its end.
    entries AS (
        INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
        SELECT
            id,
            account_id,
            kind,
            amount,
            currency,
            $6
        FROM booked
        ON CONFLICT (payment_id, kind, account_id) WHERE payment_id IS NOT NULL AND dispute_id IS NULL DO NOTHING
    ),

    -- Tells the client that their card was charged, which happens without them. Of what they have paid themselves they
    -- know.
    told AS (
        INSERT INTO notifications (profile_id, kind, source, booking_id, data, created_at)
        SELECT
            client_id,
            'charged',
            'payment/' || id || '/paid',
            booking_id,
            jsonb_build_object('payment_id', id, 'amount', amount_minor, 'currency', currency),
            $6
        FROM paid
        WHERE method = 'saved_card'
        ON CONFLICT (source) DO NOTHING
    ),

    -- Asks for a look at the tab of the booking for which money has come, and at those whose collections are tried
    -- again. UNION leaves out repetitions, so there is one job for a booking.
    jobs AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT
            gen_random_uuid(),
            $9::jsonb ->> 'queue',
            about($9, t.booking_id),
            $6,
            senders_turn($6)
        FROM (
            SELECT booking_id
            FROM paid
            WHERE amount_minor > 0
            UNION
            SELECT booking_id
            FROM tried_again
        ) AS t
        RETURNING *
    )

-- Whether the payment is ours, whether the gateway tells of the same money, and what is to be sent once this is
-- committed.
SELECT
    EXISTS (
        SELECT
        FROM known
    ) AS is_known,
    coalesce(
        (
            SELECT agrees
            FROM agreeing
        ),
        false
    ) AS agrees,
    (
        SELECT jsonb_agg(as_posted(id, queue, envelope))
        FROM jobs
    ) AS posted
