"""``pouw keygen``: a new node key."""

from __future__ import annotations

from pathlib import Path

import click
from nacl.signing import SigningKey

from pouw.errors import KeyMaterialError
from pouw.keys import format_secret_key, load_or_create


@click.command("keygen")
@click.option("--out", type=click.Path(path_type=Path), help="Write the key to this new file, for its owner only.")
def command(out: Path | None) -> None:
    """Make a node key: base64 of an Ed25519 seed, for POUW_NODE_SECRET_KEY or POUW_NODE_SECRET_KEY_FILE."""
    if out is None:
        click.echo(format_secret_key(SigningKey.generate()))
        return
    if out.exists():
        raise KeyMaterialError(f"{out} exists: a key is never overwritten")
    key = load_or_create(out)
    click.echo(f"{out}: public key {bytes(key.verify_key).hex()}")
