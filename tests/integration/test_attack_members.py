"""Items of a batch with missing members, wrong JSON types and hostile strings: each falls alone."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_attack_canonical import ABSENT, encode, hand_item, outcomes, receipt_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.support import Http, Identity, Node

REQUIRED = (
    "version",
    "task_id",
    "client_did",
    "client_node_id",
    "content_id",
    "proof_type",
    "bytes_verified",
    "started_at",
    "finished_at",
    "receipt_nonce",
    "challenge_nonce",
)
BYTES = ("task_id", "client_node_id", "provider_id", "content_id", "receipt_nonce", "challenge_nonce")
INTEGERS = ("version", "bytes_verified", "started_at", "finished_at")


@pytest.fixture(autouse=True)
def _same_workers(shared_node: Node) -> Iterator[None]:
    """No attack may end a worker."""
    before = sorted(worker.pid for worker in shared_node.workers())
    yield
    assert sorted(worker.pid for worker in shared_node.workers()) == before


def altered(client: Identity, item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return ``item`` with members changed after it was signed, under a nonce of its own."""
    receipt = item["receipt"] | {"receipt_nonce": secrets.token_hex(32)}
    signature = client.key.sign(encode(receipt)).signature.hex()
    receipt = {name: value for name, value in (receipt | changes).items() if value is not ABSENT}
    return item | {"receipt": receipt, "signature": signature}


def expect_malformed(http: Http, client: Identity, changes: dict[str, dict[str, Any]]) -> None:
    """Submit each change beside one good neighbour, in batches of at most 100."""
    token = http.challenge()
    pattern = hand_item(client, token)
    labels = list(changes)
    for start in range(0, len(labels), 99):
        some = labels[start : start + 99]
        items = {label: altered(client, pattern, **changes[label]) for label in some}
        items["neighbour"] = hand_item(client, token)
        got = outcomes_of_hostile(http, client.did, items)
        assert got == dict.fromkeys(some, "malformed_receipt") | {"neighbour": "accepted"}


def outcomes_of_hostile(http: Http, did: str, items: dict[str, Any]) -> dict[str, str]:
    body = json.dumps({"version": 1, "client_did": did, "receipts": list(items.values())}).encode()
    response = http.submit(body)
    assert response.status == 200, response.body
    labels = list(items)
    refused = {labels[item["index"]]: item["detail"] for item in response.json["rejected"]}
    return {label: refused.get(label, "accepted") for label in labels}


def test_members_of_a_wrong_type_are_malformed(http: Http, client: Identity) -> None:
    wrong: list[Any] = [True, False, 1.5, [], ["ab"], {}, {"a": 1}]
    changes: dict[str, dict[str, Any]] = {
        f"{name}={value!r}": {name: value} for name in (*BYTES, *INTEGERS, "client_did") for value in wrong
    }
    changes |= {f"{name}=5": {name: 5} for name in (*BYTES, "client_did")}
    changes |= {f"{name}=null": {name: None} for name in REQUIRED}
    others: dict[str, list[Any]] = {
        "proof_type": [0, 1, True, [], {}, "", "HASH", "HASH ", "rsa", "0"],
        "result_ok": [0, 1, "true", "", [], {}],
        "aux": [0, True, [], ["x"], 1.5],
    }
    changes |= {f"{name}={value!r}": {name: value} for name, values in others.items() for value in values}
    for member in ("merkle_root", "proof_digest", "context"):
        changes |= {f"aux.{member}={value!r}": {"aux": {member: value}} for value in wrong[:1] + wrong[3:]}
    expect_malformed(http, client, changes)


def test_missing_members_are_malformed(http: Http, client: Identity) -> None:
    expect_malformed(http, client, {f"without {name}": {name: ABSENT} for name in REQUIRED})


def test_members_that_nobody_signed_are_malformed(http: Http, client: Identity) -> None:
    """As protobuf: a receipt with an unknown field is none, and both encodings get the same verdict."""
    names = ("unknown", "Version", "taskId", "task_id ", "\0", "", "signature", "__proto__", "_schema")
    changes: dict[str, dict[str, Any]] = {f"unknown {name!r}": {name: 1} for name in names}
    changes |= {f"unknown {name!r} in aux": {"aux": {name: "ab"}} for name in names}
    expect_malformed(http, client, changes)


