"""The long comparison finds a difference, says where it is, and can make it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.rule_cases import make_batch
from tests.rule_engines import ENGINES, Engine
from tools.differential import Difference, main, run

if TYPE_CHECKING:
    from collections.abc import Sequence


class Wrong(Engine):
    """Refuses every batch without a bad one."""

    def verify(self, messages: list[bytes], signatures: list[bytes], key: bytes) -> bytes:
        answer = super().verify(messages, signatures, key)
        return bytes(len(set(answer)) > 1 and valid for valid in answer)


def compared(engines: Sequence[Engine]) -> int:
    *_earlier, counts = run(cases=1500, seed=7, first=3, engines=engines)
    assert counts["receipts"] >= 1500
    assert counts["repeated"] + counts["libsodium"] + counts["reference"] >= counts["receipts"] * 0.9
    return counts["receipts"]


def test_engines_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(ENGINES) >= 1500
    assert main(["--cases", "100", "--seed", "7"]) == 0
    assert "no difference" in capsys.readouterr().out


def test_processes_share_the_same_cases_out() -> None:
    *_earlier, alone = run(cases=3000, seed=7, first=20, engines=ENGINES[:1], jobs=1)
    *_earlier, shared = run(cases=3000, seed=7, first=20, engines=ENGINES[:1], jobs=3)
    assert shared == alone
    assert alone["receipts"] >= 3000


def test_a_difference_is_reported_so_that_it_can_be_made_again() -> None:
    with pytest.raises(Difference) as found:
        compared([*ENGINES, Wrong("batch", "portable")])
    report = json.loads(str(found.value))
    assert report["who differs"] == "batch-portable"
    batch = make_batch(report["seed"], report["batch"])
    case = batch.cases[report["place"]]
    assert case.signature.hex() == report["signature"]
    assert batch.expected[report["place"]] == report["expected"] == 1
