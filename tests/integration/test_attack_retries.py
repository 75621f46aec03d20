"""Promise 3: retries, word for word, against everything that may have changed in between."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_attack_canonical import hand_item, stop
from tests.support import Http, Identity, batch_body, wait_until_expired

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import StartNode
    from tests.support import Node


def another_second() -> None:
    """Wait until the node's clock shows another second, so that a fresh verdict could not look like the first."""
    time.sleep(1.05)


def forged(client: Identity, item: dict[str, Any]) -> dict[str, Any]:
    return item | {"signature": client.key.sign(b"something else").signature.hex()}


def test_a_retry_gets_the_first_verdict_from_every_worker(http: Http, client: Identity, shared_node: Node) -> None:
    token = http.challenge()
    items = [hand_item(client, token), {}, hand_item(client, token, bytes_verified=1), hand_item(client, token)]
    items.append(forged(client, hand_item(client, token)))
    body = client.batch([*items, items[0]])
    first = http.submit(body)
    assert first.status == 200
    assert len(first.json["accepted"]) == 2
    another_second()
    for _ in range(20):
        fresh = Http(shared_node.http.base)
        again = fresh.submit(body)
        fresh.close()
        assert (again.status, again.body) == (first.status, first.body)


def test_a_retry_of_a_refused_batch_gets_the_first_verdict(http: Http, client: Identity) -> None:
    token = http.challenge()
    items: dict[str, list[Any]] = {
        "policy": [hand_item(client, token, bytes_verified=1)],
        "expired": [hand_item(client, token, challenge_nonce="ab" * 16)],
        "binding": [hand_item(client, token, task_id="ab" * 16)],
        "forged": [forged(client, hand_item(client, token))],
        "malformed": [{}],
    }
    items["mixed"] = [item for some in items.values() for item in some]
    bodies = {kind: client.batch(some) for kind, some in items.items()}
    first = {kind: http.submit(body) for kind, body in bodies.items()}
    another_second()
    for kind, body in bodies.items():
        assert first[kind].json["accepted"] == [], kind
        assert http.submit(body).body == first[kind].body, kind


def test_a_retry_survives_the_end_of_everything_it_relied_on(
    start_node: StartNode, shared_url: str, client: Identity, db: psycopg.Connection[Any]
) -> None:
    node = start_node(shared_url, challenge_ttl_secs=4)
    token = node.http.challenge("?max_receipts=2")
    body = client.batch([hand_item(client, token) for _ in range(3)])
    first = node.http.submit(body)
    assert len(first.json["accepted"]) == 2
    wait_until_expired(token)
    assert node.http.submit(client.batch([hand_item(client, token)])).json["accepted"] == []
    assert node.http.submit(body).body == first.body
    db.execute("INSERT INTO blocked_dids (did, reason) VALUES (%s, 'test')", (client.did,))
    assert node.http.submit(body).body == first.body
    db.execute("DELETE FROM blocked_dids WHERE did = %s", (client.did,))
    stop(node)


def test_a_retry_at_another_node_gets_the_first_verdict(http: Http, second: Http, client: Identity) -> None:
    body = client.batch([hand_item(client, http.challenge()), {}])
    first = http.submit(body)
    another_second()
    assert second.submit(body).body == first.body


@pytest.fixture(scope="module")
def second(start_node: StartNode, shared_url: str) -> Any:
    """Another node, with another key, on the same database."""
    node = start_node(shared_url, workers=1)
    yield node.http
    stop(node)


def test_one_batch_nonce_with_other_receipts_never_hides_them(http: Http, client: Identity) -> None:
    """A client that reuses a nonce by mistake must not be told that other receipts were its own."""
    token, nonce = http.challenge(), secrets.token_hex(16)
    first = client.batch([hand_item(client, token)], batch_nonce=nonce)
    answer = http.submit(first)
    item = hand_item(client, token)
    clash = http.submit(client.batch([item], batch_nonce=nonce))
    if clash.status == 200:
        assert clash.json["accepted"] == [item["receipt"]["receipt_nonce"]]
    else:
        assert 400 <= clash.status < 500
        assert clash.headers["Content-Type"] == "application/problem+json"
        assert http.accepted(client.batch([item])) == [item["receipt"]["receipt_nonce"]]
    assert http.submit(first).body == answer.body


def test_garbage_under_the_victims_batch_nonce_costs_the_victim_nothing(http: Http, client: Identity) -> None:
    token, nonce, thief = http.challenge(), secrets.token_hex(16), Identity()
    items = [hand_item(client, token) for _ in range(3)]
    garbage: list[list[Any]] = [
        [],
        [{}],
        [None] * 100,
        [forged(thief, item) for item in items],
        [hand_item(thief, token)],
        [hand_item(thief, token, client_did=client.did)],
        [hand_item(thief, token, client_did=client.did, client_node_id=client.public_key.hex())],
        [items[0] | {"sig_scheme": "none"}],
        [items[0] | {"signature": ""}],
    ]
    for some in garbage:
        http.submit(batch_body(client.did, some, batch_nonce=nonce))
        assert http.submit(batch_body(thief.did, some, batch_nonce=nonce)).status < 500
    body = client.batch(items, batch_nonce=nonce)
    first = http.submit(body)
    assert first.json["accepted"] == [item["receipt"]["receipt_nonce"] for item in items]
    for some in garbage:
        http.submit(batch_body(client.did, some, batch_nonce=nonce))
    assert http.submit(body).body == first.body


def test_a_copied_receipt_under_the_victims_next_batch_nonce(http: Http, client: Identity) -> None:
    """Who copied a receipt from the wire proves nothing with it and must not take the place of the next batch."""
    token, nonce = http.challenge(), secrets.token_hex(16)
    copied = hand_item(client, token)
    http.accepted(client.batch([copied]))
    http.submit(batch_body(client.did, [copied], batch_nonce=nonce))
    items = [hand_item(client, token) for _ in range(3)]
    wanted = [item["receipt"]["receipt_nonce"] for item in items]
    response = http.submit(client.batch(items, batch_nonce=nonce))
    if response.status == 200:
        assert response.json["accepted"] == wanted
    else:
        assert http.accepted(client.batch(items)) == wanted


def test_nonces_of_two_dids_never_meet_in_one_key(http: Http, db: psycopg.Connection[Any]) -> None:
    """A DID that ends with the start of another's nonce: their keys must keep them apart."""
    victim, thief = Identity(), Identity()
    did = f"did:zhtp:{secrets.token_hex(8)}"
    for separator in ("", ":", "|", "/", ".", "#", "-"):
        tail = separator + secrets.token_hex(8)[len(separator) :]
        nonce = tail.encode() + secrets.token_bytes(16)
        other = did + tail
        for each, owner in ((did, victim), (other, thief)):
            db.execute(
                "INSERT INTO identities (did, public_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (each, owner.public_key),
            )
        token = http.challenge()
        stolen = hand_item(thief, token, client_did=other, receipt_nonce=nonce[16:].hex())
        own = hand_item(victim, token, client_did=did, receipt_nonce=nonce.hex())
        assert http.accepted(batch_body(other, [stolen], batch_nonce=nonce[16:].hex())) == [nonce[16:].hex()]
        assert http.accepted(batch_body(did, [own], batch_nonce=nonce.hex())) == [nonce.hex()]
