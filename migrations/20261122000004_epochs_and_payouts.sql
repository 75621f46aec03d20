-- migrate:up
SET LOCAL lock_timeout = '5s';

-- What all nodes of this database have to agree on: one row, written by the first of them.
CREATE TABLE network (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    genesis bigint NOT NULL,
    epoch_secs integer NOT NULL CHECK (epoch_secs > 0)
);

-- Receipts and rejections by day, so that old days leave as a whole. What is there becomes the first partition.
ALTER TABLE receipts ALTER COLUMN id DROP IDENTITY;
ALTER TABLE rejections ALTER COLUMN id DROP IDENTITY;
ALTER TABLE receipts RENAME TO receipts_first;
ALTER TABLE rejections RENAME TO rejections_first;
ALTER INDEX receipts_client_did_idx RENAME TO receipts_first_client_did_idx;
ALTER INDEX receipts_submitted_at_idx RENAME TO receipts_first_submitted_at_idx;
ALTER INDEX receipts_batch_id_idx RENAME TO receipts_first_batch_id_idx;
ALTER INDEX rejections_client_did_idx RENAME TO rejections_first_client_did_idx;
ALTER INDEX rejections_submitted_at_idx RENAME TO rejections_first_submitted_at_idx;
ALTER INDEX rejections_batch_id_idx RENAME TO rejections_first_batch_id_idx;

CREATE SEQUENCE receipts_number_seq;
CREATE SEQUENCE rejections_number_seq;
SELECT setval('receipts_number_seq', 1 + coalesce((SELECT max(id) FROM receipts_first), 0), false);
SELECT setval('rejections_number_seq', 1 + coalesce((SELECT max(id) FROM rejections_first), 0), false);

CREATE TABLE receipts (
    id bigint NOT NULL DEFAULT nextval('receipts_number_seq'),
    batch_id bigint NOT NULL,
    client_did text NOT NULL,
    receipt_nonce bytea NOT NULL,
    challenge_nonce bytea NOT NULL,
    proof_type smallint NOT NULL,
    bytes_verified bigint NOT NULL,
    result_ok boolean NOT NULL,
    body bytea NOT NULL,
    signature bytea NOT NULL,
    submitted_at timestamptz NOT NULL
) PARTITION BY RANGE (submitted_at);
CREATE INDEX receipts_client_did_idx ON receipts (client_did, id);
CREATE INDEX receipts_submitted_at_idx ON receipts USING brin (submitted_at);
CREATE INDEX receipts_batch_id_idx ON receipts (batch_id);

CREATE TABLE rejections (
    id bigint NOT NULL DEFAULT nextval('rejections_number_seq'),
    batch_id bigint NOT NULL,
    client_did text NOT NULL,
    proven boolean NOT NULL,
    item_index integer NOT NULL,
    receipt_nonce bytea,
    reason text NOT NULL,
    detail text NOT NULL,
    fault text,
    submitted_at timestamptz NOT NULL
) PARTITION BY RANGE (submitted_at);
CREATE INDEX rejections_client_did_idx ON rejections (client_did, id);
CREATE INDEX rejections_submitted_at_idx ON rejections USING brin (submitted_at);
CREATE INDEX rejections_batch_id_idx ON rejections (batch_id);

ALTER SEQUENCE receipts_number_seq OWNED BY receipts.id;
ALTER SEQUENCE rejections_number_seq OWNED BY rejections.id;

-- Make the partitions of receipts and rejections for a number of days from today on; those that exist stay.
CREATE FUNCTION make_partitions(days integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    made integer := 0;
    today date := (now() AT TIME ZONE 'UTC')::date;
    day date;
    parent text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('make_partitions', 4));
    FOREACH parent IN ARRAY ARRAY['receipts', 'rejections'] LOOP
        FOR day IN SELECT generate_series(today, today + days, interval '1 day')::date LOOP
            IF to_regclass(format('%s_%s', parent, to_char(day, 'YYYYMMDD'))) IS NULL
               AND day >= (SELECT first_day FROM partition_start) THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                               format('%s_%s', parent, to_char(day, 'YYYYMMDD')), parent,
                               day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- The first day that has a partition of its own; what came before lies in the first partition.
