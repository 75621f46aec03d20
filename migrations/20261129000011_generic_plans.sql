-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Planning the statements of one call takes longer than running them, for batches of a few receipts. Their plans need not
-- depend on how much is asked for: every table is reached by an index, which the other settings see to.
ALTER FUNCTION look_up_batches SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION settle_batches SET plan_cache_mode = force_generic_plan;

-- migrate:down
SET LOCAL lock_timeout = '5s';

ALTER FUNCTION look_up_batches RESET plan_cache_mode;
ALTER FUNCTION settle_batches RESET plan_cache_mode;
