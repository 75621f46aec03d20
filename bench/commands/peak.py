"""Five times the expected load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench import measure, results
from bench.corpus import Mix, make_clients
from bench.measure import Load
from bench.options import conclude, site_options

if TYPE_CHECKING:
    from bench.options import Target

_DIDS = 100
_BATCH = 100


@click.command("peak")
@click.option("--rate", default=5000.0, show_default=True, type=click.FloatRange(0.1), help="Receipts a second.")
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(0.1))
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
@site_options
def command(target: Target, rate: float, seconds: float, connections: int) -> None:
    """Submit five times the expected load: 5,000 receipts/s in batches of 100, open loop."""
    with target.open() as site:
        mix = Mix(1, _BATCH, _DIDS)
        clients = make_clients(site.base, _DIDS)
        load = Load(f"peak of {rate:,g} receipts/s", connections, rate / _BATCH, seconds)
        measure.warm(site, clients, mix, load)
        runs = [measure.open_loop(site, clients, mix, load)]
        options = {"rate": rate, "seconds": seconds, "connections": connections}
        conclude(target, "peak", options, runs, settings=results.settings(site))
