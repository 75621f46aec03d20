"""Metrics over HTTP, on a listener of their own: loopback unless told otherwise, and behind a token where there is one.

Nothing here imports :mod:`pouw.metrics`: the master process of a node would become one more worker by that.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client import Metric

    from pouw.environment import Secret

_TIMEOUT_SECS = 10
_COUNTED = "_counted"
_TEXT = ("Content-Type", "text/plain; charset=utf-8")


class NodeCollector(Collector):
    """The metrics of all workers of a node, out of the files that they share."""

    def collect(self) -> Iterator[Metric]:
        """Yield every family; a gauge that ends with ``_counted`` as the counter that it stands for."""
        for family in MultiProcessCollector.merge(_files()):  # type: ignore[no-untyped-call]
            if family.name.endswith(_COUNTED):
                name = family.name.removesuffix(_COUNTED)
                counter = CounterMetricFamily(name, family.documentation)
                for sample in family.samples:
                    counter.add_sample(f"{name}_total", sample.labels, sample.value)
                yield counter
            else:
                yield family


def _files() -> list[str]:
    """Return the workers' files, without those that a worker has only just made, or was killed over: they are empty."""
    found = []
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
        with contextlib.suppress(FileNotFoundError):  # of a worker that is gone meanwhile
            if file.stat().st_size > 0:
                found.append(str(file))
    return found


def totals() -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield every series of a node: its name, its labels and its value over all workers."""
    for family in NodeCollector().collect():
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def node_registry() -> CollectorRegistry:
    """Return a registry that shows all workers of a node."""
    registry = CollectorRegistry()
    registry.register(NodeCollector())
    return registry


def application(registry: CollectorRegistry, token: Secret | None) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application: ``GET /metrics``, with ``Authorization: Bearer`` where there is a token."""
    show: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not _authorized(environ.get("HTTP_AUTHORIZATION", ""), token):
            start_response("401 Unauthorized", [_TEXT, ("WWW-Authenticate", 'Bearer realm="metrics"')])
            return [b"This needs the token of POUW_METRICS_TOKEN.\n"]
        if environ["PATH_INFO"] not in ("/metrics", "/"):
            start_response("404 Not Found", [_TEXT])
            return [b"The metrics are at /metrics.\n"]
        return show(environ, start_response)

    return answer


def _authorized(header: str, token: Secret | None) -> bool:
    if token is None:
        return True
    scheme, _, given = header.partition(" ")
    right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.reveal().encode())
    return right and scheme.lower() == "bearer"  # RFC 9110, section 11.1: schemes have no case


class _Handler(WSGIRequestHandler):
    timeout = _TIMEOUT_SECS  # of a client that sends nothing

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing: scrapes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def serve(host: str, port: int, registry: CollectorRegistry, token: Secret | None) -> WSGIServer:
    """Listen in a thread; ``shutdown()`` of what is returned ends it."""
    server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    server.set_app(application(registry, token))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
