"""What verifying an Ed25519 signature costs, by engine, batch size and threads."""

from __future__ import annotations

import functools
import itertools
import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.signing import SigningKey, VerifyKey

from bench import results
from bench.options import out_option
from pouw import _fastverify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Batch = tuple[list[bytes], list[bytes], bytes]
    Engine = Callable[[Batch], None]

SIZES = (1, 3, 10, 20, 100, 1000)
_MESSAGE_BYTES = 260
_SAMPLE = 200  # signatures a thread verifies for one sample, at least
_BASE = "libsodium"


def _pouw(engine: str, path: str | None) -> Engine:
    def run(batch: Batch) -> None:
        messages, signatures, key = batch
        if _fastverify.verify(messages, signatures, _public_key(key), engine, path).count(1) not in (0, len(messages)):
            raise RuntimeError("a right signature was refused, or a wrong one accepted")

    return run


_public_key = functools.lru_cache(maxsize=64)(_fastverify.PublicKey)  # as the node does


def _pynacl(batch: Batch) -> None:
    messages, signatures, key = batch
    verifier = VerifyKey(key)
    for message, signature in zip(messages, signatures, strict=True):
        verifier.verify(message, signature)


def _cryptography(batch: Batch) -> None:
    messages, signatures, key = batch
    verifier = Ed25519PublicKey.from_public_bytes(key)
    for message, signature in zip(messages, signatures, strict=True):
        verifier.verify(signature, message)


ENGINES: dict[str, Engine] = {
    **{path: _pouw("batch", path) for path in _fastverify.PATHS},
    _BASE: _pouw("libsodium", None),
    "pynacl": _pynacl,
    "cryptography": _cryptography,
}
"""The batch equation on every path that this CPU has, libsodium in a loop in C, and two libraries in Python's loop."""


def make_batch(size: int) -> Batch:
    """Sign as many messages of a receipt's length with one key."""
    key = SigningKey.generate()
    messages = [secrets.token_bytes(_MESSAGE_BYTES) for _ in range(size)]
    return messages, [key.sign(message).signature for message in messages], bytes(key.verify_key)


def sample(engine: Engine, batch: Batch, threads: int, pool: ThreadPoolExecutor) -> float:
    """Return the µs per signature of one sample: ``threads`` threads that each verify the batch some times."""
    times = max(1, _SAMPLE // len(batch[0]))

    def work() -> None:
        for _ in range(times):
            engine(batch)

    start = time.perf_counter()
    if threads == 1:
        work()
    else:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    return (time.perf_counter() - start) / (times * len(batch[0]) * threads) * 1e6


def measure(sizes: Sequence[int], threads: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Measure the engines in turn, so that whatever else the machine does meets all of them."""
    rows = []
    with ThreadPoolExecutor(max(threads)) as pool:
        for count, size in itertools.product(threads, sizes):
            batch = make_batch(size)
            samples: dict[str, list[float]] = {name: [] for name in ENGINES}
            for _ in range(rounds):
                for name, engine in ENGINES.items():
                    samples[name].append(sample(engine, batch, count, pool))
            medians = {name: statistics.median(each) for name, each in samples.items()}
            for name, each in samples.items():
                row = {"engine": name, "threads": count, "batch_size": size, "us_per_signature": medians[name]}
                row |= {"samples": each, "ratio_to_libsodium": medians[_BASE] / medians[name]}
                rows.append(row)
            click.echo(_line(count, size, medians))
    return rows


def worst(sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Measure batches without one good signature, the dearest to search, beside libsodium's loop over good ones."""
    rows = []
    with ThreadPoolExecutor(1) as pool:
        for size in sizes:
            good = make_batch(size)
            bad = (good[0], [signature[:40] + bytes(24) for signature in good[1]], good[2])
            samples: dict[str, list[float]] = {name: [] for name in (*_fastverify.PATHS, _BASE)}
            for _ in range(rounds):
                for name, each in samples.items():
                    each.append(sample(ENGINES[name], good if name == _BASE else bad, 1, pool))
            loop = statistics.median(samples[_BASE])
            for path in _fastverify.PATHS:
                cost = statistics.median(samples[path])
                row = {"engine": path, "batch_size": size, "us_per_signature": cost, "times_libsodium": cost / loop}
                rows.append(row)
                click.echo(f"all wrong, batches of {size:4}: {path} {cost:6.1f} µs, {cost / loop:4.2f} times libsodium")
    return rows


def _line(threads: int, size: int, medians: dict[str, float]) -> str:
    parts = [f"{name} {each:6.1f} µs ({medians[_BASE] / each:4.2f})" for name, each in medians.items()]
    return f"{threads} threads, batches of {size:4}: " + ", ".join(parts)


@click.command("verify")
@click.option("--rounds", default=21, show_default=True, type=click.IntRange(1), help="Samples of each engine.")
@click.option("--batch-size", "sizes", multiple=True, type=click.IntRange(1), default=SIZES, show_default=True)
@click.option("--threads", multiple=True, type=click.IntRange(1), default=(1, 2), show_default=True)
@out_option
def command(rounds: int, sizes: tuple[int, ...], threads: tuple[int, ...], out: Path) -> None:
    """µs per signature of every engine, and how many times as fast each is as libsodium's loop."""
    rows = measure(sizes, threads, rounds)
    results.write(out, "verify", {"rounds": rounds}, {"runs": [], "rows": rows, "worst": worst(sizes, rounds)})
