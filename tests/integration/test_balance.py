"""Connections are shared out among real workers: none takes a whole burst and keeps it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from psutil import Process

from tests.support import wait_for

if TYPE_CHECKING:
    from tests.conftest import StartNode
    from tests.support import Node

CONNECTIONS = 40


def counts(node: Node) -> list[int]:
    """Return how many connections each worker has."""
    return [
        sum(each.status == "ESTABLISHED" and each.laddr.port == node.port for each in worker.net_connections())
        for worker in node.workers()
    ]


def took_part(pid: int, node: Node) -> bool:
    """Whether a worker accepts connections: it was seen to have one of a few."""
    few = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(4)]
    wait_for(lambda: sum(counts(node)) >= len(few))
    seen = any(each.status == "ESTABLISHED" and each.laddr.port == node.port for each in Process(pid).net_connections())
    for each in few:
        each.close()
    wait_for(lambda: sum(counts(node)) == 0)
    return seen


def test_a_burst_of_connections_is_shared_out(start_node: StartNode, shared_url: str) -> None:
    node = start_node(shared_url, workers=2)
    wait_for(lambda: all(took_part(worker.pid, node) for worker in node.workers()))
    burst = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(CONNECTIONS)]
    wait_for(lambda: sum(counts(node)) >= CONNECTIONS)
    assert min(counts(node)) >= CONNECTIONS // 4
    for each in burst:
        each.close()
    node.stop()


def test_an_answers_head_and_body_arrive_at_once(shared_node: Node) -> None:
    asked = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", shared_node.port), timeout=5) as connection:
        for _ in range(100):
            connection.sendall(asked)
            head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body
