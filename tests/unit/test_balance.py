"""Connections are shared out: who holds back, for how long, and that nobody waits for a worker that is gone."""

from __future__ import annotations

import socket
import time

import gevent.pool
import gevent.socket
import pytest

from pouw.balance import Board, Server, Share


def shares(*connections: int) -> tuple[Board, list[Share]]:
    board = Board()
    made = [Share(board, number) for number in range(len(connections))]
    for share, count in zip(made, connections, strict=True):
        for _ in range(count):
            share.took()
    return board, made


@pytest.mark.parametrize(
    ("mine", "other", "holds_back"), [(0, 0, False), (1, 0, True), (1, 1, False), (9, 7, True), (100, 90, False)]
)
def test_who_has_clearly_more_holds_back(mine: int, other: int, holds_back: bool) -> None:
    _board, [share, _other] = shares(mine, other)
    assert share.holds_back() is holds_back


def test_the_only_worker_never_holds_back() -> None:
    _board, [share] = shares(5)
    assert not share.holds_back()


def test_it_holds_back_for_a_moment_only() -> None:
    _board, [share, _other] = shares(5, 0)
    assert share.holds_back()
    deadline = time.monotonic() + 5
    while share.holds_back():
        assert time.monotonic() < deadline
    assert share.holds_back()  # the next connection


def test_nobody_waits_for_a_worker_that_leaves_or_was_killed() -> None:
    _board, [share, leaving] = shares(5, 1)
    leaving.leave()
    leaving.took()
    assert not share.holds_back()
    board, [share, _killed] = shares(5, 0)
    board.clear(1)
    assert not share.holds_back()


def test_a_connection_counts_from_when_it_is_taken_until_it_ends() -> None:
    board, [share, _other] = shares(0, 0)
    share.took()
    assert board.fewest(besides=1) == 1
    share.ended()
    assert board.fewest(besides=1) == 0


@pytest.mark.parametrize("error", [None, ValueError("x"), gevent.GreenletExit()])
def test_a_server_counts_each_connection_however_it_ends(error: BaseException | None) -> None:
    """And it takes as many as wait, without a turn of the event loop for each."""
    board = Board()
    share = Share(board, 0)
    seen: list[int] = []

    def handle(_connection: object, _address: object) -> None:
        seen.append(board.fewest(besides=1) or 0)
        gevent.sleep(0.01)
        if error is not None:
            raise error

    with gevent.socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        server = Server(share, listener, handle=handle, spawn=gevent.pool.Pool())
        server.start()
        for client in clients:
            wait_for_the_end(client)
        server.stop()
    assert seen == [5] * 5  # all were taken before the first was served
    assert board.fewest(besides=1) == 0


def wait_for_the_end(client: socket.socket) -> None:
    with client:
        gevent.socket.wait_read(client.fileno(), timeout=5)
        assert client.recv(1) == b""
