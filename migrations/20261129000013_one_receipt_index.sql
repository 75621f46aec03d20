-- migrate:up
-- contract: 20261129000012
SET LOCAL lock_timeout = '5s';

DROP INDEX receipts_client_did_idx;
DROP INDEX receipts_batch_id_idx;

-- migrate:down
SET LOCAL lock_timeout = '5s';

CREATE INDEX receipts_client_did_idx ON receipts (client_did, id);
CREATE INDEX receipts_batch_id_idx ON receipts (batch_id);
