-- What classrooms and what gateways tell have a queue each. What waits for the queue that both had goes to its own.
UPDATE outbox SET queue = CASE WHEN envelope ->> 'type' IN ('stripe_event', 'fapshi_event')
    THEN 'gateway-events' ELSE 'classroom-events' END
WHERE queue = 'provider-events' AND sent_at IS NULL;

-- A booking that went back to pending without a session does not stand any more. Money that was paid for one before this was
-- known is looked at now, and then by the rule of `known_to_be_off`.
UPDATE payments p SET look_at = now()
FROM bookings b
WHERE b.id = p.booking_id AND p.status = 'paid' AND p.amount_minor > 0 AND p.look_at IS NULL
  AND b.agreed_at IS NOT NULL AND b.status = 'pending'
  AND NOT EXISTS (SELECT FROM sessions s WHERE s.booking_id = b.id);
