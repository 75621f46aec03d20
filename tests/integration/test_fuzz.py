"""A minute of fuzzing, by a fuzzer that has shown that it finds what is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuzz.planted import PLANTED
from tests.fuzz.targets import TARGETS
from tools.fuzz import Fuzzer, build_fuzzer

ROOT = Path(__file__).parents[2]
MINUTE = 60
REPORTS = {
    "planted-read": "ERROR: AddressSanitizer: heap-buffer-overflow",
    "planted-overflow": "runtime error: signed integer overflow",
    "planted-assertion": "AssertionError",
}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    subprocess.run([ROOT / "tools" / "debian.sh", "clang", "libclang-rt-14-dev"], check=True, timeout=300)
    return build_fuzzer(tmp_path_factory.mktemp("fuzzer"), "clang")


@pytest.mark.debian
@pytest.mark.parametrize("target", PLANTED)
def test_a_planted_fault_is_found(
    fuzzer: Fuzzer, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind comparisons that only the feedback of the extension's own code gets past; a few seconds are enough."""
    assert fuzzer.run(target, MINUTE, tmp_path)
    assert REPORTS[target] in capsys.readouterr().out
    [found] = (tmp_path / "found").iterdir()
    assert found.read_bytes().startswith(b"poW")


@pytest.mark.debian
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(fuzzer: Fuzzer, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = fuzzer.run(target, MINUTE // len(TARGETS), tmp_path)
    assert not found, capsys.readouterr().out
