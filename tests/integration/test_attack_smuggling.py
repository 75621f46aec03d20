"""Request smuggling: bytes that another reader could take for a body, or for a second request.

The hidden request carries a request id of its own. The node repeats the id of every request that it answers, so
whether the hidden one was answered is written in what came back.
"""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support import API

if TYPE_CHECKING:
    from tests.support import Node

GET = "GET /health/live HTTP/1.1"
POST = f"POST {API}/submit HTTP/1.1"


def request(line: str, *headers: str, body: bytes = b"", host: str = "Host: node") -> bytes:
    """Return a request exactly as it is written here."""
    return "\r\n".join([line, *([host] if host else []), *headers, "", ""]).encode("latin-1") + body


def hidden(mark: str) -> bytes:
    """Return the request that nobody made."""
    return request(GET, f"X-Request-Id: {mark}")


def talk(node: Node, data: bytes) -> bytes:
    """Send bytes and the end of all bytes; return everything that came back before the node closed."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while some := peer.recv(65536):
                received += some
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed with our bytes unread
    return bytes(received)


def statuses(answers: bytes) -> list[int]:
    """Return the status of each answer, told apart by their lengths."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        found.append(int(lines[0].split()[1]))
        if found[-1] == 100:
            answers = rest
            continue
        [length] = [int(line.split(":")[1]) for line in lines[1:] if line.startswith("content-length:")] or [0]
        assert len(rest) >= length, answers
        answers = rest[length:]
    return found


def new_mark() -> str:
    return f"hidden-{secrets.token_hex(8)}"


CHUNK = b"0\r\n\r\n"
LENGTHS = {
    "CL.TE": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "TE.CL": ("Transfer-Encoding: chunked", "Content-Length: 5"),
    "TE.TE identity": ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "TE.TE unknown": ("Transfer-Encoding: chunked", "Transfer-Encoding: cow"),
    "TE.TE twice": ("Transfer-Encoding: chunked, chunked",),
    "TE.TE gzip last": ("Transfer-Encoding: chunked, gzip",),
    "TE with a tab": ("Transfer-Encoding:\tchunked\x0b",),
    "TE with a space before the colon": ("Transfer-Encoding : chunked",),
    "TE with a parameter": ("Transfer-Encoding: chunked;x=1",),
    "TE in quotes": ('Transfer-Encoding: "chunked"',),
    "TE folded": ("Transfer-Encoding:", " chunked"),
    "TE behind a folded line": ("X: y", " Transfer-Encoding: chunked"),
    "TE behind a bare LF": ("X: y\nTransfer-Encoding: chunked",),
    "TE behind a bare CR": ("X: y\rTransfer-Encoding: chunked",),
    "TE behind a NUL": ("X: y\0Transfer-Encoding: chunked",),
    "TE empty": ("Transfer-Encoding:",),
    "TE of a comma": ("Transfer-Encoding: ,chunked",),
    "CL twice, equal": ("Content-Length: 5", "Content-Length: 5"),
    "CL twice, unequal": ("Content-Length: 5", "Content-Length: 0"),
    "CL as a list": ("Content-Length: 5, 5",),
    "CL with a plus": ("Content-Length: +5",),
    "CL with a minus": ("Content-Length: -5",),
    "CL in hexadecimal": ("Content-Length: 0x5",),
    "CL with a space inside": ("Content-Length: 0 5",),
    "CL with an underscore": ("Content-Length: 0_5",),
    "CL with a fraction": ("Content-Length: 5.0",),
    "CL with a foreign digit": ("Content-Length: \xb2",),
    "CL empty": ("Content-Length:",),
    "CL folded": ("Content-Length:", " 5"),
    "CL with a space before the colon": ("Content-Length : 5",),
    "CL with a control character": ("Content-Length: \x0c5",),
}


