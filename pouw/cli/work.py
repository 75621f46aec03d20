"""``pouw work``: useful work on real files, from challenge to verdict."""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pouw.client.client import Client
from pouw.client.files import attest_file, find_files
from pouw.client.node import Nodes
from pouw.keys import load_or_create

if TYPE_CHECKING:
    from pouw.protocol.verdicts import Verdict


class _Tally:
    """Counts answers by what became of each receipt."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected: collections.Counter[tuple[str, str]] = collections.Counter()
        self.unreadable: list[str] = []

    def add(self, verdict: Verdict) -> None:
        self.accepted += len(verdict.accepted)
        self.rejected.update((item.detail.reason.value, item.detail.value) for item in verdict.rejected)

    def to_json(self, did: str) -> str:
        return json.dumps(
            {
                "client_did": did,
                "accepted": self.accepted,
                "rejected": [
                    {"reason": reason, "detail": detail, "count": count}
                    for (reason, detail), count in sorted(self.rejected.items())
                ],
                "unreadable": self.unreadable,
            },
        )

    def to_table(self, did: str) -> str:
        rows = [("accepted", "", self.accepted)]
        rows += [(reason, detail, count) for (reason, detail), count in sorted(self.rejected.items())]
        if self.unreadable:
            rows.append(("unreadable", "", len(self.unreadable)))
        lines = [f"{first:<16}{second:<28}{count:>8}" for first, second, count in rows]
        return "\n".join((f"client {did}", *lines))


@click.command("work")
@click.option("--url", "urls", required=True, multiple=True, help="The node; more of them where it has several.")
@click.option(
    "--key", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Your key file; made if missing."
)
@click.option(
    "--outbox",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where receipts wait for their answer.  [default: the key's file name and .outbox]",
)
@click.option("--batch-size", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--patience", default=300, show_default=True, type=click.IntRange(0), help="Seconds to wait for a node.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def command(
    urls: tuple[str, ...],
    key: Path,
    outbox: Path | None,
    batch_size: int,
    patience: int,
    as_json: bool,
    paths: tuple[Path, ...],
) -> None:
    """Hash every file below PATHS, sign a receipt for each and submit them in batches.

    What an earlier run could not submit is submitted first. Exit code 0 where all were accepted, 1 where some were
    rejected or unreadable, 2 where the node failed; then the receipts wait in the outbox.
    """
    signing_key = load_or_create(key)
    nodes = Nodes(urls, patience=patience)
    tally = _Tally()
    client = Client(
        nodes,
        signing_key,
        outbox or key.with_name(f"{key.name}.outbox"),
        on_verdict=tally.add,
        batch_receipts=batch_size,
    )
    try:
        client.flush()
        files = list(find_files(paths))
        with click.progressbar(files, label="Hashing", file=sys.stderr, show_pos=True) as progress:
            for path in progress:
                try:
                    attest_file(client, path)
                except OSError as error:
                    tally.unreadable.append(f"{path}: {error.strerror}")
        client.flush()
    finally:
        client.close()
        nodes.close()
    click.echo(tally.to_json(client.did) if as_json else tally.to_table(client.did))
    sys.exit(1 if tally.rejected or tally.unreadable else 0)