def test_texts_that_are_no_lower_case_hex_are_malformed(http: Http, client: Identity) -> None:
    texts = [
        "AB" * 16,
        "aB" * 16,
        "0x" + "ab" * 15,
        "ab" * 15 + "g0",
        "ab" * 15 + " a",
        "ab" * 16 + "a",
        "ab" * 15 + "\n",
    ]
    texts += ["\uff41\uff42" * 16, "\u0661\u0662" * 16, "ab" * 15 + "\0\0", "ab" * 15 + "a\u00e9", "ab:" * 16]
    changes: dict[str, dict[str, Any]] = {f"{name}={text!r}": {name: text} for name in BYTES for text in texts}
    changes |= {f"aux.{name}={t!r}": {"aux": {name: t}} for name in ("merkle_root", "proof_digest") for t in texts}
    expect_malformed(http, client, changes)


def test_texts_that_are_no_integer_are_malformed(http: Http, client: Identity) -> None:
    texts = ["", " ", "-1", "+4096", " 4096", "4096 ", "4_096", "1e4", "0x1000", "4096.0", "\u0664\u0660\u0669\u0666"]
    texts += ["4096\n", "4096\0", "\uff14\uff10\uff19\uff16", "NaN", "Infinity", "true", "9" * 400, "9" * 5000, "-0"]
    changes: dict[str, dict[str, Any]] = {f"{name}={text[:20]!r}": {name: text} for name in INTEGERS for text in texts}
    changes |= {f"{name}={n}": {name: n} for name in INTEGERS for n in (-1, -(2**63), -(2**64))}
    expect_malformed(http, client, changes)


@pytest.mark.parametrize("number", ["9" * 20, "-" + "9" * 20, "1e30"])
def test_a_number_beyond_its_type_falls_alone(http: Http, client: Identity, number: str) -> None:
    token = http.challenge()
    bad, good = hand_item(client, token, bytes_verified=123454321), hand_item(client, token)
    body = client.batch([bad, good]).replace(b"123454321", number.encode())
    answer = http.submit(body)
    assert answer.status == 200, answer.body
    assert answer.json["accepted"] == [good["receipt"]["receipt_nonce"]]
    assert [item["detail"] for item in answer.json["rejected"]] == ["malformed_receipt"]


def test_items_that_are_no_signed_receipt_are_malformed(http: Http, client: Identity) -> None:
    token = http.challenge()
    receipt = receipt_of(client, token)
    signed = hand_item(client, token)
    values: list[Any] = [None, True, 0, 1.5, "", "x" * 10_000, [], [[]], {}, "\0", -(2**63)]
    items: dict[str, Any] = {repr(value)[:40]: value for value in values}
    items |= {
        "receipt alone": receipt,
        "receipt null": signed | {"receipt": None},
        "receipt a list": signed | {"receipt": [receipt]},
        "receipt a text": signed | {"receipt": json.dumps(receipt)},
        "receipt empty": signed | {"receipt": {}},
        "no receipt": {"sig_scheme": "ed25519", "signature": "00" * 64},
    }
    expected = dict.fromkeys(items, "malformed_receipt")
    items["neighbour"] = hand_item(client, token)
    assert outcomes_of_hostile(http, client.did, items) == expected | {"neighbour": "accepted"}


def test_no_item_counts_without_its_scheme_and_signature(http: Http, client: Identity) -> None:
    token = http.challenge()
    hostile: list[Any] = [None, True, 0, "", [], {}, "\0", "ed25519\0", "ED25519 ", "\ud7ff" * 1000, ABSENT]
    items: dict[str, Any] = {}
    for member in ("sig_scheme", "signature"):
        for value in hostile:
            item = hand_item(client, token) | {member: value}
            items[f"{member}={value!r}"[:40]] = {name: each for name, each in item.items() if each is not ABSENT}
    for change in (str.upper, lambda text: text + "00", lambda text: text[:-2], lambda text: text + " "):
        item = hand_item(client, token)
        items[f"signature {len(items)}"] = item | {"signature": change(item["signature"])}
    items["neighbour"] = hand_item(client, token)
    got = outcomes_of_hostile(http, client.did, items)
    assert [label for label, outcome in got.items() if outcome == "accepted"] == ["neighbour"]


