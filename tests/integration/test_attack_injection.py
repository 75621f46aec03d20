"""Text that wants to be more than text: SQL, header lines and log lines, in everything that a stranger may send."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.integration.test_attack_operators import contents
from tests.integration.test_attack_smuggling import request, statuses, talk
from tests.support import API, Http, Identity, Node, batch_body, signed

if TYPE_CHECKING:
    import psycopg

SQL = [
    "'; DROP TABLE receipts; --",
    "' OR '1'='1' /**/ UNION SELECT did FROM identities --",
    "$$; DELETE FROM nonces; $$ %s%b%(did)s{0}{did}",
    "1; SELECT pg_sleep(60); E'\\x00' \\' --",
]
LINES = ["\r\nX-Injected: 1", "\nX-Injected: 1", "\rX-Injected: 1", "\r\n\r\nHTTP/1.1 200 OK\r\nX-Injected: 1"]
LINES += ["\x85X-Injected: 1", "\u2028X-Injected: 1", "\u560d\u560aX-Injected: 1"]


def endpoints(http: Http) -> list[tuple[str, str, list[str]]]:
    """Return method, path and query parameters of every operation in the description."""
    return [
        (method.upper(), path, [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"])
        for path, item in http.get("/openapi.json").json["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post")
    ]


def targets(http: Http, text: str) -> list[tuple[str, str]]:
    """Return the methods and targets with this text in each place of path and query, one at a time."""
    hostile, found = quote(text, safe=""), []
    for method, path, names in endpoints(http):
        plain = re.sub(r"\{[^}]*\}", "did:zhtp:x", path)
        found.append((method, re.sub(r"\{[^}]*\}", hostile, path)))
        found.append((method, re.sub(r"\{[^}]*\}", f"did:zhtp:{hostile}", path)))
        found += [(method, f"{plain}?{name}={hostile}") for name in [*names, hostile]]
    return [*found, ("GET", f"/{hostile}"), ("GET", f"/docs/{hostile}"), ("GET", f"/docs?{hostile}")]


def tables(db: psycopg.Connection[Any]) -> list[Any]:
    return db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()


@pytest.mark.parametrize("text", SQL)
def test_sql_in_every_path_and_parameter(http: Http, client: Identity, db: psycopg.Connection[Any], text: str) -> None:
    """Statements in each path and each parameter, unsigned and signed: no fault, no change."""
    before, schema = contents(db), tables(db)
    for method, target in targets(http, text):
        assert http.request(method, target, None).status < 500, target
        if method == "GET" and target.startswith(API):
            assert signed(http, client, method, target).status < 500, target
    assert (contents(db), tables(db)) == (before, schema)


def test_sql_in_every_member_of_a_batch(http: Http, client: Identity, db: psycopg.Connection[Any]) -> None:
    """Statements as each member: what may be text is kept as that text, the rest is refused."""
    token, schema = http.challenge(), tables(db)
    for text in SQL:
        item = client.item(token)
        items = [item | {"receipt": item["receipt"] | {name: text}} for name in item["receipt"]]
        items += [item | {"sig_scheme": text}, item | {"signature": text}, item | {text: text}, item]
        did = f"{text} {secrets.token_hex(8)}"
        answer = http.submit(batch_body(client.did, items))
        assert answer.json["accepted"] == [item["receipt"]["receipt_nonce"]]
        assert http.submit(batch_body(client.did, [item], batch_nonce=text)).status == 422
        assert http.submit(batch_body(client.did, [item], **{text: text})).status == 422
        assert http.submit(batch_body(did, [item])).status == 200
        kept = db.execute("SELECT detail FROM rejections WHERE client_did = %s", (did,)).fetchall()
        assert kept == [("unknown_client",)]
    context = json.dumps({"manifest_cid": SQL[0], "served_from_cache": True})
    signed_text = client.item(token)
    signed_text["receipt"]["aux"] = context
    assert http.submit(batch_body(client.did, [signed_text])).json["accepted"] == []
    assert tables(db) == schema


def test_sql_as_a_signer(http: Http, client: Identity) -> None:
    """Statements as the DID and as the nonce of a signed request."""
    for text in SQL:
        plain = text.replace("\\", "").replace('"', "")
        assert signed(http, client, "GET", f"{API}/quota", did=f"did:zhtp:{plain}").status == 401
        assert (
            signed(http, client, "GET", f"{API}/quota", nonce=f"{plain.replace(' ', '+')[:48]}{'x' * 16}").status == 200
        )


HEADERS = [
    "X-Request-Id",
    "Accept",
    "Content-Type",
    "Signature-Input",
    "Signature",
    "Content-Digest",
    "X-Forwarded-For",
]
HEADERS += ["Origin", "Referer", "User-Agent", "If-None-Match", "Range", "Cookie", "X-Forwarded-Proto", "Connection"]


@pytest.mark.parametrize("name", HEADERS)
def test_line_ends_in_every_header(shared_node: Node, name: str) -> None:
    """A header line hidden in a header's value never becomes a header line of the answer."""
    for text in LINES[:5]:
        for value in (f"value{text}", text, quote(text), text.encode("unicode_escape").decode()):
            for line in ("GET /health/live HTTP/1.1", f"GET {API}/quota HTTP/1.1", "GET /docs HTTP/1.1"):
                answers = talk(shared_node, request(line, f"{name}: {value}"))
                assert b"\nx-injected" not in answers.lower()
                assert 500 not in statuses(answers)


