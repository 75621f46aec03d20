"""What ``pouw up`` runs: a node, its background process and the servers of both."""

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
from typing import TYPE_CHECKING, NoReturn, Self

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

    from pouw.cli.interrupts import Interrupts

_READY_SECS = 60
_STOP_ROOM_SECS = 10
_LOOK_SECS = 0.5
_SHORT_LIFE_SECS = 5
_SHORT_LIVES = 5


def run(
    interrupts: Interrupts,
    host: str,
    port: int,
    metrics_port: int,
    worker_metrics_port: int | None,
    data_dir: Path | None,
    workers: int | None,
) -> NoReturn:
    """Run a node and its servers until a signal comes, which leaves as :class:`KeyboardInterrupt`.

    Raises :class:`SettingsError` or :class:`LocalServerError` where that cannot be.
    """
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
    interrupts.check()
    with LocalServers(directory, postgres=own_postgres, valkey=own_valkey) as servers:
        interrupts.check()
        _serve(interrupts, servers, directory, environ)


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


def _serve(interrupts: Interrupts, servers: LocalServers, directory: Path, environ: dict[str, str]) -> NoReturn:
    if servers.postgres is not None:
        environ["POUW_DATABASE_URL"] = servers.postgres.url()
    if servers.valkey is not None:
        environ["POUW_REDIS_URL"] = servers.valkey.url
    if not _key_given():
        load_or_create(directory / "node.key")
        environ["POUW_NODE_SECRET_KEY_FILE"] = str(directory / "node.key")
    settings = Settings.from_env(environ)
    migrations.run(settings.database_url.reveal(), "up")
    most = settings.drain_secs + settings.graceful_timeout_secs + _STOP_ROOM_SECS
    jobs = [sys.executable, "-m", "pouw", "worker"]
    with (
        _Kept("node's master process", gunicorn_command(), environ, most) as node,
        _Kept("background worker", jobs, environ, _STOP_ROOM_SECS) as worker,
    ):
        _wait_until_ready(interrupts, node, settings)
        click.echo(_banner(settings, directory))
        while True:
            interrupts.check()
            time.sleep(_LOOK_SECS)
            servers.revive()
            node.revive()
            worker.revive()


class _Kept:
    """A child that is started again when it ends, unless it ends again and again."""

    def __init__(self, name: str, command: list[str], environ: dict[str, str], stop_secs: float) -> None:
        self._name = name
        self._command = command
        self._environ = environ
        self._stop_secs = stop_secs
        self._short_lives = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process is not None:
            process.stop(self._process, signal.SIGTERM, self._stop_secs)

    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self._process = process.start(self._command, env=self._environ)

    def revive(self) -> None:
        """Start it again where it ended; raise :class:`LocalServerError` where that does not help."""
        if self.running():
            return
        self._short_lives = self._short_lives + 1 if time.monotonic() - self._started_at < _SHORT_LIFE_SECS else 0
        if self._short_lives >= _SHORT_LIVES:
            raise LocalServerError(f"The {self._name} ends again and again; the log above says why")
        click.echo(f"The {self._name} ended; starting it again.", err=True)
        self._start()


def _wait_until_ready(interrupts: Interrupts, node: _Kept, settings: Settings) -> None:
    url = f"{_base_url(settings)}/health/ready"
    deadline = time.monotonic() + _READY_SECS
    itself = ssl.create_default_context()
    itself.check_hostname = False  # it asks its own child, whatever names the certificate has
    itself.verify_mode = ssl.CERT_NONE
    direct = urllib.request.build_opener(  # never through a proxy
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=itself)
    )
    while time.monotonic() < deadline:
        interrupts.check()
        if not node.running():
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
