"""Inputs that the fuzzer found or that are hard to come by, once more and without it.

A file in tests/data/crashes is named by its target and by what it is: ``json-a-flag-in-quotes``. What tools/fuzz.py
reports as found goes there under the name of its target.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pouw import _fastverify
from tests.fuzz.model import item_from_protobuf, wrap
from tests.fuzz.mutators import MUTATORS, Chance
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CRASHES = sorted((Path(__file__).parent.parent / "data" / "crashes").iterdir())
SEEDS = seeds()


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.name)
def test_no_input_breaks_a_property_again(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]](path.read_bytes())


def test_there_are_inputs_for_every_target() -> None:
    assert {path.name.partition("-")[0] for path in CRASHES} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_seeds_keep_every_property(target: str) -> None:
    """What the fuzzer does, without its feedback: its mutators and its properties run on every machine."""
    for number, seed in enumerate(SEEDS[target]):
        data = seed
        for step in range(20):
            chance = Chance(number * 100 + step, lambda data: data[::-1])
            data = MUTATORS[target](data, chance) or seed
            TARGETS[target](data)


@pytest.mark.parametrize("data", SEEDS["receipt"])
def test_the_model_reads_what_it_writes(data: bytes) -> None:
    item = item_from_protobuf(data)
    assert wrap(item) == data


@pytest.mark.parametrize("target", ["json", "batch", "receipt", "scan"])
def test_a_decoder_that_lies_is_caught(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The properties notice a decoder that takes one receipt for another."""
    plain, other = (_fastverify.decode_protobuf([data])[0] for data in SEEDS["receipt"][:2])
    monkeypatch.setattr(_fastverify, "decode_protobuf", lambda items: [other for _ in items])
    monkeypatch.setattr(_fastverify, "decode_json", lambda items: [other for _ in items])
    monkeypatch.setattr(_fastverify, "scan_json", lambda _body: (0, 0, 0, 0))
    assert plain.body != other.body
    with pytest.raises(AssertionError):
        TARGETS[target](SEEDS[target][0 if target != "scan" else 1])
