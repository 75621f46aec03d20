"""Envelopes and bodies that are none: each fails as a whole, says where, and leaves nothing behind."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_attack_canonical import ABSENT, hand_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.support import Http, Identity, Node, Response

COUNTS = (
    "SELECT (SELECT count(*) FROM receipts), (SELECT count(*) FROM nonces), (SELECT count(*) FROM batches),"
    " (SELECT count(*) FROM rejections), (SELECT coalesce(sum(receipts_used + bytes_used), 0) FROM challenges)"
)


@pytest.fixture(autouse=True)
def _nothing_stored(http: Http, shared_node: Node, db: psycopg.Connection[Any]) -> Iterator[None]:
    """No attack of this file may leave a row or end a worker."""
    workers, rows = sorted(each.pid for each in shared_node.workers()), db.execute(COUNTS).fetchone()
    yield
    assert sorted(each.pid for each in shared_node.workers()) == workers
    assert db.execute(COUNTS).fetchone() == rows


def envelope(client: Identity, http: Http, **changes: Any) -> dict[str, Any]:
    token = http.challenge()
    members: dict[str, Any] = {
        "version": 1,
        "client_did": client.did,
        "batch_nonce": secrets.token_hex(16),
        "receipts": [hand_item(client, token), hand_item(client, token)],
    }
    return {name: value for name, value in (members | changes).items() if value is not ABSENT}


def assert_problem(response: Response, *statuses: int) -> None:
    assert response.status in statuses, (response.status, response.body)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json["status"] == response.status
    assert response.json["type"]
    assert response.json["title"]


def faults(response: Response) -> set[str]:
    assert_problem(response, 400, 413, 422)
    return {fault["path"].strip("/").split("/")[0] for fault in response.json["errors"]}


BAD_MEMBERS: dict[str, list[Any]] = {
    "version": [ABSENT, 0, 2, -1, 2**32 + 1, 2**64 + 1, 1.5, True, None, "", "x", [], [1], {}],
    "client_did": [ABSENT, None, 5, True, [], {}, "did:zhtp:" + "a" * 248, "did:zhtp:" + "é" * 124, "d" * 10**6],
    "batch_nonce": [
        *("", "ab" * 15, "ab" * 33, "ab" * 15 + "a", "AB" * 16, "zz" * 16, "ab" * 15 + "\0\0", "\uff41\uff42" * 16),
        *(" " + "ab" * 16, "0x" + "ab" * 16, 5, 10**19, True, 1.5, [], ["ab" * 16], {}),
    ],
    "receipts": [ABSENT, None, {}, {"0": {}}, "[]", "", 5, True, 1.5],
}


@pytest.mark.parametrize(("member", "value"), [(name, bad) for name, values in BAD_MEMBERS.items() for bad in values])
def test_a_bad_member_is_named(http: Http, client: Identity, member: str, value: Any) -> None:
    assert faults(http.submit(json.dumps(envelope(client, http, **{member: value})).encode())) == {member}


def test_every_fault_is_named_at_once(http: Http) -> None:
    body = {"version": 2, "client_did": 5, "batch_nonce": "x", "receipts": {}}
    assert faults(http.submit(json.dumps(body).encode())) == set(body)
    assert faults(http.submit(b"{}")) == {"version", "client_did", "receipts"}


@pytest.mark.parametrize("body", ["[]", "null", "true", "5", '"x"', "[[]]", '[{"version":1}]', "1.5", "-0"])
def test_a_batch_is_an_object(http: Http, body: str) -> None:
    assert_problem(http.submit(body.encode()), 400, 422)


def broken(good: bytes) -> dict[str, bytes]:
    """Return bodies that are not JSON though they look like a good batch."""
    did = good[good.index(b"did:key") :][:20]
    return {
        "blank": b" \n",
        "nul": b"\0",
        "cut": good[:-1],
        "half": good[: len(good) // 2],
        "trailing letter": good + b"x",
        "trailing nul": good + b"\0",
        "twice": good + good,
        "trailing bracket": good + b"}",
        "leading garbage": b")]}'\n" + good,
        "trailing comma": good[:-1] + b",}",
        "comment": b"/**/" + good,
        "line comment": good + b"//",
        "single quotes": good.replace(b'"', b"'"),
        "NaN": good.replace(b": 4096", b": NaN"),
        "Infinity": good.replace(b": 4096", b": Infinity"),
        "-Infinity": good.replace(b": 4096", b": -Infinity"),
        "leading zero": good.replace(b": 4096", b": 04096"),
        "plus": good.replace(b": 4096", b": +4096"),
        "hexadecimal": good.replace(b": 4096", b": 0x1000"),
        "dot": good.replace(b": 4096", b": 4096."),
        "version NaN": good.replace(b'"version": 1', b'"version": NaN', 1),
        "raw control": good.replace(did, did + b"\x01"),
        "raw nul": good.replace(did, did + b"\0"),
        "raw newline": good.replace(did, did + b"\n"),
        "lone continuation": good.replace(did, did + b"\x80"),
        "overlong": good.replace(did, did + b"\xc0\xaf"),
        "surrogate bytes": good.replace(did, did + b"\xed\xa0\x80"),
        "beyond unicode": good.replace(did, did + b"\xf4\x90\x80\x80"),
        "cut character": good.replace(did, did + b"\xf0\x9f\x98"),
        "bad escape": good.replace(did, did + b"\\x41"),
        "short escape": good.replace(did, did + b"\\u12g"),
        "utf-16": good.decode().encode("utf-16"),
        "utf-32": good.decode().encode("utf-32-le"),
        "form": b"version=1&client_did=x",
        "deep and open": b'{"receipts":' + b"[" * 1_000_000,
        "deep objects and open": b'{"a":' * 400_000,
    }


def test_a_body_that_is_not_json_is_a_problem(http: Http, client: Identity) -> None:
    good = json.dumps(envelope(client, http)).encode()
    for label, body in broken(good).items():
        assert body != good, label
        response = http.submit(body)
        assert response.status == 400, (label, response.status, response.body)
        assert_problem(response, 400)


def test_an_empty_body_is_a_problem(http: Http) -> None:
    assert_problem(http.submit(b""), 400, 411)


@pytest.mark.parametrize("depth", [1000, 100_000, 1_000_000])
def test_deep_nesting_is_refused_where_an_envelope_stands(http: Http, client: Identity, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for member in ("version", "client_did", "batch_nonce", "unknown"):
        good = envelope(client, http) | {member: "<deep>", "receipts": []}
        response = http.submit(json.dumps(good).encode().replace(b'"<deep>"', deep))
        assert_problem(response, 400, 413, 422) if member != "unknown" else None
        assert response.status < 500


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff", "\\udc00\\ud800", "did:key:z\\ud83d"])
@pytest.mark.parametrize("member", ["client_did", "batch_nonce"])
def test_a_lone_surrogate_is_no_text(http: Http, client: Identity, member: str, text: str) -> None:
    body = json.dumps(envelope(client, http, **{member: "<text>"})).replace("<text>", text).encode()
    assert_problem(http.submit(body), 400, 422)


@pytest.mark.parametrize(("item", "count"), [("{}", 1_000_000), ("0", 1_000_000), ("[]", 1_000_000), ("{}", 101)])
def test_too_many_receipts_fail_as_a_whole_and_at_once(http: Http, client: Identity, item: str, count: int) -> None:
    good = envelope(client, http, receipts=["<items>"])
    body = json.dumps(good).encode().replace(b'"<items>"', b",".join([item.encode()] * count))
    started = time.monotonic()
    assert_problem(http.submit(body), 400, 413, 422)
    assert time.monotonic() - started < 5


def test_too_many_receipts_are_named_by_their_path(http: Http, client: Identity) -> None:
    """An envelope fault like any other: the problem document says where."""
    response = http.submit(json.dumps(envelope(client, http, receipts=[{}] * 101)).encode())
    assert response.status in (400, 413, 422)
    assert {fault["path"].strip("/") for fault in response.json.get("errors", [])} == {"receipts"}


def test_a_body_beyond_the_limit_is_too_large(http: Http) -> None:
    assert_problem(http.submit(b" " * 8_000_000), 413)


def test_a_million_faults_are_answered_in_few_words(http: Http, client: Identity) -> None:
    members = {f"m{number}": None for number in range(100_000)}
    response = http.submit(json.dumps(members | {"version": 2}).encode())
    assert_problem(response, 400, 413, 422)
    assert len(response.body) < 1_000_000


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", "json", "*/*"]
)
def test_another_content_type_is_unsupported(http: Http, client: Identity, kind: str) -> None:
    body = json.dumps(envelope(client, http)).encode()
    assert_problem(http.request("POST", "/api/v1/pouw/submit", body, Content_Type=kind), 415)


def test_no_content_type_is_unsupported(http: Http, client: Identity) -> None:
    body = json.dumps(envelope(client, http)).encode()
    assert_problem(http.request("POST", "/api/v1/pouw/submit", body), 415)
