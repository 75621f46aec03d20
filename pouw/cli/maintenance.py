"""``pouw maintenance``: no challenges and no batches for a while, on all nodes at once."""

from __future__ import annotations

import click

from pouw.cli.durations import moment
from pouw.cli.operators import actor, open_database
from pouw.service.maintenance import Maintenance


@click.group("maintenance", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Begin or end a maintenance, or show it. Reads POUW_DATABASE_URL.

    Meanwhile every node answers /challenge and /submit with 503, the reason, and when to ask again. Batches that are
    in work are finished; reads, health and metrics go on. Nodes follow within two seconds.
    """
    context.obj = maintenance = Maintenance(open_database())
    if context.invoked_subcommand is None:
        _show(maintenance)


@command.command("on")
@click.option("--reason", required=True, help="Why; clients see it, and it stands in the audit log.")
@click.option(
    "--until",
    type=moment,
    help="When it ends by itself: in 90s, 30m, 12h or 7d, or at 2026-12-31T23:30Z.  [default: with `off`]",
)
@click.pass_obj
def switch_on(maintenance: Maintenance, reason: str, until: float | None) -> None:
    """Begin a maintenance, or give the present one another reason and end."""
    maintenance.announce(reason, actor(), until)
    _show(maintenance)


@command.command("off")
@click.pass_obj
def switch_off(maintenance: Maintenance) -> None:
    """End the maintenance. Where there is none, nothing is changed."""
    ended = maintenance.take_back(actor())
    click.echo("The maintenance is over." if ended else "There is no maintenance.")


def _show(maintenance: Maintenance) -> None:
    announced = maintenance.look()
    if announced is None:
        click.echo("There is no maintenance.")
        return
    until = "it is switched off" if announced.ends_at is None else f"{announced.ends_at:%Y-%m-%d %H:%M:%S}Z"
    click.echo(f"Maintenance since {announced.since:%Y-%m-%d %H:%M:%S}Z until {until}, by {announced.by}:")
    click.echo(announced.reason)
