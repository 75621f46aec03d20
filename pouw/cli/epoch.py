"""``pouw epoch``: closed epochs and their exports."""

from __future__ import annotations

from pathlib import Path

import click

from pouw.cli.operators import open_database
from pouw.protocol.manifests import decode
from pouw.service.exports import export
from pouw.store import epochs as store

_NEWEST = 2**62


@click.group("epoch")
def command() -> None:
    """List closed epochs, and export them for auditors. Reads POUW_DATABASE_URL."""


@command.command("list")
@click.option("--limit", default=24, show_default=True, type=click.IntRange(1, 10_000))
def list_all(limit: int) -> None:
    """List the newest closed epochs: number, receipts, DIDs, and atoms allocated and unallocated."""
    for row in store.page(open_database(), _NEWEST, limit):
        manifest = decode(row.manifest.encode())
        click.echo(
            f"{row.epoch} receipts {manifest.receipts} clients {manifest.clients}"
            f" allocated {manifest.allocated} unallocated {manifest.unallocated}"
        )


@command.command("export")
@click.argument("number", type=click.IntRange(min=0))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A new file, .jsonl.xz.")
def export_one(number: int, out: Path) -> None:
    """Write epoch NUMBER to a file that anyone can check with `pouw audit`."""
    receipts, rewards = export(open_database(), number, out)
    click.echo(f"{out}: epoch {number}, {receipts} receipts, {rewards} rewards")
