"""``pouw backup``: telling the nodes that a backup was made or restored, so that they can say how long ago."""

from __future__ import annotations

import click

from pouw.cli.operators import actor, open_database
from pouw.service.figures import note_backup, note_restore


@click.group("backup")
def command() -> None:
    """Note backups of the database. Reads POUW_DATABASE_URL."""


@command.command("note")
@click.option("--reason", default="", help="What was backed up, and to where; it stands in the audit log.")
def note(reason: str) -> None:
    """Say that a backup has just succeeded: the last line of the script that makes it."""
    note_backup(open_database(), actor(), reason)
    click.echo("Noted: the last backup is of now.")


@command.command("restored")
@click.option("--reason", required=True, help="Which backup, to where, and how it was checked; for the audit log.")
def restored(reason: str) -> None:
    """Say that a backup was just restored somewhere else, and that it was whole."""
    note_restore(open_database(), actor(), reason)
    click.echo("Noted: the last restore is of now.")
