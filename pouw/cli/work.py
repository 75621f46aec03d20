"""``pouw work``: useful work on real files, from challenge to verdict."""

from __future__ import annotations

import collections
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pouw.client.node import Node
from pouw.client.work import Worker, find_files
from pouw.keys import load_or_create
from pouw.protocol.dids import did_from_key

if TYPE_CHECKING:
    from pouw.client.work import Submitted


class _Tally:
    """Counts answers by what became of each receipt."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected: collections.Counter[tuple[str, str]] = collections.Counter()
        self.unreadable: list[str] = []

    def add(self, submitted: Submitted | None) -> None:
        if submitted is not None:
            self.accepted += len(submitted.result.accepted)
            self.rejected.update((item.reason, item.detail) for item in submitted.result.rejected)

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
@click.option("--url", required=True, help="The node, such as http://127.0.0.1:8080.")
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Your key file; made if missing.",
)
@click.option("--batch-size", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def command(url: str, key: Path, batch_size: int, as_json: bool, paths: tuple[Path, ...]) -> None:
    """Hash every file below PATHS, sign a receipt for each and submit them in batches.

    Exit code 0 where all were accepted, 1 where some were rejected or unreadable, 2 where the node failed.
    """
    signing_key = load_or_create(key)
    did = did_from_key(bytes(signing_key.verify_key))
    node = Node(url)
    worker = Worker(node, signing_key, batch_size=batch_size, clock=time.time)
    tally = _Tally()
    files = list(find_files(paths))
    with click.progressbar(files, label="Hashing", file=sys.stderr, show_pos=True) as progress:
        for path in progress:
            try:
                tally.add(worker.attest(path))
            except OSError as error:
                tally.unreadable.append(f"{path}: {error.strerror}")
        tally.add(worker.flush())
    node.close()
    click.echo(tally.to_json(did) if as_json else tally.to_table(did))
    sys.exit(1 if tally.rejected or tally.unreadable else 0)
