-- migrate:up
SET LOCAL lock_timeout = '5s';

-- The maintenance that the operators announced to all nodes: a row while there is one. After ends_at it is over.
CREATE TABLE maintenance (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz
);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP TABLE maintenance;
