"""``pouw smoke`` against a real node, a node in maintenance, and servers that are none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey

from pouw.cli import main
from pouw.client.verdicts import read_answer
from pouw.protocol.verdicts import signed_bytes
from tests.ports import free_port
from tests.support import Http, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from tests.conftest import StartNode

CHECKS = ["health", "maintenance", "challenge", "batch", "retry", "replay", "bad signature", "metrics"]


def run(*arguments: str) -> tuple[int, str, float]:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pouw", "smoke", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, time.monotonic() - start


def results(*arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    code, said, _seconds = run(*arguments, "--json")
    document = json.loads(said)
    assert document["passed"] is (code == 0)
    assert [each["check"] for each in document["checks"]] == CHECKS
    return code, {each["check"]: (each["status"], each["saw"]) for each in document["checks"]}


def test_a_real_node_passes_every_check(shared_node: Node) -> None:
    metrics = f"http://127.0.0.1:{shared_node.metrics_port}/metrics"
    code, said, seconds = run(shared_node.http.base, "--metrics", metrics)
    assert code == 0, said
    assert seconds < 10
    lines = [line.split(maxsplit=2 if not line.startswith("bad") else 3) for line in said.splitlines()]
    assert [line[-2] for line in lines] == ["passed"] * len(CHECKS)
    assert lines[3][-1] == "3 accepted, 0 rejected, and the verdict's signature holds"
    assert lines[5][-1] == "0 accepted, 3 rejected (REPLAY duplicate_nonce)"
    assert lines[6][-1] == "0 accepted, 3 rejected (BAD_SIG invalid_signature)"


def test_it_leaves_nothing_that_pays(shared_node: Node, db: psycopg.Connection[Any]) -> None:
    done = CliRunner().invoke(main, ["smoke", shared_node.http.base, "--json"])
    did = json.loads(done.output)["client_did"]
    assert db.execute("SELECT count(*), bool_or(result_ok) FROM receipts WHERE client_did = %s", (did,)).fetchone() == (
        3,
        False,
    )
    again = json.loads(CliRunner().invoke(main, ["smoke", shared_node.http.base, "--json"]).output)
    assert again["client_did"] != did


def test_without_a_metrics_url_they_are_skipped_and_not_passed(shared_node: Node) -> None:
    code, found = results(f"{shared_node.http.base}/")
    assert code == 0
    assert found["metrics"] == ("skipped", "there is no --metrics URL")


def test_metrics_that_are_none_fail(shared_node: Node) -> None:
    code, found = results(shared_node.http.base, "--metrics", f"{shared_node.http.base}/health")
    assert (code, found["metrics"]) == (1, ("failed", "status 200, without pouw_receipts_accepted_total"))
    code, found = results(shared_node.http.base, "--metrics", f"http://127.0.0.1:{free_port()}/metrics")
    assert (code, found["metrics"][0], found["bad signature"][0]) == (1, "failed", "passed")


def test_a_node_in_maintenance_says_so_and_fails(start_node: StartNode, database_url: str) -> None:
    node = start_node(database_url)
    environ = {"POUW_DATABASE_URL": database_url}
    CliRunner().invoke(main, ["maintenance", "on", "--reason", "a new disk"], env=environ)
    time.sleep(2)
    code, found = results(node.http.base)
    assert code == 1
    assert found["maintenance"] == ("failed", "the node is in maintenance until it is switched off: a new disk")
    assert found["challenge"][0] == "failed"
    assert found["challenge"][1].endswith("answered 503: The node is in maintenance. a new disk")
    assert found["batch"] == ("skipped", "there is no challenge")
    assert found["health"][0] == "passed"
    CliRunner().invoke(main, ["maintenance", "off"], env=environ)
    time.sleep(2)
    assert results(node.http.base)[0] == 0
    node.stop()


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("ftp://x",), ("http://",), ("http://[x",),
                                       ("http://x", "--metrics", "x"), ("http://x", "--what")])  # fmt: skip
def test_a_url_that_is_none_is_usage(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["smoke", *arguments])
    assert done.exit_code == 2
    assert "Usage:" in done.output


def test_a_closed_port_fails_every_check_that_was_made() -> None:
    code, found = results(f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert found["health"][0] == found["challenge"][0] == "failed"
    assert {status for status, _saw in found.values()} == {"failed", "skipped"}


class Wrong(BaseHTTPRequestHandler):
    """Answers 200 and the same text to everything, but asks a real node about what is not in the way."""

    text: ClassVar[bytes] = b""
    target: ClassVar[str] = ""
    spoil: ClassVar[Callable[[str, Any], Any]] = staticmethod(lambda _path, document: document)

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, text = 200, self.text
        if self.target:
            http = Http(self.target)
            answer = http.request(self.command, self.path, body or None, Content_Type="application/json")
            http.close()
            status, text = answer.status, json.dumps(type(self).spoil(self.path, answer.json)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do  # noqa: N815 - the base class's names

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start wrong servers; each with its own text or target."""
    servers: list[ThreadingHTTPServer] = []

    def start(**members: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Wrong,), members))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>Welcome to nginx!", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"1" * 5_000, b'"\x1b[31m"',
     b'{"status": "ok", "ready": true, "version": "1", "components": []}',
     b'{"status": "\\u001b[2J", "ready": true, "components": {}, "version": 1, "maintenance": 7, "keys": []}',
     b'{"keys": [{"public_key": "zz"}], "components": {"a": 5}}'],
    ids=lambda text: text[:20].decode("latin-1"),
)  # fmt: skip
def test_a_server_that_answers_200_and_nonsense_fails(serve: Callable[..., str], text: bytes) -> None:
    url = serve(text=text)
    code, found = results(url, "--metrics", url)
    assert code == 1
    assert found["challenge"][0] == found["metrics"][0] == "failed"
    assert found["batch"][0] == "skipped"
    assert all(saw.isprintable() and len(saw) <= 200 for _status, saw in found.values())


