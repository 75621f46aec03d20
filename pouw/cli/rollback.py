"""``pouw rollback``: the schema's way back, once the nodes run the previous version again."""

from __future__ import annotations

import click

from pouw.cli.operators import open_database
from pouw.errors import MigrationError
from pouw.store import inspection, migrations
from pouw.store.pool import address


@click.command("rollback")
@click.option(
    "--to", metavar="MIGRATION", help="The newest that stays, as 20261122000008.  [default: the last but one]"
)
@click.option("--yes", is_flag=True, help="Really undo: what the migrations made is dropped, rows included.")
def command(to: str | None, *, yes: bool) -> None:
    """Undo migrations until the newest is MIGRATION; without --yes, say which and change nothing.

    Restart the nodes with the previous version first: it works with the newer schema, so mostly nothing has to be
    undone at all. Run this with the version that brought the migrations. Reads POUW_DATABASE_URL.
    """
    pool = open_database()
    known, applied = migrations.brought(), sorted(inspection.applied(pool))
    stays = to or (applied[-2] if len(applied) > 1 else "")
    if stays not in applied:
        raise MigrationError(f"{stays or 'A last but one migration'} was never applied: `pouw migrate status`.")
    if stays < migrations.FLOOR:
        raise MigrationError(
            f"Nothing up to {migrations.FLOOR} is undone: receipts, epochs or payouts would go with it. "
            "Restore a backup."
        )
    newer = [version for version in reversed(applied) if version > stays]
    unknown = [version for version in newer if version not in known]
    if unknown:
        raise MigrationError(f"This version does not know {unknown[0]}: use the one that brought it.")
    if yes:
        migrations.undo(address(pool), len(newer))
    click.echo(
        "\n".join(f"{'undone' if yes else 'to undo'}: {known[version]}" for version in newer) or "Nothing to undo."
    )
    if newer and not yes:
        click.echo("Nothing was changed: say --yes if you mean it.")
