"""``pouw up``: a whole node with servers of its own, from one command to its Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import click
from nacl.signing import SigningKey

from pouw.cli.serve import check_port, gunicorn_command
from pouw.errors import LocalServerError
from pouw.keys import format_secret_key, load_or_create
from pouw.local import process
from pouw.local.servers import LocalServers
from pouw.settings import WORKER_METRICS_PORT, Settings
from pouw.store import migrations

if TYPE_CHECKING:
    import subprocess
    from types import FrameType

_READY_SECS = 60
_STOP_ROOM_SECS = 10
_LOOK_SECS = 0.5
_SHORT_LIFE_SECS = 5
_SHORT_LIVES = 5


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
    _interrupt_on(signal.SIGTERM, signal.SIGHUP)
    check_port("--port", host, port)
    metrics_host = os.environ.get("POUW_METRICS_HOST") or "127.0.0.1"
    check_port("--metrics-port", metrics_host, metrics_port)
    directory = (data_dir or _default_data_dir()).expanduser().absolute()
    environ = os.environ | {"POUW_HOST": host, "POUW_PORT": str(port), "POUW_METRICS_PORT": str(metrics_port)}
    environ["POUW_DATA_DIR"] = str(directory)  # its disk is watched
    environ["POUW_WORKER_METRICS_PORT"] = str(port_for_worker(metrics_host, worker_metrics_port))
    if workers is not None:
        environ["POUW_WORKERS"] = str(workers)
    own_postgres, own_valkey = not _given("POUW_DATABASE_URL"), not _given("POUW_REDIS_URL")
    _check_settings(environ, own_postgres=own_postgres)
    try:
        with LocalServers(directory, postgres=own_postgres, valkey=own_valkey) as servers:
            _run(servers, directory, environ)
    except KeyboardInterrupt:
        click.echo("Stopped.")


def port_for_worker(host: str, wish: int | None) -> int:
    """Return the wished port, or, where nobody wished one, the usual one or a free one.

    A second node on a machine is started with ports for its API and its metrics; its background process is a detail.
    """
    if wish is not None:
        check_port("--worker-metrics-port", host, wish)
        return wish
    try:
        check_port("--worker-metrics-port", host, WORKER_METRICS_PORT)
    except LocalServerError:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    return WORKER_METRICS_PORT


def _check_settings(environ: dict[str, str], *, own_postgres: bool) -> None:
    """Find the mistakes in the environment before anything is started; what `up` fills in later stands in."""
    filled = {"POUW_DATABASE_URL": "postgresql:///pouw"} if own_postgres else {}
    if not _key_given():
        filled["POUW_NODE_SECRET_KEY"] = format_secret_key(SigningKey(bytes(32)))
    Settings.from_env(environ | filled)


def _run(servers: LocalServers, directory: Path, environ: dict[str, str]) -> None:
    if servers.postgres is not None:
        environ["POUW_DATABASE_URL"] = servers.postgres.url()
    if servers.valkey is not None:
        environ["POUW_REDIS_URL"] = servers.valkey.url
    if not _key_given():
        load_or_create(directory / "node.key")
        environ["POUW_NODE_SECRET_KEY_FILE"] = str(directory / "node.key")
    settings = Settings.from_env(environ)
    migrations.run(settings.database_url.reveal(), "up")
    node = _Kept("node's master process", gunicorn_command(), environ)
    worker = _Kept("background worker", [sys.executable, "-m", "pouw", "worker"], environ)
    try:
        _wait_until_ready(node.process, settings)
        click.echo(_banner(settings, directory))
        while True:
            time.sleep(_LOOK_SECS)
            servers.revive()
            node.revive()
            worker.revive()
    finally:
        process.stop(worker.process, signal.SIGTERM, _STOP_ROOM_SECS)
        most = settings.drain_secs + settings.graceful_timeout_secs + _STOP_ROOM_SECS
        process.stop(node.process, signal.SIGTERM, most)


class _Kept:
    """A child that is started again when it ends, unless it ends again and again."""

    def __init__(self, name: str, command: list[str], environ: dict[str, str]) -> None:
        self._name = name
        self._command = command
        self._environ = environ
        self._short_lives = 0
        self._start()

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self.process = process.start(self._command, env=self._environ)

    def revive(self) -> None:
        """Start it again where it ended; raise :class:`LocalServerError` where that does not help."""
        if self.process.poll() is None:
            return
        self._short_lives = self._short_lives + 1 if time.monotonic() - self._started_at < _SHORT_LIFE_SECS else 0
        if self._short_lives >= _SHORT_LIVES:
            raise LocalServerError(f"The {self._name} ends again and again; the log above says why")
        click.echo(f"The {self._name} ended; starting it again.", err=True)
        self._start()


def _wait_until_ready(node: subprocess.Popen[bytes], settings: Settings) -> None:
    url = f"{_base_url(settings)}/health/ready"
    deadline = time.monotonic() + _READY_SECS
    itself = ssl.create_default_context()
    itself.check_hostname = False  # it asks its own child, whatever names the certificate has
    itself.verify_mode = ssl.CERT_NONE
    direct = urllib.request.build_opener(  # never through a proxy
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=itself)
    )
    while time.monotonic() < deadline:
        if node.poll() is not None:
            raise LocalServerError("The node did not start; its log above says why")
        try:
            with direct.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise LocalServerError("The node did not become ready; its log above says why")


def _base_url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - reads it
    scheme = "http" if settings.tls_cert_file is None else "https"
    return f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"


def _banner(settings: Settings, directory: Path) -> str:
    base = _base_url(settings)
    program = Path(sysconfig.get_path("scripts")) / "pouw"
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    return f"""
The node is up. Ctrl-C stops it.

  API          {base}/api/v1/pouw
  description  {base}/openapi.json, to browse at {base}/docs/
  health       {base}/health
  metrics      http://{settings.metrics_host}:{settings.metrics_port}/metrics
  node key     {settings.node_keys[-1].public_key.hex() if settings.node_keys else "in a PKCS#11 token"}
  data         {directory}

Next, in another terminal:

  curl '{base}/api/v1/pouw/challenge?cap=hash'
  {shown} work --url {base} --key client.key README.md
"""


def _key_given() -> bool:
    return _given("POUW_NODE_SECRET_KEY") or _given("POUW_NODE_KEY_PKCS11")


def _given(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def _default_data_dir() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pouw"


def _interrupt_on(*numbers: signal.Signals) -> None:
    """Let other ways to end this process take the path of Ctrl-C, and ignore a second one meanwhile."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, *numbers):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, *numbers):
        signal.signal(number, interrupt)