@pytest.mark.parametrize("line", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("headers", LENGTHS.values(), ids=LENGTHS)
def test_two_readings_of_the_length_answer_no_second_request(
    shared_node: Node, line: str, headers: tuple[str, ...]
) -> None:
    """Headers from which a proxy and the node could conclude different lengths, with a request behind them."""
    mark = new_mark()
    answers = talk(shared_node, request(line, *headers, body=CHUNK + hidden(mark)))
    assert mark.encode() not in answers
    assert [status // 100 for status in statuses(answers)] in ([4], [5])
    assert statuses(answers)[0] != 500


CHUNKS = {
    "size with a plus": b"+0\r\n\r\n",
    "size with a minus": b"-0\r\n\r\n",
    "size with 0x": b"0x0\r\n\r\n",
    "size with an underscore": b"0_0\r\n\r\n",
    "size with a space before": b" 0\r\n\r\n",
    "size with a space behind": b"0 \r\n\r\n",
    "no size": b"\r\n\r\n",
    "bare LF behind the size": b"0\n\r\n",
    "bare LF at the end": b"1\r\na\r\n0\r\n\n",
    "bare LF behind the data": b"1\r\na\n0\r\n\r\n",
    "more data than its size": b"1\r\nab\r\n0\r\n\r\n",
    "LF in an extension": b"0;a\nb\r\n\r\n",
    "CR in an extension": b"0;a\rb\r\n\r\n",
    "extension without a name": b"0;=b\r\n\r\n",
    "extension of an open string": b'0;a="b\r\n\r\n',
    "Content-Length as a trailer": b"0\r\nContent-Length: 9\r\n\r\n",
    "Transfer-Encoding as a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Host as a trailer": b"0\r\nHost: other\r\n\r\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("line", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_a_chunked_body_that_is_none_answers_no_second_request(shared_node: Node, line: str, chunks: bytes) -> None:
    """Chunks that a lax reader would take for the end of the body, with a request behind them."""
    mark = new_mark()
    answers = talk(shared_node, request(line, "Transfer-Encoding: chunked", body=chunks + hidden(mark)))
    assert mark.encode() not in answers
    assert 500 not in statuses(answers)


REFUSED = {
    "another content type": (POST, "Content-Type: text/plain"),
    "no JSON": (POST, "Content-Type: application/json"),
    "no protobuf": (POST, "Content-Type: application/x-protobuf"),
    "nowhere": ("POST /nowhere HTTP/1.1", "Content-Type: application/json"),
    "another method": ("DELETE /health/live HTTP/1.1",),
    "a read with a body": (GET,),
    "a route of operators": (f"POST {API}/blocks HTTP/1.1", "Content-Type: application/json"),
    "a route without a body": (f"POST {API}/identities/did:zhtp:x/retire HTTP/1.1",),
    "a bad parameter": (f"GET {API}/challenge?max_bytes=x HTTP/1.1",),
    "an expectation": (POST, "Content-Type: application/json", "Expect: 100-continue"),
    "of version 1.0": ("POST /nowhere HTTP/1.0", "Connection: keep-alive"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_request_inside_a_body_is_never_answered(shared_node: Node, case: tuple[str, ...]) -> None:
    """A whole request as the body of one that is refused unread; the legal one behind it is still itself."""
    mark, legal = new_mark(), new_mark()
    body = hidden(mark)
    first = request(*case, f"Content-Length: {len(body)}", body=body)
    answers = talk(shared_node, first + request(GET, f"X-Request-Id: {legal}"))
    assert mark.encode() not in answers
    told = [status for status in statuses(answers) if status != 100]
    assert len(told) == 1 + (legal.encode() in answers)
    assert 500 not in told


def test_a_body_beyond_the_limit_closes_the_connection(shared_node: Node) -> None:
    """What follows a length that is refused unread is part of that body, and nobody is told to go on behind it."""
    mark = new_mark()
    for size in (10**8, 10**18, 10**40):
        first = request(POST, "Content-Type: application/json", f"Content-Length: {size}")
        answers = talk(shared_node, first + hidden(mark))
        assert mark.encode() not in answers
        assert statuses(answers) == [413]
        assert b"\r\nconnection: close\r\n" in answers.lower()


REQUEST_LINES = {
    "bare LF": b"GET /health/live HTTP/1.1\nHost: node\n\n",
    "bare LF at the end of the headers": b"GET /health/live HTTP/1.1\r\nHost: node\r\n\n",
    "space before a header": b"GET /health/live HTTP/1.1\r\n Host: node\r\n\r\n",
    "two hosts": b"GET /health/live HTTP/1.1\r\nHost: node\r\nHost: other\r\n\r\n",
    "header without a colon": b"GET /health/live HTTP/1.1\r\nHost: node\r\nX\r\n\r\n",
    "header without a name": b"GET /health/live HTTP/1.1\r\nHost: node\r\n: x\r\n\r\n",
    "NUL in a value": b"GET /health/live HTTP/1.1\r\nHost: node\r\nX: a\0b\r\n\r\n",
    "version 0.9": b"GET /health/live\r\n\r\n",
    "version 1.1 with a letter": b"GET /health/live HTTP/1.1x\r\nHost: node\r\n\r\n",
    "version 2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "authority form": b"GET node:80 HTTP/1.1\r\nHost: node\r\n\r\n",
    "asterisk form": b"GET * HTTP/1.1\r\nHost: node\r\n\r\n",
    "control character in the target": b"GET /health/live\x0b HTTP/1.1\r\nHost: node\r\n\r\n",
    "two targets": b"GET /health/live /nowhere HTTP/1.1\r\nHost: node\r\n\r\n",
    "lower-case method": b"get /health/live HTTP/1.1\r\nHost: node\r\n\r\n",
}


@pytest.mark.parametrize("first", REQUEST_LINES.values(), ids=REQUEST_LINES)
def test_what_is_not_http_ends_the_connection(shared_node: Node, first: bytes) -> None:
    """After a request that cannot be read, nobody knows where the next one starts."""
    mark = new_mark()
    answers = talk(shared_node, first + hidden(mark))
    assert mark.encode() not in answers
    assert statuses(answers) in ([], [400])


def test_no_upgrade_to_http_2_in_the_clear(shared_node: Node) -> None:
    """After ``Upgrade: h2c`` the node goes on in HTTP/1.1, so a proxy's tunnel reaches nothing that it would hide."""
    settings = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    mark = new_mark()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    answers = talk(shared_node, request(GET, *settings) + preface + hidden(mark))
    assert statuses(answers) in ([200], [200, 400])
    assert mark.encode() not in answers


def test_http_1_0_is_kept_only_where_it_asks(shared_node: Node) -> None:
    """A connection of version 1.0 ends after its answer, and with a transfer coding it never goes on."""
    mark = new_mark()
    old = GET.replace("1.1", "1.0")
    assert mark.encode() not in talk(shared_node, request(old) + hidden(mark))
    chunked = request(old, "Connection: keep-alive", "Transfer-Encoding: chunked", body=CHUNK)
    answers = talk(shared_node, chunked + hidden(mark))
    assert mark.encode() not in answers
    assert mark.encode() in talk(shared_node, request(old, "Connection: keep-alive") + hidden(mark))


def test_a_name_with_an_underscore_is_no_length(shared_node: Node) -> None:
    """``Content_Length`` and ``Transfer_Encoding``, which some servers take for the real ones, hide no request."""
    for header, body in (("Transfer_Encoding: chunked", CHUNK), ("Content_Length: 0", b"x")):
        mark = new_mark()
        answers = talk(shared_node, request(POST, header, body=body + hidden(mark)))
        assert mark.encode() not in answers
        assert statuses(answers) == [411, 400]


def test_connection_close_is_the_end(shared_node: Node) -> None:
    """What follows a request that announced the end of the connection is not answered."""
    mark = new_mark()
    answers = talk(shared_node, request(GET, "Connection: close") + hidden(mark))
    assert statuses(answers) == [200]
    assert mark.encode() not in answers


def test_legal_pipelined_requests_are_answered_in_their_order(shared_node: Node) -> None:
    """The tests above can fail: what is legal does get its answer, also in absolute form and after a chunked body."""
    marks = [new_mark() for _ in range(3)]
    absolute = request("GET http://elsewhere.example/health/live HTTP/1.1", f"X-Request-Id: {marks[1]}")
    chunked = request(GET, "Transfer-Encoding: chunked", body=b'1;a=b;c="d"\r\nx\r\n0\r\nX-Trailer: y\r\n\r\n')
    answers = talk(shared_node, hidden(marks[0]) + absolute + chunked + hidden(marks[2]))
    assert statuses(answers) == [200] * 4
    places = [answers.index(mark.encode()) for mark in marks]
    assert places == sorted(places)
    assert b"elsewhere" not in answers