@pytest.mark.parametrize("text", LINES[1:])
def test_line_ends_in_every_path_parameter_and_member(shared_node: Node, client: Identity, text: str) -> None:
    """Line ends in what comes back in problems and redirects stay inside JSON strings and encodings."""
    http = shared_node.http
    for method, target in targets(http, f"a{text}"):
        answers = talk(shared_node, request(f"{method} {target} HTTP/1.1", "Content-Length: 0"))
        assert b"\nx-injected" not in answers.lower(), target
        assert 500 not in statuses(answers), target
    for members in ({"batch_nonce": text}, {text: 1}, {"version": text}):
        answer = http.submit(batch_body(client.did, [{}], **members))
        assert answer.status == 422
        assert "X-Injected" not in answer.headers
    answer = http.submit(batch_body(f"did:zhtp:x{text}", [{"receipt": {"client_did": text}, text: text}]))
    assert answer.status in (200, 422)
    assert "X-Injected" not in answer.headers


def test_a_host_that_is_none_is_no_fault(shared_node: Node) -> None:
    """Hosts that no name can be, on pages that answer with a redirect and on those that ask for signatures."""
    good = 'a=("@method" "@target-uri");created=1;keyid="did:zhtp:x";nonce="nnnnnnnnnnnnnnnnn";tag="pouw"'
    for host in (
        "",
        "[",
        "a b",
        "a/b",
        "a\\b",
        "a:b:c",
        "a:99999999",
        "\xff",
        "<script>",
        "a?b",
        "a#b",
        "a@b",
        "[::1",
        "%",
    ):
        for path in ("/docs", "/health/live", f"{API}/quota", f"/{API}/challenge"):
            signature = (f"Signature-Input: {good}", "Signature: a=:AAAA:")
            answers = talk(shared_node, request(f"GET {path} HTTP/1.1", *signature, host=f"Host: {host}"))
            assert 500 not in statuses(answers), (host, path)
            assert b"<script>" not in answers


def test_hostile_values_of_every_header_are_no_fault(shared_node: Node) -> None:
    """Long, nested and half-open values in the headers that some library takes apart."""
    values = [
        '"' * 4000, ";" * 4000, ",q=" * 2000, "*/*;q=nan", "*/*;q=" + "9" * 4000, "bytes=" + "0-," * 1000, "\xff" * 100,
        "=?utf-8?b?AA==?=", "a/" * 3000, "application/json;charset=" + "x" * 4000, "(" * 4000, "\t", "W/" * 100,
    ]  # fmt: skip
    for name in HEADERS:
        for value in values:
            for path in (f"{API}/challenge", "/docs/swagger-ui.css"):
                answers = talk(shared_node, request(f"GET {path} HTTP/1.1", f"{name}: {value}"))
                assert statuses(answers)[0] in (200, 206, 304, 400, 401, 416), (name, value[:20], answers[:300])


@pytest.mark.parametrize("raw", [b"\xff", "é".encode(), b"%ff", b"%"])
@pytest.mark.parametrize("path", ["/challenge?cap=", "/epochs?limit="])
def test_bytes_of_a_query_that_are_no_text_are_a_bad_parameter(shared_node: Node, path: str, raw: bytes) -> None:
    sent = b"GET " + f"{API}{path}".encode() + raw + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert statuses(talk(shared_node, sent)) == [400]
