"""``pouw block``: who is kept out."""

from __future__ import annotations

import click

from pouw.cli.durations import after
from pouw.cli.durations import duration as as_duration
from pouw.cli.operators import actor, open_database
from pouw.errors import AccessError
from pouw.service.access import Access


@click.group("block")
@click.pass_context
def command(context: click.Context) -> None:
    """Keep DIDs, addresses or networks out, list them, let them in again. Reads POUW_DATABASE_URL."""
    context.obj = Access(open_database())


@command.command("add")
@click.argument("subject")
@click.option("--reason", required=True, help="Why; it stands in the audit log.")
@click.option("--for", "duration", type=as_duration, help="How long: 30m, 12h, 7d.  [default: until it is lifted]")
@click.pass_obj
def add(access: Access, subject: str, reason: str, duration: int | None) -> None:
    """Block SUBJECT: a DID, an IP address, or a network such as 203.0.113.0/24. Nodes follow within two seconds."""
    access.block(subject, reason, actor(), after(duration))
    click.echo(f"{subject} is blocked.")


@command.command("lift")
@click.argument("subject")
@click.pass_obj
def lift(access: Access, subject: str) -> None:
    """Let SUBJECT in again."""
    if not access.lift_block(subject, actor()):
        raise AccessError(f"{subject} is not blocked.")
    click.echo(f"{subject} is not blocked any more.")


@command.command("list")
@click.pass_obj
def list_all(access: Access) -> None:
    """List the blocks in force, the newest first."""
    for row in access.blocks():
        until = "until it is lifted" if row.expires_at is None else f"until {row.expires_at:%Y-%m-%d %H:%M}Z"
        click.echo(f"{row.subject} {until}, by {row.by} at {row.since:%Y-%m-%d %H:%M}Z: {row.reason}")
