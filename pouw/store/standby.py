"""How far a standby has come behind its primary: positions in the write-ahead log, in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool


def committed(primary: Pool) -> int:
    """Return a position that no commit before this call lies behind."""
    with session(primary) as connection:
        row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return int(row[0])


def replayed(standby: Pool) -> int | None:
    """Return the position up to which its commits are to be seen; None where it is no standby (any more)."""
    with session(standby) as connection:
        row = connection.execute(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END"
        ).fetchone()
    return None if row is None else row[0]
