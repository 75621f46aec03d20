"""Requests that no HTTP library would send: no length, two lengths, lies about the length, and slow bodies."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_attack_canonical import hand_item, stop
from tests.support import API, Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartNode
    from tests.support import Http, Node

TIMEOUT = 2


class Answer:
    """A raw answer: its status, its lower-case head, its body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.raw = raw
        self.head = head.decode("latin-1").lower()
        self.status = int(self.head.split()[1]) if self.head else 0


def head(*lines: str, target: str = f"{API}/submit") -> bytes:
    fixed = (f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Connection: close")
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def exchange(port: int, *parts: bytes, pause: float = 0, patience: float = 15) -> Answer:
    """Send the parts with a pause after each; read until the node closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as peer:
        try:
            for part in parts:
                peer.sendall(part)
                if pause:
                    time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the node answered before it had read everything
        received = bytearray()
        try:
            while data := peer.recv(65536):
                received += data
        except ConnectionResetError:
            pass  # it closed with our bytes unread
        return Answer(bytes(received))


def assert_problem(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses, answer.raw
    assert "content-type: application/problem+json" in answer.head
    assert json.loads(answer.body)["status"] == answer.status


@pytest.fixture(scope="module")
def hasty(start_node: StartNode, shared_url: str) -> Iterator[Node]:
    """A node that waits two seconds for a body."""
    node = start_node(shared_url, request_timeout_secs=TIMEOUT)
    yield node
    stop(node)


def good_body(http: Http) -> bytes:
    client = Identity()
    return client.batch([hand_item(client, http.challenge())])


def test_a_chunked_body_needs_a_length(http: Http, shared_node: Node) -> None:
    body = good_body(http)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert_problem(exchange(shared_node.port, head("Transfer-Encoding: chunked") + chunks), 411)


def test_an_endless_chunked_body_is_answered_at_once(shared_node: Node) -> None:
    started = time.monotonic()
    answer = exchange(shared_node.port, head("Transfer-Encoding: chunked"), b"400\r\n" + b" " * 1024 + b"\r\n")
    assert_problem(answer, 411)
    assert time.monotonic() - started < 3


def test_a_post_without_a_length_needs_one(shared_node: Node) -> None:
    assert_problem(exchange(shared_node.port, head()), 411)


def test_a_claimed_length_beyond_the_limit_is_refused_unread(shared_node: Node) -> None:
    started = time.monotonic()
    for size in (2**31, 10**18, 10**30):
        assert_problem(exchange(shared_node.port, head(f"Content-Length: {size}") + b"{"), 413)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("size", ["-1", "+2", "0x2", "1e1", "two", "2, 2", "2 2", "\u0662", "2;", "1_0"])
def test_a_length_that_is_no_number_is_refused(shared_node: Node, size: str) -> None:
    raw = head("Content-Length: <size>").replace(b"<size>", size.encode())
    assert 400 <= exchange(shared_node.port, raw + b"{}" * 10).status < 500


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked", "Content-Length: 2"),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length : 2",),
    ],
)
def test_two_truths_about_the_length_are_refused(shared_node: Node, lines: tuple[str, ...]) -> None:
    """What a proxy and a node could read differently smuggles requests."""
    answer = exchange(shared_node.port, head(*lines) + b"{}\r\n0\r\n\r\n")
    assert 400 <= answer.status < 502
    assert answer.head.count("http/1.1 ") == 1


def test_a_body_longer_than_its_length_is_cut_there(http: Http, shared_node: Node) -> None:
    body = good_body(http)
    answer = exchange(shared_node.port, head(f"Content-Length: {len(body)}") + body + b"garbage")
    assert answer.status == 200
    assert exchange(shared_node.port, head(f"Content-Length: {len(body) - 1}") + body).status == 400


@pytest.mark.parametrize("kind", ["silent", "half", "all but one byte", "trickle"])
def test_a_slow_body_times_out(hasty: Node, kind: str) -> None:
    body = good_body(hasty.http)
    opening = head(f"Content-Length: {len(body)}")
    parts = {
        "silent": [opening],
        "half": [opening + body[: len(body) // 2]],
        "all but one byte": [opening + body[:-1]],
        "trickle": [opening, *(body[at : at + 1] for at in range(30))],
    }[kind]
    started = time.monotonic()
    answer = exchange(hasty.port, *parts, pause=0.1 if kind == "trickle" else 0)
    assert_problem(answer, 408)
    assert TIMEOUT * 0.9 < time.monotonic() - started < TIMEOUT + 5
    assert len(hasty.http.accepted(body)) == 1


def test_slow_clients_do_not_slow_the_others(hasty: Node) -> None:
    body = good_body(hasty.http)
    opening = head(f"Content-Length: {len(body)}") + body[:100]
    with ThreadPoolExecutor(64) as threads:
        slow = [threads.submit(exchange, hasty.port, opening) for _ in range(64)]
        time.sleep(0.2)
        started = time.monotonic()
        assert len(hasty.http.accepted(body)) == 1
        assert time.monotonic() - started < 0.7 * TIMEOUT
        assert {each.result().status for each in slow} == {408}


def test_a_client_that_leaves_stores_nothing_and_may_come_again(hasty: Node) -> None:
    body = good_body(hasty.http)
    for cut in (1, len(body) // 2, len(body) - 1):
        with socket.create_connection(("127.0.0.1", hasty.port)) as peer:
            peer.sendall(head(f"Content-Length: {len(body)}") + body[:cut])
    with socket.create_connection(("127.0.0.1", hasty.port)) as peer:
        peer.sendall(head(f"Content-Length: {len(body)}") + body[:50])
        peer.shutdown(socket.SHUT_WR)
        assert Answer(peer.recv(65536)).status in (0, 400, 408)
    assert len(hasty.http.accepted(body)) == 1


def test_a_client_that_leaves_before_the_answer_finds_it_later(http: Http, shared_node: Node) -> None:
    """Promise 3: the answer that nobody read is the answer to the retry."""
    bodies = [good_body(http) for _ in range(20)]
    for body in bodies:
        with socket.create_connection(("127.0.0.1", shared_node.port)) as peer:
            peer.sendall(head(f"Content-Length: {len(body)}") + body)
    for body in bodies:
        assert len(http.accepted(body)) == 1
