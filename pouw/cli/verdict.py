"""``pouw verify-verdict``: prove, offline, what a node answered."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pouw.client.verdicts import verify_answer
from pouw.errors import VerdictError

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("verify-verdict")
@click.argument("file", type=_FILE)
@click.option("--batch", type=_FILE, help="The body that was submitted: the verdict has to be about these bytes.")
@click.option("--node", help="The node's public key in hex: the verdict has to be by this node.")
def command(file: Path, batch: Path | None, node: str | None) -> None:
    """Check the signature of a node's answer to a batch, as it was received, in FILE.

    Exit code 0 where it holds, 2 where it does not.
    """
    try:
        node_id = None if node is None else bytes.fromhex(node)
        answer = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise VerdictError(f"This cannot be read: {error}") from error
    verdict = verify_answer(answer, body=None if batch is None else batch.read_bytes(), node_id=node_id)
    about = "about the given batch" if batch is not None else f"about the batch {verdict.batch_digest.hex()}"
    click.echo(f"The signature of node {verdict.node_id.hex()} holds, {about}:")
    click.echo(f"{len(verdict.accepted)} accepted, {len(verdict.rejected)} rejected at {verdict.server_time}.")
