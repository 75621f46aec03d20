"""``pouw migrate``: move the schema."""

from __future__ import annotations

import os

import click

from pouw.settings import read_database_url
from pouw.store import migrations


@click.command("migrate")
@click.argument("direction", type=click.Choice(["up", "down", "status"]))
@click.option("--yes", is_flag=True, help="Really undo: `down` drops what the newest migration made, rows included.")
def command(direction: migrations.Command, yes: bool) -> None:
    """Apply what is missing (up), undo the newest migration (down), or list both (status).

    Reads POUW_DATABASE_URL. Safe to run on several nodes at once.
    """
    if direction == "down" and not yes:
        raise click.UsageError("`down` can drop data: say --yes if you mean it.")
    click.echo(migrations.run(read_database_url(os.environ).reveal(), direction) or "Nothing to do.")
