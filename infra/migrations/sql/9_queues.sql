-- What classrooms and what gateways tell have a queue each. What waits for the queue that both had goes to its own.
UPDATE outbox SET queue = CASE WHEN envelope ->> 'type' IN ('stripe_event', 'fapshi_event')
    THEN 'gateway-events' ELSE 'classroom-events' END
WHERE queue = 'provider-events' AND sent_at IS NULL;
