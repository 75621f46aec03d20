"""``python -m deploy.drills NAME``: one drill, all of them, or the table of what they found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.drills import failover, network, pitr, processes, stores, trouble
from deploy.drills.outcome import keep, lines, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.drills.outcome import Outcome

_DEBIAN = Path(__file__).parents[2] / "tools" / "debian.sh"

DRILLS: dict[str, tuple[Callable[[], Outcome], tuple[str, ...]]] = {
    "node-lost": (processes.node_lost, ()),
    "complete-outage": (processes.complete_outage, ()),
    "limiter-lost": (stores.limiter_lost, ()),
    "nonces-lost": (stores.nonces_lost, ()),
    "bad-signatures": (trouble.bad_signatures, ()),
    "clock-drift": (trouble.clock_drift, ("faketime",)),
    "key-compromised": (trouble.key_compromised, ()),
    "reward-backlog": (trouble.reward_backlog, ()),
    "partition": (network.partition, ("iproute2",)),
    "pitr": (pitr.restore, ("postgresql-15", "pgbackrest")),
    "failover": (failover.primary_lost, ("postgresql-15", "patroni", "etcd-server", "etcd-client", "haproxy")),
}
"""Each with the Debian packages that it needs; those are installed first, which takes root."""


@click.command()
@click.argument("name", type=click.Choice([*DRILLS, "all", "table"]))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("var/drills"), show_default=True,
    help="Where outcomes are kept.",
)  # fmt: skip
def main(name: str, out: Path) -> None:
    """Do a drill on servers of its own, say what came of it, and fail where it failed. ``table`` shows what is kept."""
    if name == "table":
        click.echo(table(out))
        return
    failed = False
    for each in DRILLS if name == "all" else [name]:
        drill, packages = DRILLS[each]
        if packages:
            subprocess.run([_DEBIAN, *packages], check=True)
        result = drill()
        keep(result, out)
        click.echo("\n".join(lines(result)))
        failed = failed or not result.passed
    sys.exit(failed)


if __name__ == "__main__":
    main()
