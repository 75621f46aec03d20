"""A head that was read before is recalled: as Gunicorn read it, and only what may be kept."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from pouw import heads
from pouw.heads import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

GET = b"GET /challenge?cap=hash HTTP/1.1\r\nHost: node\r\nAccept: */*\r\n\r\n"
PEER = ("192.0.2.7", 4321)
SERVER = ("127.0.0.1", 8080)


def config(**settings: Any) -> Config:
    made = Config()
    ours: dict[str, Any] = {"forwarder_headers": "", "secure_scheme_headers": {}, "http_parser": "python"}
    for name, value in (ours | settings).items():
        made.set(name, value)
    return made


CONFIG = config()


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    Request._known.clear()
    yield
    Request._known.clear()


def read(*pieces: bytes, cfg: Config = CONFIG, kind: type[Any] = Request) -> Any:
    return kind(cfg, IterUnreader(pieces), PEER, 1)


def seen(request: Any) -> tuple[Any, ...]:
    """Return what Gunicorn and an application see of a request."""
    own = {name: value for name, value in vars(request).items() if name not in ("body", "cfg", "unreader", "_kept")}
    return own, type(request.body.reader), request.should_close(), request.body.read(), request.trailers


def test_the_same_bytes_are_read_once() -> None:
    first, second = read(GET), read(GET)
    assert second._kept is first._kept is not None, "recalled, not read again"
    assert second.headers is not first.headers
    assert seen(second) == seen(first) == seen(read(GET, kind=GunicornRequest))


def test_what_comes_after_a_recalled_head_is_the_next_requests() -> None:
    post = b"POST /submit HTTP/1.1\r\nHost: node\r\nContent-Length: 4\r\n\r\n"
    for body in (b"once", b"more"):
        request = read(post + body + GET)
        assert request.body.read() == body
        assert request.unreader.read() == GET


LINES = st.lists(
    st.sampled_from(
        [
            b"Host: node",
            b"Host: other",
            b"Content-Length: 5",
            b"Content-Length: 05",
            b"Content-Length: -1",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding : chunked",
            b"Connection: close",
            b"Connection: keep-alive",
            b"Expect: 100-continue",
            b"Expect: nothing",
            b"Cookie: a=b",
            b"X-Under_score: 1",
            b" folded: 1",
            b"no colon",
            b"Bare: a\nb",
            b"Nul: \x00",
            b"X-Forwarded-Proto: https",
        ]
    ),
    max_size=4,
)
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /x HTTP/1.1",
        b"GET / HTTP/1.0",
        b"get / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"",
        b"\r\nGET / HTTP/1.1",
    ]
)


@given(
    STARTS, LINES, st.lists(st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", GET]), min_size=2, max_size=3)
)
def test_a_second_reading_is_gunicorns(start: bytes, lines: list[bytes], after: list[bytes]) -> None:
    head = b"\r\n".join([start, *lines, b"", b""])

    def outcome(kind: type[Any], data: bytes) -> Any:
        try:
            return seen(read(data, kind=kind))
        except (ParseException, StopIteration, OSError) as error:
            return type(error), str(error)

    for rest in after:
        assert outcome(Request, head + rest) == outcome(GunicornRequest, head + rest)


@pytest.mark.parametrize(
    "line", [b"Authorization: Bearer x", b"Cookie: session=x", b"Signature: pouw=:eA==:", b"Expect: 100-continue"]
)
def test_a_secret_or_an_expectation_is_not_kept(line: bytes) -> None:
    read(b"GET / HTTP/1.1\r\nHost: node\r\n" + line + b"\r\n\r\n")
    assert not Request._known


def test_what_is_refused_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ParseException):
            read(b"GET / HTTP/1.1\r\nHost: node\r\nHost: other\r\n\r\n")
    assert not Request._known


def test_no_more_is_kept_than_a_bound() -> None:
    for number in range(heads._MOST_HEADS + 5):
        read(b"GET /%d HTTP/1.1\r\nHost: node\r\n\r\n" % number)
    assert len(Request._known) == heads._MOST_HEADS
    read(b"GET / HTTP/1.1\r\nHost: node\r\nX: " + b"x" * heads._MOST_BYTES + b"\r\n\r\n")
    assert not any(len(head) > heads._MOST_BYTES for head in Request._known)


def test_a_head_in_pieces_is_gunicorns_alone() -> None:
    assert seen(read(GET[:20], GET[20:])) == seen(read(GET))
    assert list(Request._known) == [GET]


@pytest.mark.parametrize(
    "settings",
    [
        {"forwarder_headers": "SCRIPT_NAME"},
        {"secure_scheme_headers": {"X-FORWARDED-PROTO": "https"}},
        {"proxy_protocol": "auto"},
    ],
)
def test_where_the_peer_counts_nothing_is_kept(settings: dict[str, Any]) -> None:
    read(GET, cfg=config(**settings))
    assert not Request._known


def test_on_a_socket_of_the_file_system_gunicorn_names_the_client_and_the_server() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for _ in range(2):
            _answer, environ = read(GET).begin(ours, "", "/run/node.sock")
            named = [environ[name] for name in ("REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT")]
            assert named == ["", "node", "80"], "the last two from Host"


def test_an_environment_is_its_own_requests() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _answer, first = read(GET).begin(ours, PEER, SERVER)
        first["REMOTE_ADDR"] = first["HTTP_HOST"] = "changed by the application"
        request = read(GET)
        answer, second = request.begin(theirs, ("198.51.100.9", 99, 0, 0), ("127.0.0.2", 81))
        assert answer.req is request
        assert answer.sock is second["gunicorn.socket"] is theirs
        assert second["wsgi.input"] is request.body
        expected = read(GET, kind=GunicornRequest)
        _response, environ = wsgi.create(expected, theirs, ("198.51.100.9", 99, 0, 0), ("127.0.0.2", 81), CONFIG)
        del environ["wsgi.early_hints"]
        ours_alone = {"wsgi.multithread": True} | {name: second[name] for name in ("wsgi.input", "wsgi.errors")}
        assert second == environ | ours_alone
