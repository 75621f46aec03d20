"""Epochs: which receipts belong to one, and what it came to.

A receipt belongs to the epoch in which its transaction began. Every such transaction holds a shared lock on its epoch
(``settle_claims`` in ``migrations`` takes it), and closing takes the exclusive one: so an epoch is closed when no
transaction is running that could still add to it, and a transaction that comes later for it is told to begin again.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.errors import EpochError
from pouw.store.pool import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.protocol.rewards import Rules
    from pouw.store.pool import Pool

LOCK_CLASS = 7001


@dataclass(frozen=True, slots=True)
class Calendar:
    """When epochs begin: ``genesis`` in unix seconds, and their length in seconds."""

    genesis: int
    epoch_secs: int

    def number(self, moment: float) -> int:
        """Return the epoch that a moment lies in."""
        return int((moment - self.genesis) // self.epoch_secs)

    def starts_at(self, epoch: int) -> int:
        """Return an epoch's first second."""
        return self.genesis + epoch * self.epoch_secs


@dataclass(frozen=True, slots=True)
class Totals:
    """What an epoch came to. Amounts are atoms."""

    receipts: int
    clients: int
    computed: int
    allocated: int


@dataclass(frozen=True, slots=True)
class EpochRow:
    """A closed epoch: its manifest as it was signed."""

    epoch: int
    manifest: str
    node_id: bytes
    signature: bytes


def agree(pool: Pool, genesis: int | None, epoch_secs: int) -> Calendar:
    """Return the calendar of this database; the first node writes it, with the present hour where none is wished.

    Raises :class:`EpochError` where this node was told another one.
    """
    with session(pool) as connection:
        connection.execute(
            """
            INSERT INTO network (genesis, epoch_secs)
            VALUES (coalesce(%s, extract(epoch FROM date_trunc('hour', now()))::bigint), %s) ON CONFLICT DO NOTHING
            """,
            (genesis, epoch_secs),
        )
        row = connection.execute("SELECT genesis, epoch_secs FROM network").fetchone()
    assert row is not None  # noqa: S101 - written just before
    calendar = Calendar(*row)
    if calendar.epoch_secs != epoch_secs or genesis not in (None, calendar.genesis):
        raise EpochError(
            f"This database counts epochs of {calendar.epoch_secs} s from {calendar.genesis}:"
            " set POUW_EPOCH_SECS and POUW_EPOCH_GENESIS to that"
        )
    return calendar


@contextmanager
def closing(pool: Pool, epoch: int) -> Iterator[Connection[TupleRow] | None]:
    """Close an epoch in one transaction; None where it is closed already. Waits for whoever could still add to it."""
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_CLASS, epoch))
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('budget', 5))")
        closed = connection.execute("SELECT 1 FROM epochs WHERE epoch = %s", (epoch,)).fetchone()
        yield None if closed else connection


def last_closed(pool: Pool) -> int:
    """Return the number of the last closed epoch; -1 before the first."""
    with session(pool) as connection:
        row = connection.execute("SELECT coalesce(max(epoch), -1) FROM epochs").fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return int(row[0])


def server_time(pool: Pool) -> float:
    """Return the database's time, which decides what belongs to which epoch, in unix seconds."""
    with session(pool) as connection:
        row = connection.execute("SELECT extract(epoch FROM now())::float8").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    return float(row[0])


