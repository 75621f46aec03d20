"""Signature verification as the service sees it: a batch in, one answer for each receipt out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent.threadpool import ThreadPool

from pouw import _fastverify

if TYPE_CHECKING:
    from pouw._fastverify import SignedReceipt

_INLINE = 3
"""Up to here the hop to a thread and back costs more than the signatures themselves."""


class Verifier:
    """Verifies batches on threads of its own, so that the event loop goes on meanwhile.

    Make one after the worker has forked: threads do not survive a fork.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPool(threads)

    def verify(self, receipts: list[SignedReceipt], key: bytes) -> list[bool]:
        """Tell for each well-formed receipt whether its signature is valid under the 32-byte ``key``."""
        work = ([receipt.body for receipt in receipts], [receipt.signature for receipt in receipts], key)
        inline = len(receipts) <= _INLINE
        results = _fastverify.verify(*work) if inline else self._pool.apply(_fastverify.verify, work)
        return [valid == 1 for valid in results]

    def close(self) -> None:
        """Let the threads end."""
        self._pool.kill()
