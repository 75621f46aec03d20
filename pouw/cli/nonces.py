"""``pouw nonces``: what was ever credited."""

from __future__ import annotations

import click

from pouw.cli.operators import actor, open_database
from pouw.store import nonces


@click.group("nonces")
def command() -> None:
    """Look after the table that keeps receipts from being credited twice. Reads POUW_DATABASE_URL."""


@command.command("rebuild")
@click.option("--reason", required=True, help="Why; it stands in the audit log.")
def rebuild(reason: str) -> None:
    """Put back the nonces of stored receipts that are missing, which changes nothing where none are.

    Announce a maintenance before: until they are back, a receipt that is sent again could be credited again.
    """
    click.echo(
        f"{nonces.rebuild(open_database(), actor(), reason):,} nonces were missing or ended too early, and are back."
    )
