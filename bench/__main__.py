"""python -m bench NAME: the measurements of the node, each a command."""

from __future__ import annotations

import resource

import click

from bench.commands import challenge, close, compare, everything, peak, peers, report, soak, submit, verify, workers


@click.group(context_settings={"max_content_width": 100})
def main() -> None:
    """Measure the node: against a URL, or a node of its own on embedded servers with fsync on."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a socket for each connection, here and in the node


_MODULES = (verify, challenge, submit, peers, peak, soak, workers, compare, close, report, everything)
for module in _MODULES:
    main.add_command(module.command)

if __name__ == "__main__":
    main()
