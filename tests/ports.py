"""Ports for what tests start themselves: those of one test process are never those of another."""

from __future__ import annotations

import os

from pouw.local import ports

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port() -> int:
    """Return a free TCP port out of this process's share. Linux gives every other one, so they are shared in pairs."""
    while True:
        port = ports.free_port()
        if port // 2 % _WORKERS == _WORKER % _WORKERS:  # a worker that replaces another has a number beyond them
            return port