def test_nul_and_control_characters_never_stop_the_neighbours(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token = http.challenge()
    pattern = hand_item(client, token)
    items: dict[str, Any] = {}
    for name in (*BYTES, "client_did", "proof_type"):
        for hostile in ("\0", "\x1b[2J", "\r\nX: 1", "\u2028"):
            items[f"{name} {hostile!r}"] = altered(
                client, pattern, **{name: pattern["receipt"].get(name, "") + hostile}
            )
    items["a foreign did, well signed"] = hand_item(client, token, client_did="did:zhtp:\0")
    items["neighbour"] = hand_item(client, token)
    got = outcomes_of_hostile(http, client.did, items)
    assert [label for label, outcome in got.items() if outcome == "accepted"] == ["neighbour"]
    logged = db.execute("SELECT count(*) FROM rejections WHERE client_did = %s", (client.did,)).fetchone()
    assert logged == (len(items) - 1,)


@pytest.mark.parametrize("did", ["did:zhtp:\0", "\0", "did:key:\0", "did:zhtp:a\r\nb\x1b", "did:zhtp:\u202e", "'; --"])
def test_a_hostile_did_names_no_client(http: Http, client: Identity, did: str) -> None:
    item = hand_item(client, http.challenge(), client_did=did)
    response = http.submit(json.dumps({"version": 1, "client_did": did, "receipts": [item]}).encode())
    if response.status == 200:
        assert [item["reason"] for item in response.json["rejected"]] == ["CLIENT_INVALID"]
    else:
        assert response.status in (400, 422)
        assert [fault["path"].strip("/") for fault in response.json["errors"]] == ["client_did"]


def test_web4_evidence_that_is_none(http: Http, client: Identity) -> None:
    token = http.challenge()
    bad = ["", "[]", "5", '"manifest_cid"', "null", "{}", '{"manifest_cid":""}', '{"manifest_cid":5}', "{" * 4096]
    bad += ['{"manifest_cid":"c"', '{"manifest_cid":null}', "[" * 4096, '{"manifest_cid":"c"}x', '{"manifest_cid":NaN}']
    bad += ['{"served_from_cache":true}', '{"manifest_cid":["c"]}', '{"Manifest_cid":"c"}']
    items = {
        f"{kind} {text[:30]}": hand_item(client, token, proof_type=kind, aux={"context": text})
        for kind in ("web4manifestroute", "web4contentserved")
        for text in bad
    }
    items["served without cache"] = hand_item(client, token, proof_type="web4contentserved", aux='{"manifest_cid":"c"}')
    items["no aux"] = hand_item(client, token, proof_type="web4contentserved")
    expected = dict.fromkeys(items, "malformed_receipt")
    items["neighbour"] = hand_item(client, token)
    assert outcomes_of_hostile(http, client.did, items) == expected | {"neighbour": "accepted"}


@pytest.mark.parametrize(
    "value", ["[" * 2000 + "]" * 2000, '{"a":' * 600 + "1" + "}" * 600, "9" * 4000, '"\\ud800"', '"\\u0000"', "1e999"]
)
def test_strange_but_legal_evidence_never_stops_the_neighbours(http: Http, client: Identity, value: str) -> None:
    token = http.challenge()
    context = '{"manifest_cid":"c","x":' + value + "}"
    assert len(context) <= 4096
    strange = hand_item(client, token, proof_type="web4manifestroute", aux=context)
    got = outcomes(http, client.did, {"strange": strange, "neighbour": hand_item(client, token)})
    assert got["neighbour"] == "accepted"
    assert got["strange"] in ("accepted", "malformed_receipt")
