"""Challenge tokens that nobody issued, that are over, spent, edited or somebody else's; receipts moved between them."""

from __future__ import annotations

import base64
import dataclasses
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
from nacl.signing import SigningKey

from pouw.errors import TokenError
from pouw.protocol.tokens import decode_wire, encode_wire, sign_token
from pouw.protocol.types import ProofType
from tests.support import API, Http, Identity, batch_body, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from pouw.protocol.types import ChallengeToken
    from tests.conftest import StartNode


@pytest.fixture(scope="module")
def brief(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Http]:
    """Another network's node, with a database of its own, whose challenges live for six seconds."""
    node = start_node(new_database(), challenge_ttl_secs=6, workers=1)
    yield node.http
    node.stop()


def details(http: Http, did: str, items: list[dict[str, Any]]) -> list[str]:
    """Submit items without a batch nonce; return "accepted" or the detail of each."""
    response = http.submit(batch_body(did, items))
    assert response.status == 200, response.body
    refused = {each["index"]: each["detail"] for each in response.json["rejected"]}
    return [refused.get(index, "accepted") for index in range(len(items))]


def bound(http: Http, who: Identity, query: str = "") -> ChallengeToken:
    """Return a challenge that is bound to a DID."""
    answer = signed(http, who, "GET", f"{API}/challenge{query}")
    assert answer.status == 200, answer.body
    return decode_wire(answer.json["token"])


def test_a_token_of_ones_own_making_is_no_challenge(http: Http, client: Identity) -> None:
    """A token with a fresh nonce, signed by a stranger's key in the node's or in its own name."""
    real, thief = http.challenge(), SigningKey.generate()
    for node_id in (real.node_id, bytes(thief.verify_key)):
        made = dataclasses.replace(real, node_id=node_id, challenge_nonce=secrets.token_bytes(32))
        forged = sign_token(made, lambda text: thief.sign(text).signature)
        assert details(http, client.did, [client.item(forged)]) == ["unknown_challenge"]
    forged = sign_token(
        dataclasses.replace(real, task_id=secrets.token_bytes(16)), lambda text: thief.sign(text).signature
    )
    with pytest.raises(TokenError):
        decode_wire(encode_wire(forged))
    assert details(http, client.did, [client.item(forged)]) == ["invalid_challenge_binding"]


def test_halves_of_two_challenges_are_no_challenge(http: Http, client: Identity) -> None:
    """The task of one real challenge with the nonce of another."""
    one, other = http.challenge(), http.challenge()
    mixed = dataclasses.replace(one, challenge_nonce=other.challenge_nonce)
    assert details(http, client.did, [client.item(mixed)]) == ["invalid_challenge_binding"]


def test_the_clients_copy_of_the_policy_is_not_believed(http: Http, client: Identity) -> None:
    """A token whose policy, times and node the client edited: what counts is what the node wrote down."""
    answer = http.get(f"{API}/challenge?cap=hash&max_receipts=2&max_bytes=100000").json
    text = json.loads(base64.b64decode(answer["token"]))
    text["policy"] |= {"max_receipts": 10_000, "max_bytes_total": 2**40, "min_bytes_per_receipt": 0}
    text["policy"]["allowed_proof_types"] = [kind.json_name for kind in ProofType]
    with pytest.raises(TokenError):
        decode_wire(base64.b64encode(json.dumps(text | {"expires_at": 2**40}).encode()).decode())
    token = decode_wire(answer["token"])
    items = [
        client.item(token, bytes_verified=10),
        client.item(token, proof_type=ProofType.MERKLE),
        client.item(token, bytes_verified=100_001),
        client.item(token, started_at=token.issued_at - 3600),
        client.item(token, finished_at=token.expires_at + 3600),
        *client.items(token, 3),
    ]
    assert details(http, client.did, items) == [
        "too_few_bytes", "proof_type_not_allowed", "too_many_bytes", "invalid_challenge_binding",
        "invalid_challenge_binding", "accepted", "accepted", "too_many_receipts",
    ]  # fmt: skip


def test_a_budget_is_spent_once_over_batches_encodings_and_clients(http: Http, client: Identity) -> None:
    """Ten batches by two DIDs under one challenge for three receipts."""
    token, other = http.challenge("?max_receipts=3"), Identity()
    told = [details(http, who.did, [who.item(token)])[0] for who in (client, other) * 5]
    assert told == ["accepted"] * 3 + ["too_many_receipts"] * 7


