"""What the node is measured against: the checklist's baselines and the targets of the project, from result files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.measure import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Results = Sequence[dict[str, Any]]

_LONG_SECS = 60
_MOST_PER_SEC = 15_000
_BASELINE_PER_SEC = 1_000
_PEER_RATIO = 1.2
_ONE_PER_SEC = 2_500
_CHALLENGES_PER_SEC = 3_000
_SLOWEST_MS = 2_000
_PEAK_P99_MS = 200
_CPU_US = 68


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured, in words, and whether it is good enough; None where the run was too short to tell."""

    text: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of a table: the measure, what is asked for, and how to find it in results."""

    measure: str
    asked: str
    judge: Callable[[Results], Finding | None]


def newest(results: Results, name: str, **wanted: Any) -> dict[str, Any] | None:
    """Return the newest run of the node in results of this name whose members are as wanted."""
    for result in reversed(results):
        if result["name"] == name:
            for run in reversed(result["runs"]):
                if run["site"] == "node" and all(run.get(member) == value for member, value in wanted.items()):
                    return dict(run)
    return None


def _clean(run: dict[str, Any]) -> bool:
    return errors(run) == 0 and (run["audit"] is None or bool(run["audit"]["ok"]))


def _newest_max(results: Results) -> dict[str, Any] | None:
    found = (each for each in reversed(results) if "max_receipts_per_sec" in each)
    return next((each for each in found if each["options"]["batch_size"] == 100), None)  # noqa: PLR2004 - the goal's size


def _max(results: Results) -> Finding | None:
    result = _newest_max(results)
    if result is None:
        return None
    rate, seconds = result["max_receipts_per_sec"], result["options"]["seconds"]
    text = f"{rate:,.0f} receipts/s for {seconds:g} s"
    return Finding(text, rate >= _MOST_PER_SEC if seconds >= _LONG_SECS else None)


def _ratio(results: Results) -> Finding | None:
    result = next((each for each in reversed(results) if each["name"] == "peers"), None)
    if result is None:
        return None
    row = next((each for each in result["rows"] if each["label"] == "batches of 100"), None)
    if row is None:
        return None
    return Finding(f"{row['ratio']:.2f} times the peer", row["ratio"] >= _PEER_RATIO)


def _latency(name: str, p50: float, p99: float, **wanted: Any) -> Callable[[Results], Finding | None]:
    def judge(results: Results) -> Finding | None:
        run = newest(results, name, **wanted)
        if run is None:
            return None
        found = run["latency_ms"]
        text = f"P50 {found['p50']:.1f} ms, P99 {found['p99']:.1f} ms, {errors(run)} errors"
        return Finding(text, found["p50"] < p50 and found["p99"] < p99 and _clean(run))

    return judge


def _one(results: Results) -> Finding | None:
    wanted = {"batch_size": 1, "loop": "closed", "encoding": "json"}
    run = newest(results, "submit", **wanted) or newest(results, "peers", **wanted)
    if run is None:
        return None
    rate = run["receipts_per_sec"]
    return Finding(f"{rate:,.0f} receipts/s", rate >= _ONE_PER_SEC and _clean(run))


def _closed_challenges(results: Results) -> Finding | None:
    run = newest(results, "challenge", loop="closed")
    if run is None:
        return None
    rate = run["requests_per_sec"]
    return Finding(
        f"{rate:,.0f}/s over {run['connections']:,} connections", rate >= _CHALLENGES_PER_SEC and _clean(run)
    )


def _burst(results: Results) -> Finding | None:
    run = newest(results, "challenge", loop="at once")
    if run is None:
        return None
    slowest = run["latency_ms"].get("max", float("inf"))
    text = f"{errors(run)} of {run['requests']:,} failed, slowest {slowest:,.0f} ms"
    return Finding(text, slowest < _SLOWEST_MS and _clean(run))


def _peak(results: Results) -> Finding | None:
    run = newest(results, "peak", loop="open")
    if run is None:
        return None
    p99 = run["latency_ms"].get("p99", float("inf"))
    text = f"{run['receipts_per_sec']:,.0f} receipts/s, {errors(run)} errors, P99 {p99:.1f} ms"
    return Finding(text, p99 < _PEAK_P99_MS and _clean(run))


def _cpu(results: Results) -> Finding | None:
    result = _newest_max(results)
    found = [run for run in result["runs"] if run["label"].startswith("confirmation")] if result else []
    run = found[-1] if found else newest(results, "submit", batch_size=100, loop="closed", encoding="json")
    if run is None or run["cpu_us_per_receipt"] is None:
        return None
    return Finding(f"{run['cpu_us_per_receipt']:.0f} µs", run["cpu_us_per_receipt"] <= _CPU_US)


_AT_1000 = {"batch_size": 100, "loop": "open", "rate": 10.0, "encoding": "json"}
_CHALLENGE = {"loop": "open", "rate": 1000.0, "connections": 1000}

GOALS = (
    Goal("submit, batches of 100, sustained 60 s, P99 < 500 ms", "≥ 15,000 receipts/s", _max),
    Goal("submit, batches of 100, beside the FastAPI peer", "≥ 1.2 times", _ratio),
    Goal("submit at 1,000 receipts/s", "P50 < 12 ms, P99 < 40 ms", _latency("submit", 12, 40, **_AT_1000)),
    Goal("submit, one receipt per batch", "≥ 2,500 receipts/s", _one),
    Goal(
        "challenge, 1,000 connections, open loop at 1,000/s",
        "P50 < 10 ms, P99 < 100 ms",
        _latency("challenge", 10, 100, **_CHALLENGE),
    ),
    Goal("challenge, closed loop", "≥ 3,000/s", _closed_challenges),
    Goal("challenge, 1,000 requests at once", "none fails, slowest < 2 s", _burst),
    Goal("peak, 5,000 receipts/s", "no error, P99 < 200 ms", _peak),
    Goal("CPU per accepted receipt, node processes only", "≤ 68 µs", _cpu),
)


def _percentile(name: str, which: str, bound: float, **wanted: Any) -> Callable[[Results], Finding | None]:
    def judge(results: Results) -> Finding | None:
        run = newest(results, name, **wanted)
        if run is None:
            return None
        return Finding(f"{run['latency_ms'][which]:.1f} ms", run["latency_ms"][which] < bound)

    return judge


def _throughput(results: Results) -> Finding | None:
    sustained = _newest_max(results)
    if sustained is not None:
        text = f"{sustained['max_receipts_per_sec']:,.0f} receipts/s for {sustained['options']['seconds']:g} s"
        return Finding(text, sustained["max_receipts_per_sec"] > _BASELINE_PER_SEC)
    run = newest(results, "submit", batch_size=100, loop="closed", encoding="json")
    if run is None:
        return None
    return Finding(f"{run['receipts_per_sec']:,.0f} receipts/s", run["receipts_per_sec"] > _BASELINE_PER_SEC)


BASELINES = (
    Goal("Challenge latency P50", "< 10ms", _percentile("challenge", "p50", 10, **_CHALLENGE)),
    Goal("Challenge latency P99", "< 100ms", _percentile("challenge", "p99", 100, **_CHALLENGE)),
    Goal("Submit latency P50", "< 50ms", _percentile("submit", "p50", 50, **_AT_1000)),
    Goal("Submit latency P99", "< 500ms", _percentile("submit", "p99", 500, **_AT_1000)),
    Goal("Throughput", "> 1000 rps", _throughput),
)