CREATE TABLE partition_start (first_day date NOT NULL);
INSERT INTO partition_start SELECT (now() AT TIME ZONE 'UTC')::date + 1;
DO $$
BEGIN
    EXECUTE format('ALTER TABLE receipts ATTACH PARTITION receipts_first FOR VALUES FROM (MINVALUE) TO (%L)',
                   (SELECT first_day::timestamp AT TIME ZONE 'UTC' FROM partition_start));
    EXECUTE format('ALTER TABLE rejections ATTACH PARTITION rejections_first FOR VALUES FROM (MINVALUE) TO (%L)',
                   (SELECT first_day::timestamp AT TIME ZONE 'UTC' FROM partition_start));
END
$$;
SELECT make_partitions(14);

-- A verdict is kept for retries for a time; the batch stays longer, for its history.
CREATE INDEX batches_answer_idx ON batches (id) WHERE answer IS NOT NULL;

-- Nonces leave by their expiry; few values, each in many rows, so that the index stays small.
DROP INDEX nonces_expires_at_idx;
CREATE INDEX nonces_expires_at_idx ON nonces (expires_at);

ALTER TABLE epochs
    ADD COLUMN clients bigint NOT NULL DEFAULT 0,
    ADD COLUMN allocated_atoms numeric(39, 0) NOT NULL DEFAULT 0,
    ADD COLUMN manifest text NOT NULL DEFAULT '{}',
    ADD COLUMN node_id bytea NOT NULL DEFAULT '',
    ADD COLUMN signature bytea NOT NULL DEFAULT '',
    ADD CHECK (allocated_atoms + unallocated_atoms = computed_atoms);

-- The Merkle tree over an epoch's receipts in pieces of 1,024 leaves: enough to prove any receipt, also when the
-- receipts themselves were archived. nonces holds the first 16 bytes of each leaf's receipt nonce, in order.
CREATE TABLE epoch_tree (
    epoch bigint NOT NULL,
    piece integer NOT NULL,
    first_nonce bytea NOT NULL,
    nonces bytea NOT NULL,
    leaves bytea NOT NULL,
    root bytea NOT NULL,
    PRIMARY KEY (epoch, piece)
);
ALTER TABLE epoch_tree ALTER COLUMN nonces SET STORAGE EXTERNAL, ALTER COLUMN leaves SET STORAGE EXTERNAL;

ALTER TABLE rewards DROP CONSTRAINT rewards_epoch_fkey;  -- written with its epoch in one transaction, by the million
ALTER TABLE rewards
    ADD COLUMN allocated_atoms numeric(39, 0) NOT NULL DEFAULT 0,
    ADD COLUMN at_minimum bigint NOT NULL DEFAULT 0,
    ADD COLUMN capped boolean NOT NULL DEFAULT false,
    ADD CHECK (allocated_atoms BETWEEN 0 AND final_atoms);

DROP TABLE payouts;
CREATE TABLE payouts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reward_id bigint UNIQUE,
    dispute_id bigint UNIQUE,
    epoch bigint,
    client_did text NOT NULL,
    atoms numeric(39, 0) NOT NULL CHECK (atoms > 0),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'processing', 'paid', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    export_id bigint,
    reference text,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(reward_id, dispute_id) = 1)
);
CREATE INDEX payouts_open_idx ON payouts (state, due_at) WHERE state <> 'paid';
CREATE INDEX payouts_client_did_idx ON payouts (client_did, id);
CREATE INDEX payouts_epoch_idx ON payouts (epoch);
CREATE INDEX payouts_export_id_idx ON payouts (export_id) WHERE export_id IS NOT NULL;
CREATE SEQUENCE payout_exports_seq;

CREATE TABLE anomaly_flags (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch bigint NOT NULL,
    client_did text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cap_streak', 'sudden_growth', 'minimum_bytes')),
    note jsonb NOT NULL DEFAULT '{}',
    flagged_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (epoch, client_did, kind)
);

