"""The background jobs: one at a time of each kind over all nodes, and what each found out last."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from pouw.store.pool import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pouw.store.pool import Pool

_LOCK_CLASS = 7002


@contextmanager
def only_one(pool: Pool, job: str) -> Iterator[bool]:
    """Hold the job's lock in the block; False where another process does the job. It ends with the connection."""
    with session(pool) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK_CLASS, job)).fetchone()
        ours = row is not None and bool(row[0])
        try:
            yield ours
        finally:
            if ours:
                connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (_LOCK_CLASS, job))


def note(pool: Pool, job: str, found: dict[str, Any]) -> None:
    """Write down that a job came to its end, and what it found."""
    with session(pool) as connection:
        connection.execute(
            """
            INSERT INTO job_state (job, finished_at, note) VALUES (%s, now(), %s)
            ON CONFLICT (job) DO UPDATE SET finished_at = excluded.finished_at, note = excluded.note
            """,
            (job, Jsonb(found)),
        )


def state(pool: Pool, job: str) -> dict[str, Any]:
    """Return what a job found last; empty before its first end."""
    with session(pool) as connection:
        row = connection.execute("SELECT note FROM job_state WHERE job = %s", (job,)).fetchone()
    return {} if row is None else dict(row[0])


def tally(pool: Pool, since: int) -> dict[str, int]:
    """Count the batches since a moment (unix seconds), and their receipts."""
    with session(pool) as connection:
        row = connection.execute(
            """
            SELECT count(*), coalesce(sum(accepted), 0)::bigint, coalesce(sum(rejected), 0)::bigint,
                   extract(epoch FROM now())::bigint
            FROM batches WHERE submitted_at >= to_timestamp(%s)
            """,
            (since,),
        ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return dict(zip(("batches", "accepted", "rejected", "tallied_at"), map(int, row), strict=True))
