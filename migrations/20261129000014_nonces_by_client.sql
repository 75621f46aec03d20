-- migrate:up
SET LOCAL lock_timeout = '5s';

-- A nonce is claimed under the first 20 bytes of its DID's SHA-256 and then the receipt nonce itself: no two DIDs share
-- one, and those of a DID stand together in the index. Before, it was a SHA-256 of both, in no order, so that each went
-- to a page of its own. Those that are kept, for an hour after their challenge, get their new name here, and the old
-- rows leave by their expiry. A DID may use a nonce again once it was purged, so a receipt of its last challenge counts,
-- and a row that was left here by the way down may be of an older one.
--
-- Copied twice while nodes go on, and then under the lock; each time again what came since 21 minutes before an instant
-- in which nobody was writing. A node's transaction comes to the nonces within 20 minutes (twice the longest statement
-- timeout there is, and a second), or its commit waits for a standby, and that instant for it.
DO $$
DECLARE
    since timestamptz := '-infinity';
    began timestamptz;
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'nonces_nonce_check' AND conrelid = 'nonces'::regclass) THEN
        ALTER TABLE nonces DROP CONSTRAINT nonces_nonce_check; -- from the way down
    END IF;
    FOR pass IN 1..3 LOOP
        IF pass < 3 THEN
            BEGIN
                LOCK TABLE nonces IN SHARE MODE;
                began := clock_timestamp();
                RAISE SQLSTATE 'PW014'; -- which gives the lock back
            EXCEPTION WHEN SQLSTATE 'PW014' THEN NULL;
            END;
        ELSE
            LOCK TABLE nonces IN ACCESS EXCLUSIVE MODE;
        END IF;
        INSERT INTO nonces AS kept (nonce, expires_at)
            SELECT nonce, ends_at FROM (
                SELECT substr(sha256(convert_to(r.client_did, 'UTF8')), 1, 20) || r.receipt_nonce AS nonce,
                       max(c.expires_at) AS ends_at
                FROM challenges AS c JOIN receipts AS r ON r.challenge_nonce = c.nonce
                WHERE c.expires_at > extract(epoch FROM now()) - 3600 AND r.submitted_at >= greatest(since, (
                    SELECT to_timestamp(min(issued_at)) - interval '1 hour' FROM challenges
                    WHERE expires_at > extract(epoch FROM now()) - 3600))
                GROUP BY 1
            ) AS found
            WHERE NOT EXISTS (SELECT FROM nonces AS n WHERE n.nonce = found.nonce AND n.expires_at >= ends_at)
            ORDER BY nonce
            ON CONFLICT (nonce) DO UPDATE SET expires_at = excluded.expires_at
                WHERE kept.expires_at < excluded.expires_at;
        since := began - interval '21 minutes';
    END LOOP;
END
$$;

-- A call that began before this and comes to the nonces after it would write the old kind, of 32 bytes. It is refused,
-- and its node asks again. NOT VALID, because the old rows are still there.
ALTER TABLE nonces ADD CONSTRAINT nonces_nonce_check CHECK (octet_length(nonce) BETWEEN 36 AND 52) NOT VALID;