def resigned(_path: str, document: Any) -> Any:
    """Sign the verdict with a key that is not the node's."""
    if "verdict" in document:
        key = SigningKey.generate()
        document["verdict"]["node_id"] = bytes(key.verify_key).hex()
        document["verdict"]["signature"] = key.sign(signed_bytes(read_answer(document)[0])).signature.hex()
    return document


def unsigned(_path: str, document: Any) -> Any:
    """Spoil the verdict's signature."""
    if "verdict" in document:
        document["verdict"]["signature"] = "00" * 64
    return document


def not_ready(path: str, document: Any) -> Any:
    return document | {"ready": False} if path == "/health" else document


@pytest.mark.parametrize(
    ("spoil", "check", "saw"),
    [
        (resigned, "batch", "which is none of the keys at /node"),
        (unsigned, "batch", "The node's verdict cannot be used: The verdict's signature does not hold."),
        (not_ready, "health", "ok, version"),
    ],
)
def test_a_node_that_is_almost_right_fails_where_it_is_wrong(
    shared_node: Node, serve: Callable[..., str], spoil: Callable[[str, Any], Any], check: str, saw: str
) -> None:
    code, found = results(serve(target=shared_node.http.base, spoil=staticmethod(spoil)))
    assert code == 1
    assert found[check][0] == "failed"
    assert saw in found[check][1]
    assert found["challenge"][0] == "passed"


@pytest.mark.parametrize("trickles", [False, True])
def test_a_server_that_never_ends_its_answer_is_left_in_time(trickles: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ending = threading.Event()

        def serve(connection: socket.socket) -> None:
            with connection:
                while not ending.wait(0.2) and trickles:
                    connection.sendall(b"H")

        def accept() -> None:
            while not ending.is_set():
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        code, said, seconds = run(f"http://127.0.0.1:{listener.getsockname()[1]}")
        ending.set()
    assert code == 1
    assert seconds < 12, "under 10 s, and what Python takes to start on a busy machine"
    assert len(said.splitlines()) == len(CHECKS)
    assert "passed" not in said
