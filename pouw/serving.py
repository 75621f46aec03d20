"""Gunicorn's configuration: workers on gevent, metrics on a port of their own.

Nothing here may import psycopg: it picks its way of waiting when it is imported, and has to see gevent's
patches (see :func:`application`). Gunicorn reads the lower-case names; its hooks keep Gunicorn's signatures.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from pouw import logs
from pouw.settings import Settings
from pouw.stopping import STOPPING
from pouw.worker import BOARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

_settings = Settings.from_env()
logs.configure(_settings.log_level, as_json=_settings.env == "production")

wsgi_app = "pouw.serving:application()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "pouw.worker.Worker"
logger_class = "pouw.worker.Log"
http_parser = "python"  # gunicorn_h1c, taken where it is installed, lets bare LFs and folded lines through
worker_connections = _settings.worker_connections
backlog = 2_048
keepalive = 10  # also how long a client may take for its headers
graceful_timeout = _settings.drain_secs + _settings.graceful_timeout_secs
timeout = 60  # a heartbeat of the worker, not of a request
forwarder_headers = ""  # no header of a peer's may change the path
forwarded_allow_ips = ""  # pouw.web.proxies decides whom to believe
secure_scheme_headers: dict[str, str] = {}
certfile = str(_settings.tls_cert_file) if _settings.tls_cert_file else None
keyfile = str(_settings.tls_key_file) if _settings.tls_key_file else None
limit_request_line = 4_094
limit_request_fields = 64
limit_request_field_size = 8_190
control_socket_disable = True  # it lives in $HOME, where a second node would take it over
loglevel = _settings.log_level
proc_name = "pouw"

STOPPING.drain_secs = _settings.drain_secs

# Set before a worker imports prometheus_client, which decides at import whether it shares its values.
_own_metrics_dir = "PROMETHEUS_MULTIPROC_DIR" not in os.environ
_metrics_dir = Path(
    tempfile.mkdtemp(prefix="pouw-metrics-") if _own_metrics_dir else os.environ["PROMETHEUS_MULTIPROC_DIR"]
)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_dir)


def application() -> Flask:
    """Build the application inside a worker, after the fork and after gevent has patched."""
    import psycopg.waiting  # noqa: PLC0415 - only here gevent has patched, see the module's docstring

    if psycopg.waiting.wait is getattr(psycopg.waiting, "wait_c", None):
        raise RuntimeError("psycopg was imported before gevent patched: it would block the whole worker")

    from pouw.app import create_app  # noqa: PLC0415 - imports psycopg

    built = create_app(_settings)
    gc.collect()
    gc.freeze()  # what lives as long as the worker is not looked through again with every collection
    return built


def ssl_context(_config: Any, _default: Any) -> Any:
    """Serve TLS in a worker with a certificate that may be renewed."""
    from pouw.tls import RenewingContext  # noqa: PLC0415 - after gevent has patched

    assert _settings.tls_cert_file is not None and _settings.tls_key_file is not None  # noqa: PT018, S101 - read with it
    context = RenewingContext(_settings.tls_cert_file, _settings.tls_key_file)
    gevent.spawn(context.watch)
    return context


def on_starting(_server: Any) -> None:
    """Forget the counters of an earlier run, whose process ids may come again."""
    _metrics_dir.mkdir(parents=True, exist_ok=True)
    for file in _metrics_dir.glob("*.db"):
        file.unlink()


def when_ready(server: Any) -> None:
    """Serve the metrics of all workers from the master, and let it say when the node stops."""
    server.stop = partial(_stop, server, server.stop)
    from pouw import exposition  # noqa: PLC0415 - imports prometheus_client: after the directory is set

    exposition.serve(
        _settings.metrics_host, _settings.metrics_port, exposition.node_registry(), _settings.metrics_token
    )


def _stop(server: Any, stop: Callable[[bool], None], graceful: bool = True) -> None:
    """Stop as Gunicorn does; readiness falls before, unless a successor serves the same port already."""
    if graceful and server.reexec_pid == 0:
        STOPPING.begin()
    stop(graceful)


def worker_exit(_server: Any, worker: Any) -> None:
    """Close the pools of a worker that ends in order."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.extensions["pouw"].close()


def child_exit(_server: Any, worker: Any) -> None:
    """Drop the live gauges and the connections of a worker that is gone; its counters stay."""
    from prometheus_flask_exporter.multiprocess import (  # noqa: PLC0415 - after the directory is set
        GunicornPrometheusMetrics,
    )

    GunicornPrometheusMetrics.mark_process_dead_on_child_exit(worker.pid)
    BOARD.clear(worker.age)


def on_exit(_server: Any) -> None:
    """Leave no directory of our own behind."""
    if _own_metrics_dir:
        shutil.rmtree(_metrics_dir, ignore_errors=True)
