"""The epochs that are closed, and proofs of what was in them: they never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.errors import StoreError
from pouw.protocol.merkle import path
from pouw.service.pieces import split
from pouw.store import epochs as store
from pouw.store import trees
from pouw.store.trees import PIECE_LEAVES, PREFIX_BYTES

if TYPE_CHECKING:
    from pouw.service.readers import Readers
    from pouw.store.epochs import EpochRow
    from pouw.store.pool import Pool


@dataclass(frozen=True, slots=True)
class Proof:
    """That a leaf is in an epoch's tree of receipts (RFC 9162, section 2.1.3)."""

    index: int
    leaf: bytes
    siblings: list[bytes]


class ClosedEpochs:
    """Reads closed epochs."""

    def __init__(self, readers: Readers) -> None:
        self._read = readers.read

    def find(self, epoch: int) -> EpochRow | None:
        """Return a closed epoch, or None."""
        return self._read(store.find, epoch)

    def page(self, before: int, limit: int) -> list[EpochRow]:
        """Return closed epochs below ``before``, the newest first."""
        return self._read(store.page, before, limit)

    def prove(self, epoch: int, nonce: bytes) -> list[Proof]:
        """Return a proof for each receipt of a closed epoch whose nonce begins with the same 16 bytes: mostly one."""
        return self._read(_prove, epoch, nonce)


def _prove(pool: Pool, epoch: int, nonce: bytes) -> list[Proof]:
    """Read all that a proof is made of from one server."""
    if store.find(pool, epoch) is None:
        raise StoreError("This server does not have the epoch yet")  # the primary had it, or nobody would ask
    proofs = []
    roots: list[bytes] = []
    for piece in trees.find(pool, epoch, nonce[:PREFIX_BYTES]):
        hashes = split(piece.leaves)
        for place, prefix in enumerate(split(piece.nonces, PREFIX_BYTES)):
            if prefix == nonce[:PREFIX_BYTES]:
                roots = roots or trees.roots(pool, epoch)
                siblings = path(hashes, place) + path(roots, piece.number)
                proofs.append(Proof(piece.number * PIECE_LEAVES + place, hashes[place], siblings))
    return proofs
