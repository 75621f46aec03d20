"""What is measured: a node of its own on embedded servers with fsync on, or one that runs already."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg

from bench.load import OK
from pouw.local import process
from pouw.local.ports import free_port
from pouw.local.servers import LocalServers
from pouw.store import migrations

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

_READY_SECS = 60
_STOP_SECS = 40
_PEER_WORKERS = "2"

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
    """A server under measurement.

    ``database`` is None where only its URL is known; ``settings`` are what its environment says, secrets left out.
    """

    def __init__(
        self,
        base: str,
        database: str | None = None,
        child: subprocess.Popen[bytes] | None = None,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.database = database
        self.settings = dict(settings or {})
        self._child = child
        self._log = log

    @property
    def own(self) -> bool:
        """Whether its processes are children of this one."""
        return self._child is not None

    def processes(self) -> list[psutil.Process]:
        """Return the server's own processes; none where they are not ours."""
        if self._child is None:
            return []
        root = psutil.Process(self._child.pid)
        return [root, *root.children(recursive=True)]

    def cpu_secs(self) -> float:
        """Return the processor time of the server's own processes so far; 0 where they are not ours."""
        return sum(sum(each.cpu_times()[:2]) for each in self.processes())

    def memory_bytes(self) -> int:
        """Return the resident memory of the server's largest process; 0 where they are not ours."""
        return max((each.memory_info().rss for each in self.processes()), default=0)

    def checkpoint(self) -> None:
        """Let PostgreSQL write out what earlier runs left, where it is ours, so that no run pays for another."""
        if self.own and self.database is not None:
            with psycopg.connect(self.database, autocommit=True) as connection:
                connection.execute("CHECKPOINT")

    def wait_ready(self, path: str) -> None:
        """Wait until the server answers ``path`` with 200."""
        deadline = time.monotonic() + _READY_SECS
        while True:
            try:
                with urllib.request.urlopen(self.base + path, timeout=2) as answer:
                    if answer.status == OK:
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


@contextmanager
def servers(settings: Mapping[str, str] | None = None) -> Iterator[LocalServers]:
    """Run an embedded PostgreSQL (fsync and synchronous_commit on) and a Valkey in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pouw-bench-") as folder:
        Path(folder).chmod(0o711)  # or root's servers would live, and leave their data, somewhere else
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
    shown = LIFTED | {f"POUW_{name.upper()}": str(value) for name, value in settings.items()}
    environ = {
        "POUW_PORT": str(port),
        "POUW_METRICS_PORT": str(free_port()),
        "POUW_DATABASE_URL": url,
        "POUW_REDIS_URL": running.valkey.url,
        "POUW_NODE_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POUW_LOG_LEVEL": "warning",
        **shown,
    }
    command = [sys.executable, "-m", "pouw", "serve"]
    with _started(command, environ, port, url, shown) as site:
        site.wait_ready("/health/ready")
        yield site


@contextmanager
def peer(running: LocalServers) -> Iterator[Site]:
    """Run the FastAPI service of ``bench.peers`` on the same PostgreSQL, in a database of its own."""
    assert running.postgres is not None
    with psycopg.connect(running.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS peer")
        connection.execute("CREATE DATABASE peer")
    url = running.postgres.url("peer")
    schema = (Path(__file__).parent / "peers" / "schema.sql").read_text()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema.encode())
    port = free_port()
    shown = {"PEER_WORKERS": _PEER_WORKERS}
    command = [sys.executable, "-m", "bench.peers.workers", str(port), _PEER_WORKERS]
    environ = {"PEER_DATABASE_URL": url, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with _started(command, environ, port, url, shown) as site:
        site.wait_ready("/api/v1/pouw/challenge")
        yield site


@contextmanager
def _started(
    command: Sequence[str], environ: Mapping[str, str], port: int, url: str, shown: Mapping[str, str]
) -> Iterator[Site]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ}
    with tempfile.TemporaryDirectory(prefix="pouw-bench-log-") as folder:
        log = Path(folder) / "log"
        child = process.start(command, env=environ, log=log)
        site = Site(f"http://127.0.0.1:{port}", url, child, log, shown)
        try:
            yield site
        finally:
            site.stop()
