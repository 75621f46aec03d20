"""A short pass over everything, which ends with a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.commands import challenge, peak, peers, report, submit, verify, workers
from bench.options import out_option

if TYPE_CHECKING:
    from pathlib import Path


def steps(seconds: float) -> list[tuple[click.Command, list[str]]]:
    """Return the commands of the pass with their arguments."""
    each = ["--seconds", str(seconds)]
    return [
        (verify.command, ["--rounds", "5"]),
        (challenge.command, each),
        (submit.command, each),
        (submit.command, [*each, "--closed"]),
        (submit.command, [*each, "--closed", "--protobuf"]),
        (submit.command, [*each, "--closed", "--batch-size", "1"]),
        (peak.command, each),
        (peers.command, [*each, "--rounds", "2"]),
        (workers.command, [*each, "--rounds", "1", "--workers", "1", "--workers", "2", "--workers", "3"]),
    ]


@click.command("all")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Of each measurement.")
@out_option
def command(out: Path, seconds: float) -> None:
    """Run everything for a short time, and write the report; rates that must last need their own runs."""
    faults: list[str] = []
    for step, arguments in steps(seconds):
        click.echo(f"== {step.name} {' '.join(arguments)}")
        _run(step, [*arguments, "--out", str(out)], faults)
    _run(report.command, [str(out)], faults)
    if faults:
        raise click.ClickException("; ".join(faults))


def _run(step: click.Command, arguments: list[str], faults: list[str]) -> Any:
    try:
        return step.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        faults.append(f"{step.name}: {error.message}")
