"""The keys that nodes sign with, their states, and the nonces of signed requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.store.pool import Pool

State = Literal["staged", "active", "retired"]


@dataclass(frozen=True, slots=True)
class NodeKeyRow:
    """One key of the network's nodes and the time in which its signatures count."""

    public_key: bytes
    state: State
    valid_from: datetime
    valid_until: datetime | None


def enrol(pool: Pool, public_keys: list[bytes]) -> list[NodeKeyRow]:
    """Write down which keys a node holds and return all keys that are known, the newest first.

    A node's first key is active at once; one that comes to others is staged, to be published before it is used.
    """
    with session(pool) as connection:
        rows = _all(connection)
        if {row.public_key for row in rows}.issuperset(public_keys):
            return rows
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('node_keys', 3))")
        known = {row.public_key for row in _all(connection)}
        state = "staged" if known.intersection(public_keys) else "active"
        for key in public_keys:
            if key not in known:
                connection.execute(
                    "INSERT INTO node_keys (public_key, state) VALUES (%b, %s) ON CONFLICT DO NOTHING", (key, state)
                )
                audit_log.write(connection, "node", f"key.{state}", key.hex())
                state = "staged"
        return _all(connection)


def all_keys(pool: Pool) -> list[NodeKeyRow]:
    """Return every key, the newest first."""
    with session(pool) as connection:
        return _all(connection)


def stage(pool: Pool, public_key: bytes, actor: str) -> bool:
    """Publish a key before any node signs with it; False where it is known already."""
    with session(pool) as connection, connection.transaction():
        cursor = connection.execute(
            "INSERT INTO node_keys (public_key, state) VALUES (%b, 'staged') ON CONFLICT DO NOTHING", (public_key,)
        )
        if cursor.rowcount == 1:
            audit_log.write(connection, actor, "key.stage", public_key.hex())
        return cursor.rowcount == 1


def activate(pool: Pool, public_key: bytes, actor: str) -> bool:
    """Let nodes sign with a staged key from now on; False where there is no such staged key."""
    with session(pool) as connection, connection.transaction():
        cursor = connection.execute(
            """
            UPDATE node_keys SET state = 'active', valid_from = clock_timestamp()
            WHERE public_key = %b AND state = 'staged'
            """,
            (public_key,),
        )
        if cursor.rowcount == 1:
            audit_log.write(connection, actor, "key.activate", public_key.hex())
        return cursor.rowcount == 1


def retire(pool: Pool, public_key: bytes, actor: str, *, grace_secs: int, last_too: bool) -> bool:
    """End a key's time in ``grace_secs``; False where it is not in use, or is the last active one.

    Whether the last active key may go as well is said by ``last_too``.
    """
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('node_keys', 3))")
        cursor = connection.execute(
            """
            UPDATE node_keys SET state = 'retired', valid_until = now() + make_interval(secs => %s)
            WHERE public_key = %b AND state <> 'retired'
              AND (%s OR EXISTS (SELECT FROM node_keys o WHERE o.state = 'active' AND o.public_key <> %b))
            """,
            (grace_secs, public_key, last_too, public_key),
        )
        if cursor.rowcount == 1:
            audit_log.write(connection, actor, "key.retire", public_key.hex())
        return cursor.rowcount == 1


def _all(connection: Connection[TupleRow]) -> list[NodeKeyRow]:
    rows = connection.execute(
        "SELECT public_key, state, valid_from, valid_until FROM node_keys ORDER BY valid_from DESC, public_key"
    ).fetchall()
    return [NodeKeyRow(*row) for row in rows]


def note_action(pool: Pool, actor: str, action: str, subject: str) -> None:
    """Write to the audit log what an operator did."""
    with session(pool) as connection:
        audit_log.write(connection, actor, action, subject)


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
