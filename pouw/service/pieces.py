"""Hashing an epoch's receipts into the pieces of its tree: in this process, or by several beside it.

Once an epoch's lock is held its receipts do not change any more, so each process may read its share by itself.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pouw.protocol.merkle import HASH_BYTES, root_of
from pouw.store import trees
from pouw.store.trees import PIECE_LEAVES, PREFIX_BYTES, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MANY = 500_000
"""Receipts from which on several processes are worth their start."""

_RECORD_BYTES = PREFIX_BYTES + HASH_BYTES


def pieces(rows: Iterable[bytes]) -> Iterator[Piece]:
    """Yield the pieces of the tree over receipts, which come as :func:`pouw.store.trees.receipts` yields them."""
    records = iter(_records(rows))
    for number in itertools.count():
        batch = list(itertools.islice(records, PIECE_LEAVES))
        if not batch:
            return
        yield _piece(number, b"".join(batch))


def pieces_by_several(conninfo: str, bounds: tuple[int, int], processes: int) -> Iterator[Piece]:
    """Yield the pieces of the tree over an epoch's receipts, hashed by so many processes, each over its nonces."""
    edges = [trees.FIRST, *(bytes([256 * part // processes]) for part in range(1, processes)), trees.LAST]
    with tempfile.TemporaryDirectory(prefix="pouw-tree-") as folder:
        files = [Path(folder) / str(part) for part in range(processes)]
        # Not forked: this process has threads.
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
            parts = [
                executor.submit(_hash_part, conninfo, bounds, first, last, file)
                for (first, last), file in zip(itertools.pairwise(edges), files, strict=True)
            ]
            for part in parts:
                part.result()
        number, rest = 0, b""
        for file in files:
            with file.open("rb") as opened:
                while data := opened.read(_RECORD_BYTES * PIECE_LEAVES - len(rest)):
                    rest += data
                    if len(rest) == _RECORD_BYTES * PIECE_LEAVES:
                        yield _piece(number, rest)
                        number, rest = number + 1, b""
        if rest:
            yield _piece(number, rest)


def _hash_part(conninfo: str, bounds: tuple[int, int], first: bytes, last: bytes, file: Path) -> None:
    with trees.reading(conninfo) as connection, file.open("wb") as opened:
        opened.writelines(_records(trees.receipts(connection, bounds, first, last)))


def _records(rows: Iterable[bytes]) -> Iterator[bytes]:
    sha256 = hashlib.sha256  # as merkle.leaf_hash, without a call for each of millions
    return (row[-PREFIX_BYTES:] + sha256(row[:-PREFIX_BYTES]).digest() for row in rows)


def _piece(number: int, records: bytes) -> Piece:
    places = range(0, len(records), _RECORD_BYTES)
    nonces = b"".join([records[at : at + PREFIX_BYTES] for at in places])
    hashes = [records[at + PREFIX_BYTES : at + _RECORD_BYTES] for at in places]
    return Piece(number, nonces, b"".join(hashes), root_of(hashes))


def split(run: bytes, size: int = HASH_BYTES) -> list[bytes]:
    """Return the values of equal size that a run of bytes holds."""
    return [run[at : at + size] for at in range(0, len(run), size)]
