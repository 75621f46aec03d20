"""``pouw key``: the node's key ring."""

from __future__ import annotations

import os
from pathlib import Path

import click
from nacl.signing import SigningKey

from pouw.cli.operators import actor, open_database
from pouw.environment import Reader
from pouw.errors import KeyMaterialError, SettingsError
from pouw.keys import append_new, format_secret_key
from pouw.service.keyring import RETIRE_GRACE_SECS
from pouw.store import keys as store


@click.group("key")
def command() -> None:
    """Create, stage, activate and retire the keys that the node signs with. docs/RUNBOOK.md has the procedure."""


@command.command("create")
@click.option(
    "--ring", type=click.Path(path_type=Path), help="Add the key to this file, or make the file, for its owner only."
)
@click.option("--pkcs11", metavar="URI", help="Make it in a token instead; its PIN is read from POUW_PKCS11_PIN.")
def create(ring: Path | None, pkcs11: str | None) -> None:
    """Make a node key: base64 of an Ed25519 seed, for POUW_NODE_SECRET_KEY or POUW_NODE_SECRET_KEY_FILE."""
    if pkcs11 is not None:
        from pouw.hsm import generate  # noqa: PLC0415 - an extra that few nodes have

        env = Reader(os.environ)
        pin = env.parsed("POUW_PKCS11_PIN", str)
        if pin is None:
            raise SettingsError(env.faults)
        click.echo(generate(pkcs11, pin).hex())
    elif ring is None:
        click.echo(format_secret_key(SigningKey.generate()))
    else:
        click.echo(append_new(ring).hex())


@command.command("list")
def list_all() -> None:
    """List every key of the network's nodes and its state. Reads POUW_DATABASE_URL, as do the commands below."""
    pool = open_database()
    for row in store.all_keys(pool):
        until = "" if row.valid_until is None else f" until {row.valid_until:%Y-%m-%d %H:%M:%S}Z"
        click.echo(f"{row.public_key.hex()} {row.state} from {row.valid_from:%Y-%m-%d %H:%M:%S}Z{until}")


@command.command("stage")
@click.argument("public_key")
def stage(public_key: str) -> None:
    """Publish PUBLIC_KEY (hex) before any node holds it; a node that finds it in its ring does so by itself."""
    if not store.stage(open_database(), _key(public_key), actor()):
        raise KeyMaterialError("This key is known already; `pouw key list` shows its state.")
    click.echo("staged")


@command.command("activate")
@click.argument("public_key")
def activate(public_key: str) -> None:
    """Let every node that holds PUBLIC_KEY (hex) sign with it from now on."""
    if not store.activate(open_database(), _key(public_key), actor()):
        raise KeyMaterialError("There is no staged key of this name; `pouw key list` shows them all.")
    click.echo("active")


@command.command("retire")
@click.argument("public_key")
@click.option("--compromised", is_flag=True, help="End it at once, even if it is the last active key.")
def retire(public_key: str, *, compromised: bool) -> None:
    """Take PUBLIC_KEY (hex) out of use. What it signed before stays verifiable."""
    grace = 0 if compromised else RETIRE_GRACE_SECS
    if not store.retire(open_database(), _key(public_key), actor(), grace_secs=grace, last_too=compromised):
        raise KeyMaterialError("It is not in use, or it is the last active key: activate another one before.")
    click.echo("retired")


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise KeyMaterialError("A public key is written as 64 hex digits.") from None
