"""``pouw backup``: telling the nodes that a backup was made, so that they can say how old the last one is."""

from __future__ import annotations

import click

from pouw.cli.operators import actor, open_database
from pouw.service.figures import note_backup


@click.group("backup")
def command() -> None:
    """Note backups of the database. Reads POUW_DATABASE_URL."""


@command.command("note")
@click.option("--reason", default="", help="What was backed up, and to where; it stands in the audit log.")
def note(reason: str) -> None:
    """Say that a backup has just succeeded: the last line of the script that makes it."""
    note_backup(open_database(), actor(), reason)
    click.echo("Noted: the last backup is of now.")
