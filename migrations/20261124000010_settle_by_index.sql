-- migrate:up
SET LOCAL lock_timeout = '5s';

-- As before, with the same answers, except for how earlier answers to the same batches are looked for.
CREATE OR REPLACE FUNCTION settle_batches(
    genesis bigint, epoch_secs integer,
    dids text[], batch_nonces bytea[], digests bytea[], proven boolean[], accepted integer[], rejected integer[],
    answers bytea[],
    spent_nonces bytea[], spent_receipts bigint[], spent_bytes bigint[],
    nonce_digests bytea[], nonce_expiries bigint[],
    r_batch integer[], r_nonce bytea[], r_challenge bytea[], r_type smallint[], r_bytes bigint[], r_ok boolean[],
    r_body bytea[], r_signature bytea[],
    x_batch integer[], x_index integer[], x_nonce bytea[], x_reason text[], x_detail text[], x_fault text[]
) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    ids bigint[];
    held bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(did || ' ' || encode(nonce, 'hex'), 0) AS key
        FROM unnest(dids, batch_nonces) AS named (did, nonce) WHERE nonce IS NOT NULL ORDER BY key
    ) AS keys;
    -- Joined, not asked for with EXISTS: the planner may answer that with a hash over all batches, with every group.
    PERFORM FROM unnest(dids, batch_nonces, digests) AS named (did, nonce, digest)
        CROSS JOIN LATERAL (
            SELECT FROM batches AS b WHERE b.client_did = named.did AND b.batch_nonce = named.nonce AND b.proven
            UNION ALL
            SELECT FROM batches AS b WHERE b.client_did = named.did AND b.batch_nonce = named.nonce AND NOT b.proven
                AND b.batch_digest = named.digest
        ) AS earlier
        WHERE named.nonce IS NOT NULL;
    IF FOUND THEN
        RETURN 'answered';
    END IF;
    PERFORM FROM unnest(spent_nonces, spent_receipts, spent_bytes) AS spent (nonce, receipts, bytes)
        JOIN challenges AS c ON c.nonce = spent.nonce AND c.expires_at > extract(epoch FROM now()) - 600
            AND c.receipts_used + spent.receipts <= c.max_receipts AND c.bytes_used + spent.bytes <= c.max_bytes_total
        ORDER BY c.nonce FOR UPDATE OF c;
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held <> cardinality(spent_nonces) THEN
        RETURN 'spent';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(7001, floor((extract(epoch FROM now()) - genesis) / epoch_secs)::integer);
    -- After the lock, so that it sees who closed it; epochs are closed in order, so the last one tells.
    IF (SELECT ends_at > now() FROM epochs ORDER BY epoch DESC LIMIT 1) THEN
        RETURN 'closed';
    END IF;
    UPDATE challenges SET receipts_used = receipts_used + spent.receipts, bytes_used = bytes_used + spent.bytes
        FROM unnest(spent_nonces, spent_receipts, spent_bytes) AS spent (nonce, receipts, bytes)
        WHERE challenges.nonce = spent.nonce;
    INSERT INTO nonces (nonce, expires_at) SELECT nonce, expires_at
        FROM unnest(nonce_digests, nonce_expiries) AS claimed (nonce, expires_at);
    SELECT array_agg(nextval('batches_id_seq')) INTO ids FROM generate_series(1, cardinality(dids));
    INSERT INTO batches (id, client_did, batch_nonce, batch_digest, proven, accepted, rejected, answer, submitted_at)
        OVERRIDING SYSTEM VALUE
        SELECT ids[place], b.did, b.nonce, b.digest, b.proven, b.accepted, b.rejected, b.answer, now()
        FROM unnest(dids, batch_nonces, digests, settle_batches.proven, settle_batches.accepted,
                    settle_batches.rejected, answers)
            WITH ORDINALITY AS b (did, nonce, digest, proven, accepted, rejected, answer, place);
    IF cardinality(x_batch) > 0 THEN
        INSERT INTO rejections (batch_id, client_did, proven, item_index, receipt_nonce, reason, detail, fault,
                                submitted_at)
            SELECT ids[batch], dids[batch], settle_batches.proven[batch], item_index, nonce, reason, detail, fault,
                   now()
            FROM unnest(x_batch, x_index, x_nonce, x_reason, x_detail, x_fault)
                AS item (batch, item_index, nonce, reason, detail, fault);
    END IF;
    INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok,
                          body, signature, submitted_at)
        SELECT ids[batch], dids[batch], nonce, challenge, kind, bytes, ok, body, signature, now()
        FROM unnest(r_batch, r_nonce, r_challenge, r_type, r_bytes, r_ok, r_body, r_signature)
            AS item (batch, nonce, challenge, kind, bytes, ok, body, signature);
    RETURN 'settled';
