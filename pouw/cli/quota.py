"""``pouw quota``: quotas that are other than usual."""

from __future__ import annotations

import time

import click

from pouw.cli.durations import duration as as_duration
from pouw.cli.operators import actor, open_database
from pouw.errors import AccessError
from pouw.service.access import Access


@click.group("quota")
@click.pass_context
def command(context: click.Context) -> None:
    """Give DIDs, addresses or networks a quota of their own. Reads POUW_DATABASE_URL."""
    context.obj = Access(open_database())


@command.command("set")
@click.argument("subject")
@click.option("--per-minute", required=True, type=click.IntRange(min=0), help="Requests a minute.")
@click.option("--reason", required=True, help="Why; it stands in the audit log.")
@click.option("--for", "duration", required=True, type=as_duration, help="How long: 30m, 12h, 7d.")
@click.pass_obj
def set_quota(access: Access, subject: str, per_minute: int, reason: str, duration: int) -> None:
    """Set the quota of SUBJECT: a DID, or each address of a network such as 203.0.113.0/24."""
    access.set_quota(subject, per_minute, reason, actor(), time.time() + duration)
    click.echo(f"{subject} has {per_minute} requests a minute.")


@command.command("lift")
@click.argument("subject")
@click.pass_obj
def lift(access: Access, subject: str) -> None:
    """Give SUBJECT the usual quota again."""
    if not access.lift_quota(subject, actor()):
        raise AccessError(f"{subject} has the usual quota.")
    click.echo(f"{subject} has the usual quota again.")


@command.command("list")
@click.pass_obj
def list_all(access: Access) -> None:
    """List the quotas in force that are other than usual, the newest first."""
    for row in access.quotas():
        since, until = f"{row.since:%Y-%m-%d %H:%M}Z", f"{row.expires_at:%Y-%m-%d %H:%M}Z"
        click.echo(f"{row.subject} {row.per_minute} a minute until {until}, by {row.by} at {since}: {row.reason}")
