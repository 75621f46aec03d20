"""The compact twin: the same receipts as protobuf get the same verdicts as JSON."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from pouw import _fastverify
from pouw.client.receipts import SignedReceipt, receipt_to_json, sign
from pouw.protocol.canonical import encode_receipt, encode_token
from pouw.protocol.reasons import Detail
from pouw.protocol.types import ChallengeToken, ProofType
from pouw.protocol.verdicts import Rejection, Verdict, signed_bytes
from tests.support import API, Http, Identity, node_key, web4_aux
from tests.unit.wire import MESSAGES, batch_to_protobuf, signed_to_protobuf

if TYPE_CHECKING:
    from tests.conftest import StartNode
    from tests.support import Response

PROTOBUF = "application/x-protobuf"


def submit(http: Http, body: bytes) -> Response:
    return http.request("POST", f"{API}/submit", body, Content_Type=PROTOBUF)


def verdict_of(response: Response) -> Any:
    assert response.status == 200, response.body
    assert response.headers["Content-Type"] == PROTOBUF
    return MESSAGES["SubmitAnswer"].FromString(response.body)


def test_a_challenge_comes_as_protobuf(http: Http) -> None:
    response = http.request("GET", f"{API}/challenge?cap=hash,sig", None, Accept=PROTOBUF)
    answer = MESSAGES["ChallengeAnswer"].FromString(response.body)
    assert answer.expires_at == answer.token.expires_at > answer.server_time
    assert list(answer.token.policy.allowed_proof_types) == [0, 2]
    signature, answer.token.node_signature = answer.token.node_signature, b""
    VerifyKey(answer.token.node_id).verify(answer.token.SerializeToString(deterministic=True), signature)


def test_a_batch_is_accepted_answered_and_remembered(http: Http, client: Identity) -> None:
    token = http.challenge()
    items = [client.signed(token) for _ in range(20)] + [client.signed(token, bytes_verified=3)]
    body = batch_to_protobuf(client.did, secrets.token_bytes(16), items)
    response = submit(http, body)
    answer = verdict_of(response)
    assert list(answer.accepted) == [item.receipt.receipt_nonce for item in items[:20]]
    [rejected] = answer.rejected
    assert (rejected.index, rejected.reason, rejected.detail) == (20, "POLICY", "too_few_bytes")
    verdict = Verdict(
        answer.verdict.batch_digest,
        answer.verdict.node_id,
        tuple(answer.accepted),
        (Rejection(20, rejected.receipt_nonce, Detail(rejected.detail)),),
        answer.server_time,
    )
    VerifyKey(verdict.node_id).verify(signed_bytes(verdict), answer.verdict.signature)
    again = submit(http, body)
    assert again.body == response.body
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\x08\x02",
        b"\x08\x81\x00",
        b"\x08\x01\x08\x01",
        b"\x28\x01",
        b"\x12\x00",
        b"\x1a\x7f",
        b"\x08\x01\x12\x01\xff",
    ],
)
def test_a_body_that_is_no_canonical_batch_is_a_problem(http: Http, body: bytes) -> None:
    response = submit(http, body)
    assert response.status in (400, 422)
    assert response.headers["Content-Type"] == "application/problem+json"


def test_too_many_receipts_are_refused(http: Http, client: Identity) -> None:
    one = client.signed(http.challenge())
    response = submit(http, batch_to_protobuf(client.did, b"", [one] * 101))
    assert (response.status, response.json["errors"][0]["path"]) == (413, "/receipts")


def variants(signed: SignedReceipt) -> dict[str, bytes]:
    """The bytes of a signed receipt in ways that are not canonical."""
    body, whole = encode_receipt(signed.receipt), signed_to_protobuf(signed)
    tail = whole[len(b"\x0a" + _varint(len(body)) + body) :]

    def wrap(inner: bytes) -> bytes:
        return b"\x0a" + _varint(len(inner)) + inner + tail

    assert wrap(body) == whole
    return {
        "unknown field": wrap(body + b"\x78\x01"),
        "repeated field": wrap(body[:2] + body),
        "padded varint": wrap(b"\x08\x81\x00" + body[2:]),
        "padded tag": wrap(b"\x88\x00\x01" + body[2:]),
        "wrong order": wrap(body[2:] + body[:2]),
        "default spelled out": wrap(body + b"\x38\x00"),
        "empty bytes spelled out": wrap(body[:2] + b"\x2a\x00" + body[2:]),
        "wrong wire type": wrap(b"\x0d\x01\x00\x00\x00" + body[2:]),
        "cut": wrap(body[:-1]),
        "aux twice": wrap(body + b"\x72\x00\x72\x00"),
        "aux with an unknown field": wrap(body + b"\x72\x02\x20\x01"),
        "aux default spelled out": wrap(body + b"\x72\x02\x0a\x00"),
        "not UTF-8": wrap(body.replace(b"did:key", b"did:ke\xff")),
        "a trailing byte": whole + b"\x00",
        "wrapper out of order": whole[-66:] + whole[:-66],
        "wrapper repeated": whole + whole[-66:],
        "no receipt": whole[-66:],
        "field number 0": b"\x02\x00" + whole,
        "a huge length": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        "nothing": b"",
    }


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def test_bytes_that_are_not_canonical_are_malformed_one_by_one(http: Http, client: Identity) -> None:
    token = http.challenge()
    bad = variants(client.signed(token))
    good = client.signed(token)
    items = [item for each in bad.values() for item in (each, signed_to_protobuf(client.signed(token)))]
    answer = verdict_of(submit(http, batch_to_protobuf(client.did, b"", [*items, signed_to_protobuf(good)])))
    refused = {item.index // 2: item.detail for item in answer.rejected}
    assert refused == dict.fromkeys(range(len(bad)), "malformed_receipt"), list(bad)
    assert len(answer.accepted) == len(bad) + 1


@given(st.binary(max_size=400))
def test_any_bytes_are_decoded_or_malformed(data: bytes) -> None:
    [decoded] = _fastverify.decode_protobuf([data])
    assert decoded.fault is not None
    try:
        _version, _did, _nonce, items = _fastverify.split_batch(data, 10)
    except ValueError:
        return
    assert len(items) <= 11


@given(st.data())
def test_a_flipped_byte_is_never_another_canonical_receipt_with_the_same_bytes(data: st.DataObject) -> None:
    client = Identity()
    token = ChallengeToken(b"n" * 32, b"t" * 16, b"c" * 32, 0, 1, None)  # type: ignore[arg-type]
    whole = bytearray(signed_to_protobuf(client.signed(token)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    [decoded] = _fastverify.decode_protobuf([bytes(whole)])
    if decoded.fault is None:
        assert decoded.body in bytes(whole)


@pytest.fixture(scope="module")
def twins(start_node: StartNode, shared_url: str, template: str, servers: Any) -> Any:
    """Two nodes with one key on two databases: what one has seen, the other has not."""
    name = f"twin_{secrets.token_hex(4)}"
    with psycopg.connect(servers.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    key = node_key()
    pair = [start_node(url, node_secret_key=key, workers=1) for url in (shared_url, servers.postgres.url(name))]
    yield pair, servers.postgres.url(name)
    for node in pair:
        node.stop()


KINDS = ("good", "forged", "scheme", "foreign", "did", "few", "unknown", "task", "early", "twice", "web4", "bare web4",
         "long id", "no id", "order")  # fmt: skip


def make(kind: str, client: Identity, token: ChallengeToken, made: list[SignedReceipt]) -> SignedReceipt:
    kinds: dict[str, dict[str, Any]] = {
        "foreign": {"client_node_id": Identity().public_key},
        "did": {"client_did": Identity().did},
        "few": {"bytes_verified": 7},
        "unknown": {"challenge_nonce": secrets.token_bytes(32)},
        "task": {"task_id": secrets.token_bytes(20)},
        "early": {"started_at": 1},
        "web4": {"proof_type": ProofType.WEB4_MANIFEST_ROUTE, "aux": web4_aux()},
        "bare web4": {"proof_type": ProofType.WEB4_CONTENT_SERVED},
        "long id": {"content_id": bytes(65)},
        "no id": {"content_id": b""},
        "order": {"started_at": 2, "finished_at": 1},
    }
    changes = kinds.get(kind, {})
    if kind == "twice" and made:
        return made[0]
    signed = sign(dataclasses.replace(client.receipt(token), **changes), client.key)
    return dataclasses.replace(signed, signature=secrets.token_bytes(64)) if kind == "forged" else signed


@settings(max_examples=25)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12))
def test_the_same_receipts_get_the_same_verdicts_in_both_encodings(twins: Any, kinds: list[str]) -> None:
    (first, second), other_url = twins
    client = Identity()
    token = first.http.challenge()
    copy_challenge(first.environ["POUW_DATABASE_URL"], other_url, token.challenge_nonce)
    made: list[SignedReceipt] = []
    for kind in kinds:
        made.append(make(kind, client, token, made))
    schemes = ["rsa" if kind == "scheme" else "ed25519" for kind in kinds]
    items = [
        {"receipt": receipt_to_json(each.receipt), "sig_scheme": scheme, "signature": each.signature.hex()}
        for each, scheme in zip(made, schemes, strict=True)
    ]
    as_json = first.http.submit(client.batch(items)).json
    packed = [signed_to_protobuf(each, scheme) for each, scheme in zip(made, schemes, strict=True)]
    answer = verdict_of(submit(second.http, batch_to_protobuf(client.did, secrets.token_bytes(16), packed)))
    assert [nonce.hex() for nonce in answer.accepted] == as_json["accepted"]
    assert [(r.index, r.receipt_nonce.hex() or None, r.reason, r.detail) for r in answer.rejected] == [
        (r["index"], r["receipt_nonce"], r["reason"], r["detail"]) for r in as_json["rejected"]
    ]


def copy_challenge(source: str, target: str, nonce: bytes) -> None:
    columns = (
        "nonce, task_id, bound_did, issued_at, expires_at, max_receipts, max_bytes_total, min_bytes_per_receipt,"
        " allowed_proof_types"
    )
    with psycopg.connect(source) as connection:
        row = connection.execute(f"SELECT {columns} FROM challenges WHERE nonce = %s", (nonce,)).fetchone()
    with psycopg.connect(target) as connection:
        connection.execute(f"INSERT INTO challenges ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", row)


def test_the_node_serves_its_messages(http: Http) -> None:
    text = http.get(f"{API}/pouw.proto").body.decode()
    assert "message ReceiptBatch" in text
    assert encode_token(http.challenge())
