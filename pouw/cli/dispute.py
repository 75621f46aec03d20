"""``pouw dispute``: disputes to work on."""

from __future__ import annotations

import os

import click

from pouw.cli.operators import actor, open_database
from pouw.environment import Reader
from pouw.errors import DisputeError, SettingsError
from pouw.protocol.disputes import State
from pouw.service.disputes import Disputes
from pouw.settings import DEFAULT_BUDGET_ATOMS, MOST_BUDGET_ATOMS

_NEWEST = 2**62
_STATES = click.Choice([state.value for state in State])


@click.group("dispute")
@click.pass_context
def command(context: click.Context) -> None:
    """List, show and settle disputes. Reads POUW_DATABASE_URL and POUW_REWARD_BUDGET_ATOMS."""
    env = Reader(os.environ)
    budget = env.integer("POUW_REWARD_BUDGET_ATOMS", DEFAULT_BUDGET_ATOMS, 0, MOST_BUDGET_ATOMS)
    if budget is None:
        raise SettingsError(env.faults)
    context.obj = Disputes(open_database(), budget=budget)


@command.command("list")
@click.option("--state", type=_STATES)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000))
@click.pass_obj
def list_all(disputes: Disputes, state: str | None, limit: int) -> None:
    """List disputes, the newest first."""
    for row in disputes.page(state, _NEWEST, limit):
        click.echo(f"{row.id} {row.state} {row.client_did} {row.subject} {row.subject_id}: {row.claim.splitlines()[0]}")


@command.command("show")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def show(disputes: Disputes, number: int) -> None:
    """Show dispute ID with what was put to it, notes included."""
    row = disputes.find(number)
    if row is None:
        raise DisputeError(f"There is no dispute {number}.")
    known = "the node had it" if row.known else "the node had no such thing"
    click.echo(f"{row.id} {row.state} by {row.client_did}\n{row.subject} {row.subject_id} ({known})\n{row.claim}")
    for entry in disputes.entries(row, for_operator=True):
        click.echo(f"{entry.at:%Y-%m-%d %H:%M}Z {entry.kind} by {entry.author}: {entry.content}")
    if row.explanation is not None:
        click.echo(f"explanation: {row.explanation}")
    if row.compensation is not None:
        click.echo(f"compensation: {row.compensation} atoms")


@command.command("resolve")
@click.argument("number", metavar="ID", type=int)
@click.argument("state", type=_STATES)
@click.option("--explanation", help="Why; the claimant reads it.")
@click.option("--compensation", metavar="ATOMS", help="What the claimant gets; it becomes a payout.")
@click.pass_obj
def resolve(disputes: Disputes, number: int, state: str, explanation: str | None, compensation: str | None) -> None:
    """Move dispute ID to STATE."""
    row = disputes.resolve(number, state, actor(), explanation, compensation)
    click.echo(f"{row.id} {row.state}")


@command.command("note")
@click.argument("number", metavar="ID", type=int)
@click.argument("text")
@click.pass_obj
def note(disputes: Disputes, number: int, text: str) -> None:
    """Put a note to dispute ID that only operators see."""
    disputes.add_note(number, actor(), text)
    click.echo(f"{number} has a note")
