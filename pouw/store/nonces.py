"""Putting back the nonces of credited receipts, where their table lost rows and the receipts did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from pouw.store import audit_log
from pouw.store.pool import session
from pouw.store.retention import NONCE_GRACE_SECS

if TYPE_CHECKING:
    from pouw.store.pool import Pool

KEY: LiteralString = "substr(sha256(convert_to(r.client_did, 'UTF8')), 1, 20) || r.receipt_nonce"
"""The nonce of a row ``r`` of receipts, as :func:`pouw.store.submissions.nonce_keys` makes it."""


def rebuild(pool: Pool, actor: str, reason: str) -> int:
    """Put back what is missing of the receipts whose nonces are kept, each until an hour after its last challenge.

    Return how many nonces were missing or would have gone too early. No receipt is older than its challenge, give or
    take what a node's clock is ahead of the database's.
    """
    with session(pool) as connection, connection.transaction():
        row = connection.execute(
            f"""
            WITH found AS MATERIALIZED (
                SELECT {KEY} AS nonce, max(c.expires_at) AS ends_at
                FROM challenges AS c JOIN receipts AS r ON r.challenge_nonce = c.nonce
                WHERE c.expires_at > extract(epoch FROM now()) - %(kept)s AND r.submitted_at >= (
                    SELECT to_timestamp(min(issued_at)) - interval '1 hour' FROM challenges
                    WHERE expires_at > extract(epoch FROM now()) - %(kept)s)
                GROUP BY 1
            ), prolonged AS (
                UPDATE nonces AS n SET expires_at = ends_at FROM found
                WHERE n.nonce = found.nonce AND n.expires_at < ends_at RETURNING 1
            ), added AS (
                INSERT INTO nonces (nonce, expires_at) SELECT nonce, ends_at FROM found ORDER BY nonce
                ON CONFLICT DO NOTHING RETURNING 1
            )
            SELECT (SELECT count(*) FROM prolonged) + (SELECT count(*) FROM added)
            """,  # noqa: S608 - our own expression
            {"kept": NONCE_GRACE_SECS},
        ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate has a row
        rebuilt = int(row[0])
        audit_log.write(connection, actor, "nonces.rebuild", "nonces", {"reason": reason, "rebuilt": rebuilt})
    return rebuilt
