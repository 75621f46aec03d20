"""Identities: which key speaks for a DID that does not carry its own. Every change is written to the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.errors import IdentityConflict
from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.store.pool import Pool


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """One key of a DID; a key that is not retired is the DID's live one."""

    did: str
    public_key: bytes
    created_at: datetime
    retired_at: datetime | None


def live_key(pool: Pool, did: str) -> bytes | None:
    """Return the DID's live key, or None where it is not registered or retired."""
    with session(pool) as connection:
        row = connection.execute(
            "SELECT public_key FROM identities WHERE did = %s AND retired_at IS NULL", (did,)
        ).fetchone()
    return None if row is None else row[0]


def add(pool: Pool, did: str, public_key: bytes, actor: str) -> IdentityRow:
    """Register a DID; raise :class:`IdentityConflict` where it ever was registered before."""
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (did,))
        if connection.execute("SELECT 1 FROM identities WHERE did = %s LIMIT 1", (did,)).fetchone() is not None:
            raise IdentityConflict(f"{did} is registered already; its key can be rotated.")
        row = _insert(connection, did, public_key)
        audit_log.write(connection, actor, "identity.add", did, {"public_key": public_key.hex()})
    return row


def rotate(pool: Pool, did: str, public_key: bytes, actor: str) -> IdentityRow | None:
    """Retire the DID's live key and set a new one; return None where there is no live key.

    Raises :class:`IdentityConflict` where the new key was the DID's before.
    """
    with session(pool) as connection, connection.transaction():
        if not _retire(connection, did):
            return None
        row = _insert(connection, did, public_key)
        audit_log.write(connection, actor, "identity.rotate", did, {"public_key": public_key.hex()})
    return row


def retire(pool: Pool, did: str, actor: str) -> bool:
    """Retire the DID's live key; False where there is none."""
    with session(pool) as connection, connection.transaction():
        if not _retire(connection, did):
            return False
        audit_log.write(connection, actor, "identity.retire", did)
    return True


def page(pool: Pool, did: str, public_key: bytes, limit: int) -> list[IdentityRow]:
    """Return up to ``limit`` identities after this one in the order of DID and key, retired keys included."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT did, public_key, created_at, retired_at FROM identities
            WHERE (did, public_key) > (%s, %b) ORDER BY did, public_key LIMIT %s
            """,
            (did, public_key, limit),
        ).fetchall()
    return [IdentityRow(*row) for row in rows]


def _insert(connection: Connection[TupleRow], did: str, public_key: bytes) -> IdentityRow:
    row = connection.execute(
        """
        INSERT INTO identities (did, public_key) VALUES (%s, %b) ON CONFLICT DO NOTHING
        RETURNING did, public_key, created_at, retired_at
        """,
        (did, public_key),
    ).fetchone()
    if row is None:
        raise IdentityConflict(f"{did} had this key before.")
    return IdentityRow(*row)


def _retire(connection: Connection[TupleRow], did: str) -> bool:
    cursor = connection.execute(
        "UPDATE identities SET retired_at = now() WHERE did = %s AND retired_at IS NULL", (did,)
    )
    return cursor.rowcount == 1
