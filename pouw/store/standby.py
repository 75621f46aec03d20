"""How far a standby has come behind its primary: positions in the write-ahead log, in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log of one cluster, which its standbys share with it."""

    cluster: int
    at: int


def committed(primary: Pool) -> Position:
    """Return a position that no commit before this call lies behind."""
    with session(primary) as connection:
        row = connection.execute(
            """
            SELECT system_identifier, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint
            FROM pg_control_system()
            """
        ).fetchone()
    assert row is not None  # noqa: S101 - the function has one row
    return Position(*row)


def replayed(standby: Pool) -> Position | None:
    """Return the position up to which its commits are to be seen; None where it is no standby (any more)."""
    with session(standby) as connection:
        row = connection.execute(
            """
            SELECT system_identifier, pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint
            FROM pg_control_system()
            WHERE pg_is_in_recovery()
            """
        ).fetchone()
    return None if row is None else Position(*row)
