"""An answer's head and body leave in one write, and nothing is kept back or sent twice."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from pouw.worker import OneWrite

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorder(socket.socket):
    """A real socket that remembers what each write was given."""

    writes: list[bytes]

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]  # of one type here
        self.writes.append(data)
        super().sendall(data, flags)


@pytest.fixture
def pair() -> Iterator[tuple[Recorder, socket.socket]]:
    ours, theirs = socket.socketpair()
    recorder = Recorder(fileno=ours.detach())
    recorder.writes = []
    with recorder, theirs:
        yield recorder, theirs


def read(end: socket.socket) -> bytes:
    end.settimeout(5)
    return end.recv(65_536)


def test_a_head_goes_with_the_first_piece_of_the_body(pair: tuple[Recorder, socket.socket]) -> None:
    connection, peer = pair
    answer = OneWrite(connection)
    answer.sendall(HEAD)
    answer.sendall(b"one")
    answer.sendall(b"two")
    answer.flush()
    assert connection.writes == [HEAD + b"one", b"two"]
    assert read(peer) == HEAD + b"onetwo"


def test_an_answer_without_a_body_is_its_head(pair: tuple[Recorder, socket.socket]) -> None:
    connection, peer = pair
    answer = OneWrite(connection)
    answer.sendall(HEAD)
    assert connection.writes == []
    answer.flush()
    answer.flush()
    assert connection.writes == [HEAD]
    assert read(peer) == HEAD


def test_whatever_else_is_written_comes_after_the_head(pair: tuple[Recorder, socket.socket]) -> None:
    connection, peer = pair
    answer = OneWrite(connection)
    answer.sendall(HEAD)
    answer.send(b"body")
    answer.flush()
    assert read(peer) == HEAD + b"body"


def test_an_answer_without_a_body_outlives_what_fails_after_it(pair: tuple[Recorder, socket.socket]) -> None:
    connection, peer = pair
    answer = OneWrite(connection)
    answer.sendall(HEAD)
    answer.shutdown(socket.SHUT_RDWR)
    answer.flush()
    assert connection.writes == [HEAD]
    assert read(peer) == HEAD
