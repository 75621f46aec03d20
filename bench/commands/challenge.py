"""Challenges: many connections in a closed loop, all at once, and in an open loop at a fixed rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from bench import measure, results
from bench.measure import Load
from bench.options import conclude, site_options

if TYPE_CHECKING:
    from bench.options import Target
    from bench.site import Site

_GUESS_PER_SEC = 20_000  # more than any node answers, so that a closed loop ends by its time


def run(site: Site, connections: int, rate: float, seconds: float) -> list[dict[str, Any]]:
    """Measure the three ways of asking, each over the same number of connections."""
    measure.warm_challenges(site)
    burst = Load(f"{connections:,} requests at once", connections, math.inf)
    loop = Load("closed loop", connections, None, seconds)
    paced = Load(f"open loop at {rate:,g}/s", connections, rate, seconds)
    return [
        measure.challenges(site, loop, math.ceil(_GUESS_PER_SEC * seconds)),
        measure.challenges(site, burst, connections),
        measure.challenges(site, paced, max(1, math.ceil(rate * seconds))),
    ]


@click.command("challenge")
@click.option(
    "--rate", default=1000.0, show_default=True, type=click.FloatRange(0.1), help="Of the open loop, per second."
)
@click.option("--connections", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Of each loop.")
@site_options
def command(target: Target, rate: float, connections: int, seconds: float) -> None:
    """Ask for challenges: closed loop, all at once, open loop."""
    with target.open() as site:
        runs = run(site, connections, rate, seconds)
        options = {"rate": rate, "connections": connections, "seconds": seconds}
        conclude(target, "challenge", options, runs, settings=results.settings(site))
