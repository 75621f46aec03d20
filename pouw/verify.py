"""Signature verification as the service sees it: a batch in, one answer for each receipt out."""

from __future__ import annotations

import functools
import importlib.resources
import json
import random
from typing import TYPE_CHECKING, Any, Literal, cast

from gevent.threadpool import ThreadPool

from pouw import _fastverify, metrics
from pouw._fastverify import PublicKey
from pouw.errors import EngineFault
from pouw.logs import log
from pouw.protocol import ed25519

if TYPE_CHECKING:
    from pouw._fastverify import SignedReceipt

Engine = Literal["batch", "libsodium"]

_KEYS = 4_096
_INLINE = {"batch": 128, "libsodium": 16}
"""Up to here, about a millisecond, signatures are verified on the spot, without a search for wrong ones.

Under load the hop to a thread and back costs more than it saves, see docs/performance.md.
"""

_INLINE_BYTES = 131_072
"""Longer messages, together, are hashed on a thread."""

_SEARCH_INLINE = 16
"""Among up to so many signatures wrong ones are searched for on the spot: less than a millisecond too."""

_SPLIT = {"batch": 64, "libsodium": 16}
"""A thread gets at least so many signatures: for fewer the hop, or an equation of its own, is not worth it."""

_SEVERAL = 9
"""Signatures of a batch in the self-test at least: enough for every path, and one more than its lanes."""


class Verifier:
    """Verifies batches on threads of its own, so that the event loop goes on meanwhile.

    Of about ``check_one_in`` batches, one is verified by the other engine too; where they differ, the rule's plain
    form decides and a counter that must be zero says so. 0 is never. Make one after the worker has forked: threads do
    not survive a fork. Raises :class:`pouw.errors.EngineFault` where an engine fails the self-test.
    """

    def __init__(self, threads: int, engine: Engine = "batch", check_one_in: int = 0) -> None:
        self_test()
        self._engine = engine
        self._other: Engine = "libsodium" if engine == "batch" else "batch"
        self._check_one_in = check_one_in
        self._pool = ThreadPool(threads)
        self._threads = threads
        self._busy = 0
        metrics.VERIFY_ENGINE.labels(engine, _fastverify.PATHS[-1]).set(1)

    def verify(self, receipts: list[SignedReceipt], key: bytes) -> list[bool]:
        """Tell for each well-formed receipt whether its signature is valid under the 32-byte ``key``."""
        bodies, signatures = [receipt.body for receipt in receipts], [receipt.signature for receipt in receipts]
        results = self._run(self._engine, bodies, signatures, key)
        if self._check_one_in and random.randrange(self._check_one_in) == 0:  # noqa: S311 - a sample, not a secret
            results = self._checked(results, bodies, signatures, key)
        return [valid == 1 for valid in results]

    def _checked(self, results: bytes, bodies: list[bytes], signatures: list[bytes], key: bytes) -> bytes:
        others = self._run(self._other, bodies, signatures, key)
        if results == others:
            return results
        decided = bytearray(results)
        for index, (one, other) in enumerate(zip(results, others, strict=True)):
            if one != other:
                decided[index] = ed25519.is_valid(bodies[index], signatures[index], key)
                metrics.VERIFY_DIFFERENCES.inc()
                log.error(
                    "engines_differ",
                    message=bodies[index].hex(),
                    signature=signatures[index].hex(),
                    public_key=key.hex(),
                    valid=decided[index] == 1,
                )
        return bytes(decided)

    def _run(self, engine: Engine, bodies: list[bytes], signatures: list[bytes], key: bytes) -> bytes:
        if len(bodies) <= _INLINE[engine] and sum(map(len, bodies)) <= _INLINE_BYTES:
            search = len(bodies) <= _SEARCH_INLINE
            results = _fastverify.verify(bodies, signatures, _public_key(key), engine, search=search)
            if search or 0 not in results:
                return results
        self._busy += 1
        try:
            return b"".join(self._on_threads(engine, bodies, signatures, key))
        finally:
            self._busy -= 1

    def _on_threads(self, engine: Engine, bodies: list[bytes], signatures: list[bytes], key: bytes) -> list[bytes]:
        """Verify on one thread, or on all of them where no other batch needs them now."""
        parts = min(self._threads, len(bodies) // _SPLIT[engine]) if self._busy == 1 else 1
        size = -(-len(bodies) // max(1, parts))
        public_key = _public_key(key)
        tasks = [
            self._pool.spawn(
                _fastverify.verify, bodies[first : first + size], signatures[first : first + size], public_key, engine
            )
            for first in range(0, len(bodies), size)
        ]
        return [cast("bytes", task.get()) for task in tasks]

    def close(self) -> None:
        """Let the threads end."""
        self._pool.kill()


_public_key = functools.lru_cache(maxsize=_KEYS)(PublicKey)
"""A client signs all its batches with one key: it is decoded, and its order looked at, once."""


def is_valid(message: bytes, signature: bytes, key: bytes) -> bool:
    """Verify one signature under a 32-byte key, inline."""
    return _fastverify.verify([message], [signature], _public_key(key)) == b"\x01"


@functools.cache
def self_test() -> None:
    """Compare every engine on vectors of every class; raise :class:`EngineFault` on a wrong answer.

    Each signature is verified alone, and beside the others of its key: a path for batches sees no single one.
    """
    rule = json.loads(importlib.resources.files("pouw.protocol").joinpath("ed25519_rule.json").read_bytes())
    ways = [("libsodium", None), *(("batch", path) for path in _fastverify.PATHS)]
    by_key: dict[str, list[dict[str, Any]]] = {}
    for vector in rule["vectors"]:
        by_key.setdefault(vector["public_key"], []).append(vector)
    for vectors in by_key.values():
        for batch in (*([vector] for vector in vectors), vectors * -(-_SEVERAL // len(vectors))):
            for engine, path in ways:
                _try(batch, engine, path)


def _try(batch: list[dict[str, Any]], engine: str, path: str | None) -> None:
    messages, signatures = ([bytes.fromhex(vector[name]) for vector in batch] for name in ("message", "signature"))
    key = PublicKey(bytes.fromhex(batch[0]["public_key"]))
    for vector, answer in zip(batch, _fastverify.verify(messages, signatures, key, engine, path), strict=True):
        if answer != vector["valid"]:
            raise EngineFault(
                f"The engine {engine} ({path or 'its loop'}) is wrong about the signature {vector['name']!r} in a "
                f"batch of {len(batch)}. This machine, or what is installed here, must not verify: see docs/RUNBOOK.md."
            )