def test_a_challenge_of_another_network_is_unknown(http: Http, brief: Http, client: Identity) -> None:
    """A token that is good at one node says nothing to a node with another database, in either direction."""
    assert details(brief, client.did, [client.item(http.challenge())]) == ["unknown_challenge"]
    assert details(http, client.did, [client.item(brief.challenge())]) == ["unknown_challenge"]


def test_an_expired_challenge_takes_nothing_more(brief: Http, client: Identity) -> None:
    """Receipts that were signed in time and sent too late, beside one of a live challenge."""
    token = brief.challenge()
    late = client.items(token, 2)
    assert details(brief, client.did, [late[0]]) == ["accepted"]
    wait_for(lambda: time.time() > token.expires_at + 0.1)
    mixed = [late[1], client.item(brief.challenge()), late[0]]
    assert details(brief, client.did, mixed) == ["expired_challenge", "accepted", "expired_challenge"]


def test_receipts_do_not_move_between_dids(http: Http, client: Identity) -> None:
    """A victim's receipt in a thief's batch, under the thief's DID, under the thief's key, and signed anew."""
    thief, token = Identity(), http.challenge()
    item = client.item(token)
    mine = {"client_did": thief.did, "client_node_id": thief.public_key.hex()}
    moved = [
        item,
        item | {"receipt": item["receipt"] | {"client_did": thief.did}},
        item | {"receipt": item["receipt"] | {"client_node_id": thief.public_key.hex()}},
        item | {"receipt": item["receipt"] | mine},
        item | {"receipt": thief.item(token)["receipt"]},
    ]
    expected = ["did_mismatch"] * 3 + ["invalid_signature"] * 2
    assert details(http, thief.did, moved) == expected
    assert details(http, client.did, moved[1:4]) == ["did_mismatch"] * 3
    assert details(http, client.did, [item]) == ["accepted"]


def test_receipts_do_not_move_between_challenges(http: Http, client: Identity) -> None:
    """A signed receipt under another challenge, whole or in part, before and after it was credited."""
    token, other = http.challenge(), http.challenge()
    item = client.item(token)
    whole = {"challenge_nonce": other.challenge_nonce.hex(), "task_id": other.task_id.hex()}
    moved = [
        item | {"receipt": item["receipt"] | whole},
        item | {"receipt": item["receipt"] | {"challenge_nonce": whole["challenge_nonce"]}},
        item | {"receipt": item["receipt"] | {"task_id": whole["task_id"]}},
    ]
    expected = ["invalid_signature", "invalid_challenge_binding", "invalid_challenge_binding"]
    assert details(http, client.did, [*moved, item]) == [*expected, "accepted"]
    assert details(http, client.did, [*moved, item]) == [*expected, "duplicate_nonce"]
    signed_anew = client.item(other, receipt_nonce=bytes.fromhex(item["receipt"]["receipt_nonce"]))
    assert details(http, client.did, [signed_anew]) == ["duplicate_nonce"]


def test_a_bound_challenge_is_for_one_did(http: Http, client: Identity, db: psycopg.Connection[Any]) -> None:
    """A challenge bound by a signed request: nobody else uses it, spends it, or moves its receipts away."""
    thief = Identity()
    token = bound(http, client, "?max_receipts=1&max_bytes=5000")
    stolen = client.item(token)
    for _ in range(3):
        assert details(http, thief.did, [thief.item(token), stolen]) == ["invalid_challenge_binding", "did_mismatch"]
    spent = "SELECT receipts_used, bytes_used FROM challenges WHERE nonce = %s"
    assert db.execute(spent, (token.challenge_nonce,)).fetchone() == (0, 0)
    own = bound(http, thief)
    assert details(http, client.did, [client.item(own)]) == ["invalid_challenge_binding"]
    assert details(http, client.did, [stolen]) == ["accepted"]
    assert db.execute(spent, (token.challenge_nonce,)).fetchone() == (1, 4096)


def test_receipts_do_not_move_between_batches(http: Http, client: Identity) -> None:
    """A credited receipt in other batches: alone, among new ones, twice, and in the batch of another nonce."""
    token = http.challenge()
    item, new = client.item(token), client.item(token)
    assert http.accepted(client.batch([item])) == [item["receipt"]["receipt_nonce"]]
    for items in ([item], [item, item], [new, item, new], [item, new]):
        told = details(http, client.did, items)
        assert all(detail == "duplicate_nonce" for each, detail in zip(items, told, strict=True) if each is item)
    assert http.accepted(client.batch([item, new])) == []
