"""``pouw up``: a whole node with servers of its own, from one command to its Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import click

from pouw.cli.interrupts import Interrupts


@click.command("up")
@click.option("--host", envvar="POUW_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="POUW_PORT", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--metrics-port",
    envvar="POUW_METRICS_PORT",
    default=9090,
    show_default=True,
    type=click.IntRange(1, 65535),
)
@click.option(
    "--data-dir",
    envvar="POUW_DATA_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the node's key and its servers' data live.  [default: $XDG_DATA_HOME/pouw or ~/.local/share/pouw]",
)
@click.option(
    "--worker-metrics-port",
    envvar="POUW_WORKER_METRICS_PORT",
    type=click.IntRange(1, 65535),
    help="[default: 9091, or a free one where that is in use]",
)
@click.option("--workers", envvar="POUW_WORKERS", type=click.IntRange(1, 1024), help="[default: one per core]")
def command(
    host: str, port: int, metrics_port: int, worker_metrics_port: int | None, data_dir: Path | None, workers: int | None
) -> None:
    """Start a node with its own PostgreSQL and Valkey; Ctrl-C stops all of it.

    With POUW_DATABASE_URL or POUW_REDIS_URL set, that server is used and none is started.
    """
    interrupts = Interrupts()
    try:
        from pouw.cli import node  # noqa: PLC0415 - takes half a second, in which a Ctrl-C may come

        node.run(interrupts, host, port, metrics_port, worker_metrics_port, data_dir, workers)
    except KeyboardInterrupt:
        click.echo("Stopped.")
