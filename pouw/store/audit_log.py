"""The audit log: who did what to whom, written in the transaction that does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Connection
    from psycopg.rows import TupleRow


def write(
    connection: Connection[TupleRow], actor: str, action: str, subject: str, note: Mapping[str, Any] | None = None
) -> None:
    """Write one line; ``actor`` is a DID, ``cli:`` and an account, or ``node``."""
    connection.execute(
        "INSERT INTO audit_log (actor, action, subject, note) VALUES (%s, %s, %s, %s)",
        (actor, action, subject, Jsonb(dict(note or {}))),
    )
