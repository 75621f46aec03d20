"""Putting back the nonces of credited receipts, where their table lost rows and the receipts did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from pouw.store import audit_log
from pouw.store.pool import session
from pouw.store.retention import NONCE_SURE_SECS

if TYPE_CHECKING:
    from pouw.store.pool import Pool

KEY: LiteralString = "substr(sha256(convert_to(r.client_did, 'UTF8')), 1, 20) || r.receipt_nonce"
"""The nonce of a row ``r`` of receipts, as :func:`pouw.store.submissions.nonce_keys` makes it."""


def rebuild(pool: Pool, actor: str, reason: str) -> int:
    """Put back what is missing of the receipts whose challenges can still be used; return how many nonces that were.

    Those of other challenges are not needed, and may have been used again after they went. No receipt is older than its
    challenge, give or take what a node's clock is ahead of the database's.
    """
    with session(pool) as connection, connection.transaction():
        rebuilt = connection.execute(
            f"""
            INSERT INTO nonces (nonce, expires_at) SELECT {KEY} AS nonce, c.expires_at
            FROM challenges AS c JOIN receipts AS r ON r.challenge_nonce = c.nonce
            WHERE c.expires_at > extract(epoch FROM now()) - %(grace)s AND r.submitted_at >= (
                SELECT to_timestamp(min(issued_at)) - interval '1 hour' FROM challenges
                WHERE expires_at > extract(epoch FROM now()) - %(grace)s)
            ORDER BY nonce, c.expires_at DESC
            ON CONFLICT DO NOTHING
            """,  # noqa: S608 - our own expression
            {"grace": NONCE_SURE_SECS},
        ).rowcount
        audit_log.write(connection, actor, "nonces.rebuild", "nonces", {"reason": reason, "rebuilt": rebuilt})
    return rebuilt
