"""What ``pouw preflight`` says of machines, and of what the bench measured."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pouw import __version__
from pouw.preflight import hardware, monitoring
from pouw.preflight.baselines import FORMAT
from pouw.preflight.lines import Outcome
from tests.integration.test_preflight import node as node  # noqa: PLC0414 - a fixture
from tests.preflights import ITEMS, given, look

if TYPE_CHECKING:
    from tests.integration.test_tls import TlsNode

ROOT = Path(__file__).parents[2]
PASSED, FAILED, HUMAN = Outcome.PASSED, Outcome.FAILED, Outcome.HUMAN


def test_the_machine_is_measured_and_not_guessed(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("hardware.cores", "hardware.memory", "hardware.disk", "hardware.network")
    found = look(monkeypatch, node, *names, told=given(node, disk=tmp_path))
    assert re.fullmatch(r"\d+ cores.*", found["hardware.cores"].evidence)
    assert re.fullmatch(r"[\d.]+ GB.*", found["hardware.memory"].evidence)
    assert f"GB free at {tmp_path}" in found["hardware.disk"].evidence
    monkeypatch.setattr(hardware, "_CORES", 10**6)
    monkeypatch.setattr(hardware, "_MEMORY", 10**18)
    monkeypatch.setattr(hardware, "_DISK", 10**18)
    found = look(monkeypatch, node, *names[:3], told=given(node, disk=tmp_path))
    assert {line.outcome for line in found.values()} == {FAILED}
    monkeypatch.setattr(hardware, "_DISK", 0)
    for turns, outcome in ((True, FAILED), (False, PASSED), (None, HUMAN)):
        monkeypatch.setattr(hardware, "rotates", lambda _place, turns=turns: turns)
        assert (
            look(monkeypatch, node, "hardware.disk", told=given(node, disk=tmp_path))["hardware.disk"].outcome
            is outcome
        )


def test_interfaces_and_disks_are_asked_through_linux(tmp_path: Path) -> None:
    for name, speed in (("lo", "10000"), ("eth0", "1000"), ("virtual", "-1"), ("down", "")):
        (tmp_path / "class" / "net" / name).mkdir(parents=True)
        (tmp_path / "class" / "net" / name / "speed").write_text(speed)
    assert hardware.speeds(tmp_path) == {"eth0": 1000}
    assert hardware.judge_speeds({"eth0": 1000}).outcome is PASSED
    assert hardware.judge_speeds({"eth0": 100}).outcome is FAILED
    assert hardware.judge_speeds({}).outcome is HUMAN
    device = tmp_path.stat().st_dev
    block = tmp_path / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    assert hardware.rotates(tmp_path, tmp_path) is None
    (block / "queue").mkdir(parents=True)
    for text, turns in (("1\n", True), ("0\n", False)):
        (block / "queue" / "rotational").write_text(text)
        assert hardware.rotates(tmp_path, tmp_path) is turns


# The bench


def result(name: str, *runs: dict[str, Any], version: str = __version__, **more: Any) -> dict[str, Any]:
    base = {"format": FORMAT, "name": name, "written_at": "2026-11-01T00:00:00+00:00", "options": {},
            "machine": {"cores": 8}, "versions": {"pouw": version}, "runs": list(runs)}  # fmt: skip
    return base | more


def run(**changes: Any) -> dict[str, Any]:
    base = {"site": "node", "loop": "open", "rate": 10.0, "connections": 1000, "batch_size": 100, "encoding": "json",
            "requests": 1000, "statuses": {"200": 1000}, "audit": {"ok": True}, "receipts_per_sec": 1000.0,
            "latency_ms": {"p50": 5.0, "p99": 20.0}}  # fmt: skip
    return base | changes


def good_results() -> list[dict[str, Any]]:
    return [
        result("challenge", run(rate=1000.0), run(loop="at once")),
        result("submit", run()),
        result("submit", max_receipts_per_sec=15_000.0, options={"batch_size": 100, "seconds": 60}),
        result("peak", run(receipts_per_sec=5000.0)),
        result("soak", run(), options={"hours": 24, "rate": 1000}),
    ]


LOADS = tuple(name for name in ITEMS if name.startswith(("load.", "baseline.")))


def write(folder: Path, results: list[dict[str, Any]]) -> tuple[Path, ...]:
    for number, each in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(each))
    return (folder,)


def test_good_results_of_the_bench_pass_every_load_line(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = given(node, bench=write(tmp_path, good_results()))
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {name: line.evidence for name, line in found.items() if line.outcome is not PASSED} == {}


@pytest.mark.parametrize(
    ("results", "failing"),
    [
        ([result("challenge", run(rate=1000.0, latency_ms={"p50": 11.0, "p99": 101.0}), run(loop="at once"))],
         {"baseline.challenge_p50", "baseline.challenge_p99"}),
        ([result("submit", run(latency_ms={"p50": 60.0, "p99": 501.0}))],
         {"baseline.submit_p50", "baseline.submit_p99"}),
        ([result("submit", max_receipts_per_sec=900.0, options={"batch_size": 100, "seconds": 60})],
         {"baseline.throughput"}),
        ([result("challenge", run(rate=1000.0), run(loop="at once", statuses={"200": 999, "503": 1}))],
         {"load.challenge"}),
        ([result("submit", run(receipts_per_sec=900.0))], {"load.submit"}),
        ([result("submit", run(audit={"ok": False}))], {"load.submit", "baseline.submit_p50", "baseline.submit_p99"}),
        ([result("peak", run(receipts_per_sec=4000.0))], {"load.peak"}),
        ([result("soak", run(), options={"hours": 1, "rate": 1000})], {"load.soak"}),
        ([result("soak", run(), version="0.0.1", options={"hours": 24, "rate": 1000})], set(LOADS)),
    ],
)  # fmt: skip
def test_results_below_their_targets_fail_their_lines(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: list[dict[str, Any]], failing: set[str]
) -> None:
    told = given(node, bench=write(tmp_path, good_results() + results))
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {name for name, line in found.items() if line.outcome is FAILED} == failing


def test_results_that_are_none_or_do_not_have_it_fail(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = given(node, bench=write(tmp_path, [result("verify")]))
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {line.evidence for line in found.values()} == {"none of the 1 results given has it"}
    (tmp_path / "0.json").write_text("{}")
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {line.outcome for line in found.values()} == {FAILED}
    assert found["load.soak"].evidence.endswith("is not a result file of this bench.")


def test_the_names_of_the_recording_rules_are_those_that_are_delivered() -> None:
    delivered = (ROOT / "deploy" / "prometheus" / "recording.yml").read_text()
    assert tuple(re.findall(r"- record: (\S+)", delivered)) == monitoring.RECORDED
