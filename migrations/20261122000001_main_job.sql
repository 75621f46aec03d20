-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Keys of DIDs that do not carry their own key (did:key needs no row).
CREATE TABLE identities (
    did text NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (did, public_key)
);
CREATE UNIQUE INDEX identities_one_live_key ON identities (did) WHERE retired_at IS NULL;

CREATE TABLE blocked_dids (
    did text PRIMARY KEY,
    reason text NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);

-- A challenge's counters are the budget of its policy, over all batches and all nodes.
CREATE TABLE challenges (
    nonce bytea PRIMARY KEY,
    task_id bytea NOT NULL,
    bound_did text,
    issued_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    max_receipts bigint NOT NULL,
    max_bytes_total bigint NOT NULL,
    min_bytes_per_receipt bigint NOT NULL,
    allowed_proof_types smallint[] NOT NULL,
    receipts_used bigint NOT NULL DEFAULT 0 CHECK (receipts_used BETWEEN 0 AND max_receipts),
    bytes_used bigint NOT NULL DEFAULT 0 CHECK (bytes_used BETWEEN 0 AND max_bytes_total)
) WITH (fillfactor = 80);  -- room for the counters' updates on the same page
CREATE INDEX challenges_task_id_idx ON challenges (task_id);
CREATE INDEX challenges_expires_at_idx ON challenges (expires_at);

-- One row for each batch that was answered. The answer is kept word for word for retries with its nonce.
-- proven: at least one receipt passed every check and was never credited before, so the DID itself sent it.
CREATE TABLE batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_did text NOT NULL,
    batch_nonce bytea,
    batch_digest bytea NOT NULL,
    proven boolean NOT NULL,
    accepted integer NOT NULL,
    rejected integer NOT NULL,
    answer bytea,
    submitted_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX batches_proven_nonce_key ON batches (client_did, batch_nonce)
    WHERE proven AND batch_nonce IS NOT NULL;
CREATE UNIQUE INDEX batches_unproven_nonce_key ON batches (client_did, batch_nonce, batch_digest)
    WHERE NOT proven AND batch_nonce IS NOT NULL;
CREATE INDEX batches_client_did_idx ON batches (client_did, id);
CREATE INDEX batches_submitted_at_idx ON batches USING brin (submitted_at);

-- What was ever credited. A nonce is the SHA-256 of its DID, a zero byte and the receipt nonce, so that no
-- client can take another's. It may go when its challenge can no longer be used.
CREATE TABLE nonces (
    nonce bytea NOT NULL,
    expires_at bigint NOT NULL
);
CREATE UNIQUE INDEX nonces_nonce_key ON nonces (nonce);
CREATE INDEX nonces_expires_at_idx ON nonces USING brin (expires_at);

-- Accepted receipts: the signed bytes themselves, and the columns that rewards and queries need.
CREATE TABLE receipts (
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
CREATE INDEX receipts_client_did_idx ON receipts (client_did, id);
CREATE INDEX receipts_submitted_at_idx ON receipts USING brin (submitted_at);

-- A log: it holds what was refused and why, and outlives the receipt.
CREATE TABLE rejections (
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
CREATE INDEX rejections_client_did_idx ON rejections (client_did, id);
CREATE INDEX rejections_submitted_at_idx ON rejections USING brin (submitted_at);

CREATE TABLE epochs (
    epoch bigint PRIMARY KEY,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    receipts bigint NOT NULL,
    pool_atoms numeric(39, 0) NOT NULL,
    computed_atoms numeric(39, 0) NOT NULL,
    unallocated_atoms numeric(39, 0) NOT NULL,
    closed_at timestamptz NOT NULL
);

CREATE TABLE rewards (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch bigint NOT NULL REFERENCES epochs (epoch),
    client_did text NOT NULL,
    receipts bigint NOT NULL,
    weight bigint NOT NULL,
    raw_atoms numeric(39, 0) NOT NULL,
    final_atoms numeric(39, 0) NOT NULL CHECK (final_atoms BETWEEN 0 AND raw_atoms),
    UNIQUE (client_did, epoch)
);
CREATE INDEX rewards_epoch_idx ON rewards (epoch);

CREATE TABLE payouts (
    reward_id bigint PRIMARY KEY REFERENCES rewards (id),
    client_did text NOT NULL,
    atoms numeric(39, 0) NOT NULL CHECK (atoms > 0),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'processing', 'paid', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payouts_state_idx ON payouts (state, changed_at);

CREATE TABLE disputes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_did text NOT NULL,
    subject text NOT NULL CHECK (subject IN ('receipt', 'rejection', 'reward', 'challenge')),
    subject_id text NOT NULL,
    claim text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN
        ('open', 'under_investigation', 'resolved_for_claimant', 'resolved_for_node', 'rejected', 'closed')),
    filed_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX disputes_client_did_idx ON disputes (client_did, id);

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    note jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_at_idx ON audit_log USING brin (at);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP TABLE audit_log, disputes, payouts, rewards, epochs, rejections, receipts, nonces, batches, challenges,
    blocked_dids, identities;
