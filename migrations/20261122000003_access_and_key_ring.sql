-- migrate:up
SET LOCAL lock_timeout = '5s';

ALTER TABLE blocked_dids ADD COLUMN blocked_by text NOT NULL DEFAULT 'unknown';

CREATE TABLE blocked_networks (
    network cidr PRIMARY KEY,
    reason text NOT NULL,
    blocked_by text NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);

-- Another quota than the usual one, for a DID or for the addresses of a network.
CREATE TABLE quota_overrides (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_did text UNIQUE,
    network cidr UNIQUE,
    per_minute integer NOT NULL CHECK (per_minute >= 0),
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CHECK (num_nonnulls(client_did, network) = 1)
);

-- staged: published, not signed with yet. active: signed with by the nodes that hold it. retired: of the past.
ALTER TABLE node_keys ADD COLUMN state text NOT NULL DEFAULT 'active'
    CHECK (state IN ('staged', 'active', 'retired'));

-- migrate:down
SET LOCAL lock_timeout = '5s';

ALTER TABLE node_keys DROP COLUMN state;
DROP TABLE quota_overrides, blocked_networks;
ALTER TABLE blocked_dids DROP COLUMN blocked_by;
