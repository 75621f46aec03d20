"""The useful work of ``pouw work``: hash files, and attest each hash with a receipt."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.client.receipts import SignedReceipt, encode_batch, sign
from pouw.protocol.dids import did_from_key
from pouw.protocol.types import ProofType, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from nacl.signing import SigningKey

    from pouw.client.node import Challenge, Node, SubmitResult

_CHUNK_BYTES = 1 << 20
_NONCE_BYTES = 32
_BATCH_NONCE_BYTES = 16
_MARGIN_SECS = 60
"""A challenge with less time left than this, or than half its life, is not started on."""


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the given files, and the regular files below the given folders in a stable order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                found = path.__class__(folder, name)
                if found.is_file() and not found.is_symlink():
                    yield found


def hash_file(path: Path) -> tuple[bytes, int]:
    """Return the SHA-256 of a file's content and its size in bytes."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.digest(), size


@dataclass(frozen=True, slots=True)
class Submitted:
    """One answered batch: its bytes and what became of it."""

    body: bytes
    result: SubmitResult


class Worker:
    """Hashes files under challenges of one node and submits receipts in batches."""

    def __init__(self, node: Node, key: SigningKey, *, batch_size: int, clock: Callable[[], float]) -> None:
        self._node = node
        self._key = key
        self._did = did_from_key(bytes(key.verify_key))
        self._batch_size = batch_size
        self._clock = clock
        self._challenge: Challenge | None = None
        self._left = 0
        self._bytes_left = 0
        self._pending: list[SignedReceipt] = []

    def attest(self, path: Path) -> Submitted | None:
        """Hash one file and sign its receipt; return the answer where that filled a batch.

        Raises OSError where the file cannot be read, and :class:`pouw.errors.NodeError` where the node cannot
        be reached.
        """
        submitted = self._renew(path.stat().st_size)
        assert self._challenge is not None  # noqa: S101 - _renew has just seen to it
        token, offset = self._challenge.token, self._challenge.clock_offset
        started_at = self._clock() + offset
        content_id, size = hash_file(path)
        receipt = Receipt(
            task_id=token.task_id,
            client_did=self._did,
            client_node_id=bytes(self._key.verify_key),
            content_id=content_id,
            proof_type=ProofType.HASH,
            bytes_verified=size,
            result_ok=True,
            started_at=max(int(started_at), token.issued_at),
            finished_at=max(int(self._clock() + offset), token.issued_at),
            receipt_nonce=secrets.token_bytes(_NONCE_BYTES),
            challenge_nonce=token.challenge_nonce,
        )
        self._pending.append(sign(receipt, self._key))
        self._left -= 1
        self._bytes_left -= size
        if len(self._pending) >= self._batch_size:
            return self.flush()
        return submitted

    def flush(self) -> Submitted | None:
        """Submit what is pending; return the answer, or None where there was nothing."""
        if not self._pending:
            return None
        body = encode_batch(self._did, secrets.token_bytes(_BATCH_NONCE_BYTES), self._pending)
        result = self._node.submit(body)
        self._pending = []
        return Submitted(body, result)

    def _renew(self, size: int) -> Submitted | None:
        """Take a new challenge where the present one is used up or near its end, after submitting under it."""
        if self._challenge is not None:
            token = self._challenge.token
            margin = min(_MARGIN_SECS, (token.expires_at - token.issued_at) / 2)
            fresh = self._clock() + self._challenge.clock_offset + margin < token.expires_at
            if fresh and self._left > 0 and size <= self._bytes_left:
                return None
        submitted = self.flush()
        self._challenge = self._node.challenge(ProofType.HASH.json_name)
        self._left = self._challenge.token.policy.max_receipts
        self._bytes_left = self._challenge.token.policy.max_bytes_total
        return submitted
