"""What operators watch of the whole network: read now and then by the background process, kept in one row for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

_MOST_MS = 10_000
_CHALLENGE_GRACE_SECS = 60  # a batch that was judged in its challenge's last moment is written by then


@dataclass(frozen=True, slots=True)
class Board:
    """What the background jobs left for the nodes. Times are unix seconds, 0 for never; ``now`` is the database's."""

    now: float
    last_closed: int
    finished: dict[str, float] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)


def board(pool: Pool) -> Board:
    """Read what all jobs found out last: a row for each, and the end of an index."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT extract(epoch FROM clock_timestamp())::float8, (SELECT coalesce(max(epoch), -1) FROM epochs),
                   job, coalesce(extract(epoch FROM finished_at), 0)::float8, note
            FROM (SELECT) AS one LEFT JOIN job_state ON true
            """
        ).fetchall()
    found = Board(rows[0][0], int(rows[0][1]))
    for _now, _last, job, finished, note in rows:
        if job is not None:
            found.finished[job] = finished
            found.notes[job] = note
    return found


def read(pool: Pool) -> dict[str, Any]:
    """Find out what only the tables know, from small tables and partial indexes, within ten seconds or not at all."""
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(_MOST_MS),))
        row = connection.execute(
            """
            SELECT (SELECT count(*) FROM disputes WHERE state IN ('open', 'under_investigation')),
                   (SELECT extract(epoch FROM min(filed_at))::float8 FROM disputes
                    WHERE state IN ('open', 'under_investigation')),
                   pg_database_size(current_database())
            """
        ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    return dict(zip(("disputes_open", "disputes_oldest_at", "database_bytes"), row, strict=True))


def ended_challenges(pool: Pool, after: int, secs: int) -> tuple[int, int, int]:
    """Count the challenges that ended in up to ``secs`` seconds after a moment, with and without a receipt.

    Return until when they are counted (unix seconds, a minute ago at most), the used, and those that nobody used.
    """
    with session(pool) as connection:
        row = connection.execute(
            """
            WITH bounds AS (
                SELECT least(%(after)s + %(secs)s, extract(epoch FROM now())::bigint - %(grace)s) AS until
            )
            SELECT (SELECT until FROM bounds), count(*) FILTER (WHERE receipts_used > 0),
                   count(*) FILTER (WHERE receipts_used = 0)
            FROM challenges WHERE expires_at >= %(after)s AND expires_at < (SELECT until FROM bounds)
            """,
            {"after": after, "secs": secs, "grace": _CHALLENGE_GRACE_SECS},
        ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    until, used, unused = map(int, row)
    return max(after, until), used, unused


def first_challenge_end(pool: Pool) -> int:
    """Return from when on to count (unix seconds): the first end of a challenge that is kept, or a minute ago."""
    with session(pool) as connection:
        row = connection.execute(
            "SELECT least(min(expires_at), extract(epoch FROM now())::bigint - %s) FROM challenges",
            (_CHALLENGE_GRACE_SECS,),
        ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return int(row[0])


def note_by_hand(pool: Pool, job: str, action: str, actor: str, reason: str) -> None:
    """Write down that something that no job does succeeded just now, and who says so."""
    with session(pool) as connection, connection.transaction():
        connection.execute(
            """
            INSERT INTO job_state (job, finished_at) VALUES (%s, now())
            ON CONFLICT (job) DO UPDATE SET finished_at = excluded.finished_at
            """,
            (job,),
        )
        audit_log.write(connection, actor, action, job, {"reason": reason})
