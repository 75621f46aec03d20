"""What a worker takes at once has bounds: slow clients, many clients and large bodies do not stop the others."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support import API, Identity, Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """One worker with room for little: two batches at a time, one MiB of large bodies, two seconds for a body."""
    started = start_node(
        new_database(), workers=1, max_submits=2, body_memory_bytes=MEBIBYTE, request_timeout_secs=2, db_timeout_secs=5
    )
    yield started
    started.stop()


@contextlib.contextmanager
def connections(node: Node, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", node.port), 30)) for _ in range(count)]


def post_head(length: int, path: str = f"{API}/submit") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def answer(connection: socket.socket) -> tuple[int, bytes]:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            data += chunk
            head, found, body = data.partition(b"\r\n\r\n")
            if found and b"Content-Length: %d\r\n" % len(body) in head + b"\r\n":
                break
    return (int(data.split()[1]), data) if data else (0, b"")


def test_500_slow_connections_do_not_stop_others(node: Node, client: Identity) -> None:
    """Half of them never end their headers, the others never end their bodies."""
    with connections(node, 500) as slow:
        for number, connection in enumerate(slow):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX" if number % 2 else post_head(1000) + b"{")
        start = time.monotonic()
        for _ in range(20):
            assert len(node.http.accepted(client.batch(client.items(node.http.challenge(), 1)))) == 1
        assert time.monotonic() - start < 10, "others are served meanwhile"
        assert answer(slow[0])[0] == 408
        assert b"request-timeout" in answer(slow[2])[1]
        assert answer(slow[1]) == (0, b""), "whoever ends no headers is hung up on"


def test_a_body_that_trickles_is_cut_at_the_time_limit(node: Node) -> None:
    with connections(node, 1) as [slow]:
        slow.sendall(post_head(5000))
        start = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 10:
                slow.sendall(b" ")
                slow.settimeout(0.2)
                try:
                    if slow.recv(65536, socket.MSG_PEEK):
                        break
                except TimeoutError:
                    continue
        assert time.monotonic() - start < 6
        slow.settimeout(5)
        assert answer(slow)[0] == 408


def test_large_bodies_share_a_bounded_memory_and_small_ones_pass(node: Node, client: Identity) -> None:
    large = 900_000
    with connections(node, 3) as [first, second, small]:
        first.sendall(post_head(large) + b" " * (large - 1))  # all but its last byte
        time.sleep(1)
        second.sendall(post_head(large) + b" " * 400_000)
        status, data = answer(second)
        assert status == 503
        assert b"Retry-After: " in data
        assert b"as many large bodies as it can" in data
        body = client.batch(client.items(node.http.challenge(), 3))
        small.sendall(post_head(len(body)) + body)
        assert answer(small)[0] == 200
        assert answer(first)[0] == 408
    answers = [node.http.submit(b" " * large).status for _ in range(3)]
    assert answers == [400] * 3, "what is given back can be used again"


def test_beyond_the_batches_in_work_comes_503_at_once(node: Node, new_locks: Callable[[], Any]) -> None:
    """Two batches wait for a lock in the database; the third is not put into a queue."""
    client = Identity()
    token = node.http.challenge()
    bodies = [client.batch(client.items(token, 1)) for _ in range(3)]
    with new_locks(), ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(node.http.submit, body) for body in bodies[:2]]
        time.sleep(1)
        start = time.monotonic()
        refused = node.http.submit(bodies[2])
        assert time.monotonic() - start < 1
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json["type"] == "urn:pouw:problem:unavailable"
        assert node.http.get("/health/live").status == 200
    assert {each.result().status for each in waiting} <= {200, 503}
    assert [node.http.submit(body).status for body in bodies] == [200] * 3


@pytest.fixture
def new_locks(node: Node) -> Callable[[], Any]:
    """Hold the lock on all challenges for as long as the block lasts."""
    import psycopg

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        with psycopg.connect(node.environ["POUW_DATABASE_URL"]) as connection:
            connection.execute("LOCK TABLE challenges IN EXCLUSIVE MODE")
            yield
            connection.rollback()

    return lock


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 4_200), 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"a" * 9_000), 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"X: a\r\n" * 65), 431),
        (post_head(10**9), 413),
    ],
)
def test_sizes_are_bounded(node: Node, head: bytes, status: int) -> None:
    with connections(node, 1) as [connection]:
        connection.sendall(head)
        assert answer(connection)[0] == status


def test_more_receipts_than_a_batch_may_hold_are_refused_as_a_whole(node: Node, client: Identity) -> None:
    refused = node.http.submit(client.batch(client.items(node.http.challenge(), 101)))
    assert refused.status == 413
    assert refused.json["errors"] == [{"path": "/receipts", "message": "A batch holds at most 100 receipts."}]


def test_connections_beyond_a_workers_share_wait_and_are_served(
    start_node: StartNode, new_database: Callable[[], str]
) -> None:
    node = start_node(new_database(), workers=1, worker_connections=5)
    node.http.close()
    with connections(node, 5):
        statuses: list[int] = []
        url = f"{node.http.base}/health/live"
        late = threading.Thread(target=lambda: statuses.append(requests.get(url, timeout=30).status_code))
        late.start()
        time.sleep(1)
        assert statuses == [], "the worker has as many connections as it serves"
    late.join(20)
    assert statuses == [200]
    node.stop()


def test_a_stopping_node_answers_what_is_in_flight_and_hangs_up_on_idle_connections(
    start_node: StartNode, new_database: Callable[[], str]
) -> None:
    node = start_node(new_database(), workers=1)
    client = Identity()
    body = client.batch(client.items(node.http.challenge(), 3))
    with connections(node, 2) as [idle, busy]:
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(idle)[0] == 200
        busy.sendall(post_head(len(body)) + body[:-1])
        time.sleep(0.5)
        node.master.terminate()
        assert idle.recv(1) == b""
        start = time.monotonic()
        busy.sendall(body[-1:])
        status, data = answer(busy)
        assert status == 200
        assert json.loads(data.partition(b"\r\n\r\n")[2])["accepted"]
        assert busy.recv(1) == b""
    wait_for(lambda: node.process is not None and node.process.poll() is not None, timeout=9)
    assert time.monotonic() - start < 9, "idle connections are not waited for"


def test_control_characters_and_secrets_do_not_reach_the_log(node: Node, client: Identity) -> None:
    evil = "line\\u000a{\\u0022event\\u0022:\\u0022forged\\u0022}"
    marker, named = secrets.token_hex(8), secrets.token_hex(8)
    body = client.batch([]).replace(b'"receipts": []', f'"{marker}{evil}": 1, "receipts": [1]'.encode())
    node.http.submit(body)
    node.http.submit(client.batch([{"receipt": {marker: evil}}], client_did=f"did:x:{named}"))
    node.http.request("GET", f"{API}/challenge?cap=%0aevent%0a{marker}", X_Request_Id="a\tb" * 4)
    node.http.request("GET", f"{API}/receipts/did:x:%0a%1b[31m{marker}")
    with connections(node, 1) as [raw]:
        raw.sendall(b"GET /\x1b[31m\x07 HTTP/1.1\r\nHost: x\r\nX-Request-Id: \x1b[2Jforged\r\n\r\n")
        answer(raw)
    log = node.log.read_bytes()
    assert marker.encode() not in log, "bodies are not logged"
    assert log.count(named.encode()) == log.count(f'did="did:x:{named}"'.encode()) == 1, "but whose batch it was"
    assert b"\x1b" not in log
    assert b"\x07" not in log
    assert node.environ["POUW_NODE_SECRET_KEY"].encode() not in log
    assert all(line.startswith(b"20") for line in log.splitlines() if b"forged" in line)
