"""Putting back the nonces of credited receipts, where their table lost rows and the receipts did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

KEY: LiteralString = "substr(sha256(convert_to(r.client_did, 'UTF8')), 1, 20) || r.receipt_nonce"
"""The nonce of a row ``r`` of receipts, as :func:`pouw.store.submissions.nonce_keys` makes it."""


def rebuild(pool: Pool, actor: str, reason: str) -> int:
    """Put back what is missing of the receipts whose challenges are kept; return how many nonces that were.

    Nonces whose challenge is gone are not needed: nobody can use it any more. No receipt is older than its challenge,
    give or take what a node's clock is ahead of the database's.
    """
    with session(pool) as connection, connection.transaction():
        rebuilt = connection.execute(
            f"""
            INSERT INTO nonces (nonce, expires_at) SELECT {KEY} AS nonce, c.expires_at
            FROM receipts AS r JOIN challenges AS c ON c.nonce = r.challenge_nonce
            WHERE r.submitted_at >= (SELECT to_timestamp(min(issued_at)) - interval '1 hour' FROM challenges)
            ORDER BY nonce
            ON CONFLICT DO NOTHING
            """  # noqa: S608 - our own expression
        ).rowcount
        audit_log.write(connection, actor, "nonces.rebuild", "nonces", {"reason": reason, "rebuilt": rebuilt})
    return rebuilt
