-- migrate:up
SET LOCAL lock_timeout = '5s';

-- One index for a DID's receipts and for a batch's: all of a batch have the same entry, so it stays small. It takes in
-- indexes of the partitions that were made before, concurrently, by whoever has many receipts (docs/deploy.md).
CREATE INDEX receipts_client_did_batch_id_idx ON receipts (client_did, batch_id);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP INDEX receipts_client_did_batch_id_idx;
