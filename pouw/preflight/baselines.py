"""The checklist's load tests and baselines, judged from result files of the bench."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pouw import __version__
from pouw.errors import PreflightError
from pouw.preflight.lines import Finding, failed, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pouw.preflight.deployment import Deployment

    Results = Sequence[dict[str, Any]]

FORMAT = 1
AT_1000 = {"batch_size": 100, "loop": "open", "rate": 10.0, "encoding": "json"}
CHALLENGE = {"loop": "open", "rate": 1000.0, "connections": 1000}
_PER_SEC = 1_000
_PEAK_PER_SEC = 5_000
_SOAK_HOURS = 24
_NEARLY = 0.99
_OK = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, in words, and whether it is good enough; None where the run was too short to tell."""

    text: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of a table: the measure, what is asked for, and how to find it in results."""

    measure: str
    asked: str
    judge: Callable[[Results], Measured | None]


def read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read result files, and those in folders, oldest first; raise :class:`PreflightError` for any other file."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    results = []
    for file in files:
        try:
            result = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise PreflightError(f"{file} cannot be read: {error}") from error
        if not isinstance(result, dict) or result.get("format") != FORMAT:
            raise PreflightError(f"{file} is not a result file of this bench.")
        results.append(result | {"file": str(file)})
    return sorted(results, key=lambda result: str(result["written_at"]))


def errors(run: dict[str, Any]) -> int:
    """Return how many requests of a run were not answered with 200."""
    return sum(count for status, count in run["statuses"].items() if int(status) != _OK)


def clean(run: dict[str, Any]) -> bool:
    """Say whether every request was answered with 200 and the audit, if there was one, found no fault."""
    return errors(run) == 0 and (run["audit"] is None or bool(run["audit"]["ok"]))


def newest(results: Results, name: str, **wanted: Any) -> dict[str, Any] | None:
    """Return the newest run of the node in results of this name whose members are as wanted."""
    for result in reversed(results):
        if result["name"] == name:
            for run in reversed(result["runs"]):
                if run["site"] == "node" and all(run.get(member) == value for member, value in wanted.items()):
                    return dict(run)
    return None


def newest_max(results: Results) -> dict[str, Any] | None:
    """Return the newest search for the highest rate of batches of 100."""
    found = (each for each in reversed(results) if "max_receipts_per_sec" in each)
    return next((each for each in found if each["options"]["batch_size"] == 100), None)  # noqa: PLR2004 - the goal's size


def _percentile(name: str, which: str, bound: float, **wanted: Any) -> Callable[[Results], Measured | None]:
    def look(results: Results) -> Measured | None:
        run = newest(results, name, **wanted)
        if run is None:
            return None
        found = run["latency_ms"].get(which, float("inf"))
        wrong = "" if clean(run) else f", {errors(run)} errors, or faults of the audit"
        return Measured(f"{found:.1f} ms{wrong}", found < bound and clean(run))

    return look


def _throughput(results: Results) -> Measured | None:
    sustained = newest_max(results)
    if sustained is not None:
        text = f"{sustained['max_receipts_per_sec']:,.0f} receipts/s for {sustained['options']['seconds']:g} s"
        return Measured(text, sustained["max_receipts_per_sec"] > _PER_SEC)
    run = newest(results, "submit", batch_size=100, loop="closed", encoding="json")
    if run is None:
        return None
    return Measured(f"{run['receipts_per_sec']:,.0f} receipts/s", run["receipts_per_sec"] > _PER_SEC)


def _burst(results: Results) -> Measured | None:
    run = newest(results, "challenge", loop="at once")
    if run is None:
        return None
    return Measured(f"{errors(run)} of {run['requests']:,} failed", run["requests"] >= _PER_SEC and clean(run))


def _rate(name: str, least: float, **wanted: Any) -> Callable[[Results], Measured | None]:
    def look(results: Results) -> Measured | None:
        run = newest(results, name, **wanted)
        if run is None:
            return None
        rate = run["receipts_per_sec"]
        return Measured(f"{rate:,.0f} receipts/s, {errors(run)} errors", rate >= least * _NEARLY and clean(run))

    return look


def _soak(results: Results) -> Measured | None:
    result = next((each for each in reversed(results) if each["name"] == "soak"), None)
    if result is None:
        return None
    hours, runs = result["options"]["hours"], result["runs"]
    faults = sum(errors(run) for run in runs)
    text = f"{hours:g} hours at {result['options']['rate']:,.0f} receipts/s, {faults} errors"
    return Measured(text, hours >= _SOAK_HOURS and bool(runs) and all(clean(run) for run in runs))


BASELINES = (
    Goal("Challenge latency P50", "< 10ms", _percentile("challenge", "p50", 10, **CHALLENGE)),
    Goal("Challenge latency P99", "< 100ms", _percentile("challenge", "p99", 100, **CHALLENGE)),
    Goal("Submit latency P50", "< 50ms", _percentile("submit", "p50", 50, **AT_1000)),
    Goal("Submit latency P99", "< 500ms", _percentile("submit", "p99", 500, **AT_1000)),
    Goal("Throughput", "> 1000 rps", _throughput),
)
LOADS = (
    Goal("Challenge endpoint", "1000 concurrent requests", _burst),
    Goal("Submit endpoint", "1000 receipts/second sustained", _rate("submit", _PER_SEC, **AT_1000)),
    Goal("Peak load test", "5x expected traffic", _rate("peak", _PEAK_PER_SEC, loop="open")),
    Goal("Soak test", "24 hours at expected load", _soak),
)


def measured(goal: Goal) -> Callable[[Deployment], Finding]:
    """Make the check of a goal in the results that the command was given."""

    def look(deployment: Deployment) -> Finding:
        if not deployment.given.bench:
            return failed("not looked at: give --bench with result files of the bench")
        results: list[dict[str, Any]] = deployment.once("bench", lambda: read(deployment.given.bench))
        found = goal.judge(results)
        if found is None:
            return failed(f"none of the {len(results)} results given has it")
        newest_result = results[-1]
        versions = {str(result["versions"].get("pouw")) for result in results}
        told = f"{found.text}; results until {newest_result['written_at']} on {newest_result['machine']['cores']} cores"
        if versions != {__version__}:
            return failed(f"{told}, of version {', '.join(sorted(versions))} and not {__version__}")
        return judge(found.passed is True, told)

    return look
