"""Nobody makes another client's nonce, batch nonce, budget or name unusable: each attack first, then the victim."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from pouw.protocol.tokens import decode_wire
from tests.support import API, Http, Identity, batch_body, signed

if TYPE_CHECKING:
    import psycopg

    from pouw.protocol.types import ChallengeToken


def spoilt(thief: Identity, token: ChallengeToken, item: dict[str, Any]) -> list[Any]:
    """Return what a thief can make of an item that was overheard before it was sent."""
    receipt, own = item["receipt"], thief.item(token)
    flipped = f"{int(item['signature'][:2], 16) ^ 1:02x}{item['signature'][2:]}"
    return [
        item | {"signature": flipped},
        item | {"signature": own["signature"]},
        item | {"signature": ""},
        item | {"sig_scheme": "none"},
        item | {"receipt": receipt | {"bytes_verified": 5000}},
        item | {"receipt": receipt | {"version": 2}},
        item | {"receipt": receipt | {"unknown": 1}},
        {"receipt": receipt},
        own,
        None,
    ]


def test_a_receipt_nonce_is_not_used_up_by_spoilt_copies(http: Http, client: Identity) -> None:
    """Under the victim's DID and under the thief's own, with the very nonce that the victim is about to use."""
    token, thief = http.challenge(), Identity()
    item = client.item(token)
    nonce = bytes.fromhex(item["receipt"]["receipt_nonce"])
    copies = spoilt(thief, token, item)
    assert http.submit(batch_body(client.did, copies)).json["accepted"] == []
    own = thief.item(token, receipt_nonce=nonce)
    assert http.accepted(batch_body(thief.did, [*copies[:8], own])) == [nonce.hex()]
    assert http.accepted(client.batch([item])) == [nonce.hex()]


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_nonce_is_not_used_up_by_spoilt_batches(http: Http, client: Identity, count: int) -> None:
    """Spoilt batches under the victim's DID and batch nonce, before the batch and between it and its retry."""
    token, thief, nonce = http.challenge(), Identity(), secrets.token_hex(16)
    body = client.batch([client.item(token)], batch_nonce=nonce)
    overheard = client.item(token)

    def attack() -> None:
        for number in range(count):
            items = spoilt(thief, token, overheard)[number % 10 :]
            assert http.submit(batch_body(client.did, items, batch_nonce=nonce)).status in (200, 409)
            assert http.submit(batch_body(thief.did, items, batch_nonce=nonce)).status in (200, 409)

    attack()
    first = http.submit(body)
    assert len(first.json["accepted"]) == 1
    attack()
    again = http.submit(body)
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")


def test_a_batch_nonce_in_flight_is_not_held_by_a_stranger(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    """After a stranger's batches under a client's name, no lock is left that the client would wait for."""
    nonce = secrets.token_hex(16)
    for _ in range(20):
        http.submit(batch_body(client.did, [{}], batch_nonce=nonce))
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert db.execute(held).fetchone() == (0,)
    assert len(http.accepted(client.batch([client.item(http.challenge())], batch_nonce=nonce))) == 1


def test_a_budget_is_not_spent_by_what_is_refused(http: Http, client: Identity, db: psycopg.Connection[Any]) -> None:
    """Spoilt copies and replays by the victim's listeners leave the whole budget of the victim's challenge."""
    thief = Identity()
    answer = signed(http, client, "GET", f"{API}/challenge?max_receipts=3&max_bytes=12288")
    token = decode_wire(answer.json["token"])
    items = client.items(token, 3)
    assert http.accepted(client.batch(items[:1])) == [items[0]["receipt"]["receipt_nonce"]]
    for _ in range(10):
        http.submit(batch_body(client.did, [*spoilt(thief, token, items[1]), items[0]]))
        http.submit(batch_body(thief.did, [*spoilt(thief, token, items[1]), items[0], thief.item(token)]))
    used = db.execute(
        "SELECT receipts_used, bytes_used FROM challenges WHERE nonce = %s", (token.challenge_nonce,)
    ).fetchone()
    assert used == (1, 4096)
    assert len(http.accepted(client.batch(items[1:]))) == 2


def test_a_flood_of_challenges_ends_none(http: Http, client: Identity) -> None:
    """However many challenges strangers ask for, each one that was handed out can be used."""
    token = http.challenge()
    for _ in range(100):
        http.challenge("?max_receipts=1")
    assert len(http.accepted(client.batch([client.item(token)]))) == 1


def test_garbage_under_a_name_never_looks_like_its_owners(http: Http, client: Identity) -> None:
    """What strangers sent under a DID stands in its history as unproven, and in no sum."""
    token, thief = http.challenge(), Identity()
    http.submit(batch_body(client.did, spoilt(thief, token, client.item(token))))
    page = signed(http, client, "GET", f"{API}/clients/{client.did}/history").json
    assert [(each["proven"], each["accepted"]) for each in page["items"]] == [(False, 0)]
    assert page["pending"]["receipts"] == 0
    assert signed(http, client, "GET", f"{API}/receipts/{client.did}").json["items"] == []
