"""Who is signed in to the console. Signing in and out is in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

_SUBJECT = "console"


def begin(pool: Pool, digest: bytes, did: str) -> None:
    """Begin a session."""
    with session(pool) as connection, connection.transaction():
        connection.execute("INSERT INTO console_sessions (digest, did) VALUES (%b, %s)", (digest, did))
        audit_log.write(connection, did, "console.sign_in", _SUBJECT)


def find(pool: Pool, digest: bytes, idle_secs: float, most_secs: float) -> tuple[str, float] | None:
    """Return whose session it is and when it ends at the latest (unix seconds), and note that it was used.

    None for one that is over, or that nobody has begun.
    """
    with session(pool) as connection:
        row = connection.execute(
            """
            UPDATE console_sessions SET seen_at = now()
            WHERE digest = %(digest)b AND seen_at > now() - make_interval(secs => %(idle)s)
              AND began_at > now() - make_interval(secs => %(most)s)
            RETURNING did, extract(epoch FROM began_at)::float8 + %(most)s
            """,
            {"digest": digest, "idle": idle_secs, "most": most_secs},
        ).fetchone()
    return None if row is None else (row[0], float(row[1]))


def end(pool: Pool, digest: bytes) -> None:
    """End a session; nothing happens where there is none."""
    with session(pool) as connection, connection.transaction():
        row = connection.execute("DELETE FROM console_sessions WHERE digest = %b RETURNING did", (digest,)).fetchone()
        if row is not None:
            audit_log.write(connection, row[0], "console.sign_out", _SUBJECT)
