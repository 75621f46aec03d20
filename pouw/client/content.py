"""The useful work itself: checking content by its hash, its Merkle path, or its provider's signature."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CHUNK_BYTES = 1 << 20


def hash_file(path: Path) -> tuple[bytes, int]:
    """Return the SHA-256 of a file's content and its size in bytes; raise OSError where it cannot be read."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.digest(), size


def verify_hash(content: bytes, content_id: bytes) -> bool:
    """Tell whether ``content_id`` is the SHA-256 of the content."""
    return hmac.compare_digest(hashlib.sha256(content).digest(), content_id)


def verify_merkle_path(content: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the content is leaf ``index`` of a tree of ``size`` leaves with this root.

    Hashing and order of the path are those of RFC 9162, sections 2.1.1 and 2.1.3.2 (SHA-256).
    """
    if not 0 <= index < size:
        return False
    node = hashlib.sha256(b"\0" + content).digest()
    position, last = index, size - 1
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        position, last = position >> 1, last >> 1
    return last == 0 and hmac.compare_digest(node, root)


def verify_signature(content: bytes, signature: bytes, provider_key: bytes) -> bool:
    """Tell whether the 64-byte Ed25519 signature over the content is the provider's (32-byte key)."""
    try:
        VerifyKey(provider_key).verify(content, signature)
    except (BadSignatureError, ValueError):
        return False
    return True
