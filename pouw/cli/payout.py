"""``pouw payout``: what is owed, sent, paid, and refused."""

from __future__ import annotations

from pathlib import Path

import click

from pouw.cli.operators import actor, open_database
from pouw.errors import PayoutError
from pouw.service import payouts as service
from pouw.store import payouts as store

_NEWEST = 2**62


@click.group("payout")
def command() -> None:
    """List payouts, export them for a human to pay, confirm them, retry failed ones. Reads POUW_DATABASE_URL."""


@command.command("list")
@click.option("--state", type=click.Choice(store.STATES), help="Only these; `failed` are the dead letters.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
def list_all(state: str | None, limit: int) -> None:
    """List payouts, the newest first."""
    for payout in store.page(open_database(), state, _NEWEST, limit):
        export = "" if payout.export_id is None else f" export {payout.export_id}"
        error = "" if payout.last_error is None else f": {payout.last_error}"
        click.echo(
            f"{payout.id} {payout.key} {payout.client_did} {payout.atoms} {payout.state}"
            f" attempts {payout.attempts}{export}{error}"
        )


@command.command("export")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A new file: CSV or JSONL.")
@click.option("--limit", default=10_000, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--again", type=int, metavar="EXPORT", help="Write an earlier export's payouts once more.")
def export(out: Path, limit: int, again: int | None) -> None:
    """Write pending payouts to a file for a human to sign and pay; they wait for `confirm` from then on."""
    number, payouts = service.export(open_database(), out, actor(), limit=limit, again=again)
    click.echo(f"{out}: export {number}, {len(payouts)} payouts, {sum(payout.atoms for payout in payouts)} atoms")


@command.command("confirm")
@click.argument("number", metavar="EXPORT", type=int)
@click.option("--failed", multiple=True, type=int, metavar="ID", help="A payout of it that was not made.")
@click.option("--reference", help="How the payment is known elsewhere.")
def confirm(number: int, failed: tuple[int, ...], reference: str | None) -> None:
    """Say that the payouts of EXPORT were made, but for those that failed."""
    paid, lost = store.confirm(open_database(), number, failed, reference, actor())
    if paid + lost == 0:
        raise PayoutError(f"Export {number} has nothing to confirm.")
    click.echo(f"export {number}: {paid} paid, {lost} failed")


@command.command("retry")
@click.argument("number", metavar="ID", type=int)
def retry(number: int) -> None:
    """Let the failed payout ID be tried again, under the same idempotency key."""
    if not store.retry(open_database(), number, actor()):
        raise PayoutError(f"There is no failed payout {number}.")
    click.echo(f"{number} is pending")
