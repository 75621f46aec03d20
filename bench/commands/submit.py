"""Batches of receipts: at a fixed rate, in a closed loop, or the highest rate that holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench import measure, results
from bench.corpus import Mix, make_clients
from bench.find_max import find_max
from bench.measure import Load
from bench.options import conclude, site_options

if TYPE_CHECKING:
    from bench.options import Target

SHARE = click.FloatRange(0, 1)
_MAX_SECS = 60.0
_SECS = 10.0


@click.command("submit")
@click.option("--rate", default=1000.0, show_default=True, type=click.FloatRange(0.1), help="Receipts a second.")
@click.option("--seconds", type=click.FloatRange(0.1), help="How long; 10 without it, 60 with --find-max.")
@click.option("--batch-size", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--protobuf", is_flag=True, help="Compact bodies instead of JSON.")
@click.option("--invalid", default=0.0, show_default=True, type=SHARE, help="Share of wrong signatures.")
@click.option("--replayed", default=0.0, show_default=True, type=SHARE, help="Share of repeated receipts.")
@click.option("--dids", default=100, show_default=True, type=click.IntRange(1), help="Clients, each with a challenge.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
@click.option("--closed", is_flag=True, help="A closed loop: each connection sends when it has its answer.")
@click.option("--find-max", "find", is_flag=True, help="Search the highest rate with P99 < 500 ms and no error.")
@site_options
def command(target: Target, find: bool, closed: bool, seconds: float | None, **options: Any) -> None:
    """Submit batches of signed receipts; the database is audited afterwards."""
    if find and closed:
        raise click.UsageError("--find-max is an open loop.")
    if options["replayed"] and options["batch_size"] == 1:
        raise click.UsageError("--replayed repeats a receipt within its batch: use batches of two or more.")
    seconds = seconds or (_MAX_SECS if find else _SECS)
    with target.open() as site:
        clients = make_clients(site.base, options["dids"])
        mix = _mix(options)
        extra: dict[str, Any] = {}
        if find:
            runs, best = find_max(site, clients, mix, options["connections"], seconds)
            extra["max_receipts_per_sec"] = best
        elif closed:
            load = Load(f"closed loop, {_words(mix)}", options["connections"], None, seconds)
            runs = [measure.closed(site, clients, mix, load)]
        else:
            label = f"{options['rate']:,g} receipts/s, {_words(mix)}"
            load = Load(label, options["connections"], options["rate"] / mix.batch_size, seconds)
            measure.warm(site, clients, mix, load)
            runs = [measure.open_loop(site, clients, mix, load)]
        shown = options | {"seconds": seconds, "closed": closed, "find_max": find}
        conclude(target, "submit", shown, runs, settings=results.settings(site), **extra)


def _mix(options: dict[str, Any]) -> Mix:
    return Mix(
        batches=1,
        batch_size=options["batch_size"],
        dids=options["dids"],
        compact=options["protobuf"],
        invalid=options["invalid"],
        replayed=options["replayed"],
    )


def _words(mix: Mix) -> str:
    shares = {"invalid": mix.invalid, "replayed": mix.replayed}
    parts = [f"batches of {mix.batch_size}", *(f"{share:.0%} {name}" for name, share in shares.items() if share)]
    return ", ".join([*parts, "protobuf"] if mix.compact else parts)