def reward(
    connection: Connection[TupleRow], epoch: int, bounds: tuple[int, int], rules: Rules, left: int, minimum: int
) -> Totals:
    """Write the reward of every DID that worked in an epoch, and its payout; return what they come to.

    ``bounds`` are unix seconds, ``left`` is what the budget still has, ``minimum`` the bytes of a receipt that is just
    enough. Where the budget does not cover everything it is shared out in proportion.
    """
    connection.execute(
        """
        WITH worked AS (
            SELECT client_did, count(*) AS receipts, count(*) FILTER (WHERE bytes_verified = %(minimum)s) AS at_minimum,
                   coalesce(sum((%(weights)s::bigint[])[proof_type + 1]) FILTER (WHERE result_ok), 0)::bigint AS weight
            FROM receipts
            WHERE submitted_at >= to_timestamp(%(starts)s) AND submitted_at < to_timestamp(%(ends)s)
            GROUP BY client_did
        ), due AS (
            SELECT client_did, receipts, at_minimum, weight, weight * %(unit)s::numeric AS raw,
                   least(weight * %(unit)s::numeric, %(cap)s::numeric) AS final
            FROM worked
        ), total AS (
            SELECT coalesce(sum(final), 0) AS final FROM due
        )
        INSERT INTO rewards (epoch, client_did, receipts, at_minimum, weight, raw_atoms, final_atoms, capped,
                             allocated_atoms)
        SELECT %(epoch)s, client_did, receipts, at_minimum, weight, raw, due.final, raw >= %(cap)s::numeric,
               CASE WHEN total.final <= %(left)s::numeric THEN due.final
                    ELSE div(due.final * %(left)s::numeric, total.final) END
        FROM due, total
        """,
        {
            "epoch": epoch,
            "starts": bounds[0],
            "ends": bounds[1],
            "weights": list(rules.weights),
            "unit": rules.unit,
            "cap": rules.cap,
            "left": left,
            "minimum": minimum,
        },
    )
    connection.execute(
        """
        INSERT INTO payouts (reward_id, epoch, client_did, atoms)
        SELECT id, epoch, client_did, allocated_atoms FROM rewards WHERE epoch = %s AND allocated_atoms > 0
        """,
        (epoch,),
    )
    row = connection.execute(
        """
        SELECT coalesce(sum(receipts), 0)::bigint, count(*), coalesce(sum(final_atoms), 0),
               coalesce(sum(allocated_atoms), 0)
        FROM rewards WHERE epoch = %s
        """,
        (epoch,),
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return Totals(int(row[0]), int(row[1]), int(row[2]), int(row[3]))


def conclude(
    connection: Connection[TupleRow],
    row: EpochRow,
    bounds: tuple[int, int],
    totals: Totals,
    pool_atoms: int,
) -> None:
    """Write down that an epoch is closed, with its signed manifest."""
    connection.execute(
        """
        INSERT INTO epochs (epoch, starts_at, ends_at, receipts, clients, pool_atoms, computed_atoms, allocated_atoms,
                            unallocated_atoms, manifest, node_id, signature, closed_at)
        VALUES (%s, to_timestamp(%s), to_timestamp(%s), %s, %s, %s, %s, %s, %s, %s, %b, %b, now())
        """,
        (
            row.epoch,
            *bounds,
            totals.receipts,
            totals.clients,
            pool_atoms,
            totals.computed,
            totals.allocated,
            totals.computed - totals.allocated,
            row.manifest,
            row.node_id,
            row.signature,
        ),
    )


def find(pool: Pool, epoch: int) -> EpochRow | None:
    """Return a closed epoch, or None."""
    rows = page(pool, epoch + 1, 1)
    return rows[0] if rows and rows[0].epoch == epoch else None


def page(pool: Pool, before: int, limit: int) -> list[EpochRow]:
    """Return closed epochs below ``before``, the newest first."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT epoch, manifest, node_id, signature FROM epochs WHERE epoch < %s ORDER BY epoch DESC LIMIT %s
            """,
            (before, limit),
        ).fetchall()
    return [EpochRow(*row) for row in rows]


def reward_lines(connection: Connection[TupleRow], epoch: int) -> Iterator[tuple[str, int, int, int, int, int]]:
    """Yield each reward of an epoch by DID: the DID, receipts, weight, raw, final and allocated atoms."""
    with connection.cursor(name="reward_lines") as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            """
            SELECT client_did, receipts, weight, raw_atoms, final_atoms, allocated_atoms FROM rewards
            WHERE epoch = %s ORDER BY client_did COLLATE "C"
            """,
            (epoch,),
        )
        for did, receipts, weight, raw, final, allocated in cursor:
            yield did, receipts, weight, int(raw), int(final), int(allocated)
