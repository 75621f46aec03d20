"""Disputes, what was put to them, and the compensations that settle them. Every change is in the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import psycopg

from pouw.errors import DisputeConflict, StoreError
from pouw.protocol.disputes import RESOLUTIONS, TRANSITIONS, State
from pouw.store import audit_log
from pouw.store.payouts import spent
from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.store.pool import Pool

_MOST_UNSETTLED = 20
_MOST_ENTRIES = 50
_COLUMNS: LiteralString = (
    "id, client_did, subject, subject_id, claim, known, state, explanation, compensation_atoms, filed_at, changed_at"
)
_KNOWN: dict[str, LiteralString] = {
    "receipt": """
        SELECT 1 FROM (
            SELECT receipt_nonce FROM receipts WHERE client_did = %s ORDER BY submitted_at DESC LIMIT 100000
        ) AS newest WHERE receipt_nonce = decode(%s, 'hex') LIMIT 1
    """,  # bounded: no index is worth its cost on every receipt for what few disputes ask
    "rejection": "SELECT 1 FROM rejections WHERE client_did = %s AND id = %s::bigint LIMIT 1",
    "reward": "SELECT 1 FROM rewards WHERE client_did = %s AND epoch = %s::bigint",
    "challenge": "SELECT 1 FROM challenges WHERE coalesce(bound_did = %s, true) AND nonce = decode(%s, 'hex')",
}


@dataclass(frozen=True, slots=True)
class Dispute:
    """One dispute. ``known``: the node had what it is about when it was filed. ``compensation`` is in atoms."""

    id: int
    client_did: str
    subject: str
    subject_id: str
    claim: str
    known: bool
    state: State
    explanation: str | None
    compensation: int | None
    filed_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was put to a dispute: evidence, an operator's note, or a change of state."""

    kind: str
    author: str
    content: str
    at: datetime


def file(pool: Pool, did: str, subject: str, subject_id: str, claim: str, evidence: str | None) -> Dispute:
    """File a dispute with its first evidence.

    Raises :class:`DisputeConflict` where one about this waits already, or too many do.
    """
    try:
        with session(pool) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 6))", (did,))
            row = connection.execute(
                "SELECT count(*) FROM disputes WHERE client_did = %s AND state IN ('open', 'under_investigation')",
                (did,),
            ).fetchone()
            if row is not None and row[0] >= _MOST_UNSETTLED:
                raise DisputeConflict(f"{_MOST_UNSETTLED} of this DID's disputes are waiting already.")
            known = connection.execute(_KNOWN[subject], (did, subject_id)).fetchone() is not None
            filed = connection.execute(
                f"""
                INSERT INTO disputes (client_did, subject, subject_id, claim, known) VALUES (%s, %s, %s, %s, %s)
                RETURNING {_COLUMNS}
                """,  # noqa: S608 - our own list of columns
                (did, subject, subject_id, claim, known),
            ).fetchone()
            assert filed is not None  # noqa: S101 - an INSERT returns its row
            dispute = _dispute(filed)
            _enter(connection, dispute.id, "state", did, State.OPEN)
            audit_log.write(
                connection, did, "dispute.file", f"dispute {dispute.id}", {"subject": subject, "subject_id": subject_id}
            )
            if evidence is not None:
                _put(connection, dispute.id, "evidence", did, evidence)
    except StoreError as error:
        if isinstance(error.__cause__, psycopg.errors.UniqueViolation):
            raise DisputeConflict("A dispute about this is waiting already.") from None
        raise
    return dispute


def find(pool: Pool, dispute_id: int) -> Dispute | None:
    """Return a dispute, or None."""
    with session(pool) as connection:
        row = connection.execute(f"SELECT {_COLUMNS} FROM disputes WHERE id = %s", (dispute_id,)).fetchone()  # noqa: S608 - our own list of columns
    return None if row is None else _dispute(row)


def entries(pool: Pool, dispute_id: int) -> list[Entry]:
    """Return what was put to a dispute, in order."""
    with session(pool) as connection:
        rows = connection.execute(
            "SELECT kind, author, content, at FROM dispute_entries WHERE dispute_id = %s ORDER BY id", (dispute_id,)
        ).fetchall()
    return [Entry(*row) for row in rows]