-- As look_up_batches, with keys of nonces.
CREATE FUNCTION look_up_claims(
    dids text[], batch_nonces bytea[], digests bytea[], challenge_nonces bytea[], nonce_keys bytea[]
) RETURNS TABLE (kind text, place integer, key bytea, value bytea, did text, number double precision, numbers bigint[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
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
        FROM nonces AS n WHERE n.nonce = ANY (nonce_keys);
END
$$;

-- As settle_batches, with keys of nonces.
CREATE FUNCTION settle_claims(
    genesis bigint, epoch_secs integer,
    dids text[], batch_nonces bytea[], digests bytea[], proven boolean[], accepted integer[], rejected integer[],
    answers bytea[],
    spent_nonces bytea[], spent_receipts bigint[], spent_bytes bigint[],
    nonce_keys bytea[], nonce_expiries bigint[],
    r_batch integer[], r_nonce bytea[], r_challenge bytea[], r_type smallint[], r_bytes bigint[], r_ok boolean[],
    r_body bytea[], r_signature bytea[],
    x_batch integer[], x_index integer[], x_nonce bytea[], x_reason text[], x_detail text[], x_fault text[]
) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
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
        FROM unnest(nonce_keys, nonce_expiries) AS claimed (nonce, expires_at);
    SELECT array_agg(nextval('batches_id_seq')) INTO ids FROM generate_series(1, cardinality(dids));
    INSERT INTO batches (id, client_did, batch_nonce, batch_digest, proven, accepted, rejected, answer, submitted_at)
        OVERRIDING SYSTEM VALUE
        SELECT ids[place], b.did, b.nonce, b.digest, b.proven, b.accepted, b.rejected, b.answer, now()
        FROM unnest(dids, batch_nonces, digests, settle_claims.proven, settle_claims.accepted,
                    settle_claims.rejected, answers)
            WITH ORDINALITY AS b (did, nonce, digest, proven, accepted, rejected, answer, place);
    IF cardinality(x_batch) > 0 THEN
        INSERT INTO rejections (batch_id, client_did, proven, item_index, receipt_nonce, reason, detail, fault,
                                submitted_at)
            SELECT ids[batch], dids[batch], settle_claims.proven[batch], item_index, nonce, reason, detail, fault,
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

-- For nodes of the version before, which know nonces by their SHA-256: what was claimed under keys is hashed to be
-- compared. That takes the longer the more nonces a DID has, and is not needed any more when those nodes are gone.
CREATE OR REPLACE FUNCTION look_up_batches(
    dids text[], batch_nonces bytea[], digests bytea[], challenge_nonces bytea[], nonce_digests bytea[]
) RETURNS TABLE (kind text, place integer, key bytea, value bytea, did text, number double precision, numbers bigint[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT * FROM look_up_claims(dids, batch_nonces, digests, challenge_nonces, nonce_digests);
    RETURN QUERY
        SELECT 'taken', 0, claimed.digest, NULL::bytea, NULL::text, NULL::double precision, NULL::bigint[]
        FROM (
            SELECT sha256(convert_to(who.did, 'UTF8') || '\x00'::bytea || substr(n.nonce, 21))
            FROM (SELECT DISTINCT did FROM unnest(dids) AS asked (did)) AS who
            CROSS JOIN LATERAL (SELECT substr(sha256(convert_to(who.did, 'UTF8')), 1, 20)) AS own (prefix)
            JOIN nonces AS n ON n.nonce > own.prefix AND n.nonce < own.prefix || decode(repeat('ff', 33), 'hex')
            INTERSECT SELECT unnest(nonce_digests)
        ) AS claimed (digest);
END
$$;

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
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    keys bytea[];
    expiries bigint[];
BEGIN
    SELECT coalesce(array_agg(key ORDER BY key), '{}'), coalesce(array_agg(expires_at ORDER BY key), '{}')
        INTO keys, expiries FROM (
            SELECT substr(sha256(convert_to(dids[batch], 'UTF8')), 1, 20) || item.nonce AS key, c.expires_at
            FROM unnest(r_batch, r_nonce, r_challenge) AS item (batch, nonce, challenge)
            JOIN challenges AS c ON c.nonce = item.challenge
        ) AS claimed;
    PERFORM FROM nonces AS n WHERE n.nonce = ANY (keys);
    IF FOUND OR cardinality(keys) <> cardinality(r_nonce) THEN
        RETURN 'spent';
    END IF;
    RETURN settle_claims(
        genesis, epoch_secs, dids, batch_nonces, digests, proven, accepted, rejected, answers,
        spent_nonces, spent_receipts, spent_bytes, keys, expiries, r_batch, r_nonce, r_challenge,
        r_type, r_bytes, r_ok, r_body, r_signature, x_batch, x_index, x_nonce, x_reason, x_detail,
        x_fault
    );
END
$$;

-- migrate:down
SET LOCAL lock_timeout = '5s';

-- All of it under the lock of the first statement. The new check refuses calls of settle_claims that come to the nonces
-- after this, such as those of a node that was killed.
ALTER TABLE nonces DROP CONSTRAINT nonces_nonce_check;
INSERT INTO nonces AS kept (nonce, expires_at)
    SELECT sha256(convert_to(r.client_did, 'UTF8') || '\x00'::bytea || r.receipt_nonce), max(c.expires_at)
    FROM challenges AS c JOIN receipts AS r ON r.challenge_nonce = c.nonce
    WHERE c.expires_at > extract(epoch FROM now()) - 3600 AND r.submitted_at >= (
        SELECT to_timestamp(min(issued_at)) - interval '1 hour' FROM challenges
        WHERE expires_at > extract(epoch FROM now()) - 3600)
    GROUP BY 1 ORDER BY 1
    ON CONFLICT (nonce) DO UPDATE SET expires_at = excluded.expires_at WHERE kept.expires_at < excluded.expires_at;
ALTER TABLE nonces ADD CONSTRAINT nonces_nonce_check CHECK (octet_length(nonce) = 32) NOT VALID;

DROP FUNCTION look_up_claims;
DROP FUNCTION settle_claims;

CREATE OR REPLACE FUNCTION look_up_batches(
    dids text[], batch_nonces bytea[], digests bytea[], challenge_nonces bytea[], nonce_digests bytea[]
) RETURNS TABLE (kind text, place integer, key bytea, value bytea, did text, number double precision, numbers bigint[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
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
SET plan_cache_mode = force_generic_plan
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
