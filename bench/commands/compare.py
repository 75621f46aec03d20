"""Two result files side by side: what changed, and which changes are more than noise."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import results

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGMAS = 2.0
_LATENCIES = {"p50_ms": "p50", "p99_ms": "p99"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a result: its value, and its standard error where repeats or windows tell one."""

    value: float
    noise: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """How a figure differs between two results; ``beyond`` is None where the noise is not known."""

    name: str
    before: Figure
    after: Figure

    @property
    def ratio(self) -> float:
        """The later as a multiple of the earlier."""
        return self.after.value / self.before.value if self.before.value else math.inf

    @property
    def noise(self) -> float | None:
        """The standard error of the difference."""
        if self.before.noise is None or self.after.noise is None:
            return None
        return math.hypot(self.before.noise, self.after.noise)

    @property
    def beyond(self) -> bool | None:
        """Whether the difference is more than twice its standard error."""
        return None if self.noise is None else abs(self.after.value - self.before.value) > _SIGMAS * self.noise


def figures(result: dict[str, Any]) -> dict[str, Figure]:
    """Return every figure of a result by its name: runs with the same label are repeats of each other."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in result["runs"]:
        groups.setdefault(f"{run['site']}, {run['label']}", []).append(run)
    found: dict[str, Figure] = {}
    for label, runs in groups.items():
        for name, values, windows in _columns(runs):
            found[f"{label}: {name}"] = Figure(statistics.median(values), _noise(values, windows))
    for row in result.get("rows", ()):
        if "samples" in row:
            name = f"{row['engine']}, {row['threads']} threads, batches of {row['batch_size']}: µs per signature"
            found[name] = Figure(row["us_per_signature"], _noise(row["samples"], []))
    return found


def _columns(runs: Sequence[dict[str, Any]]) -> list[tuple[str, list[float], list[float]]]:
    """Return each figure of some repeats: its name, a value for each, and those of the windows of a single one."""
    windows = runs[0]["windows"] if len(runs) == 1 else []
    rates = [window["per_sec"] for window in windows]
    columns = [("requests/s", [run["requests_per_sec"] for run in runs], _per_request(rates, runs[0]))]
    for name, which in _LATENCIES.items():
        values = [run["latency_ms"][which] for run in runs if run["latency_ms"]]
        columns.append((f"{which.upper()} ms", values, [window[name] for window in windows]))
    cpu = [run["cpu_us_per_receipt"] for run in runs if run.get("cpu_us_per_receipt")]
    columns.append(("µs CPU per receipt", cpu, []))
    return [column for column in columns if column[1]]


def _per_request(rates: list[float], run: dict[str, Any]) -> list[float]:
    return [rate / run.get("batch_size", 1) for rate in rates]


def _noise(values: Sequence[float], windows: Sequence[float]) -> float | None:
    sample = values if len(values) > 1 else windows
    return statistics.stdev(sample) / math.sqrt(len(sample)) if len(sample) > 1 else None


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Return the changes of the figures that both results have."""
    first, second = figures(before), figures(after)
    return [Change(name, first[name], second[name]) for name in first if name in second]


def line(change: Change) -> str:
    """Return a change as text."""
    word = {True: "differs", False: "within noise", None: "noise unknown"}[change.beyond]
    noise = "" if change.noise is None else f" ± {change.noise:,.2f}"
    return f"{change.name}: {change.before.value:,.2f} → {change.after.value:,.2f}{noise} ({change.ratio:.3f}): {word}"


@click.command("compare")
@click.argument("before", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("after", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def command(before: Path, after: Path) -> None:
    """Compare two result files; a change counts when it is more than twice its standard error."""
    first, second = results.read([before])[0], results.read([after])[0]
    for member in ("machine", "versions"):
        if first[member] != second[member]:
            click.echo(f"note: the {member} differ")
    changes = compare(first, second)
    if not changes:
        raise click.UsageError("These two have no figure in common.")
    for change in changes:
        click.echo(line(change))
