"""The days of receipts and rejections, each a partition of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

AHEAD_DAYS = 14


def make_partitions(pool: Pool) -> int:
    """Make the partitions of today and the next two weeks; return how many were missing."""
    with session(pool) as connection:
        row = connection.execute("SELECT make_partitions(%s)", (AHEAD_DAYS,)).fetchone()
    assert row is not None  # noqa: S101 - a function call has a row
    return int(row[0])
