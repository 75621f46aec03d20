"""``pouw identity``: which key speaks for a DID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pouw.cli.operators import actor, open_database
from pouw.errors import DidError
from pouw.service.identities import Identities, cursor_of

if TYPE_CHECKING:
    from pouw.store.identities import IdentityRow

_PAGE = 200


@click.group("identity")
@click.pass_context
def command(context: click.Context) -> None:
    """Add, list, rotate and retire the keys of DIDs that do not carry their own. Reads POUW_DATABASE_URL."""
    context.obj = Identities(open_database())


@command.command("add")
@click.argument("did")
@click.argument("public_key")
@click.pass_obj
def add(identities: Identities, did: str, public_key: str) -> None:
    """Register DID with PUBLIC_KEY (hex)."""
    _show(identities.add(did, _key(public_key), actor()))


@command.command("rotate")
@click.argument("did")
@click.argument("public_key")
@click.pass_obj
def rotate(identities: Identities, did: str, public_key: str) -> None:
    """Give DID the new PUBLIC_KEY (hex) and retire the old one."""
    row = identities.rotate(did, _key(public_key), actor())
    if row is None:
        raise DidError(f"{did} has no live key here.")
    _show(row)


@command.command("retire")
@click.argument("did")
@click.pass_obj
def retire(identities: Identities, did: str) -> None:
    """Take DID's live key away."""
    if not identities.retire(did, actor()):
        raise DidError(f"{did} has no live key here.")
    click.echo(f"{did} is retired.")


@command.command("list")
@click.pass_obj
def list_all(identities: Identities) -> None:
    """List every DID and key, retired ones included."""
    cursor = ""
    while rows := identities.page(cursor, _PAGE):
        for row in rows:
            _show(row)
        cursor = cursor_of(rows[-1])


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise DidError("A public key is written as 64 hex digits.") from None


def _show(row: IdentityRow) -> None:
    state = "live" if row.retired_at is None else f"retired {row.retired_at:%Y-%m-%d}"
    click.echo(f"{row.did} {row.public_key.hex()} since {row.created_at:%Y-%m-%d} {state}")
