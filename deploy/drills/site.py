"""What a drill is done to: servers, nodes and ``pouw worker``, all of the drill's own."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prometheus_client.parser import text_string_to_metric_families

from deploy.drills.power import cut
from pouw.local import process
from pouw.local.ports import free_port
from pouw.local.servers import LocalServers
from pouw.store import migrations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_READY_SECS = 90
_STOP_SECS = 40
_OK = 200

_LIFTED = {
    "POUW_RATE_LIMIT_IP": "1000000",
    "POUW_RATE_LIMIT_DID": "1000000",
    "POUW_WORKERS": "2",
    "POUW_LOG_LEVEL": "warning",
}


def new_key() -> str:
    """Return a node's secret key."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def metric(port: int, name: str) -> float:
    """Return a metric without labels from a listener of loopback; 0 where it is not there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


class Node:
    """A node with its own ports, which may be killed and started again."""

    def __init__(
        self, log: Path, environ: Mapping[str, str], wrapper: Sequence[str] = (), address: str = "127.0.0.1"
    ) -> None:
        port, self.metrics_port = free_port(), free_port()
        self.url = f"http://{address}:{port}"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "POUW_PORT": str(port),
            "POUW_METRICS_PORT": str(self.metrics_port),
            **environ,
        }
        self._wrapper = wrapper
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it is ready."""
        command = [*self._wrapper, sys.executable, "-m", "pouw", "serve"]
        self._process = process.start(command, env=self.environ, log=self._log)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until it can do its work."""
        deadline = time.monotonic() + _READY_SECS
        while self.status() != _OK:
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise TimeoutError(f"the node is not ready: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def status(self, path: str = "/health/ready") -> int:
        """Return the status of a path; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (urllib.error.URLError, OSError):
            return 0

    def kill(self) -> None:
        """End the master and all workers at once, as a power cut does."""
        if self._process is not None and self._process.poll() is None:
            cut(self._process.pid)
            self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            process.stop(self._process, signal.SIGTERM, _STOP_SECS)

    def pouw(self, *arguments: str) -> str:
        """Run ``pouw`` in this node's environment; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "pouw", *arguments],
            env=self.environ, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"pouw {' '.join(arguments)} failed: {done.stderr}")
        return done.stdout


class Site:
    """Servers in a temporary folder, and nodes on them, until the end of a ``with`` block."""

    def __init__(self, *, embedded: bool = True, postgres_settings: dict[str, str] | None = None) -> None:
        self._stack = ExitStack()
        self._embedded = embedded
        self._postgres_settings = postgres_settings
        self._key = new_key()
        self._started: list[Node] = []

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="pouw-drill-"))
        self.folder.chmod(0o711)
        self._stack.callback(shutil.rmtree, self.folder)
        try:
            self.servers = self._stack.enter_context(
                LocalServers(
                    self.folder / "servers", postgres=self._embedded, postgres_settings=self._postgres_settings
                )
            )
            if self._embedded:
                migrations.run(self.database_url, "up")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        for node in self._started:
            node.stop()
        self._stack.close()

    @property
    def database_url(self) -> str:
        """The URL of the embedded database."""
        assert self.servers.postgres is not None
        return self.servers.postgres.url()

    def kill_servers(self, *, postgres: bool = True, valkey: bool = True) -> None:
        """End the embedded servers at once, as a power cut does."""
        for wanted, server in ((postgres, self.servers.postgres), (valkey, self.servers.valkey)):
            if wanted and server is not None:
                cut(server.pid)
                while server.running():
                    time.sleep(0.01)

    def node(self, *, wrapper: Sequence[str] = (), address: str = "127.0.0.1", **settings: object) -> Node:
        """Return a node that is not started yet; ``settings`` are POUW_ ones in lower case. All have one key."""
        assert self.servers.valkey is not None
        environ = _LIFTED | {"POUW_REDIS_URL": self.servers.valkey.url, "POUW_NODE_SECRET_KEY": self._key}
        if self._embedded:
            environ["POUW_DATABASE_URL"] = self.database_url
        # Else a node that is killed leaves its counters in a folder of the machine's.
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder / f"metrics-{len(self._started)}")
        environ |= {f"POUW_{name.upper()}": str(value) for name, value in settings.items()}
        node = Node(self.folder / f"node-{len(self._started)}.log", environ, wrapper, address)
        self._started.append(node)
        return node
