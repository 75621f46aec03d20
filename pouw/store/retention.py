"""What leaves the database: old rows in bounded steps, old days of receipts as whole partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg.sql import SQL, Identifier

from pouw.store.pool import session

if TYPE_CHECKING:
    import datetime as dt

    from pouw.store.pool import Pool

NONCE_GRACE_SECS = 3_600
"""A batch under a challenge that ended 600 s ago by the database's clock is refused (see ``submissions``); so what its
nonces kept out cannot come in any more long before they go."""

NONCE_SURE_SECS = NONCE_GRACE_SECS // 2
"""So long after its challenge's end a nonce is there for certain, whoever purges meanwhile."""

_STEPS: dict[str, LiteralString] = {
    "verdicts": """
        UPDATE batches SET answer = NULL WHERE id IN (
            SELECT id FROM (SELECT id, submitted_at FROM batches WHERE answer IS NOT NULL ORDER BY id LIMIT 1000) first
            WHERE submitted_at < now() - make_interval(secs => %s))
        """,
    "challenges": """
        DELETE FROM challenges WHERE nonce IN (
            SELECT nonce FROM challenges WHERE expires_at < extract(epoch FROM now()) - %s
            ORDER BY expires_at LIMIT 2000 FOR UPDATE SKIP LOCKED)
        """,
    "nonces": """
        DELETE FROM nonces WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM nonces WHERE expires_at < extract(epoch FROM now()) - %s ORDER BY expires_at LIMIT 5000))
        """,
    "request_nonces": """
        DELETE FROM request_nonces WHERE digest IN (
            SELECT digest FROM request_nonces WHERE expires_at < now() - make_interval(secs => %s)
            ORDER BY expires_at LIMIT 5000 FOR UPDATE SKIP LOCKED)
        """,
    "console_sessions": """
        DELETE FROM console_sessions WHERE began_at < now() - make_interval(secs => %s)
        """,
    "batches": """
        DELETE FROM batches WHERE id IN (
            SELECT id FROM (SELECT id, submitted_at FROM batches ORDER BY id LIMIT 1000) first
            WHERE submitted_at < now() - make_interval(secs => %s))
        """,
}


def purge_step(pool: Pool, what: str, older_than_secs: float) -> int:
    """Drop a bounded number of rows of one kind that are older than that; return how many it was."""
    with session(pool) as connection:
        return connection.execute(_STEPS[what], (older_than_secs,)).rowcount


@dataclass(frozen=True, slots=True)
class Day:
    """A partition of one day, or, detached from its table by a drop that was interrupted, what is left of it."""

    table: str
    parent: str
    day: dt.date
    state: str  # attached, detaching or detached


def old_days(pool: Pool, keep_days: int) -> list[Day]:
    """Return the partitions that hold nothing younger than ``keep_days``, the oldest first."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT named.table, named.parent, named.day,
                   CASE WHEN i.inhrelid IS NULL THEN 'detached' WHEN i.inhdetachpending THEN 'detaching'
                        ELSE 'attached' END
            FROM (
                SELECT c.oid, c.relname::text AS table, split_part(c.relname, '_', 1) AS parent,
                       CASE WHEN c.relname LIKE '%%\\_first' THEN (SELECT first_day - 1 FROM partition_start)
                            ELSE to_date(split_part(c.relname, '_', 2), 'YYYYMMDD') END AS day
                FROM pg_class c
                WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
                  AND c.relname ~ '^(receipts|rejections)_([0-9]{8}|first)$'
            ) named LEFT JOIN pg_inherits i ON i.inhrelid = named.oid
            WHERE named.day < (now() AT TIME ZONE 'UTC')::date - %s
            ORDER BY named.day, named.table
            """,
            (keep_days,),
        ).fetchall()
    return [Day(*row) for row in rows]


def drop_day(pool: Pool, day: Day) -> None:
    """Take a day out of its table without a lock that batches would wait for, and drop it."""
    with session(pool) as connection:
        if day.state != "detached":
            how = SQL("CONCURRENTLY") if day.state == "attached" else SQL("FINALIZE")
            connection.execute(
                SQL("ALTER TABLE {} DETACH PARTITION {} ").format(Identifier(day.parent), Identifier(day.table)) + how
            )
        connection.execute(SQL("DROP TABLE {}").format(Identifier(day.table)))


def epochs_of_day(pool: Pool, day: dt.date) -> tuple[list[int], bool]:
    """Return the epochs that touch this day and those before it and are not archived, and whether all are closed."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT epoch FROM epochs e
            WHERE starts_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
              AND NOT EXISTS (SELECT FROM archives a WHERE a.epoch = e.epoch)
            ORDER BY epoch
            """,
            {"day": day},
        ).fetchall()
        closed = connection.execute(
            """
            SELECT coalesce(max(ends_at) >= (%s::date + 1)::timestamp AT TIME ZONE 'UTC', false) FROM epochs
            """,
            (day,),
        ).fetchone()
    assert closed is not None  # noqa: S101 - an aggregate has a row
    return [row[0] for row in rows], bool(closed[0])


def note_archive(pool: Pool, epoch: int, file: str, sha256: bytes) -> None:
    """Write down that an epoch's export is in the archive."""
    with session(pool) as connection:
        connection.execute(
            "INSERT INTO archives (epoch, file, sha256) VALUES (%s, %s, %b) ON CONFLICT DO NOTHING",
            (epoch, file, sha256),
        )
