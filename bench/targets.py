"""What the node is measured against: the checklist's baselines and the targets of the project, from result files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pouw.preflight.baselines import AT_1000, CHALLENGE, Goal, Measured, clean, errors, newest, newest_max

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Results = Sequence[dict[str, Any]]

_LONG_SECS = 60
_MOST_PER_SEC = 15_000
_PEER_RATIO = 1.2
_ONE_PER_SEC = 2_500
_CHALLENGES_PER_SEC = 3_000
_SLOWEST_MS = 2_000
_PEAK_P99_MS = 200
_CPU_US = 68


def _max(results: Results) -> Measured | None:
    result = newest_max(results)
    if result is None:
        return None
    rate, seconds = result["max_receipts_per_sec"], result["options"]["seconds"]
    text = f"{rate:,.0f} receipts/s for {seconds:g} s"
    return Measured(text, rate >= _MOST_PER_SEC if seconds >= _LONG_SECS else None)


def _ratio(results: Results) -> Measured | None:
    result = next((each for each in reversed(results) if each["name"] == "peers"), None)
    if result is None:
        return None
    row = next((each for each in result["rows"] if each["label"] == "batches of 100"), None)
    if row is None:
        return None
    return Measured(f"{row['ratio']:.2f} times the peer", row["ratio"] >= _PEER_RATIO)


def _latency(name: str, p50: float, p99: float, **wanted: Any) -> Callable[[Results], Measured | None]:
    def judge(results: Results) -> Measured | None:
        run = newest(results, name, **wanted)
        if run is None:
            return None
        found = run["latency_ms"]
        text = f"P50 {found['p50']:.1f} ms, P99 {found['p99']:.1f} ms, {errors(run)} errors"
        return Measured(text, found["p50"] < p50 and found["p99"] < p99 and clean(run))

    return judge


def _one(results: Results) -> Measured | None:
    wanted = {"batch_size": 1, "loop": "closed", "encoding": "json"}
    run = newest(results, "submit", **wanted) or newest(results, "peers", **wanted)
    if run is None:
        return None
    rate = run["receipts_per_sec"]
    return Measured(f"{rate:,.0f} receipts/s", rate >= _ONE_PER_SEC and clean(run))


def _closed_challenges(results: Results) -> Measured | None:
    run = newest(results, "challenge", loop="closed")
    if run is None:
        return None
    rate = run["requests_per_sec"]
    return Measured(
        f"{rate:,.0f}/s over {run['connections']:,} connections", rate >= _CHALLENGES_PER_SEC and clean(run)
    )


def _burst(results: Results) -> Measured | None:
    run = newest(results, "challenge", loop="at once")
    if run is None:
        return None
    slowest = run["latency_ms"].get("max", float("inf"))
    text = f"{errors(run)} of {run['requests']:,} failed, slowest {slowest:,.0f} ms"
    return Measured(text, slowest < _SLOWEST_MS and clean(run))


def _peak(results: Results) -> Measured | None:
    run = newest(results, "peak", loop="open")
    if run is None:
        return None
    p99 = run["latency_ms"].get("p99", float("inf"))
    text = f"{run['receipts_per_sec']:,.0f} receipts/s, {errors(run)} errors, P99 {p99:.1f} ms"
    return Measured(text, p99 < _PEAK_P99_MS and clean(run))


def _cpu(results: Results) -> Measured | None:
    result = newest_max(results)
    found = [run for run in result["runs"] if run["label"].startswith("confirmation")] if result else []
    run = found[-1] if found else newest(results, "submit", batch_size=100, loop="closed", encoding="json")
    if run is None or run["cpu_us_per_receipt"] is None:
        return None
    return Measured(f"{run['cpu_us_per_receipt']:.0f} µs", run["cpu_us_per_receipt"] <= _CPU_US)


GOALS = (
    Goal("submit, batches of 100, sustained 60 s, P99 < 500 ms", "≥ 15,000 receipts/s", _max),
    Goal("submit, batches of 100, beside the FastAPI peer", "≥ 1.2 times", _ratio),
    Goal("submit at 1,000 receipts/s", "P50 < 12 ms, P99 < 40 ms", _latency("submit", 12, 40, **AT_1000)),
    Goal("submit, one receipt per batch", "≥ 2,500 receipts/s", _one),
    Goal(
        "challenge, 1,000 connections, open loop at 1,000/s",
        "P50 < 10 ms, P99 < 100 ms",
        _latency("challenge", 10, 100, **CHALLENGE),
    ),
    Goal("challenge, closed loop", "≥ 3,000/s", _closed_challenges),
    Goal("challenge, 1,000 requests at once", "none fails, slowest < 2 s", _burst),
    Goal("peak, 5,000 receipts/s", "no error, P99 < 200 ms", _peak),
    Goal("CPU per accepted receipt, node processes only", "≤ 68 µs", _cpu),
)