END
$$;

-- migrate:down
SET LOCAL lock_timeout = '5s';

CREATE OR REPLACE FUNCTION settle_batches(
    genesis bigint, epoch_secs integer,
    dids text[], batch_nonces bytea[], digests bytea[], proven boolean[], accepted integer[], rejected integer[],
    answers bytea[],
    spent_nonces bytea[], spent_receipts bigint[], spent_bytes bigint[],
    nonce_digests bytea[], nonce_expiries bigint[],
    r_batch integer[], r_nonce bytea[], r_challenge bytea[], r_type smallint[], r_bytes bigint[], r_ok boolean[],
    r_body bytea[], r_signature bytea[],
    x_batch integer[], x_index integer[], x_nonce bytea[], x_reason text[], x_detail text[], x_fault text[]
) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    ids bigint[];
    held bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(did || ' ' || encode(nonce, 'hex'), 0) AS key
        FROM unnest(dids, batch_nonces) AS named (did, nonce) WHERE nonce IS NOT NULL ORDER BY key
    ) AS keys;
    PERFORM FROM unnest(dids, batch_nonces, digests) AS named (did, nonce, digest)
        WHERE nonce IS NOT NULL AND (
            EXISTS (SELECT FROM batches AS b WHERE b.client_did = did AND b.batch_nonce = nonce AND b.proven)
            OR EXISTS (SELECT FROM batches AS b WHERE b.client_did = did AND b.batch_nonce = nonce AND NOT b.proven
                       AND b.batch_digest = digest));
    IF FOUND THEN
        RETURN 'answered';
    END IF;
    PERFORM FROM unnest(spent_nonces, spent_receipts, spent_bytes) AS spent (nonce, receipts, bytes)
        JOIN challenges AS c ON c.nonce = spent.nonce AND c.expires_at > extract(epoch FROM now()) - 600
            AND c.receipts_used + spent.receipts <= c.max_receipts AND c.bytes_used + spent.bytes <= c.max_bytes_total
        ORDER BY c.nonce FOR UPDATE OF c;
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held <> cardinality(spent_nonces) THEN
        RETURN 'spent';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(7001, floor((extract(epoch FROM now()) - genesis) / epoch_secs)::integer);
    -- After the lock, so that it sees who closed it; epochs are closed in order, so the last one tells.
    IF (SELECT ends_at > now() FROM epochs ORDER BY epoch DESC LIMIT 1) THEN
        RETURN 'closed';
    END IF;
    UPDATE challenges SET receipts_used = receipts_used + spent.receipts, bytes_used = bytes_used + spent.bytes
        FROM unnest(spent_nonces, spent_receipts, spent_bytes) AS spent (nonce, receipts, bytes)
        WHERE challenges.nonce = spent.nonce;
    INSERT INTO nonces (nonce, expires_at) SELECT nonce, expires_at
        FROM unnest(nonce_digests, nonce_expiries) AS claimed (nonce, expires_at);
    SELECT array_agg(nextval('batches_id_seq')) INTO ids FROM generate_series(1, cardinality(dids));
    INSERT INTO batches (id, client_did, batch_nonce, batch_digest, proven, accepted, rejected, answer, submitted_at)
        OVERRIDING SYSTEM VALUE
        SELECT ids[place], b.did, b.nonce, b.digest, b.proven, b.accepted, b.rejected, b.answer, now()
        FROM unnest(dids, batch_nonces, digests, settle_batches.proven, settle_batches.accepted,
                    settle_batches.rejected, answers)
            WITH ORDINALITY AS b (did, nonce, digest, proven, accepted, rejected, answer, place);
    IF cardinality(x_batch) > 0 THEN
        INSERT INTO rejections (batch_id, client_did, proven, item_index, receipt_nonce, reason, detail, fault,
                                submitted_at)
            SELECT ids[batch], dids[batch], settle_batches.proven[batch], item_index, nonce, reason, detail, fault,
                   now()
            FROM unnest(x_batch, x_index, x_nonce, x_reason, x_detail, x_fault)
                AS item (batch, item_index, nonce, reason, detail, fault);
    END IF;
    INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok,
                          body, signature, submitted_at)
        SELECT ids[batch], dids[batch], nonce, challenge, kind, bytes, ok, body, signature, now()
        FROM unnest(r_batch, r_nonce, r_challenge, r_type, r_bytes, r_ok, r_body, r_signature)
            AS item (batch, nonce, challenge, kind, bytes, ok, body, signature);
    RETURN 'settled';
END
$$;
