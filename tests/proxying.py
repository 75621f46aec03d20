"""Debian's HAProxy with the delivered configuration, before nodes on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pouw.local import process
from tests.integration.test_tls import issue
from tests.ports import free_port
from tests.support import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support import Node

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
HOST = "127.0.0.2"


@contextmanager
def haproxy(folder: Path, nodes: Sequence[Node]) -> Iterator[int]:
    """Run it before two nodes; gives the port that it listens on, at :data:`HOST`."""
    subprocess.run([ROOT / "tools" / "debian.sh", "haproxy"], check=True, timeout=300)
    issue(folder, 7)
    (folder / "both.pem").write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "POUW_PROXY_BIND": f"{HOST}:{port}",
        "POUW_PROXY_CERT": str(folder / "both.pem"),
        "POUW_NODE_1": f"127.0.0.1:{nodes[0].port}",
        "POUW_NODE_2": f"127.0.0.1:{nodes[1].port}",
    }
    subprocess.run(["/usr/sbin/haproxy", "-c", "-f", CONFIG], env=environ, check=True, capture_output=True)
    running = process.start(["/usr/sbin/haproxy", "-db", "-f", CONFIG], env=environ, log=folder / "log")
    try:
        wait_for(lambda: _listens(port))
        yield port
    finally:
        process.stop(running, signal.SIGTERM, 10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
