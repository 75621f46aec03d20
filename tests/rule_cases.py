"""Batches of signatures at the edges of the acceptance rule, each with the answer that its making implies.

Everything follows from a seed and a number, so a case that fails can be made again alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from tests.rule_kinds import BAD, GOOD, MIXED, Kind
from tests.rule_signers import Signer, any_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 1000)
LAYOUTS = ("none", "first", "last", "middle", "all", "all but one", "few", "share")  # where the bad ones lie
ROUND = len(SIZES) * len(LAYOUTS)  # batches until every size has met every layout


@dataclass(frozen=True, slots=True)
class Case:
    """One receipt: what the rule says of it under a good key, and what libsodium 1.0.20 says, which has no cofactor."""

    kind: str
    message: bytes
    signature: bytes
    valid: bool
    strict: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call of ``verify`` gets, and has to answer."""

    signer: Signer
    layout: str
    cases: list[Case] = field(repr=False)

    @property
    def messages(self) -> list[bytes]:
        return [case.message for case in self.cases]

    @property
    def signatures(self) -> list[bytes]:
        return [case.signature for case in self.cases]

    @property
    def expected(self) -> bytes:
        return bytes(self.signer.good and case.valid for case in self.cases)


def make_batch(seed: int, number: int, size: int | None = None) -> Batch:
    """Return one batch of a seed's endless row of them."""
    rng = Random(f"{seed} {number}")
    size = size or SIZES[number % len(SIZES)]
    layout = LAYOUTS[number // len(SIZES) % len(LAYOUTS)]
    signer = any_signer(rng)
    bad_places = _places(layout, size, rng)
    plain = {"honest": GOOD["honest"]}
    good = _draw(
        rng.choice([plain, plain, plain, plain, GOOD, GOOD | MIXED, MIXED]), size - len(bad_places), signer, rng
    )
    bad = _draw(BAD, len(bad_places), signer, rng)
    return Batch(signer, layout, [next(bad if place in bad_places else good) for place in range(size)])


def _places(layout: str, size: int, rng: Random) -> set[int]:
    everywhere = range(size)
    if layout == "share":
        share = rng.random()
        return {place for place in everywhere if rng.random() < share}
    if layout == "few":
        return set(rng.sample(everywhere, min(size, rng.randint(2, 4))))
    if layout == "all but one":
        return set(everywhere) - {rng.randrange(size)}
    return set({"none": [], "first": [0], "last": [size - 1], "middle": [size // 2], "all": everywhere}[layout])


def _draw(kinds: dict[str, Kind], count: int, signer: Signer, rng: Random) -> Iterator[Case]:
    """Return so many cases; half of the time, those that belong together stay together."""
    names, cases = list(kinds), list[Case]()
    while len(cases) < count:
        name = rng.choice(names)
        strict, valid = name in GOOD, name in GOOD or name in MIXED
        cases += [Case(name, *signed, valid, strict) for signed in kinds[name](signer, rng)]
    del cases[count:]
    if rng.random() < 0.5:
        rng.shuffle(cases)
    return iter(cases)
