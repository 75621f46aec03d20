"""``pouw rejection``: what was refused, and why."""

from __future__ import annotations

import time

import click

from pouw.cli.durations import duration as as_duration
from pouw.cli.operators import open_database
from pouw.service.history import History
from pouw.service.readers import Readers

_NEWEST = 2**62


@click.group("rejection")
def command() -> None:
    """Look through the log of rejections. Reads POUW_DATABASE_URL."""


@command.command("list")
@click.option("--did")
@click.option("--reason")
@click.option("--detail")
@click.option("--since", type=as_duration, help="How far back: 30m, 12h, 7d.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
def list_all(did: str | None, reason: str | None, detail: str | None, since: int | None, limit: int) -> None:
    """List rejections, the newest first."""
    moment = None if since is None else int(time.time()) - since
    rows = History(Readers(open_database())).rejections(
        cursor=_NEWEST, limit=limit, did=did, reason=reason, detail=detail, since=moment
    )
    for row in rows:
        fault = f" ({row['fault']})" if row["fault"] else ""
        click.echo(
            f"{row['id']} {row['submitted_at']:%Y-%m-%d %H:%M:%S}Z {row['client_did']} item {row['index']}"
            f" {row['reason']} {row['detail']}{fault}"
        )
