"""Receipts whose bytes a stranger encoded by hand from the page: sizes at each bound, one beyond, and near misses."""

from __future__ import annotations

import gc
import json
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import psycopg

    from pouw.protocol.types import ChallengeToken
    from tests.conftest import StartNode
    from tests.support import Http, Identity, Node

ABSENT: Any = object()
_INTEGERS = {"version": 1, "bytes_verified": 8, "started_at": 10, "finished_at": 11}
_HEX = {
    "task_id": 2,
    "client_node_id": 4,
    "provider_id": 5,
    "content_id": 6,
    "receipt_nonce": 12,
    "challenge_nonce": 13,
}
_PROOF_TYPES = {"hash": 0, "merkle": 1, "signature": 2, "sig": 2, "web4manifestroute": 3, "web4_manifest_route": 3}
_PROOF_TYPES |= {"web4contentserved": 4, "web4_content_served": 4}


def varint(number: int) -> bytes:
    low = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
    return low + varint(number >> 7) if number > 0x7F else low


def chunk(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(receipt: Mapping[str, Any]) -> dict[int, bytes]:
    """Return each field's bytes by its number, defaults left out, for the JSON form of a receipt."""
    found = {number: int(receipt[name]) for name, number in _INTEGERS.items()}
    found[7] = _PROOF_TYPES[receipt["proof_type"]]
    found[9] = int(receipt["result_ok"])
    encoded = {number: varint(number << 3) + varint(value) for number, value in found.items() if value}
    blobs = {number: bytes.fromhex(receipt.get(name, "")) for name, number in _HEX.items()}
    blobs[3] = receipt["client_did"].encode()
    encoded |= {number: chunk(number, content) for number, content in blobs.items() if content}
    if "aux" in receipt:
        aux = {"context": receipt["aux"]} if isinstance(receipt["aux"], str) else receipt["aux"]
        parts = [bytes.fromhex(aux.get(name, "")) for name in ("merkle_root", "proof_digest")]
        parts.append(aux.get("context", "").encode())
        encoded[14] = chunk(14, b"".join(chunk(at, part) for at, part in enumerate(parts, 1) if part))
    return encoded


def encode(receipt: Mapping[str, Any], **changes: Any) -> bytes:
    """Return the canonical bytes as the page describes them."""
    return b"".join(content for _, content in sorted(fields({**receipt, **changes}).items()))


def receipt_of(client: Identity, token: ChallengeToken, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    receipt: dict[str, Any] = {
        "version": 1,
        "task_id": token.task_id.hex(),
        "client_did": client.did,
        "client_node_id": client.public_key.hex(),
        "content_id": secrets.token_hex(32),
        "proof_type": "hash",
        "bytes_verified": 4096,
        "result_ok": True,
        "started_at": now,
        "finished_at": now,
        "receipt_nonce": secrets.token_hex(32),
        "challenge_nonce": token.challenge_nonce.hex(),
    }
    return {name: value for name, value in (receipt | changes).items() if value is not ABSENT}


def hand_item(
    client: Identity,
    token: ChallengeToken,
    *,
    to_bytes: Callable[[Mapping[str, Any]], bytes] = encode,
    **changes: Any,
) -> dict[str, Any]:
    """Return a signed receipt in which none of the product's code had a part."""
    receipt = receipt_of(client, token, **changes)
    return {
        "receipt": receipt,
        "sig_scheme": "ed25519",
        "signature": client.key.sign(to_bytes(receipt)).signature.hex(),
    }


def outcomes(http: Http, did: str, items: Mapping[str, Any]) -> dict[str, str]:
    """Submit labelled items as one batch; return "accepted" or the detail of each."""
    body = json.dumps({"version": 1, "client_did": did, "receipts": list(items.values())}).encode()
    response = http.submit(body)
    assert response.status == 200, response.body
    labels = list(items)
    refused = {labels[item["index"]]: item["detail"] for item in response.json["rejected"]}
    assert len(refused) == len(response.json["rejected"])
    rest = [label for label in labels if label not in refused]
    assert response.json["accepted"] == [items[label]["receipt"]["receipt_nonce"] for label in rest]
    return {label: refused.get(label, "accepted") for label in labels}


def stop(node: Node) -> None:
    """Stop a node without waiting for connections that urllib3 left to the garbage collector."""
    node.http.close()
    gc.collect()
    node.stop()


@pytest.fixture(scope="module")
def generous(start_node: StartNode, shared_url: str) -> Iterator[Http]:
    """A node that takes receipts of no bytes at all."""
    node = start_node(shared_url, min_bytes_per_receipt=0)
    yield node.http
    stop(node)


CONTEXTS = {
    "two-byte": "é" * 2048,
    "four-byte": "😀" * 1024,
    "ascii": "x" * 4096,
    "controls": "".join(map(chr, range(32))),
    "nul": "\0" * 4096,
    "highest": "\U0010ffff\uffff\ue000",
    "combining": "e\u0301\u00e9",
    "bidi and bom": "\ufeff\u202e",
}


def test_every_legal_size_and_default_signs_as_the_page_says(generous: Http, client: Identity) -> None:
    token = generous.challenge()
    full = {"merkle_root": "aa" * 64, "proof_digest": "bb" * 64, "context": "é" * 2048}
    items = {
        "plain": hand_item(client, token),
        "no bytes": hand_item(client, token, bytes_verified=0),
        "not ok": hand_item(client, token, result_ok=False),
        "all defaults": hand_item(client, token, bytes_verified=0, result_ok=False, aux={}),
        "provider empty": hand_item(client, token, provider_id=""),
        "provider full": hand_item(client, token, provider_id="00" * 64),
        "content one zero byte": hand_item(client, token, content_id="00"),
        "content full": hand_item(client, token, content_id="ff" * 64),
        "nonce of 16 zeros": hand_item(client, token, receipt_nonce="00" * 16),
        "aux empty": hand_item(client, token, aux={}),
        "aux empty string": hand_item(client, token, aux=""),
        "aux empty members": hand_item(client, token, aux={"merkle_root": "", "proof_digest": "", "context": ""}),
        "aux root only": hand_item(client, token, aux={"merkle_root": "00"}),
        "aux digest only": hand_item(client, token, aux={"proof_digest": "cd" * 64}),
        "aux full": hand_item(client, token, aux=full),
    }
    items |= {f"context {name}": hand_item(client, token, aux={"context": text}) for name, text in CONTEXTS.items()}
    items |= {f"aux string {name}": hand_item(client, token, aux=text) for name, text in CONTEXTS.items()}
    for name in ("hash", "merkle", "signature", "sig"):
        items[name] = hand_item(client, token, proof_type=name)
    served = json.dumps({"manifest_cid": "c", "served_from_cache": True})
    for name in ("web4manifestroute", "web4_manifest_route", "web4contentserved", "web4_content_served"):
        items[name] = hand_item(client, token, proof_type=name, aux=served)
    assert outcomes(generous, client.did, items) == dict.fromkeys(items, "accepted")


def test_one_beyond_each_bound_is_malformed(http: Http, client: Identity) -> None:
    token = http.challenge()
    beyond: dict[str, dict[str, Any]] = {
        f"{name} of {size}": {name: "ab" * size}
        for name, sizes in {
            "task_id": (0, 15, 33),
            "client_node_id": (0, 31, 33),
            "provider_id": (65,),
            "content_id": (0, 65),
            "receipt_nonce": (0, 15, 33),
            "challenge_nonce": (0, 15, 33),
        }.items()
        for size in sizes
    }
    beyond |= {
        "did of 257": {"client_did": "did:zhtp:" + "a" * 248},
        "did of 257 bytes, fewer characters": {"client_did": "did:zhtp:" + "é" * 124},
        "root of 65": {"aux": {"merkle_root": "ab" * 65}},
        "digest of 65": {"aux": {"proof_digest": "ab" * 65}},
        "context of 4097": {"aux": {"context": "x" * 4097}},
        "context of 4097 bytes, fewer characters": {"aux": {"context": "é" * 2048 + "x"}},
        "context as a string of 4098 bytes": {"aux": "😀" * 1024 + "é"},
        "version 0": {"version": 0},
        "version 2": {"version": 2},
    }
    for name in ("bytes_verified", "started_at", "finished_at"):
        for value in (2**63, 2**64, 2**64 + 4096):
            beyond[f"{name} of {value}"] = {name: value}
            beyond[f"{name} of {value} as a string"] = {name: str(value)}
    items = {label: hand_item(client, token, **change) for label, change in beyond.items()}
    expected = dict.fromkeys(items, "malformed_receipt")
    items["neighbour"] = hand_item(client, token)
    assert outcomes(http, client.did, items) == expected | {"neighbour": "accepted"}


def test_large_integers_keep_every_bit(http: Http, client: Identity) -> None:
    """The signature is checked before the byte budget: what is refused for its size was signed well."""
    token = http.challenge()
    values: list[Any] = [2**53 - 1, 2**53 + 1, 2**60 + 1, 2**63 - 1]
    values += [str(value) for value in values[1:]]
    items = {repr(value): hand_item(client, token, bytes_verified=value) for value in values}
    expected = dict.fromkeys(items, "too_many_bytes")
    for value in (2**53 + 1, str(2**53 + 1), 2**63 - 1):
        rounded = str(int(value) - 1)
        items[f"{value!r} signed as {rounded}"] = hand_item(
            client, token, bytes_verified=value, to_bytes=partial(encode, bytes_verified=rounded)
        )
        expected[f"{value!r} signed as {rounded}"] = "invalid_signature"
    assert outcomes(http, client.did, items) == expected


def test_times_at_their_largest_are_outside_the_challenge(http: Http, client: Identity) -> None:
    token, top = http.challenge(), 2**63 - 1
    items = {
        "both largest": hand_item(client, token, started_at=top, finished_at=top),
        "largest finish": hand_item(client, token, finished_at=str(top)),
        "both zero": hand_item(client, token, started_at=0, finished_at=0),
        "zero start": hand_item(client, token, started_at=0),
    }
    assert outcomes(http, client.did, items) == dict.fromkeys(items, "invalid_challenge_binding")


def test_near_misses_of_the_canonical_bytes_are_bad_signatures(http: Http, client: Identity) -> None:
    token = http.challenge()
    context = chunk(3, b"x")
    spellings: dict[str, tuple[dict[str, Any], Callable[[Mapping[str, Any]], bytes]]] = {
        "default written out": ({}, lambda it: _patched(it, {7: b"\x38\x00"})),
        "empty bytes written out": ({}, lambda it: _patched(it, {5: b"\x2a\x00"})),
        "result_ok=false written out": ({"result_ok": False}, lambda it: _patched(it, {9: b"\x48\x00"})),
        "long varint": ({}, lambda it: _patched(it, {1: b"\x08\x81\x00"})),
        "long length": ({}, lambda it: _patched(it, {2: b"\x12\xa0\x00" + bytes.fromhex(it["task_id"])})),
        "reversed": ({}, lambda it: b"".join(part for _, part in sorted(fields(it).items(), reverse=True))),
        "field twice": ({}, lambda it: encode(it) + b"\x08\x01"),
        "unknown field": ({}, lambda it: encode(it) + b"\x78\x01"),
        "true as 2": ({}, lambda it: _patched(it, {9: b"\x48\x02"})),
        "empty aux left out": ({"aux": {}}, lambda it: _patched(it, {14: b""})),
        "empty string aux left out": ({"aux": ""}, lambda it: _patched(it, {14: b""})),
        "absent aux signed as empty": ({}, lambda it: _patched(it, {14: b"\x72\x00"})),
        "empty context written out": ({"aux": {}}, lambda it: _patched(it, {14: b"\x72\x02\x1a\x00"})),
        "aux twice": ({"aux": "x"}, lambda it: _patched(it, {14: chunk(14, context) * 2})),
        "aux members turned": (
            {"aux": {"context": "x", "merkle_root": "01"}},
            lambda it: _patched(it, {14: chunk(14, context + chunk(1, b"\x01"))}),
        ),
        "the JSON itself": ({}, lambda it: json.dumps(it).encode()),
        "nothing": ({}, lambda it: b""),
    }
    items = {label: hand_item(client, token, to_bytes=to, **change) for label, (change, to) in spellings.items()}
    assert outcomes(http, client.did, items) == dict.fromkeys(items, "invalid_signature")


def _patched(receipt: Mapping[str, Any], changes: dict[int, bytes]) -> bytes:
    return b"".join(content for _, content in sorted((fields(receipt) | changes).items()))


@pytest.mark.parametrize("padding", ["a" * 247, "é" * 123 + "a"])
def test_a_did_of_256_bytes_is_a_client_like_any_other(
    http: Http, client: Identity, db: psycopg.Connection[Any], padding: str
) -> None:
    suffix = secrets.token_hex(8)
    did = "did:zhtp:" + padding[: -len(suffix)] + suffix
    did += "a" * (256 - len(did.encode()))
    assert len(did.encode()) == 256
    db.execute("INSERT INTO identities (did, public_key) VALUES (%s, %s)", (did, client.public_key))
    items = {"one": hand_item(client, http.challenge(), client_did=did)}
    assert outcomes(http, did, items) == {"one": "accepted"}


def test_two_spellings_of_one_receipt_are_one_receipt(http: Http, client: Identity) -> None:
    token = http.challenge()
    item = hand_item(client, token, proof_type="sig", aux="same")
    again = item | {"receipt": item["receipt"] | {"proof_type": "signature", "aux": {"context": "same"}}}
    again["receipt"] = dict(reversed(again["receipt"].items())) | {"provider_id": ""}
    assert outcomes(http, client.did, {"first": item, "second": again}) == {
        "first": "accepted",
        "second": "duplicate_nonce",
    }
