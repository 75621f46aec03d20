"""Stops and restarts as clients see them: readiness falls first, what is in flight is answered, nothing fails."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest
import urllib3

from pouw.local import process
from pouw.protocol.tokens import decode_wire
from tests.proxying import HOST, haproxy
from tests.support import API, Identity, Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartNode

DRAIN_SECS = 4
CLIENTS = 3


class Load:
    """Clients that ask for challenges and submit batches over connections that they keep, and take nothing back."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._ended = threading.Event()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        self.accepted: list[str] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        pool = urllib3.PoolManager(retries=False, cert_reqs="CERT_NONE", timeout=30)
        client = Identity()
        while not self._ended.is_set():
            try:
                self._once(pool, client)
            except urllib3.exceptions.HTTPError as error:
                self.faults.append(repr(error))
            time.sleep(0.05)
        pool.clear()

    def _once(self, pool: urllib3.PoolManager, client: Identity) -> None:
        answer = self._ask(pool, "GET", "/challenge")
        if answer is None:
            return
        token = decode_wire(answer["token"])
        verdict = self._ask(pool, "POST", "/submit", client.batch(client.items(token, 2)))
        if verdict is not None:
            self.accepted += verdict["accepted"]

    def _ask(self, pool: urllib3.PoolManager, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        answer = pool.request(method, self._base + API + path, body=body, headers=headers)
        self.statuses[answer.status] += 1
        return json.loads(answer.data) if answer.status == 200 else None


def restart(node: Node) -> None:
    """Stop a node as a service manager does, and start it anew."""
    assert node.process is not None
    children = node.master.children(recursive=True)
    node.http.close()
    process.stop(node.process, signal.SIGTERM, 40)
    assert [each for each in children if each.is_running()] == []
    node.start()


@pytest.mark.debian
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_no_request_fails_while_two_nodes_behind_a_proxy_are_restarted_in_turn(
    start_node: StartNode, new_database: Callable[[], str], tmp_path: Path
) -> None:
    url = new_database()
    nodes = [start_node(url, workers=1, trusted_proxies="127.0.0.1", drain_secs=DRAIN_SECS) for _ in range(2)]
    with haproxy(tmp_path, nodes) as port, Load(f"https://{HOST}:{port}") as load:
        time.sleep(1)
        for number, node in enumerate(nodes, 1):
            restart(node)
            wait_for(lambda number=number: f"nodes/node{number} is UP" in (tmp_path / "log").read_text())
            before = load.statuses[200]
            wait_for(lambda before=before: load.statuses[200] > before + 20)
    log = (tmp_path / "log").read_text()
    assert load.faults == [], log
    assert set(load.statuses) == {200}, log
    assert all(f"Server nodes/node{number} is DOWN" in log for number in (1, 2))
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT encode(receipt_nonce, 'hex') FROM receipts").fetchall()
    assert Counter(row[0] for row in rows) == Counter(load.accepted)
    for node in nodes:
        node.stop()


def test_readiness_falls_first_and_connections_are_still_taken(start_node: StartNode, database_url: str) -> None:
    """Answers close their connections meanwhile; then the port is closed, and a late signal hurries nothing."""
    node = start_node(database_url, drain_secs=8)
    kept = socket.create_connection(("127.0.0.1", node.port), 10)
    assert b"\r\nConnection: keep-alive\r\n" in exchange(kept, b"/health/live")
    started = time.monotonic()
    workers = node.workers()
    node.master.send_signal(signal.SIGTERM)
    wait_for(lambda: node.http.get("/health/ready").status == 503, timeout=5)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)  # as a service manager that means every process
    document = node.http.get("/health").json
    assert document["components"]["node"]["status"] == "down"
    assert node.http.get(f"{API}/challenge").status == 200
    assert b"\r\nConnection: close\r\n" in exchange(kept, b"/health/live")
    assert kept.recv(1) == b""
    kept.close()
    node.http.close()
    assert node.process is not None
    assert node.process.wait(20) == 0
    assert time.monotonic() - started >= 8
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port), 10)


def exchange(connection: socket.socket, path: bytes) -> bytes:
    """Ask over a connection that may be kept, and return the answer."""
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        piece = connection.recv(65_536)
        assert piece, answer
        answer += piece
    return answer


def test_a_batch_in_flight_is_answered(start_node: StartNode, database_url: str, client: Identity) -> None:
    """Its body arrives when the node has long been told to stop, and without any time to drain."""
    node = start_node(database_url, workers=1)
    body = client.batch(client.items(node.http.challenge(), 2))
    head = f"POST {API}/submit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port), 30) as connection:
        connection.sendall(head.encode() + body[:100])
        time.sleep(0.5)
        node.master.send_signal(signal.SIGTERM)
        time.sleep(3)
        connection.sendall(body[100:])
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["accepted"]) == 2
    node.stop()


def test_a_reload_leaves_readiness_alone(start_node: StartNode, database_url: str) -> None:
    """New workers take over the port before the old ones leave."""
    node = start_node(database_url, workers=1, drain_secs=3)
    [old] = node.workers()
    node.master.send_signal(signal.SIGHUP)
    statuses: Counter[int] = Counter()
    while old.is_running():
        node.http.close()
        statuses[node.http.get("/health/ready").status] += 1
        time.sleep(0.05)
    assert set(statuses) == {200}
    node.stop()
