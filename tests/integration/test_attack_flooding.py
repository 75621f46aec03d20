"""Bodies that are made to cost much, while somebody else asks the same worker."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support import API, Http, Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartNode

COUNT = 60_000


@pytest.fixture(scope="module")
def lone(start_node: StartNode, shared_url: str) -> Iterator[Http]:
    """A node of one worker, so that everybody asks the same one."""
    node = start_node(shared_url, workers=1)
    yield node.http
    node.stop()


def colliding(count: int) -> list[str]:
    """Return different texts with one value of the hash that multiplies by 33 (or 31: Ea and FB)."""
    pairs = itertools.product(("Ez", "FY"), repeat=16)
    return ["".join(some) for some in itertools.islice(pairs, count)]


def members(names: list[str]) -> bytes:
    return ("{" + ",".join(f'"{name}":0' for name in names) + "}").encode()


def batch(receipts: bytes, did: str = "did:zhtp:x") -> bytes:
    return b'{"version":1,"client_did":"%s","receipts":[%s]}' % (did.encode(), receipts)


KEYS = members(colliding(COUNT))
BODIES = {
    "colliding keys": KEYS,
    "colliding keys in an item": batch(KEYS),
    "colliding keys in a receipt": batch(b'{"receipt":' + KEYS + b"}"),
    "colliding keys in the evidence": batch(b'{"receipt":{"aux":' + KEYS + b"}}"),
    "keys that are numbers apart by 2^61 - 1": members([str(n * (2**61 - 1)) for n in range(COUNT)]),
    "many different keys": members([f"k{n}" for n in range(COUNT)]),
    "one key many times": members(["k"] * COUNT),
    "many values": batch(b",".join([b"0"] * COUNT)),
    "many empty lists": batch(b",".join([b"[]"] * COUNT)),
    "many objects of one member": batch(b",".join([b'{"a":0}'] * COUNT)),
    "lists in lists": b"[" * 200_000 + b"]" * 200_000,
    "objects in objects": b'{"a":' * 200_000,
    "one long number": batch(b"9" * 400_000),
    "a number with a long exponent": batch(b"1e" + b"9" * 400_000),
    "many colons in a string": b'"' + b":" * 400_000 + b'"',
    "many escapes": b'"' + b"\\u0000" * 60_000 + b'"',
    "an open string": b'"' + b"a" * 400_000,
    "spaces": b" " * 400_000,
    "brackets that never match": b"]" * 400_000,
    "compressed zeros": gzip.compress(b"0" * 10**7),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_costly_body_is_refused(http: Http, body: bytes) -> None:
    """Each is refused as a whole, in few words, and never with a fault of the node."""
    answer = http.submit(body)
    assert answer.status in (400, 413, 422), answer.body
    assert len(answer.body) < 8192
    for path in (f"{API}/blocks", f"{API}/identities"):
        small = http.request("POST", path, body, Content_Type="application/json")
        assert small.status == 413
        assert small.headers["Connection"] == "close"
    answer = http.request("POST", f"{API}/submit", body, Content_Type="application/x-protobuf")
    assert answer.status == 400


def test_keys_below_the_bound_of_values_are_refused_too(http: Http, client: Identity) -> None:
    """As many colliding keys as a legal batch has values: named at most a few, and the items fall alone."""
    names = colliding(3000)
    answer = http.submit(members(names))
    assert answer.status == 422
    assert len(answer.json["errors"]) <= 20
    token = http.challenge()
    good = client.item(token)
    fat = {"receipt": dict.fromkeys(names, 0), "sig_scheme": "ed25519", "signature": ""}
    answer = http.submit(client.batch([fat, good]))
    assert answer.json["accepted"] == [good["receipt"]["receipt_nonce"]]
    assert [each["detail"] for each in answer.json["rejected"]] == ["malformed_receipt"]


def test_others_are_served_while_a_flood_goes_on(lone: Http, client: Identity) -> None:
    """Two clients flood the only worker without a pause; another one's batches are accepted meanwhile."""
    over = threading.Event()
    floods = itertools.cycle(BODIES.values())

    def flood(_number: int) -> int:
        mine, sent = Http(lone.base), 0
        while not over.is_set():
            assert mine.submit(next(floods)).status in (400, 413, 422)
            sent += 1
        mine.close()
        return sent

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(flood, number) for number in range(2)]
        try:
            for _ in range(3):
                token = lone.challenge()
                assert len(lone.accepted(client.batch(client.items(token, 3)))) == 3
        finally:
            over.set()
        assert all(each.result() > 0 for each in running)


def test_a_query_of_many_parameters_is_refused(http: Http) -> None:
    """As many parameters as the request line can hold, equal and different."""
    for query in ("&" * 4000, "cap&" * 900, "&".join(f"{n:x}" for n in range(800)), "max_bytes=" + "9" * 3900):
        assert http.get(f"{API}/challenge?{query}").status in (200, 400)
    assert http.get(f"{API}/challenge?cap={','.join(['hash'] * 700)}").status == 200


def test_the_keys_collide_as_meant() -> None:
    """The texts above do share one hash of that kind, and are many."""

    def weak(text: str) -> int:
        value = 5381
        for character in text:
            value = (value * 33 + ord(character)) % 2**32
        return value

    names = colliding(COUNT)
    assert len(set(names)) == COUNT
    assert len({weak(name) for name in names}) == 1
    assert len(json.loads(KEYS)) == COUNT
