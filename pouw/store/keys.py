"""The keys that nodes signed with, and the nonces of signed requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime

    from pouw.store.pool import Pool


@dataclass(frozen=True, slots=True)
class NodeKeyRow:
    """One key of the network's nodes and the time in which its signatures count."""

    public_key: bytes
    valid_from: datetime
    valid_until: datetime | None


def remember(pool: Pool, public_key: bytes) -> None:
    """Write down that a node signs with this key from now on, unless that is known."""
    with session(pool) as connection:
        connection.execute("INSERT INTO node_keys (public_key) VALUES (%b) ON CONFLICT DO NOTHING", (public_key,))


def all_keys(pool: Pool) -> list[NodeKeyRow]:
    """Return every key, the newest first."""
    with session(pool) as connection:
        rows = connection.execute(
            "SELECT public_key, valid_from, valid_until FROM node_keys ORDER BY valid_from DESC, public_key"
        ).fetchall()
    return [NodeKeyRow(*row) for row in rows]


def note_action(pool: Pool, actor: str, action: str, subject: str) -> None:
    """Write to the audit log what an operator did."""
    with session(pool) as connection:
        connection.execute(
            "INSERT INTO audit_log (actor, action, subject) VALUES (%s, %s, %s)", (actor, action, subject)
        )


def claim_request(pool: Pool, digest: bytes, lifetime: float) -> bool:
    """Take the nonce of a signed request for ``lifetime`` seconds; False where it was taken before.

    Each claim also drops a few that have run out, so the table stays as small as its traffic.
    """
    with session(pool) as connection:
        row = connection.execute(
            """
            WITH old AS (
                SELECT digest FROM request_nonces WHERE expires_at < now()
                ORDER BY expires_at LIMIT 4 FOR UPDATE SKIP LOCKED
            ), dropped AS (
                DELETE FROM request_nonces USING old WHERE request_nonces.digest = old.digest
            )
            INSERT INTO request_nonces (digest, expires_at) VALUES (%b, now() + make_interval(secs => %s))
            ON CONFLICT DO NOTHING RETURNING digest
            """,
            (digest, lifetime),
        ).fetchone()
    return row is not None
