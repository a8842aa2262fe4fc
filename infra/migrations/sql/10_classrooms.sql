-- A platform says for each booking where its lesson is held. Before, all lessons were held in one place.

ALTER TABLE bookings ADD COLUMN classroom text;
COMMENT ON COLUMN bookings.classroom IS
    'Where the platform wants the lesson held; NULL: where the deployment opens rooms. A room that is open stays.';
