"""How long closing an epoch takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from bench import results
from bench.close import close
from bench.options import out_option


@click.command("close")
@click.option("--receipts", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option("--dids", default=10_000, show_default=True, type=click.IntRange(1))
@click.option("--folder", type=click.Path(path_type=Path), help="Where the database lies; a temporary one without it.")
@out_option
def command(receipts: int, dids: int, folder: Path | None, out: Path) -> None:
    """Write receipts into a database and close their epoch."""
    with tempfile.TemporaryDirectory(prefix="pouw-bench-") as temporary:
        Path(temporary).chmod(0o711)  # or root's servers would live, and leave their data, somewhere else
        secs = close(receipts, dids, folder or Path(temporary))
    click.echo(f"{receipts:,} receipts of {dids:,} DIDs closed in {secs:.1f} s")
    results.write(out, "close", {"receipts": receipts, "dids": dids}, {"runs": [], "seconds": secs})
