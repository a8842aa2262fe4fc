-- A session that could not be read or settled waits for a person, whether it has an outcome or not.
ALTER TABLE sessions ADD COLUMN set_aside_at timestamptz;
UPDATE sessions SET set_aside_at = now() WHERE due_at IS NULL AND status IN ('SCHEDULED', 'JOIN_OPEN');
DROP INDEX sessions_aside;
CREATE INDEX sessions_aside ON sessions (set_aside_at) WHERE set_aside_at IS NOT NULL;
