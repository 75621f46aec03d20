"""Payouts: claimed with row locks, so that each is worked on by one process at a time, and paid once.

The idempotency key of a payout is its own for ever, so a payout that was sent and not confirmed, for a crash or a lost
answer, is sent again under the same key. A payout that a human pays is part of an export, and left alone otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.store.pool import Pool

STATES = ("pending", "processing", "paid", "failed")


@dataclass(frozen=True, slots=True)
class Payout:
    """One amount for one DID: a reward, or the compensation that settled a dispute."""

    id: int
    reward_id: int | None
    dispute_id: int | None
    epoch: int | None
    client_did: str
    atoms: int
    state: str
    attempts: int
    due_at: datetime
    export_id: int | None
    reference: str | None
    last_error: str | None

    @property
    def key(self) -> str:
        """The idempotency key: what it is paid for."""
        return f"dispute-{self.dispute_id}" if self.reward_id is None else f"reward-{self.reward_id}"


_COLUMNS: LiteralString = (
    "id, reward_id, dispute_id, epoch, client_did, atoms, state, attempts, due_at, export_id, reference, last_error"
)


def claim(pool: Pool, limit: int, lease_secs: int) -> list[Payout]:
    """Take up to ``limit`` payouts that are due, for ``lease_secs``; whoever dies meanwhile gives them back so."""
    with session(pool) as connection:
        rows = connection.execute(
            f"""
            UPDATE payouts SET state = 'processing', attempts = attempts + 1, changed_at = now(),
                due_at = now() + make_interval(secs => %s)
            WHERE id IN (
                SELECT id FROM payouts
                WHERE state IN ('pending', 'processing') AND export_id IS NULL AND due_at <= now()
                ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED
            )
            RETURNING {_COLUMNS}
            """,  # noqa: S608 - our own list of columns
            (lease_secs, limit),
        ).fetchall()
    return sorted((_payout(row) for row in rows), key=lambda payout: payout.id)


def paid(pool: Pool, payout_id: int, reference: str | None) -> None:
    """Write down that a payout was made."""
    with session(pool) as connection:
        connection.execute(
            """
            UPDATE payouts SET state = 'paid', reference = %s, last_error = NULL, changed_at = now()
            WHERE id = %s AND state = 'processing'
            """,
            (reference, payout_id),
        )


def try_again(pool: Pool, payout_id: int, error: str, delay_secs: float) -> None:
    """Write down what went wrong, and leave the payout alone for some seconds; nothing is known of its fate."""
    with session(pool) as connection:
        connection.execute(
            """
            UPDATE payouts SET last_error = %s, due_at = now() + make_interval(secs => %s), changed_at = now()
            WHERE id = %s AND state = 'processing'
            """,
            (error, delay_secs, payout_id),
        )


def give_up(pool: Pool, payout_id: int, error: str) -> None:
    """Write down that a payout was refused, or tried too often: a human has to look at it."""
    with session(pool) as connection:
        connection.execute(
            """
            UPDATE payouts SET state = 'failed', last_error = %s, changed_at = now()
            WHERE id = %s AND state = 'processing'
            """,
            (error, payout_id),
        )


def retry(pool: Pool, payout_id: int, actor: str) -> bool:
    """Let a failed payout be tried again; False where there is no such failed payout."""
    with session(pool) as connection, connection.transaction():
        cursor = connection.execute(
            """
            UPDATE payouts SET state = 'pending', attempts = 0, due_at = now(), export_id = NULL, changed_at = now()
            WHERE id = %s AND state = 'failed'
            """,
            (payout_id,),
        )
        if cursor.rowcount == 1:
            audit_log.write(connection, actor, "payout.retry", str(payout_id))
        return cursor.rowcount == 1


def claim_export(pool: Pool, limit: int, actor: str) -> int | None:
    """Put up to ``limit`` pending payouts into a new export for a human; return its number, None where none is due."""
    with session(pool) as connection, connection.transaction():
        row = connection.execute("SELECT nextval('payout_exports_seq')").fetchone()
        assert row is not None  # noqa: S101 - a function call has a row
        cursor = connection.execute(
            """
            UPDATE payouts SET state = 'processing', export_id = %s, attempts = attempts + 1, changed_at = now()
            WHERE id IN (
                SELECT id FROM payouts WHERE state = 'pending' AND export_id IS NULL
                ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
            )
            """,
            (row[0], limit),
        )
        if cursor.rowcount == 0:
            return None
        audit_log.write(connection, actor, "payout.export", str(row[0]), {"payouts": cursor.rowcount})
        return int(row[0])


def exported(pool: Pool, export_id: int) -> list[Payout]:
    """Return the payouts of an export, in order."""
    with session(pool) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM payouts WHERE export_id = %s ORDER BY id",  # noqa: S608 - our own list of columns
            (export_id,),
        ).fetchall()
    return [_payout(row) for row in rows]


def confirm(pool: Pool, export_id: int, failed: Sequence[int], reference: str | None, actor: str) -> tuple[int, int]:
    """Write down that an export was paid, but for the payouts ``failed``; return how many became paid and failed."""
    with session(pool) as connection, connection.transaction():
        lost = connection.execute(
            """
            UPDATE payouts SET state = 'failed', last_error = 'not paid by hand', changed_at = now()
            WHERE export_id = %s AND state = 'processing' AND id = ANY(%s)
            """,
            (export_id, list(failed)),
        ).rowcount
        made = connection.execute(
            """
            UPDATE payouts SET state = 'paid', reference = %s, changed_at = now()
            WHERE export_id = %s AND state = 'processing'
            """,
            (reference, export_id),
        ).rowcount
        audit_log.write(connection, actor, "payout.confirm", str(export_id), {"paid": made, "failed": lost})
    return made, lost


def page(pool: Pool, state: str | None, before: int, limit: int) -> list[Payout]:
    """Return payouts in one state, or in any, with an id below ``before``, the newest first."""
    with session(pool) as connection:
        rows = connection.execute(
            f"""
            SELECT {_COLUMNS} FROM payouts WHERE (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
            ORDER BY id DESC LIMIT %(limit)s
            """,  # noqa: S608 - our own list of columns
            {"state": state, "before": before, "limit": limit},
        ).fetchall()
    return [_payout(row) for row in rows]


def spent(connection: Connection[TupleRow]) -> int:
    """Return what was allocated of the lifetime budget so far: to epochs, and to compensations."""
    row = connection.execute(
        """
        SELECT (SELECT coalesce(sum(allocated_atoms), 0) FROM epochs)
             + (SELECT coalesce(sum(atoms), 0) FROM payouts WHERE dispute_id IS NOT NULL)
        """
    ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    return int(row[0])


def money(pool: Pool) -> dict[str, int]:
    """Return the sums over all closed epochs: epochs, receipts, and atoms by what became of them.

    What is paid is what was allocated and is not open: nothing looks at the payouts of years.
    """
    with session(pool) as connection, connection.transaction():
        # One moment for both sums, or an epoch that is closed between them would look like money that came back.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute(
            """
            SELECT count(*), coalesce(sum(receipts), 0)::bigint, coalesce(sum(computed_atoms), 0),
                   coalesce(sum(allocated_atoms), 0), coalesce(sum(unallocated_atoms), 0),
                   (SELECT coalesce(sum(atoms), 0) FROM payouts WHERE dispute_id IS NOT NULL)
            FROM epochs
            """
        ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate has a row
        states = connection.execute(
            "SELECT state, sum(atoms) FROM payouts WHERE state <> 'paid' GROUP BY state"
        ).fetchall()
    names = ("epochs", "receipts", "computed_atoms", "allocated_atoms", "unallocated_atoms", "compensated_atoms")
    sums = dict(zip(names, map(int, row), strict=True))
    unpaid = {state: 0 for state in STATES if state != "paid"} | {state: int(atoms) for state, atoms in states}
    paid = sums["allocated_atoms"] + sums["compensated_atoms"] - sum(unpaid.values())
    return sums | {f"{state}_atoms": amount for state, amount in (unpaid | {"paid": paid}).items()}


def _payout(row: TupleRow) -> Payout:
    values = list(row)
    values[5] = int(values[5])
    return Payout(*values)
