"""An answer's head and body leave in one write, and its bytes are what Gunicorn's response would write."""

from __future__ import annotations

import re
import socket
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import Response

from pouw.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = Config()


class Recorder(socket.socket):
    """A real socket that remembers what each write was given."""

    writes: list[bytes]

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]  # of one type here
        self.writes.append(data)
        super().sendall(data, flags)


@pytest.fixture
def connection() -> Iterator[Recorder]:
    ours, theirs = socket.socketpair()
    recorder = Recorder(fileno=ours.detach())
    recorder.writes = []
    with recorder, theirs:
        yield recorder


def give(
    kind: type[Any],
    connection: Recorder,
    pieces: list[bytes],
    *,
    line: bytes = b"GET / HTTP/1.1",
    status: str = "200 OK",
    headers: tuple[tuple[str, str], ...] = (),
) -> list[bytes]:
    """Answer a request with ``pieces``; return what was written, and the date with a fixed one."""
    connection.writes.clear()
    request = Request(CONFIG, IterUnreader([line + b"\r\nHost: node\r\n\r\n"]), ("192.0.2.7", 1), 1)
    answer = kind(request, connection, CONFIG)
    answer.start_response(status, list(headers))
    for piece in pieces:
        answer.write(piece)
    answer.close()
    return [re.sub(rb"Date: [^\r]+ GMT\r\n", b"Date: now\r\n", written) for written in connection.writes]


def test_a_head_goes_with_the_first_piece_of_the_body(connection: Recorder) -> None:
    [first, second] = give(Answer, connection, [b"one", b"two"], headers=(("Content-Length", "6"),))
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"\r\n\r\none")
    assert second == b"two"


CASES: list[dict[str, Any]] = [
    {"pieces": [b"body"], "headers": (("Content-Length", "4"), ("X-Name", "value"))},
    {"pieces": [b"a longer body than announced"], "headers": (("Content-Length", "4"),)},
    {"pieces": [b"in", b"", b"chunks", b"of more than ten bytes, which is b in hexadecimal"]},
    {"pieces": []},
    {"pieces": [], "status": "204 No Content"},
    {"pieces": [b"left out"], "status": "304 Not Modified"},
    {"pieces": [b"left out"], "line": b"HEAD / HTTP/1.1", "headers": (("Content-Length", "8"),)},
    {"pieces": [b"until the end"], "line": b"GET / HTTP/1.0"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_bytes_are_gunicorns(connection: Recorder, case: dict[str, Any]) -> None:
    ours = b"".join(give(Answer, connection, **case))
    assert ours == b"".join(give(Response, connection, **case))


def test_the_date_is_now(connection: Recorder) -> None:
    request = Request(CONFIG, IterUnreader([b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"]), ("192.0.2.7", 1), 1)
    for _ in range(2):
        before = int(time.time())
        answer = Answer(request, connection, CONFIG)
        answer.start_response("200 OK", [])
        [line] = [line for line in answer.default_headers() if line.startswith("Date: ")]
        assert before <= parsedate_to_datetime(line.removeprefix("Date: ").strip()).timestamp() <= time.time()
        time.sleep(1.1)


def test_a_header_that_would_split_the_answer_is_refused(connection: Recorder) -> None:
    with pytest.raises(Exception, match="X-Name"):
        give(Answer, connection, [b"body"], headers=(("X-Name", "a\r\nX-Other: b"),))
    assert connection.writes == []
