-- migrate:up
SET LOCAL lock_timeout = '5s';

ALTER TABLE disputes
    ADD COLUMN explanation text,
    ADD COLUMN compensation_atoms numeric(39, 0) CHECK (compensation_atoms > 0);
CREATE UNIQUE INDEX disputes_unsettled_key ON disputes (client_did, subject, subject_id)
    WHERE state IN ('open', 'under_investigation');
CREATE INDEX disputes_state_idx ON disputes (state, id);

-- What was put to a dispute: evidence for both sides, and notes that only operators see.
CREATE TABLE dispute_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dispute_id bigint NOT NULL REFERENCES disputes (id),
    kind text NOT NULL CHECK (kind IN ('evidence', 'note', 'state')),
    author text NOT NULL,
    content text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dispute_entries_dispute_id_idx ON dispute_entries (dispute_id, id);

CREATE INDEX anomaly_flags_client_did_idx ON anomaly_flags (client_did, id);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP INDEX anomaly_flags_client_did_idx;
DROP TABLE dispute_entries;
DROP INDEX disputes_state_idx, disputes_unsettled_key;
ALTER TABLE disputes DROP COLUMN compensation_atoms, DROP COLUMN explanation;
