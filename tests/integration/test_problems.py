"""One form of saying no: whoever refuses, and wherever."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_signed_requests import OPERATOR, node
from tests.support import API, signed

if TYPE_CHECKING:
    from tests.support import Http, Node

__all__ = ["node"]


def raw(node: Node, data: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
            if b"\r\n\r\n" in answer and answer.endswith(b"}"):
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(status.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "kind"),
    [
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", 400, "bad-request"),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 80 + b"\r\n", 431, "headers-too-large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\n\r\n", 501, "transfer-coding-not-supported"),
    ],
)
def test_what_is_not_http_gets_a_problem_document(
    shared_node: Node, request_bytes: bytes, status: int, kind: str
) -> None:
    answered, headers, document = raw(shared_node, request_bytes)
    assert (answered, document["type"]) == (status, f"urn:pouw:problem:{kind}")
    assert headers["content-type"] == "application/problem+json"
    assert document["instance"] == f"urn:pouw:request:{headers['x-request-id']}"


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", f"{API}/nowhere", 404, "not-found"),
        ("POST", f"{API}/challenge", 405, "method-not-allowed"),
        ("DELETE", f"{API}/submit", 405, "method-not-allowed"),
    ],
)
def test_paths_and_methods_that_are_not_there(http: Http, method: str, path: str, status: int, kind: str) -> None:
    response = http.request(method, path, None)
    assert (response.status, response.json["type"]) == (status, f"urn:pouw:problem:{kind}")
    assert response.headers["Content-Type"] == "application/problem+json"
    if status == 405:
        assert response.headers["Allow"]


def test_a_request_id_is_taken_over_where_it_is_plain(http: Http) -> None:
    assert http.request("GET", "/health/live", None, X_Request_Id="my-own-request-1").headers["X-Request-Id"] == (
        "my-own-request-1"
    )
    for odd in ("short", "x" * 65, 'quote"quote', "a b c d e f g h"):
        assert http.request("GET", "/health/live", None, X_Request_Id=odd).headers["X-Request-Id"] != odd


@pytest.mark.parametrize("did", ["%00", "did:key:%00", "nonsense", "did:zhtp:%FF", "did:zhtp:%0A"])
def test_a_path_that_holds_no_did_is_not_found(node: Node, did: str) -> None:
    for path in (f"/receipts/{did}", f"/clients/{did}/history"):
        assert signed(node.http, OPERATOR, "GET", API + path).status == 404
    assert signed(node.http, OPERATOR, "POST", f"{API}/identities/{did}/retire").status == 404


def test_every_type_is_listed_with_its_cure() -> None:
    root = Path(__file__).parents[2]
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", (root / "docs" / "errors.md").read_text(), re.MULTILINE))
    used = set()
    for path in (root / "pouw").rglob("*.py"):
        text = path.read_text()
        used |= set(re.findall(r'(?:Problem\(\s*\d+,|BodyError\(|kind=|\(\d{3},)\s*"([a-z-]+)"', text))
    assert used - {"http-"} <= listed | {"not-found"}, used - listed
    assert {"bad-envelope", "batch-conflict", "not-json", "unavailable"} <= used
