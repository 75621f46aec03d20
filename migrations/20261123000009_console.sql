-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Operators who are signed in to the console. Only the SHA-256 of what the browser holds is here.
CREATE TABLE console_sessions (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    did text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- migrate:down
SET LOCAL lock_timeout = '5s';

DROP TABLE console_sessions;
