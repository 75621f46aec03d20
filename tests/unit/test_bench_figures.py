"""Histograms, windows, the search for the highest rate, comparisons, the sweep's choice and the tables."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hdrh.histogram import HdrHistogram

from bench import latency
from bench.commands.compare import compare, line
from bench.commands.peers import SCENARIOS, ratios
from bench.commands.workers import recommend, table
from bench.find_max import _narrow, _retreat, holds
from bench.growth import growth
from bench.load import Answer
from bench.targets import GOALS
from pouw.preflight.baselines import BASELINES


def answers(count: int = 1000) -> list[Answer]:
    """Answers of 1, 2, 3 … ms, one every 10 ms."""
    return [Answer(n, n / 100, n / 100, n / 100 + (n + 1) / 1000, 200, b"") for n in range(count)]


def run_of(**changes: Any) -> dict[str, Any]:
    """A run as a result file keeps it."""
    base: dict[str, Any] = {
        "label": "a load",
        "site": "node",
        "kind": "submit",
        "loop": "closed",
        "rate": None,
        "batch_size": 100,
        "encoding": "json",
        "connections": 16,
        "requests": 1000,
        "requests_per_sec": 100.0,
        "receipts_per_sec": 10_000.0,
        "latency_ms": {"p50": 10.0, "p99": 20.0, "max": 30.0},
        "windows": [],
        "statuses": {"200": 1000},
        "cpu_us_per_receipt": 60.0,
        "audit": {"ok": True},
    }
    return base | changes


def test_a_histogram_survives_its_encoded_form() -> None:
    kept = latency.summary(answers(), 100)
    decoded = HdrHistogram.decode(kept["histogram"])
    assert decoded.get_total_count() == 1000
    assert kept["latency_ms"]["p50"] == pytest.approx(500, rel=0.01)
    assert kept["latency_ms"]["p99"] == pytest.approx(990, rel=0.01)
    assert kept["latency_ms"]["max"] == pytest.approx(1000, rel=0.01)
    assert dict(latency.curve(kept["histogram"]))[50] == kept["latency_ms"]["p50"]
    assert max(each for each, _ in latency.curve(kept["histogram"])) == 99.9


def test_windows_and_seconds_count_everything_once() -> None:
    kept = latency.summary(answers(), 100)
    assert sum(kept["per_second"]) == 100_000
    assert len(kept["windows"]) == 10
    assert [window["p50_ms"] for window in kept["windows"]] == sorted(window["p50_ms"] for window in kept["windows"])


def test_no_answers_make_an_empty_summary() -> None:
    kept = latency.summary([], 1)
    assert (kept["latency_ms"], kept["windows"], kept["per_second"]) == ({}, [], [])


@pytest.mark.parametrize("limit", [900.0, 2_000.0, 10_050.0, 12_345.0, 15_000.0])
def test_the_search_comes_near_the_highest_rate_that_holds(limit: float) -> None:
    tried: list[float] = []

    def attempt(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = _narrow(limit * 1.02, attempt)
    assert found <= limit
    assert found > 0.9 * limit
    assert len(tried) <= 4


@pytest.mark.parametrize(("answered", "following"), [(0.0, 500), (1.0, 500), (800.0, 768), (1100.0, 960)])
def test_a_search_steps_below_what_was_answered_instead(answered: float, following: float) -> None:
    assert _retreat(1000.0, answered) == pytest.approx(following)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"latency_ms": {"p99": 500.0}}, False),
        ({"statuses": {"200": 999, "503": 1}}, False),
        ({"statuses": {"200": 999, "0": 1}}, False),
        ({"audit": {"ok": False}}, False),
        ({"audit": None}, True),
    ],
)
def test_a_rate_holds_without_errors_and_below_the_bound(changes: dict[str, Any], expected: bool) -> None:
    assert holds(run_of(**changes)) is expected


def test_repeats_tell_noise_and_differences_beyond_it() -> None:
    def result(rates: list[float]) -> dict[str, Any]:
        return {"runs": [run_of(requests_per_sec=rate) for rate in rates]}

    changes = {change.name: change for change in compare(result([100, 102, 98]), result([120, 119, 121]))}
    assert changes["node, a load: requests/s"].beyond is True
    assert changes["node, a load: requests/s"].ratio == pytest.approx(1.2)
    assert changes["node, a load: P50 ms"].beyond is False
    [same] = [each for each in compare(result([100, 90, 110]), result([103, 93, 113])) if "requests" in each.name]
    assert same.beyond is False
    assert "within noise" in line(same)


def test_windows_tell_the_noise_of_a_single_run() -> None:
    def result(rate: float, spread: float) -> dict[str, Any]:
        windows = [{"per_sec": (rate + n * spread) * 100, "p50_ms": 10, "p99_ms": 20} for n in (-1, 0, 1)]
        return {"runs": [run_of(requests_per_sec=rate, windows=windows)]}

    [change, *_rest, cpu] = compare(result(100, 1), result(101, 5))
    assert change.noise == pytest.approx(((1 / 3) + (25 / 3)) ** 0.5)
    assert change.beyond is False
    assert cpu.beyond is None
    assert "noise unknown" in line(cpu)


def test_the_sweep_recommends_the_fewest_of_those_as_fast() -> None:
    runs = [
        run_of(workers=workers, verify_threads=threads, receipts_per_sec=rate)
        for workers, threads, rate in ((1, 1, 8000), (2, 1, 9900), (2, 2, 10_000), (4, 2, 10_100), (4, 1, 9000))
    ]
    rows = table(runs)
    assert [row["receipts_per_sec"] for row in rows] == [10_100, 10_000, 9900, 9000, 8000]
    assert (recommend(rows)["workers"], recommend(rows)["verify_threads"]) == (2, 1)


def test_growth_is_told_from_the_second_half() -> None:
    def sample(secs: float, memory: int, table_bytes: int) -> dict[str, Any]:
        tables = {"receipts": {"table_bytes": table_bytes, "index_bytes": 10}}
        sizes = {"memory_bytes": memory * 2**20, "largest_bytes": 1, "open_files": 5, "database_connections": 3}
        return {"secs": secs, "tables": tables, **sizes}

    found = growth([sample(0, 50, 0), sample(1800, 100, 500), sample(3600, 101, 1000)], accepted=10)
    assert found["memory_mb_per_hour"] == pytest.approx(2.0)
    assert found["memory_bytes"]["first"] == 50 * 2**20
    assert found["database_bytes_per_receipt"] == 100
    assert found["tables"] == {"receipts": {"table_bytes": 1000, "index_bytes": 0}}


def judged(*found: dict[str, Any]) -> dict[str, bool | None]:
    """The goals that these results tell something about."""
    findings = {goal.measure: goal.judge(found) for goal in GOALS}
    return {measure: finding.passed for measure, finding in findings.items() if finding is not None}


def test_goals_are_found_in_results() -> None:
    assert judged() == {}
    fast, slow = {"p50": 5.0, "p99": 30.0}, {"p50": 50.0, "p99": 300.0}
    at_1000 = run_of(loop="open", rate=10.0, latency_ms=fast)
    key = "submit at 1,000 receipts/s"
    assert judged({"name": "submit", "runs": [at_1000]})[key] is True
    assert judged({"name": "submit", "runs": [at_1000 | {"latency_ms": slow}]})[key] is False
    assert judged({"name": "submit", "runs": [at_1000 | {"statuses": {"500": 1}}]})[key] is False
    newer = {"name": "submit", "runs": [at_1000 | {"latency_ms": slow}]}
    assert judged({"name": "submit", "runs": [at_1000]}, newer)[key] is False


@pytest.mark.parametrize(("rate", "secs", "expected"), [(15_000, 60, True), (14_999, 60, False), (20_000, 10, None)])
def test_the_highest_rate_counts_only_where_it_lasted(rate: float, secs: float, expected: bool | None) -> None:
    options = {"batch_size": 100, "seconds": secs}
    confirmed = run_of(label="confirmation at some rate", loop="open")
    result = {"name": "submit", "options": options, "max_receipts_per_sec": rate, "runs": [confirmed]}
    found = judged(result)
    assert found["submit, batches of 100, sustained 60 s, P99 < 500 ms"] is expected
    assert found["CPU per accepted receipt, node processes only"] is True


def test_baselines_are_those_of_the_checklist() -> None:
    names = [goal.measure for goal in BASELINES]
    assert names == [
        "Challenge latency P50",
        "Challenge latency P99",
        "Submit latency P50",
        "Submit latency P99",
        "Throughput",
    ]
    challenge = run_of(kind="challenge", loop="open", rate=1000.0, connections=1000)
    texts = [goal.judge([{"name": "challenge", "runs": [challenge]}]) for goal in BASELINES]
    assert [finding and finding.text for finding in texts] == ["10.0 ms", "20.0 ms", None, None, None]


def test_a_peer_that_answered_nothing_is_no_comparison() -> None:
    scenario = next(each for each in SCENARIOS if each.rate is None)
    runs = [
        {"label": scenario.name, "site": name, "loop": "closed", "requests_per_sec": rate}
        for name, rate in (("node", 5.0), ("peer", 0.0))
    ]
    with pytest.raises(click.ClickException, match="the peer answered nothing"):
        ratios(runs, [scenario])
    assert ratios([runs[0], runs[1] | {"requests_per_sec": 2.0}], [scenario])[0]["ratio"] == 2.5
