"""``pouw audit``: check an epoch's export without any database."""

from __future__ import annotations

from pathlib import Path

import click

from pouw.errors import AuditError
from pouw.service.audit import audit

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("audit")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--node", help="The node's public key in hex: the manifests have to be by this node.")
def command(files: tuple[Path, ...], node: str | None) -> None:
    """Compute anew what each export in FILES says: signatures, Merkle roots, rewards and totals.

    Several files have to be epochs in a row, each chained to the one before. Exit code 0 where everything holds, 2
    where anything does not; the message names the first line that differs.
    """
    previous = None
    for file in files:
        try:
            report = audit(file)
        except AuditError as error:
            raise AuditError(f"{file}: {error}") from None
        manifest = report.manifest
        if node is not None and report.node_id.hex() != node.lower():
            raise AuditError(f"{file}: line 1: the manifest is by the node {report.node_id.hex()}")
        if previous is not None and (manifest.previous, manifest.epoch) != (
            previous.digest,
            previous.manifest.epoch + 1,
        ):
            raise AuditError(f"{file}: line 1: the manifest does not follow the one before")
        click.echo(
            f"{file}: epoch {manifest.epoch} holds: {manifest.receipts} receipts, {manifest.clients} clients,"
            f" {manifest.allocated} atoms allocated, {manifest.unallocated} unallocated; by {report.node_id.hex()}"
        )
        if report.unproven_keys:
            click.echo(
                f"  {report.unproven_keys} DIDs are of other methods than did:key: only a registry knows their keys"
            )
        previous = report
