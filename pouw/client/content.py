"""The useful work itself: checking content by its hash, its Merkle path, or its provider's signature."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pouw.protocol.merkle import includes, leaf_hash

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
    return includes(leaf_hash(content), index, size, path, root)


def verify_signature(content: bytes, signature: bytes, provider_key: bytes) -> bool:
    """Tell whether the 64-byte Ed25519 signature over the content is the provider's (32-byte key)."""
    try:
        VerifyKey(provider_key).verify(content, signature)
    except (BadSignatureError, ValueError):
        return False
    return True
