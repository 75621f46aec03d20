"""Merkle trees over lists of byte strings, hashed as in RFC 9162, section 2.1 (SHA-256)."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Roots:
    """Computes a root from hashes as they come, and remembers one for each whole level only.

    The hashes are those of leaves, or the roots of subtrees that all have the same power of two of leaves, except
    for the last.
    """

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[bytes | None] = []
        for each in hashes:
            self.add(each)

    def add(self, node: bytes) -> None:
        """Take in the next hash."""
        for level, left in enumerate(self._levels):
            if left is None:
                self._levels[level] = node
                return
            self._levels[level] = None
            node = node_hash(left, node)
        self._levels.append(node)

    def root(self) -> bytes:
        """Return the root over what was taken in so far."""
        root: bytes | None = None
        for node in self._levels:
            if node is not None:
                root = node if root is None else node_hash(node, root)
        return EMPTY_ROOT if root is None else root


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes that are all there, faster than one after the other."""
    sha256 = hashlib.sha256
    level = list(hashes)
    while len(level) > 1:
        pairs = [sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0] if level else EMPTY_ROOT


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of one hash among these, from the bottom up (section 2.1.3.1)."""
    siblings: list[bytes] = []
    level = list(hashes)
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
        index >>= 1
    return siblings


def includes(leaf: bytes, index: int, size: int, siblings: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a leaf with this hash is number ``index`` of ``size`` under the root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, position, last = leaf, index, size - 1
    for sibling in siblings:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and hmac.compare_digest(node, root)
