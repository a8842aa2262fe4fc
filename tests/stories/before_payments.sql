-- What the release before payments left behind: one session, settled and explained, and its ledger.
INSERT INTO profiles (id, full_name) VALUES
    ('10000000-0000-0000-0000-000000000001', 'Old Client'), ('10000000-0000-0000-0000-000000000002', 'Old Tutor');
INSERT INTO bookings (id, client_id, tutor_id, status, price_minor, price_currency) VALUES
    ('20000000-0000-0000-0000-000000000001', '10000000-0000-0000-0000-000000000001',
     '10000000-0000-0000-0000-000000000002', 'confirmed', 10000, 'TTD');
INSERT INTO sessions (id, booking_id, client_id, tutor_id, provider, scheduled_start_at, scheduled_end_at,
    duration_minutes, no_show_wait_minutes, min_payable_minutes, price_minor, currency, charge_scheduled_at, status,
    decisions)
SELECT '30000000-0000-0000-0000-000000000001', id, client_id, tutor_id, 'lessonspace', '2026-03-01T12:00:00Z',
    '2026-03-01T13:00:00Z', 60, 20, 40, price_minor, price_currency, '2026-03-01T13:00:00Z', 'COMPLETED_ASSUMED', 1
FROM bookings;
INSERT INTO charges (id, session_id, decision, status, charge_minor, payout_minor, fee_minor, currency, explanation, decided_at)
SELECT '40000000-0000-0000-0000-000000000001', id, 1, status, 10000, 9000, 1000, 'TTD', '{}', '2026-03-01T13:00:00Z'
FROM sessions;
INSERT INTO ledger_accounts (id, kind, owner_id, currency) VALUES
    ('receivable/10000000-0000-0000-0000-000000000001/TTD', 'receivable', '10000000-0000-0000-0000-000000000001', 'TTD'),
    ('payable/10000000-0000-0000-0000-000000000002/TTD', 'payable', '10000000-0000-0000-0000-000000000002', 'TTD'),
    ('fees/TTD', 'fees', NULL, 'TTD');
INSERT INTO ledger_entries (charge_id, account_id, kind, amount_minor, currency, created_at)
SELECT c.id, a.id, 'settlement', CASE a.kind WHEN 'receivable' THEN 10000 WHEN 'payable' THEN -9000 ELSE -1000 END, 'TTD',
    c.decided_at
FROM charges c, ledger_accounts a;
