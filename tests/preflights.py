"""A node as production has it, with real TLS, and the walk of `pouw preflight` over it, in this process."""

from __future__ import annotations

import os
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import redis

from pouw.cli.preflight import deployment_of
from pouw.keys import append_new
from pouw.preflight.checklist import SECTIONS
from pouw.preflight.deployment import Given
from pouw.preflight.walk import walk
from tests.integration.test_tls import TlsNode, issue
from tests.ports import free_port
from tests.support import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from pouw.local.servers import LocalServers
    from pouw.preflight.lines import Line

ITEMS = {item.id: item for section in SECTIONS for item in section.items}
TOKEN = "a-token-that-only-a-test-has"


def start(servers: LocalServers, url: str, folder: Path) -> TlsNode:
    """Start a node in production mode with the secrets in files, its own certificate and a token for its metrics."""
    assert servers.valkey is not None
    with redis.Redis.from_url(servers.valkey.url.replace("redis+unix", "unix")) as limiter:
        limiter.flushdb()  # what loads of other tests took of this address's quota within the last minute
    issue(folder, 1)
    append_new(folder / "node.key")
    environ = {
        "POUW_ENV": "production",
        "POUW_DATABASE_URL": url,
        "POUW_REDIS_URL": servers.valkey.url,
        "POUW_REDIS_TIMEOUT_MS": "5000",  # on a busy machine, too
        "POUW_NODE_SECRET_KEY_FILE": str(folder / "node.key"),
        "POUW_OPERATOR_DIDS": Identity().did,
        "POUW_RATE_LIMIT_IP": "10000",  # the address is that of all tests
        "POUW_WORKERS": "1",
        "POUW_METRICS_TOKEN": TOKEN,
        "POUW_TLS_CERT_FILE": str(folder / "cert.pem"),
        "POUW_TLS_KEY_FILE": str(folder / "key.pem"),
    }
    node = TlsNode(folder / f"node-{free_port()}.log", environ)
    node.start()
    return node


def given(node: TlsNode, **changes: Any) -> Given:
    """Return what the command is told about a node."""
    ca = node.log.parent / "cert.pem"
    return replace(Given(url=f"https://127.0.0.1:{node.port}", ca=ca), **changes)


def look(
    monkeypatch: pytest.MonkeyPatch, node: TlsNode, *names: str, told: Given | None = None, **environ: str
) -> dict[str, Line]:
    """Walk the lines of these names only; give what was found by name."""
    for name, value in (node.environ | environ).items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("POUW_") and name not in node.environ | environ]:
        monkeypatch.delenv(name)
    sections = [replace(each, items=tuple(i for i in each.items if i.id in names)) for each in SECTIONS]
    deployment = deployment_of(told or given(node))
    try:
        lines = {line.id: line for line in walk(deployment, sections)}
    finally:
        deployment.close()
    assert lines.keys() == set(names)
    return lines


class _Answer(BaseHTTPRequestHandler):
    """Answers 200 to everything, without any header of the node's."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def tls_server(folder: Path, *, days: float = 30, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[str]:
    """A server that is no node, with a certificate for so many days and no header for security; gives its URL."""
    issue(folder, 5, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.daemon_threads = True
    server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]  # handshakes that are broken off
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
