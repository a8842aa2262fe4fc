-- A platform says for each booking where its lesson is held. Before, all lessons were held in one place.

ALTER TABLE bookings ADD COLUMN classroom text;
COMMENT ON COLUMN bookings.classroom IS
    'Where the platform wants the lesson held; NULL: where the deployment opens rooms. A room that is open stays.';

-- The accounts of people at vendors that want one before anybody may enter. A row is there before the vendor is asked, as
-- it makes another account whenever it is asked again.
CREATE TABLE vendor_accounts (
    classroom text NOT NULL,
    -- What the vendor takes them for, in its words; it cannot be changed afterwards.
    kind text NOT NULL,
    profile_id uuid NOT NULL,
    -- The vendor's id of the account; NULL until it is known.
    vendor_id text,
    -- Which call is having it made, and until when the others wait for that.
    claim uuid NOT NULL,
    claimed_until timestamptz NOT NULL,
    PRIMARY KEY (classroom, kind, profile_id),
    UNIQUE (classroom, vendor_id)
);
COMMENT ON TABLE vendor_accounts IS 'Who has which account at a vendor that wants one before anybody may enter.';
