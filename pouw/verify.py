"""Signature verification as the service sees it: a batch in, one answer for each receipt out."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gevent.threadpool import ThreadPool

from pouw import _fastverify

if TYPE_CHECKING:
    from pouw._fastverify import SignedReceipt

_INLINE = 3
"""Up to here the hop to a thread and back costs more than the signatures themselves."""


_SPLIT = 16
"""A thread gets at least so many signatures: for fewer the hop is not worth it."""


class Verifier:
    """Verifies batches on threads of its own, so that the event loop goes on meanwhile.

    Make one after the worker has forked: threads do not survive a fork.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPool(threads)
        self._threads = threads
        self._busy = 0

    def verify(self, receipts: list[SignedReceipt], key: bytes) -> list[bool]:
        """Tell for each well-formed receipt whether its signature is valid under the 32-byte ``key``."""
        bodies, signatures = [receipt.body for receipt in receipts], [receipt.signature for receipt in receipts]
        if len(receipts) <= _INLINE:
            results = _fastverify.verify(bodies, signatures, key)
        else:
            self._busy += 1
            try:
                results = b"".join(self._on_threads(bodies, signatures, key))
            finally:
                self._busy -= 1
        return [valid == 1 for valid in results]

    def _on_threads(self, bodies: list[bytes], signatures: list[bytes], key: bytes) -> list[bytes]:
        """Verify on one thread, or on all of them where no other batch needs them now."""
        parts = min(self._threads, len(bodies) // _SPLIT) if self._busy == 1 else 1
        size = -(-len(bodies) // max(1, parts))
        tasks = [
            self._pool.spawn(_fastverify.verify, bodies[first : first + size], signatures[first : first + size], key)
            for first in range(0, len(bodies), size)
        ]
        return [cast("bytes", task.get()) for task in tasks]

    def close(self) -> None:
        """Let the threads end."""
        self._pool.kill()
