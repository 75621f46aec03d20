"""The maintenance that operators announced to all nodes. Every change is written to the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime

    from pouw.store.pool import Pool

_SUBJECT = "network"


@dataclass(frozen=True, slots=True)
class Announcement:
    """Why the nodes take no work, since when, and until when where that is known."""

    reason: str
    by: str
    since: datetime
    ends_at: datetime | None


def read(pool: Pool) -> Announcement | None:
    """Return what was announced last and not taken back, also where its end has passed."""
    with session(pool) as connection:
        row = connection.execute("SELECT reason, set_by, set_at, ends_at FROM maintenance").fetchone()
    return None if row is None else Announcement(*row)


def announce(pool: Pool, reason: str, actor: str, ends_at: datetime | None) -> None:
    """Announce a maintenance; one that was announced before is replaced."""
    with session(pool) as connection, connection.transaction():
        connection.execute(
            """
            INSERT INTO maintenance (reason, set_by, ends_at) VALUES (%s, %s, %s)
            ON CONFLICT (singleton) DO UPDATE SET reason = excluded.reason, set_by = excluded.set_by,
                set_at = now(), ends_at = excluded.ends_at
            """,
            (reason, actor, ends_at),
        )
        note = {"reason": reason, "ends_at": None if ends_at is None else ends_at.isoformat()}
        audit_log.write(connection, actor, "maintenance.on", _SUBJECT, note)


def take_back(pool: Pool, actor: str) -> bool:
    """End the maintenance; False where there is none any more."""
    with session(pool) as connection, connection.transaction():
        row = connection.execute("DELETE FROM maintenance RETURNING ends_at IS NULL OR ends_at > now()").fetchone()
        if row is None or not row[0]:
            return False
        audit_log.write(connection, actor, "maintenance.off", _SUBJECT)
    return True