def page(pool: Pool, state: str | None, before: int, limit: int) -> list[Dispute]:
    """Return disputes in one state, or in any, with an id below ``before``, the newest first."""
    with session(pool) as connection:
        rows = connection.execute(
            f"""
            SELECT {_COLUMNS} FROM disputes WHERE (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
            ORDER BY id DESC LIMIT %(limit)s
            """,  # noqa: S608 - our own list of columns
            {"state": state, "before": before, "limit": limit},
        ).fetchall()
    return [_dispute(row) for row in rows]


def add(pool: Pool, dispute_id: int, kind: str, author: str, content: str) -> None:
    """Put evidence or a note to a dispute.

    Raises :class:`DisputeConflict` where it is settled (notes may follow later), or has too much already.
    """
    with session(pool) as connection, connection.transaction():
        dispute = _locked(connection, dispute_id)
        if kind == "evidence" and not dispute.state.unsettled:
            raise DisputeConflict("The dispute is settled.")
        row = connection.execute(
            "SELECT count(*) FROM dispute_entries WHERE dispute_id = %s AND kind = %s", (dispute_id, kind)
        ).fetchone()
        if row is not None and row[0] >= _MOST_ENTRIES:
            raise DisputeConflict(f"There are {_MOST_ENTRIES} of these already.")
        _put(connection, dispute_id, kind, author, content)


def move(
    pool: Pool,
    dispute_id: int,
    state: State,
    actor: str,
    explanation: str | None,
    compensation: int | None,
    budget: int,
) -> Dispute:
    """Move a dispute to another state; a compensation becomes a payout, in the same transaction.

    Its claimant can only close it, and nobody else closes what is unsettled. Raises :class:`DisputeConflict` for a way
    that there is not, and for more than is left of the lifetime ``budget``.
    """
    with session(pool) as connection, connection.transaction():
        dispute = _locked(connection, dispute_id)
        if actor == dispute.client_did and (state is not State.CLOSED or not dispute.state.unsettled):
            raise DisputeConflict("A claimant withdraws what waits, and settles nothing.")
        if state not in TRANSITIONS[dispute.state]:
            raise DisputeConflict(f"There is no way from {dispute.state} to {state}.")
        if compensation is not None:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('budget', 5))")
            left = budget - spent(connection)
            if compensation > left:
                raise DisputeConflict(f"The lifetime budget has {max(0, left)} atoms left.")
            connection.execute(
                "INSERT INTO payouts (dispute_id, client_did, atoms) VALUES (%s, %s, %s)",
                (dispute_id, dispute.client_did, compensation),
            )
        row = connection.execute(
            f"""
            UPDATE disputes SET state = %s, explanation = coalesce(%s, explanation), changed_at = now(),
                compensation_atoms = coalesce(%s, compensation_atoms)
            WHERE id = %s RETURNING {_COLUMNS}
            """,  # noqa: S608 - our own list of columns
            (state, explanation, compensation, dispute_id),
        ).fetchone()
        assert row is not None  # noqa: S101 - locked just before
        _enter(connection, dispute_id, "state", actor, state)
        action = "resolve" if state in RESOLUTIONS else "move"
        note = {
            "from": dispute.state,
            "to": state,
            "compensation_atoms": None if compensation is None else str(compensation),
        }
        audit_log.write(connection, actor, f"dispute.{action}", f"dispute {dispute_id}", note)
    return _dispute(row)


def _locked(connection: Connection[TupleRow], dispute_id: int) -> Dispute:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM disputes WHERE id = %s FOR UPDATE",  # noqa: S608 - our own list of columns
        (dispute_id,),
    ).fetchone()
    if row is None:
        raise DisputeConflict(f"There is no dispute {dispute_id}.")
    return _dispute(row)


def _dispute(row: TupleRow) -> Dispute:
    values = list(row)
    values[6] = State(values[6])
    values[8] = None if values[8] is None else int(values[8])
    return Dispute(*values)


def _put(connection: Connection[TupleRow], dispute_id: int, kind: str, author: str, content: str) -> None:
    _enter(connection, dispute_id, kind, author, content)
    audit_log.write(connection, author, f"dispute.{kind}", f"dispute {dispute_id}")


def _enter(connection: Connection[TupleRow], dispute_id: int, kind: str, author: str, content: str) -> None:
    connection.execute(
        "INSERT INTO dispute_entries (dispute_id, kind, author, content) VALUES (%s, %s, %s, %s)",
        (dispute_id, kind, author, content),
    )
