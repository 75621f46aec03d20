"""What is measured: a node of its own on embedded servers with fsync on, or one that runs already."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pouw.local import process
from pouw.local.servers import LocalServers
from pouw.store import migrations

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

_READY_SECS = 60
_STOP_SECS = 40

# What a bench changes of a node's configuration: room for one machine's load, and nothing else.
LIFTED = {
    "POUW_RATE_LIMIT_IP": "1000000000",
    "POUW_RATE_LIMIT_DID": "1000000000",
    "POUW_CHALLENGE_TTL_SECS": "86400",
    "POUW_CHALLENGE_MAX_RECEIPTS": "1000000000",
    "POUW_CHALLENGE_MAX_BYTES": str(2**50),
    "POUW_WORKER_CONNECTIONS": "4096",
    "POUW_MAX_SUBMITS": "4096",
}

POSTGRES = {"shared_buffers": "512MB", "max_wal_size": "8GB", "wal_compression": "off"}


class Site:
    """A server under measurement. ``database`` is None where only its URL is known."""

    def __init__(
        self,
        base: str,
        database: str | None = None,
        child: subprocess.Popen[bytes] | None = None,
        log: Path | None = None,
    ) -> None:
        self.base = base
        self.database = database
        self._child = child
        self._log = log

    def cpu_secs(self) -> float:
        """Return the processor time of the server's own processes so far; 0 where they are not ours."""
        if self._child is None:
            return 0.0
        root = psutil.Process(self._child.pid)
        return sum(sum(each.cpu_times()[:2]) for each in (root, *root.children(recursive=True)))

    def memory_bytes(self) -> int:
        """Return the resident memory of the server's largest process; 0 where they are not ours."""
        if self._child is None:
            return 0
        root = psutil.Process(self._child.pid)
        return max(each.memory_info().rss for each in (root, *root.children(recursive=True)))

    def wait_ready(self, path: str) -> None:
        """Wait until the server answers ``path`` with 200."""
        deadline = time.monotonic() + _READY_SECS
        while True:
            try:
                with urllib.request.urlopen(self.base + path, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            ended = self._child is not None and self._child.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self.base} is not ready: {self._log.read_text()[-2000:] if self._log else ''}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server, if it is ours."""
        if self._child is not None:
            process.stop(self._child, signal.SIGTERM, _STOP_SECS)


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def servers(settings: Mapping[str, str] | None = None) -> Iterator[LocalServers]:
    """Run an embedded PostgreSQL (fsync and synchronous_commit on) and a Valkey in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pouw-bench-") as folder:
        wanted = POSTGRES | dict(settings or {})
        with LocalServers(Path(folder) / "servers", postgres_settings=wanted) as running:
            yield running


@contextmanager
def node(running: LocalServers, **settings: object) -> Iterator[Site]:
    """Run a node on those servers with lifted limits; ``settings`` are POUW_ ones in lower case."""
    assert running.postgres is not None
    assert running.valkey is not None
    url = running.postgres.url()
    migrations.run(url, "up")
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "POUW_PORT": str(port),
        "POUW_METRICS_PORT": str(free_port()),
        "POUW_DATABASE_URL": url,
        "POUW_REDIS_URL": running.valkey.url,
        "POUW_NODE_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POUW_LOG_LEVEL": "warning",
        **LIFTED,
        **{f"POUW_{name.upper()}": str(value) for name, value in settings.items()},
    }
    with tempfile.TemporaryDirectory(prefix="pouw-bench-node-") as folder:
        log = Path(folder) / "log"
        child = process.start([sys.executable, "-m", "pouw", "serve"], env=environ, log=log)
        site = Site(f"http://127.0.0.1:{port}", url, child, log)
        try:
            site.wait_ready("/health/ready")
            yield site
        finally:
            site.stop()
