"""Hashing an epoch's receipts into the pieces of its tree."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

from pouw.protocol.merkle import HASH_BYTES, root_of
from pouw.store.trees import PIECE_LEAVES, PREFIX_BYTES, Piece

if TYPE_CHECKING:
    from collections.abc import Iterator


def pieces(rows: Iterator[bytes]) -> Iterator[Piece]:
    """Yield the pieces of the tree over receipts, which come as :func:`pouw.store.trees.receipts` yields them."""
    sha256 = hashlib.sha256  # as merkle.leaf_hash, without a call for each of millions
    for number in itertools.count():
        batch = list(itertools.islice(rows, PIECE_LEAVES))
        if not batch:
            return
        hashes = [sha256(row[:-PREFIX_BYTES]).digest() for row in batch]
        nonces = b"".join([row[-PREFIX_BYTES:] for row in batch])
        yield Piece(number, nonces, b"".join(hashes), root_of(hashes))


def split(run: bytes, size: int = HASH_BYTES) -> list[bytes]:
    """Return the values of equal size that a run of bytes holds."""
    return [run[at : at + size] for at in range(0, len(run), size)]
