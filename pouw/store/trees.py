"""The Merkle tree over an epoch's receipts, kept in pieces of 1,024 leaves.

The order of leaves is that of the receipt nonces, and of the DIDs where two have the same: so a nonce is found by
its place. The first 16 bytes of each nonce are kept beside the leaves' hashes, and a proof needs no receipt any more.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import SQL

from pouw.store.pool import session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.store.pool import Pool

PIECE_LEAVES = 1_024
PREFIX_BYTES = 16  # of a receipt nonce, which has at least so many

_HEADER_BYTES = 19
_ROW_HEAD_BYTES = 6  # the number of values, and the size of the only one


@dataclass(frozen=True, slots=True)
class Piece:
    """Up to 1,024 leaves: the first 16 bytes of their nonces and their hashes, each run together, and their root."""

    number: int
    nonces: bytes
    leaves: bytes
    root: bytes


FIRST, LAST = b"", b"\xff" * 33
"""Before and after every receipt nonce."""


@contextmanager
def reading(conninfo: str) -> Iterator[Connection[TupleRow]]:
    """Open a connection of its own for a process that only reads; the end of the block closes it."""
    with psycopg.connect(conninfo, application_name="pouw hashing") as connection:
        yield connection


def receipts(
    connection: Connection[TupleRow], bounds: tuple[int, int], first: bytes = FIRST, last: bytes = LAST
) -> Iterator[bytes]:
    """Yield each receipt of an epoch in the tree's order: a zero byte, its body, its signature, its nonce's beginning.

    All but the :data:`PREFIX_BYTES` of the nonce are what the hash of its leaf is made over. There may be millions of
    them, so a row is one value. ``first`` and ``last`` pick those whose nonce lies between, the latter excluded.
    """
    connection.execute("SET LOCAL max_parallel_workers_per_gather = 2")
    query = SQL(
        r"""
        COPY (SELECT '\x00'::bytea || body || signature || substring(receipt_nonce FOR 16) FROM receipts
              WHERE submitted_at >= to_timestamp({}) AND submitted_at < to_timestamp({})
                AND receipt_nonce >= {} AND receipt_nonce < {}
              ORDER BY receipt_nonce, client_did COLLATE "C") TO STDOUT (FORMAT BINARY)
        """
    ).format(*bounds, first, last)
    with connection.cursor().copy(query) as copy:
        rows = iter(copy)
        first = bytes(next(rows))[_HEADER_BYTES:]  # PostgreSQL's documentation, COPY, "Binary Format"
        if len(first) > _ROW_HEAD_BYTES:  # the last message holds no row
            yield first[_ROW_HEAD_BYTES:]
        for row in rows:
            if len(row) > _ROW_HEAD_BYTES:
                yield bytes(row[_ROW_HEAD_BYTES:])


def write(connection: Connection[TupleRow], epoch: int, pieces: Iterable[Piece]) -> None:
    """Write pieces of an epoch's tree."""
    with connection.cursor().copy(
        "COPY epoch_tree (epoch, piece, first_nonce, nonces, leaves, root) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.set_types(("int8", "int4", "bytea", "bytea", "bytea", "bytea"))
        for piece in pieces:
            copy.write_row((epoch, piece.number, piece.nonces[:PREFIX_BYTES], piece.nonces, piece.leaves, piece.root))


def find(pool: Pool, epoch: int, prefix: bytes) -> list[Piece]:
    """Return the pieces that may hold a nonce that begins so: the last that begins before it, and all that begin so."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT piece, nonces, leaves, root FROM epoch_tree
            WHERE epoch = %(epoch)s AND first_nonce <= %(prefix)b AND piece >= coalesce(
                (SELECT max(piece) FROM epoch_tree WHERE epoch = %(epoch)s AND first_nonce < %(prefix)b), 0)
            ORDER BY piece
            """,
            {"epoch": epoch, "prefix": prefix},
        ).fetchall()
    return [Piece(*row) for row in rows]


def roots(pool: Pool, epoch: int) -> list[bytes]:
    """Return the roots of all pieces of an epoch's tree, in order."""
    with session(pool) as connection:
        rows = connection.execute("SELECT root FROM epoch_tree WHERE epoch = %s ORDER BY piece", (epoch,)).fetchall()
    return [row[0] for row in rows]
