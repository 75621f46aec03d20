"""What a listener can do with copies of what a client once sent, and a client with another spelling of it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_attack_canonical import hand_item, stop
from tests.support import Http, Identity, batch_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartNode

DID_QUOTA = 5


@pytest.fixture(scope="module")
def strict(start_node: StartNode, shared_url: str) -> Iterator[Http]:
    """A node on which a DID has five requests a minute."""
    node = start_node(shared_url, rate_limit_did=DID_QUOTA, workers=1)
    yield node.http
    stop(node)


def assert_has_quota(http: Http, client: Identity) -> None:
    item = hand_item(client, http.challenge())
    response = http.submit(client.batch([item]))
    assert (response.status, response.json.get("accepted")) == (200, [item["receipt"]["receipt_nonce"]])


def test_garbage_does_not_spend_the_victims_quota(strict: Http, client: Identity) -> None:
    token, thief = strict.challenge(), Identity()
    good = hand_item(client, token)
    forged = good | {"signature": thief.key.sign(b"x").signature.hex()}
    impostor = hand_item(thief, token, client_did=client.did)
    foreign = hand_item(thief, token)
    garbage: list[list[Any]] = [[], [{}], [forged], [impostor], [foreign], [None] * 50, [{}, forged, impostor, foreign]]
    for some in garbage:
        for _ in range(DID_QUOTA + 1):
            strict.submit(batch_body(client.did, some, batch_nonce=secrets.token_hex(16)))
    assert_has_quota(strict, client)


def test_copies_of_a_batch_do_not_spend_the_victims_quota(strict: Http, client: Identity) -> None:
    body = client.batch([hand_item(client, strict.challenge())])
    assert len(strict.accepted(body)) == 1
    for _ in range(4 * DID_QUOTA):
        strict.submit(body)
    assert_has_quota(strict, client)


@pytest.mark.parametrize("nonce", ["fresh", "none"])
def test_copies_of_a_receipt_do_not_spend_the_victims_quota(strict: Http, client: Identity, nonce: str) -> None:
    """Promise 5: a copied receipt proves that its owner once held the key, not that the sender does."""
    copied = hand_item(client, strict.challenge())
    assert len(strict.accepted(client.batch([copied]))) == 1
    for _ in range(DID_QUOTA + 1):
        members = {"batch_nonce": secrets.token_hex(16)} if nonce == "fresh" else {}
        strict.submit(batch_body(client.did, [copied], **members))
    assert_has_quota(strict, client)


@pytest.mark.parametrize("front", ["forged", "stranger", "beyond the budget"])
def test_copies_behind_what_is_new_do_not_spend_the_victims_quota(strict: Http, client: Identity, front: str) -> None:
    """The first nonce of these batches is nobody's, and still none of them comes from its DID."""
    token, small = strict.challenge(), strict.challenge("?max_receipts=1")
    copied = [hand_item(client, token), hand_item(client, token), hand_item(client, small)]
    beyond = hand_item(client, small)
    assert len(strict.accepted(client.batch([*copied, beyond]))) == 3
    for _ in range(2 * DID_QUOTA):
        thief = Identity()
        first = {
            "forged": hand_item(client, token) | {"signature": thief.key.sign(b"x").signature.hex()},
            "stranger": hand_item(thief, token, client_did=client.did),
            "beyond the budget": beyond,
        }[front]
        assert strict.accepted(batch_body(client.did, [first, *copied], batch_nonce=secrets.token_hex(16))) == []
    for _ in range(DID_QUOTA - 1):  # one went for the originals
        assert_has_quota(strict, client)


def test_copies_of_a_refused_receipt_do_not_spend_the_victims_quota(strict: Http, client: Identity) -> None:
    """The same with a receipt that never counted: its signature was valid, its challenge was not."""
    copied = hand_item(client, strict.challenge(), challenge_nonce="ab" * 32)
    assert strict.accepted(client.batch([copied])) == []
    for _ in range(DID_QUOTA + 1):
        strict.submit(batch_body(client.did, [copied], batch_nonce=secrets.token_hex(16)))
    assert_has_quota(strict, client)


@pytest.mark.parametrize("wish", ["max_receipts=1", "max_bytes=4096"])
def test_copies_of_a_receipt_beyond_the_budget_do_not_spend_the_victims_quota(
    strict: Http, client: Identity, wish: str
) -> None:
    """The same with a receipt that was valid in everything, and came when its challenge's budget was spent."""
    token = strict.challenge(f"?{wish}")
    first, copied = hand_item(client, token), hand_item(client, token)
    assert len(strict.accepted(client.batch([first, copied]))) == 1
    for _ in range(2 * DID_QUOTA):
        nonce = secrets.token_hex(16)
        assert strict.accepted(batch_body(client.did, [copied], batch_nonce=nonce)) == []
    strict.accepted(batch_body(client.did, [copied], batch_nonce=nonce))
    item = hand_item(client, strict.challenge())
    assert len(strict.accepted(client.batch([item], batch_nonce=nonce))) == 1
