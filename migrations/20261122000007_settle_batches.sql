-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Hex does not compress enough to be worth the time; the next rows are stored as they are.
ALTER TABLE batches ALTER COLUMN answer SET STORAGE EXTERNAL;

-- Everything that judging some batches needs, in one round trip and without a lock. `place` is the batch's, from 1.
--   answer     an earlier answer to the batch nonce: key = its batch digest, value = its bytes, if they are kept
--   blocked    the DID is blocked
--   identity   the DID's live key: key = the public key, number = its age in seconds
--   challenge  key = the nonce, value = the task id, did = whom it is bound to,
--              numbers = issued, expires, receipts and bytes allowed, bytes at least, receipts and bytes used,
--              1 where it may still be spent by the database's clock, and the allowed proof types
--   taken      key = the digest of a nonce that was credited
-- The planner settings keep plans that were made while a table was empty from reading all of it later.
CREATE FUNCTION look_up_batches(
    dids text[], batch_nonces bytea[], digests bytea[], challenge_nonces bytea[], nonce_digests bytea[]
) RETURNS TABLE (kind text, place integer, key bytea, value bytea, did text, number double precision, numbers bigint[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT 'answer', asked.place::integer, found.batch_digest, found.answer, NULL::text, NULL::double precision,
               NULL::bigint[]
        FROM unnest(dids, batch_nonces, digests) WITH ORDINALITY AS asked (did, nonce, digest, place)
        CROSS JOIN LATERAL (
            SELECT batch_digest, answer FROM (
                SELECT id, batch_digest, answer FROM batches
                WHERE client_did = asked.did AND batch_nonce = asked.nonce AND proven
                UNION ALL
                SELECT id, batch_digest, answer FROM batches
                WHERE client_did = asked.did AND batch_nonce = asked.nonce AND NOT proven
                  AND batch_digest = asked.digest
            ) AS either ORDER BY batch_digest = asked.digest DESC, id LIMIT 1
        ) AS found
        WHERE asked.nonce IS NOT NULL;
    RETURN QUERY
        SELECT 'blocked', asked.place::integer, NULL::bytea, NULL::bytea, NULL::text, NULL::double precision,
               NULL::bigint[]
        FROM unnest(dids) WITH ORDINALITY AS asked (did, place) JOIN blocked_dids AS b ON b.did = asked.did
        WHERE b.expires_at IS NULL OR b.expires_at > now();
    RETURN QUERY
        SELECT 'identity', asked.place::integer, i.public_key, NULL::bytea, NULL::text,
               extract(epoch FROM now() - i.created_at)::double precision, NULL::bigint[]
        FROM unnest(dids) WITH ORDINALITY AS asked (did, place)
        JOIN identities AS i ON i.did = asked.did AND i.retired_at IS NULL;
    RETURN QUERY
        SELECT 'challenge', 0, c.nonce, c.task_id, c.bound_did, NULL::double precision,
               ARRAY[c.issued_at, c.expires_at, c.max_receipts, c.max_bytes_total, c.min_bytes_per_receipt,
                     c.receipts_used, c.bytes_used, (c.expires_at > extract(epoch FROM now()) - 600)::integer]
               || c.allowed_proof_types::bigint[]
        FROM challenges AS c WHERE c.nonce = ANY (challenge_nonces);
    RETURN QUERY
        SELECT 'taken', 0, n.nonce, NULL::bytea, NULL::text, NULL::double precision, NULL::bigint[]
        FROM nonces AS n WHERE n.nonce = ANY (nonce_digests);
END
$$;

-- Settle some batches in one transaction, if what they were judged by still holds, and say which it is:
--   settled    all of it is written
--   answered   one of them was answered meanwhile
--   spent      a challenge has not as much left any more, or is gone
--   closed     the epoch was closed meanwhile
-- Only 'settled' writes anything. A nonce that was taken meanwhile is a unique violation.
-- The order of locks is the same for everybody: batch nonces, challenges by nonce, the epoch, nonces in order. So
-- batches wait for each other and never in a circle. Receipts and rejections name their batch by its place, from 1.
CREATE FUNCTION settle_batches(
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

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP FUNCTION settle_batches, look_up_batches;
ALTER TABLE batches ALTER COLUMN answer SET STORAGE EXTENDED;
