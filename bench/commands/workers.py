"""A sweep of worker processes and verify threads on this machine, with a recommendation."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, Any

import click

from bench import measure, results
from bench import site as sites
from bench.corpus import Mix, make_clients
from bench.measure import Load
from bench.options import conclude, own_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.options import Target

_DIDS = 50
_BATCH = 100
_NEAR = 0.03
"""Throughputs that are this near are the same: then fewer processes and threads are better."""


def table(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians of each choice, the fastest first."""
    rows = []
    for workers, threads in sorted({(run["workers"], run["verify_threads"]) for run in runs}):
        own = [run for run in runs if (run["workers"], run["verify_threads"]) == (workers, threads)]
        rows.append(
            {
                "workers": workers,
                "verify_threads": threads,
                "receipts_per_sec": statistics.median(run["receipts_per_sec"] for run in own),
                "p50_ms": statistics.median(run["latency_ms"]["p50"] for run in own),
                "p99_ms": statistics.median(run["latency_ms"]["p99"] for run in own),
                "cpu_us_per_receipt": statistics.median(run["cpu_us_per_receipt"] for run in own),
            }
        )
    return sorted(rows, key=lambda row: -row["receipts_per_sec"])


def recommend(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the row with the fewest processes and threads among those as fast as the fastest."""
    near = [row for row in rows if row["receipts_per_sec"] >= (1 - _NEAR) * rows[0]["receipts_per_sec"]]
    return min(near, key=lambda row: (row["workers"], row["verify_threads"]))


@click.command("workers")
@click.option("--workers", multiple=True, type=click.IntRange(1), default=(1, 2, 3, 4), show_default=True)
@click.option("--threads", multiple=True, type=click.IntRange(1), default=(1, 2), show_default=True)
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1), help="Turns of each choice.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Of each turn.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
@own_options
def command(
    target: Target, workers: tuple[int, ...], threads: tuple[int, ...], rounds: int, seconds: float, connections: int
) -> None:
    """Sweep POUW_WORKERS and POUW_VERIFY_THREADS and recommend one for this machine."""
    runs: list[dict[str, Any]] = []
    with target.servers() as running:
        for turn, count, each in itertools.product(range(rounds), workers, threads):
            wanted = {**target.settings, "workers": count, "verify_threads": each}
            with sites.node(running, **wanted) as site:
                load = Load(f"{count} workers, {each} verify threads", connections, None, seconds)
                clients = make_clients(site.base, _DIDS)
                run = measure.closed(site, clients, Mix(1, _BATCH, _DIDS), load)
                runs += measure.noted([run], round=turn, workers=count, verify_threads=each)
                found = results.settings(site)
    rows = table(runs)
    best = recommend(rows)
    for row in rows:
        click.echo(_line(row))
    click.echo(f"for this machine: POUW_WORKERS={best['workers']} POUW_VERIFY_THREADS={best['verify_threads']}")
    options = {"workers": workers, "threads": threads, "rounds": rounds, "seconds": seconds, "connections": connections}
    conclude(target, "workers", options, runs, settings=found, rows=rows, recommended=best)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['workers']:3} workers, {row['verify_threads']:2} threads: {row['receipts_per_sec']:9,.0f} receipts/s, "
        f"P50 {row['p50_ms']:.0f} ms, P99 {row['p99_ms']:.0f} ms, {row['cpu_us_per_receipt']:.0f} µs CPU per receipt"
    )
