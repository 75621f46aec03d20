-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Every key that this network's nodes signed with, from its first signature on.
CREATE TABLE node_keys (
    public_key bytea PRIMARY KEY CHECK (octet_length(public_key) = 32),
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz
);

-- Nonces of signed requests: each counts once. A row may go when its signature is too old to be taken.
CREATE TABLE request_nonces (
    digest bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX request_nonces_expires_at_idx ON request_nonces (expires_at);

CREATE INDEX receipts_batch_id_idx ON receipts (batch_id);
CREATE INDEX rejections_batch_id_idx ON rejections (batch_id);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP INDEX rejections_batch_id_idx, receipts_batch_id_idx;
DROP TABLE request_nonces, node_keys;
