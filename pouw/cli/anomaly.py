"""``pouw anomaly``: what looks odd."""

from __future__ import annotations

import click

from pouw.cli.operators import open_database
from pouw.service.history import History
from pouw.service.readers import Readers

_NEWEST = 2**62


@click.group("anomaly")
def command() -> None:
    """Look through the anomaly flags. Reads POUW_DATABASE_URL."""


@command.command("list")
@click.option("--did")
@click.option("--epoch", type=int)
@click.option("--kind", type=click.Choice(["cap_streak", "sudden_growth", "minimum_bytes"]))
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
def list_all(did: str | None, epoch: int | None, kind: str | None, limit: int) -> None:
    """List flags, the newest first. A flag takes no money away."""
    for row in History(Readers(open_database())).anomalies(
        cursor=_NEWEST, limit=limit, did=did, epoch=epoch, kind=kind
    ):
        click.echo(f"epoch {row['epoch']} {row['client_did']} {row['kind']} {row['note']}")
