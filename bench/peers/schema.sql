CREATE TABLE challenges (
    nonce bytea PRIMARY KEY,
    task_id bytea NOT NULL,
    expires_at bigint NOT NULL
);

CREATE TABLE receipts (
    receipt_nonce bytea PRIMARY KEY,
    client_did text NOT NULL,
    challenge_nonce bytea NOT NULL,
    proof_type smallint NOT NULL,
    bytes_verified bigint NOT NULL,
    result_ok boolean NOT NULL,
    body bytea NOT NULL,
    signature bytea NOT NULL,
    submitted_at timestamptz NOT NULL DEFAULT now()
);
