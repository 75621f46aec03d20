"""Submitting batches: what is accepted, what is refused, and why."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
from nacl.signing import SigningKey, VerifyKey

from pouw.protocol.reasons import Detail
from pouw.protocol.types import Aux, ProofType
from pouw.protocol.verdicts import Rejection, Verdict, signed_bytes
from tests.support import API, Http, Identity, batch_body, web4_aux

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import StartNode


def refusals(http: Http, body: bytes) -> list[tuple[int, str, str]]:
    response = http.submit(body)
    assert response.status == 200, response.body
    return [(item["index"], item["reason"], item["detail"]) for item in response.json["rejected"]]


def test_a_full_batch_is_accepted_in_its_order(http: Http, client: Identity, db: psycopg.Connection[Any]) -> None:
    items = client.items(http.challenge(), 100)
    accepted = http.accepted(client.batch(items))
    assert accepted == [item["receipt"]["receipt_nonce"] for item in items]
    rows = db.execute("SELECT receipt_nonce FROM receipts WHERE client_did = %s", (client.did,)).fetchall()
    assert sorted(accepted) == sorted(row[0].hex() for row in rows)


def test_the_answer_has_the_designs_members_only(http: Http, client: Identity) -> None:
    item = client.item(http.challenge(), bytes_verified=1)
    answer = http.submit(client.batch([item])).json
    assert set(answer) == {"accepted", "rejected", "server_time", "verdict"}
    assert answer["rejected"] == [
        {
            "index": 0,
            "receipt_nonce": item["receipt"]["receipt_nonce"],
            "reason": "POLICY",
            "detail": "too_few_bytes",
        }
    ]
    assert abs(answer["server_time"] - time.time()) < 5


def test_the_verdict_is_signed_over_what_it_says(http: Http, client: Identity) -> None:
    token = http.challenge()
    body = client.batch([*client.items(token, 3), client.item(token, bytes_verified=5), {"nonsense": 1}])
    answer = http.submit(body).json
    verdict = Verdict(
        batch_digest=bytes.fromhex(answer["verdict"]["batch_digest"]),
        node_id=bytes.fromhex(answer["verdict"]["node_id"]),
        accepted=tuple(bytes.fromhex(nonce) for nonce in answer["accepted"]),
        rejected=tuple(
            Rejection(
                item["index"],
                bytes.fromhex(item["receipt_nonce"]) if item["receipt_nonce"] else None,
                Detail(item["detail"]),
            )
            for item in answer["rejected"]
        ),
        server_time=answer["server_time"],
    )
    assert verdict.node_id == token.node_id
    VerifyKey(verdict.node_id).verify(signed_bytes(verdict), bytes.fromhex(answer["verdict"]["signature"]))


def test_every_proof_type_is_accepted(http: Http, client: Identity) -> None:
    token = http.challenge()
    items = [
        client.item(token, proof_type=ProofType.HASH),
        client.item(token, proof_type=ProofType.MERKLE, aux=Aux(merkle_root=b"r" * 32, proof_digest=b"d" * 64)),
        client.item(token, proof_type=ProofType.SIGNATURE, aux=Aux()),
        client.item(token, proof_type=ProofType.WEB4_MANIFEST_ROUTE, aux=web4_aux()),
        client.item(token, proof_type=ProofType.WEB4_CONTENT_SERVED, aux=web4_aux(served_from_cache=False)),
        client.item(token, result_ok=False),
        client.item(token, provider_id=b"p" * 64, content_id=b"c", receipt_nonce=secrets.token_bytes(16)),
    ]
    assert refusals(http, client.batch(items)) == []


def test_aliases_and_strings_stand_for_the_same_receipt(http: Http, client: Identity) -> None:
    token = http.challenge()
    items = [
        client.item(token, proof_type=ProofType.SIGNATURE),
        client.item(token, proof_type=ProofType.WEB4_MANIFEST_ROUTE, aux=web4_aux()),
        client.item(token, bytes_verified=2**60),
        client.item(token, aux=Aux(context="as a string")),
        client.item(token),
    ]
    items[0]["receipt"]["proof_type"] = "sig"
    items[1]["receipt"]["proof_type"] = "web4_manifest_route"
    items[2]["receipt"]["bytes_verified"] = str(2**60)
    items[3]["receipt"]["aux"] = "as a string"
    items[4]["receipt"] |= {"aux": None, "provider_id": None}
    # 2^60 bytes are more than any budget: the signature was good, the policy is not.
    assert refusals(http, client.batch(items)) == [(2, "POLICY", "too_many_bytes")]


def test_one_bad_receipt_never_takes_its_neighbours(http: Http, client: Identity) -> None:
    token = http.challenge()
    stranger = Identity()
    forged = client.item(token)
    forged["signature"] = forged["signature"][:-2] + ("00" if forged["signature"][-2:] != "00" else "01")
    scheme = client.item(token)
    scheme["sig_scheme"] = "rsa"
    short = client.item(token)
    short["signature"] = "ab"
    malformed = client.item(token)
    malformed["receipt"]["task_id"] = malformed["receipt"]["task_id"].upper() + "g0"
    bad: list[tuple[Any, str, str]] = [
        (forged, "BAD_SIG", "invalid_signature"),
        (short, "BAD_SIG", "invalid_signature"),
        (scheme, "BAD_SIG", "unsupported_scheme"),
        (malformed, "BAD_PROOF", "malformed_receipt"),
        ("not an object", "BAD_PROOF", "malformed_receipt"),
        (stranger.item(token), "CLIENT_INVALID", "did_mismatch"),
        (client.item(token, client_node_id=stranger.public_key), "CLIENT_INVALID", "did_mismatch"),
        (client.item(token, client_did=stranger.did), "CLIENT_INVALID", "did_mismatch"),
        (client.item(token, challenge_nonce=b"n" * 32), "EXPIRED", "unknown_challenge"),
        (client.item(token, task_id=b"t" * 16), "BAD_PROOF", "invalid_challenge_binding"),
        (client.item(token, started_at=token.issued_at - 3600), "BAD_PROOF", "invalid_challenge_binding"),
        (client.item(token, finished_at=token.issued_at + 3600), "BAD_PROOF", "invalid_challenge_binding"),
        (client.item(token, started_at=2, finished_at=1), "BAD_PROOF", "malformed_receipt"),
        (client.item(token, bytes_verified=1023), "POLICY", "too_few_bytes"),
        (client.item(token, proof_type=ProofType.WEB4_MANIFEST_ROUTE), "BAD_PROOF", "malformed_receipt"),
    ]
    good = client.items(token, len(bad) + 1)
    mixed = [good[0]]
    for (item, _reason, _detail), neighbour in zip(bad, good[1:], strict=True):
        mixed += [item, neighbour]
    response = http.submit(client.batch(mixed)).json
    assert response["accepted"] == [item["receipt"]["receipt_nonce"] for item in good]
    assert [(item["index"], item["reason"], item["detail"]) for item in response["rejected"]] == [
        (2 * number + 1, reason, detail) for number, (_item, reason, detail) in enumerate(bad)
    ]


def test_rejections_are_logged_with_what_was_malformed(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    item = client.item(http.challenge())
    item["receipt"]["content_id"] = ""
    http.submit(client.batch([item]))
    row = db.execute(
        "SELECT item_index, receipt_nonce, reason, detail, fault, proven FROM rejections WHERE client_did = %s",
        (client.did,),
    ).fetchone()
    nonce = bytes.fromhex(item["receipt"]["receipt_nonce"])
    fault = "receipt.content_id: must have 1 to 64 bytes"
    assert row == (0, nonce, "BAD_PROOF", "malformed_receipt", fault, False)


def test_a_proof_type_outside_the_challenge_is_refused(http: Http, client: Identity) -> None:
    token = http.challenge("?cap=merkle,sig")
    assert token.policy.allowed_proof_types == (ProofType.MERKLE, ProofType.SIGNATURE)
    items = [client.item(token), client.item(token, proof_type=ProofType.MERKLE)]
    assert refusals(http, client.batch(items)) == [(0, "POLICY", "proof_type_not_allowed")]


def test_the_receipt_budget_holds_across_batches(http: Http, client: Identity) -> None:
    token = http.challenge("?max_receipts=5")
    assert len(http.accepted(client.batch(client.items(token, 3)))) == 3
    assert refusals(http, client.batch(client.items(token, 4))) == [
        (2, "POLICY", "too_many_receipts"),
        (3, "POLICY", "too_many_receipts"),
    ]


def test_the_byte_budget_goes_on_after_a_receipt_that_is_too_large(http: Http, client: Identity) -> None:
    token = http.challenge("?max_bytes=10000")
    items = [client.item(token, bytes_verified=size) for size in (6000, 6000, 4000, 1024)]
    assert refusals(http, client.batch(items)) == [(1, "POLICY", "too_many_bytes"), (3, "POLICY", "too_many_bytes")]


def test_a_refused_receipt_does_not_burn_its_nonce(http: Http, client: Identity) -> None:
    nonce = secrets.token_bytes(32)
    spent = http.challenge("?max_receipts=1")
    http.accepted(client.batch([client.item(spent)]))
    assert refusals(http, client.batch([client.item(spent, receipt_nonce=nonce)]))[0][2] == "too_many_receipts"
    assert http.accepted(client.batch([client.item(http.challenge(), receipt_nonce=nonce)])) == [nonce.hex()]


def test_of_equal_nonces_in_a_batch_the_first_valid_one_counts(http: Http, client: Identity) -> None:
    token = http.challenge()
    nonce = secrets.token_bytes(32)
    forged = client.item(token, receipt_nonce=nonce) | {"signature": "00" * 64}
    items = [forged, client.item(token, receipt_nonce=nonce), client.item(token, receipt_nonce=nonce)]
    response = http.submit(client.batch(items)).json
    assert response["accepted"] == [nonce.hex()]
    assert [item["detail"] for item in response["rejected"]] == ["invalid_signature", "duplicate_nonce"]


def test_the_same_receipts_again_are_replays(http: Http, client: Identity) -> None:
    items = client.items(http.challenge(), 20)
    assert len(http.accepted(client.batch(items))) == 20
    assert refusals(http, client.batch(items)) == [(index, "REPLAY", "duplicate_nonce") for index in range(20)]


def test_one_client_cannot_burn_anothers_nonce(http: Http, client: Identity) -> None:
    token, thief, nonce = http.challenge(), Identity(), secrets.token_bytes(32)
    assert http.accepted(thief.batch([thief.item(token, receipt_nonce=nonce)])) == [nonce.hex()]
    assert http.accepted(client.batch([client.item(token, receipt_nonce=nonce)])) == [nonce.hex()]


def test_an_expired_challenge_is_refused(start_node: StartNode, shared_url: str, client: Identity) -> None:
    node = start_node(shared_url, challenge_ttl_secs=1)
    token = node.http.challenge()
    item = client.item(token)
    time.sleep(2.1)
    assert refusals(node.http, client.batch([item])) == [(0, "EXPIRED", "expired_challenge")]
    node.stop()


@pytest.mark.parametrize(
    "did",
    [
        "did:key:zzz",
        "did:zhtp:nobody",
        "no did at all",
        "did:key:Z6MkncrEfgN4UTzM8zXoao3Lq1tvTrPbCwEqqxzM7Cc3jVax",
        "did:key:z1111111111111111111111111111111111111111111111",
    ],
)
def test_a_did_without_a_usable_key_names_no_client(http: Http, client: Identity, did: str) -> None:
    items = [client.item(http.challenge(), client_did=did), {}]
    assert refusals(http, batch_body(did, items)) == [
        (0, "CLIENT_INVALID", "unknown_client"),
        (1, "BAD_PROOF", "malformed_receipt"),
    ]


def test_a_registered_did_submits_with_its_live_key(http: Http, client: Identity, db: psycopg.Connection[Any]) -> None:
    did = f"did:zhtp:{secrets.token_hex(8)}"
    db.execute("INSERT INTO identities (did, public_key) VALUES (%s, %s)", (did, client.public_key))
    token = http.challenge()
    assert refusals(http, batch_body(did, [client.item(token, client_did=did)])) == []
    db.execute("UPDATE identities SET retired_at = now() WHERE did = %s", (did,))
    assert refusals(http, batch_body(did, [client.item(token, client_did=did)]))[0][2] == "unknown_client"
    successor = Identity()
    db.execute("INSERT INTO identities (did, public_key) VALUES (%s, %s)", (did, successor.public_key))
    assert refusals(http, batch_body(did, [successor.item(token, client_did=did)])) == []
    assert refusals(http, batch_body(did, [client.item(token, client_did=did)]))[0][2] == "did_mismatch"


def test_a_blocked_did_is_refused_until_the_block_ends(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    db.execute("INSERT INTO blocked_dids (did, reason) VALUES (%s, 'test')", (client.did,))
    token = http.challenge()
    assert refusals(http, client.batch([client.item(token)])) == [(0, "CLIENT_INVALID", "blocked_client")]
    db.execute("UPDATE blocked_dids SET expires_at = now() - interval '1 second' WHERE did = %s", (client.did,))
    assert refusals(http, client.batch([client.item(token)])) == []


def test_an_identity_has_to_be_old_enough(
    start_node: StartNode, shared_url: str, client: Identity, db: psycopg.Connection[Any]
) -> None:
    node = start_node(shared_url, identity_min_age_secs=3600)
    token = node.http.challenge()
    assert refusals(node.http, client.batch([client.item(token)])) == [(0, "CLIENT_INVALID", "identity_too_new")]
    db.execute(
        "INSERT INTO identities (did, public_key, created_at) VALUES (%s, %s, now() - interval '2 hours')",
        (client.did, client.public_key),
    )
    assert refusals(node.http, client.batch([client.item(token)])) == []
    node.stop()


def test_a_challenge_is_stored_before_it_is_answered(http: Http, db: psycopg.Connection[Any]) -> None:
    response = http.get(f"{API}/challenge?cap=hash&max_receipts=7&max_bytes=70000")
    token = http.challenge("?cap=hash&max_receipts=7&max_bytes=70000")
    assert response.status == 200
    row = db.execute(
        "SELECT task_id, issued_at, expires_at, max_receipts, max_bytes_total FROM challenges WHERE nonce = %s",
        (token.challenge_nonce,),
    ).fetchone()
    assert row == (token.task_id, token.issued_at, token.issued_at + 300, 7, 70000)


def test_wishes_are_clipped_to_the_nodes_limits(http: Http) -> None:
    policy = http.challenge("?max_receipts=9000000000000000000&max_bytes=9223372036854775807").policy
    assert (policy.max_receipts, policy.max_bytes_total, policy.min_bytes_per_receipt) == (10_000, 2**40, 1024)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("cap=nonsense", "/cap"),
        ("cap=hash,,merkle", "/cap"),
        ("cap=HASH", "/cap"),
        ("cap=%00%0a", "/cap"),
        ("max_receipts=-1", "/max_receipts"),
        ("max_receipts=0", "/max_receipts"),
        ("max_receipts=1.5", "/max_receipts"),
        ("max_receipts=9223372036854775808", "/max_receipts"),
        (f"max_bytes={'9' * 400}", "/max_bytes"),
        ("max_bytes=", "/max_bytes"),
        ("max_bytes=%D9%A1", "/max_bytes"),
        ("max_bytes=1&max_bytes=2", "/max_bytes"),
    ],
)
def test_absurd_wishes_are_problems(http: Http, query: str, path: str) -> None:
    response = http.get(f"{API}/challenge?{query}")
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json["type"] == "urn:pouw:problem:bad-parameter"
    assert [fault["path"] for fault in response.json["errors"]] == [path]


def test_a_signature_by_another_key_spends_nothing_of_the_victims(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token = http.challenge("?max_receipts=1")
    thief = SigningKey.generate()
    item = client.item(token)
    forged = item | {"signature": thief.sign(b"something").signature.hex()}
    batch_nonce = secrets.token_hex(16)
    assert refusals(http, client.batch([forged], batch_nonce=batch_nonce)) == [(0, "BAD_SIG", "invalid_signature")]
    used = db.execute("SELECT receipts_used FROM challenges WHERE nonce = %s", (token.challenge_nonce,)).fetchone()
    assert used == (0,)
    assert len(http.accepted(client.batch([item], batch_nonce=batch_nonce))) == 1
