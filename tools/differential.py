"""Compare every engine with libsodium and with a slow reference: ``python -m tools.differential --cases N --seed S``.

The batches are those of tests/rule_cases.py, endless and reproducible. Each receipt has an answer that its making
implies, and every engine has to give it. That answer is itself judged: by PyNaCl's libsodium where neither R nor the
key has a part of small order, and by the reference in tests/ed25519.py for every receipt that is not plainly honest,
and for a share of the honest ones. A difference is printed as JSON, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from pouw import _fastverify
from tests import ed25519
from tests.rule_cases import SIZES, Batch, Case, make_batch
from tests.rule_engines import ENGINES, Engine
from tests.rule_kinds import MIXED
from tests.rule_signers import libsodium_accepts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HONEST_SHARE = 50  # of the honest receipts, one in so many is judged by the reference too
REPORT_SECONDS = 30


class Difference(Exception):
    """Two that should agree do not; the message is the case as JSON."""


def judge(seed: int, number: int, batch: Batch, counts: Counter[str]) -> None:
    """Compare the answers that the receipts' making implies with those of the oracles; each alone, not as a batch."""
    key, good = batch.signer.public, batch.signer.good
    seen: dict[tuple[bytes, bytes], bool] = {}  # a receipt that is repeated in a batch is judged once
    for place, case in enumerate(batch.cases):
        expected = good and case.valid
        counts["receipts"] += 1
        counts["valid"] += expected
        counts["mixed R or bad key"] += case.kind in MIXED or not good
        if (case.message, case.signature) in seen:
            counts["repeated"] += 1
            continue
        seen[case.message, case.signature] = expected
        if good:
            counts["libsodium"] += 1
            if libsodium_accepts(case.message, case.signature, key) != case.strict:
                raise Difference(report("libsodium", seed, number, batch, place))
        if case.kind != "honest" or not good or place % HONEST_SHARE == number % HONEST_SHARE:
            counts["reference"] += 1
            if ed25519.is_valid(case.message, case.signature, key) != expected:
                raise Difference(report("reference", seed, number, batch, place))


def compare(seed: int, number: int, batch: Batch, engines: Sequence[Engine]) -> None:
    """Ask every engine about a batch as a whole."""
    messages, signatures, expected = batch.messages, batch.signatures, batch.expected
    for engine in engines:
        answer = engine.verify(messages, signatures, batch.signer.public)
        if answer != expected:
            places = [place for place in range(len(expected)) if answer[place] != expected[place]]
            raise Difference(report(str(engine), seed, number, batch, places[0]))


def report(who: str, seed: int, number: int, batch: Batch, place: int) -> str:
    """Return all that is needed to make a case again, alone or in its batch."""
    case: Case = batch.cases[place]
    return json.dumps({
        "who differs": who,
        "seed": seed,
        "batch": number,
        "size": len(batch.cases),
        "layout": batch.layout,
        "place": place,
        "kind": case.kind,
        "expected": batch.expected[place],
        "public_key": batch.signer.public.hex(),
        "message": case.message.hex(),
        "signature": case.signature.hex(),
    })  # fmt: skip


def look(seed: int, engines: Sequence[Engine], number: int) -> Counter[str]:
    """Make one batch, judge and compare it; return what was counted."""
    counts: Counter[str] = Counter()
    batch = make_batch(seed, number)
    judge(seed, number, batch, counts)
    compare(seed, number, batch, engines)
    return counts


def numbers(cases: int, first: int) -> Iterator[int]:
    """Yield the numbers of the batches from the first on that hold so many receipts."""
    for number in count(first):
        if cases <= 0:
            return
        yield number
        cases -= SIZES[number % len(SIZES)]


def run(cases: int, seed: int, first: int, engines: Sequence[Engine], jobs: int = 1) -> Iterator[Counter[str]]:
    """Go through so many receipts in so many processes; yield the counts so far, after each batch in its turn."""
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(jobs) as processes:
        for counted in processes.map(partial(look, seed, engines), numbers(cases, first), chunksize=len(SIZES)):
            counts += counted
            yield counts


def summary(counts: Counter[str], engines: Sequence[Engine]) -> str:
    lines = [
        f"{counts['receipts']:,} receipts, {counts['valid']:,} of them valid: no difference.",
        f"Each was answered as its making implies by {', '.join(map(str, engines))}.",
        f"{counts['repeated']:,} repeat another of their batch. Of the others, that answer was judged",
        f"  {counts['libsodium']:,} times by PyNaCl's libsodium (under good keys; what is mixed it has to refuse)",
        f"  {counts['reference']:,} times by the reference in tests/ed25519.py (all but most of the plainly honest).",
        f"{counts['mixed R or bad key']:,} have a mixed R that only the cofactor lets through, or a bad key.",
    ]
    return "\n".join(lines)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.differential", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000_000, help="receipts to compare at least (%(default)s)")
    parser.add_argument("--seed", type=int, default=time.time_ns() // 10**9, help="of the generators (the time)")
    parser.add_argument("--first", type=int, default=0, help="number of the first batch, to start within a seed's row")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that share them (%(default)s)")
    parser.add_argument("--path", choices=_fastverify.PATHS, help="one way to compute instead of all")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, show how far it is, and return the exit code."""
    options = arguments(argv)
    engines = [Engine("batch", options.path)] if options.path else [each for each in ENGINES if each != Engine("batch")]
    sys.stdout.write(f"seed {options.seed}\n")
    counts, told = Counter[str](), time.monotonic()
    try:
        for counts in run(options.cases, options.seed, options.first, engines, options.jobs):
            if time.monotonic() - told > REPORT_SECONDS:
                told = time.monotonic()
                sys.stdout.write(f"{counts['receipts']:,} of {options.cases:,} receipts, no difference\n")
                sys.stdout.flush()
    except Difference as difference:
        sys.stdout.write(f"{difference}\n")
        return 1
    sys.stdout.write(summary(counts, engines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
