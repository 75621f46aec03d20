"""Hours of load, in rounds that are audited each, while memory, connections and sizes are watched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from bench import growth, measure, results
from bench.corpus import Mix, make_clients
from bench.measure import Load
from bench.options import conclude, site_options

if TYPE_CHECKING:
    from bench.options import Target
    from bench.site import Site

_DIDS = 100
_BATCH = 100
_SECS_PER_HOUR = 3600


def soak(site: Site, seconds: float, rate: float, round_secs: float, connections: int) -> list[dict[str, Any]]:
    """Submit at ``rate`` receipts a second in rounds until the time is over; each round has a corpus of its own."""
    runs: list[dict[str, Any]] = []
    mix = Mix(1, _BATCH, _DIDS, invalid=0.01, replayed=0.01)
    end = time.monotonic() + seconds
    while not runs or time.monotonic() < end:
        clients = make_clients(site.base, _DIDS)  # so that challenges never expire, however long it takes
        load = Load(f"round {len(runs) + 1}", connections, rate / _BATCH, min(round_secs, seconds))
        runs.append(measure.open_loop(site, clients, mix, load))
        if measure.failed(runs):
            break
    return runs


@click.command("soak")
@click.option("--hours", default=1.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@click.option("--rate", default=1000.0, show_default=True, type=click.FloatRange(0.1), help="Receipts a second.")
@click.option("--every", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between samples.")
@click.option("--round", "round_secs", default=60.0, show_default=True, type=click.FloatRange(0.1))
@click.option("--connections", default=16, show_default=True, type=click.IntRange(1))
@site_options
def command(target: Target, hours: float, rate: float, every: float, round_secs: float, connections: int) -> None:
    """Submit for hours, audit every round, and report what grew."""
    with target.open() as site:
        warming = Load("warming up", connections, None, round_secs)
        measure.warm(site, make_clients(site.base, _DIDS), Mix(1, _BATCH, _DIDS), warming)
        with growth.Sampler(site, every) as sampler:
            runs = soak(site, hours * _SECS_PER_HOUR, rate, round_secs, connections)
        accepted = sum(run["audit"]["accepted"] for run in runs if run["audit"])
        grown = growth.growth(sampler.samples, accepted)
        for line in growth.lines(grown):
            click.echo(line)
        options = {"hours": hours, "rate": rate, "every": every, "round": round_secs, "connections": connections}
        content = {"samples": sampler.samples, "growth": grown}
        conclude(target, "soak", options, runs, settings=results.settings(site), **content)
