-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Whether the node had what a dispute is about when it was filed: later the rows may be gone.
ALTER TABLE disputes ADD COLUMN known boolean NOT NULL DEFAULT false;

-- The sums of what is not paid yet, without a look at the payouts of years.
CREATE INDEX payouts_unpaid_idx ON payouts (state) INCLUDE (atoms) WHERE state <> 'paid';

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP INDEX payouts_unpaid_idx;
ALTER TABLE disputes DROP COLUMN known;