-- What the background jobs found out last: one row each.
CREATE TABLE job_state (
    job text PRIMARY KEY,
    finished_at timestamptz,
    note jsonb NOT NULL DEFAULT '{}'
);

-- Epochs whose export was written to the archive and audited there; their receipts may be dropped.
CREATE TABLE archives (
    epoch bigint PRIMARY KEY,
    file text NOT NULL,
    sha256 bytea NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now()
);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP TABLE archives, job_state, anomaly_flags, payouts, epoch_tree, network;
DROP SEQUENCE payout_exports_seq;
CREATE TABLE payouts (
    reward_id bigint PRIMARY KEY REFERENCES rewards (id),
    client_did text NOT NULL,
    atoms numeric(39, 0) NOT NULL CHECK (atoms > 0),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'processing', 'paid', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payouts_state_idx ON payouts (state, changed_at);
ALTER TABLE rewards DROP COLUMN capped, DROP COLUMN at_minimum, DROP COLUMN allocated_atoms;
ALTER TABLE rewards ADD CONSTRAINT rewards_epoch_fkey FOREIGN KEY (epoch) REFERENCES epochs (epoch);
ALTER TABLE epochs DROP COLUMN signature, DROP COLUMN node_id, DROP COLUMN manifest, DROP COLUMN allocated_atoms,
    DROP COLUMN clients;
DROP INDEX nonces_expires_at_idx, batches_answer_idx;
CREATE INDEX nonces_expires_at_idx ON nonces USING brin (expires_at);
DROP FUNCTION make_partitions(integer);
DROP TABLE partition_start;

CREATE TABLE receipts_all (
    id bigint GENERATED ALWAYS AS IDENTITY,
    batch_id bigint NOT NULL,
    client_did text NOT NULL,
    receipt_nonce bytea NOT NULL,
    challenge_nonce bytea NOT NULL,
    proof_type smallint NOT NULL,
    bytes_verified bigint NOT NULL,
    result_ok boolean NOT NULL,
    body bytea NOT NULL,
    signature bytea NOT NULL,
    submitted_at timestamptz NOT NULL
);
INSERT INTO receipts_all OVERRIDING SYSTEM VALUE
    SELECT id, batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok, body,
           signature, submitted_at
    FROM receipts;
SELECT setval(pg_get_serial_sequence('receipts_all', 'id'), 1 + coalesce((SELECT max(id) FROM receipts), 0), false);
DROP TABLE receipts;
ALTER TABLE receipts_all RENAME TO receipts;
CREATE INDEX receipts_client_did_idx ON receipts (client_did, id);
CREATE INDEX receipts_submitted_at_idx ON receipts USING brin (submitted_at);
CREATE INDEX receipts_batch_id_idx ON receipts (batch_id);

CREATE TABLE rejections_all (
    id bigint GENERATED ALWAYS AS IDENTITY,
    batch_id bigint NOT NULL,
    client_did text NOT NULL,
    proven boolean NOT NULL,
    item_index integer NOT NULL,
    receipt_nonce bytea,
    reason text NOT NULL,
    detail text NOT NULL,
    fault text,
    submitted_at timestamptz NOT NULL
);
INSERT INTO rejections_all OVERRIDING SYSTEM VALUE
    SELECT id, batch_id, client_did, proven, item_index, receipt_nonce, reason, detail, fault, submitted_at
    FROM rejections;
SELECT setval(pg_get_serial_sequence('rejections_all', 'id'), 1 + coalesce((SELECT max(id) FROM rejections), 0), false);
DROP TABLE rejections;
ALTER TABLE rejections_all RENAME TO rejections;
CREATE INDEX rejections_client_did_idx ON rejections (client_did, id);
CREATE INDEX rejections_submitted_at_idx ON rejections USING brin (submitted_at);
CREATE INDEX rejections_batch_id_idx ON rejections (batch_id);
