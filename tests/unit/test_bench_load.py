"""The load generator: what it charges, counts and mends, against toy servers."""

from __future__ import annotations

import math
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bench.load import Generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUEST = b"GET / HTTP/1.1\r\nHost: toy\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def toy(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that hands each connection to ``serve`` on a thread; give its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection:
            serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join()


def heard(connection: socket.socket) -> bool:
    """Read one request; False where the connection ended."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        try:
            piece = connection.recv(65_536)
        except ConnectionResetError:
            return False
        if not piece:
            return False
        data += piece
    return True


def answering(connection: socket.socket) -> None:
    while heard(connection):
        connection.sendall(ANSWER)


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile() -> None:
    """Request n is due at n / rate; what waits for a free connection waits at the server's expense."""
    stall, at, rate, count = 0.6, 5, 50.0, 30
    seen = []

    def serve(connection: socket.socket) -> None:
        while heard(connection):
            seen.append(time.monotonic())
            if len(seen) == at + 1:
                time.sleep(stall)
            connection.sendall(ANSWER)

    with toy(serve) as base, Generator(base, 1) as generator:
        run = generator.run([REQUEST] * count, rate=rate, progress=False)
    assert len(run.answers) == count
    stalled = next(answer for answer in run.answers if answer.index == at)
    ends = stalled.sent + stall
    waiting = [answer for answer in run.answers if stalled.sent < answer.due < ends]
    assert len(waiting) >= 20
    for answer in waiting:
        assert answer.due == pytest.approx(answer.index / rate)
        assert answer.done - answer.due >= ends - answer.due


def test_a_closed_loop_sends_when_it_has_its_answer() -> None:
    with toy(answering) as base, Generator(base, 3) as generator:
        run = generator.run([REQUEST] * 30, rate=None, progress=False)
    assert sorted(answer.index for answer in run.answers) == list(range(30))
    assert {answer.status for answer in run.answers} == {200}
    assert {answer.body for answer in run.answers} == {b"ok"}
    assert all(answer.due <= answer.sent <= answer.done for answer in run.answers)


def test_a_closed_loop_ends_when_its_time_is_over() -> None:
    with toy(answering) as base, Generator(base, 2) as generator:
        run = generator.run([REQUEST] * 1_000_000, rate=None, seconds=0.1, progress=False)
        again = generator.run([REQUEST] * 4, rate=None, progress=False)
    assert 0 < len(run.answers) < 1_000_000
    assert all(answer.due < 0.1 for answer in run.answers)
    assert len(again.answers) == 4


def test_an_open_loop_sends_what_is_due_in_its_time_however_late_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def held_up() -> float:
        time.sleep(0.2)
        return 0.0

    with toy(answering) as base, Generator(base, 2) as generator:
        monkeypatch.setattr(generator, "_pause", held_up)
        run = generator.run([REQUEST] * 1_000, rate=100, seconds=0.25, progress=False)
    assert sorted(answer.index for answer in run.answers) == list(range(25))


def test_at_once_sends_one_on_each_connection_and_charges_from_the_start() -> None:
    together = threading.Barrier(8)

    def serve(connection: socket.socket) -> None:
        while heard(connection):
            together.wait(10)
            connection.sendall(ANSWER)

    with toy(serve) as base, Generator(base, 8) as generator:
        run = generator.run([REQUEST] * 8, rate=math.inf, progress=False)
    assert [answer.due for answer in run.answers] == [0.0] * 8
    assert {answer.status for answer in run.answers} == {200}
    assert run.warnings == []


def test_a_broken_connection_counts_as_status_0_and_is_replaced() -> None:
    opened = []

    def serve(connection: socket.socket) -> None:
        opened.append(connection)
        first = len(opened) == 1
        while heard(connection):
            if first:
                connection.sendall(ANSWER[:20])
                return
            connection.sendall(ANSWER)

    with toy(serve) as base, Generator(base, 1) as generator:
        run = generator.run([REQUEST] * 3, rate=None, progress=False)
    assert [(answer.status, answer.body) for answer in run.answers] == [(0, b""), (200, b"ok"), (200, b"ok")]
    assert len(opened) == 2


def test_it_connects_again_after_connection_close() -> None:
    opened = []

    def serve(connection: socket.socket) -> None:
        opened.append(connection)
        heard(connection)
        connection.sendall(ANSWER.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))

    with toy(serve) as base, Generator(base, 1) as generator:
        run = generator.run([REQUEST] * 4, rate=None, progress=False)
    assert [answer.status for answer in run.answers] == [200] * 4
    assert len(opened) >= 4


def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    opened = []

    def serve(connection: socket.socket) -> None:
        opened.append(connection)
        if len(opened) > 2:
            answering(connection)

    with toy(serve) as base, Generator(base, 2) as generator:
        time.sleep(0.2)
        run = generator.run([REQUEST] * 10, rate=100.0, progress=False)
    assert len(run.answers) == 10
    assert len(opened) >= 4


def test_answers_in_pieces_are_put_together() -> None:
    def serve(connection: socket.socket) -> None:
        while heard(connection):
            for at in range(len(ANSWER)):
                connection.sendall(ANSWER[at : at + 1])

    with toy(serve) as base, Generator(base, 1) as generator:
        run = generator.run([REQUEST] * 5, rate=None, progress=False)
    assert [(answer.status, answer.body) for answer in run.answers] == [(200, b"ok")] * 5


def test_it_says_when_it_is_the_bottleneck() -> None:
    """A generator that takes 10 ms for each request is late at 1,000 a second, by its own fault."""

    class Slow(list[bytes]):
        def __getitem__(self, index: Any) -> Any:
            time.sleep(0.01)
            return super().__getitem__(index)

    with toy(answering) as base, Generator(base, 40) as generator:
        run = generator.run(Slow([REQUEST] * 30), rate=1_000.0, progress=False)
    assert run.late_p99 >= 0.01
    assert any("late" in warning for warning in run.warnings)


def test_an_answer_without_an_end_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load._STALL_SECS", 0.2)

    def serve(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(ANSWER[:-1])
        heard(connection)

    with toy(serve) as base, Generator(base, 1) as generator, pytest.raises(TimeoutError, match="after 0 answers"):
        generator.run([REQUEST], rate=None, progress=False)
