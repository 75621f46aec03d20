"""The node and a plain FastAPI service in turn, on one PostgreSQL, with the same kind of corpus."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bench import measure, results
from bench import site as sites
from bench.corpus import Mix, make_clients
from bench.measure import Load
from bench.options import conclude, own_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.options import Target
    from bench.site import Site

_MOST_CHALLENGES_PER_SEC = 20_000
_DIDS = 50


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load that both sites get: ``rate`` receipts a second, or a closed loop; challenges where there is no batch."""

    name: str
    batch_size: int | None
    connections: int
    rate: float | None = None


SCENARIOS = (
    Scenario("batches of 100", 100, 64),
    Scenario("batches of 100, few clients", 100, 16),
    Scenario("batches of one", 1, 64),
    Scenario("challenges", None, 64),
    Scenario("1,000 receipts/s", 100, 16, 1000.0),
)


def run_one(name: str, site: Site, scenario: Scenario, seconds: float) -> dict[str, Any]:
    """Give one site one load."""
    if scenario.batch_size is None:
        load = Load(scenario.name, scenario.connections, None, seconds, name)
        measure.warm_challenges(site)
        return measure.challenges(site, load, math.ceil(_MOST_CHALLENGES_PER_SEC * seconds))
    clients = make_clients(site.base, _DIDS)
    mix = Mix(1, scenario.batch_size, _DIDS)
    if scenario.rate is None:
        return measure.closed(site, clients, mix, Load(scenario.name, scenario.connections, None, seconds, name))
    load = Load(scenario.name, scenario.connections, scenario.rate / scenario.batch_size, seconds, name)
    measure.warm(site, clients, mix, load)
    return measure.open_loop(site, clients, mix, load)


def ratios(runs: Sequence[dict[str, Any]], scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """Return the medians of both sites for each load, and the node's as a multiple of the peer's.

    Where the rate is fixed the median latency is compared, so there less than 1 is better.
    """
    rows = []
    for scenario in scenarios:
        medians = {}
        for site in ("node", "peer"):
            own = [run for run in runs if run["label"] == scenario.name and run["site"] == site]
            medians[site] = statistics.median(_figure(run) for run in own)
        measured = "requests a second" if scenario.rate is None else "P50 in ms"
        if not medians["peer"]:
            raise click.ClickException(
                f"{scenario.name}: the peer answered nothing in its turns; give it more --seconds"
            )
        ratio = medians["node"] / medians["peer"]
        rows.append({"label": scenario.name, "measured": measured, **medians, "ratio": ratio})
    return rows


def _figure(run: dict[str, Any]) -> float:
    return float(run["requests_per_sec"] if run["loop"] == "closed" else run["latency_ms"]["p50"])


def take_turns(
    both: Mapping[str, Site], scenarios: Sequence[Scenario], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Run node, peer, node, peer … for each load."""
    runs = []
    for scenario in scenarios:
        for turn in range(rounds):
            for name, site in both.items():
                runs += measure.noted([run_one(name, site, scenario, seconds)], round=turn)
    return runs


@click.command("peers")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(2), help="Turns of each site.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Of each turn.")
@click.option(
    "--load", "names", multiple=True, type=click.Choice([each.name for each in SCENARIOS]), help="Only these."
)
@own_options
def command(target: Target, rounds: int, seconds: float, names: tuple[str, ...]) -> None:
    """Compare the node with a plain FastAPI service, in turn, as ratios."""
    scenarios = [each for each in SCENARIOS if not names or each.name in names]
    with target.servers() as running, sites.node(running, **target.settings) as node, sites.peer(running) as peer:
        both = {"node": node, "peer": peer}
        runs = take_turns(both, scenarios, rounds, seconds)
        rows = ratios(runs, scenarios)
        for row in rows:
            figures = f"node {row['node']:,.1f}, peer {row['peer']:,.1f}: {row['ratio']:.2f}"
            click.echo(f"{row['label']} ({row['measured']}): {figures}")
        found = {name: results.settings(site) for name, site in both.items()}
        conclude(target, "peers", {"rounds": rounds, "seconds": seconds}, runs, settings=found, rows=rows)
