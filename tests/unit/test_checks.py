"""The checks before the signature: the C gives the same first failure as the checks said one by one in Python."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw import _fastverify
from pouw.protocol.reasons import Detail
from pouw.protocol.types import SIG_SCHEME, ProofType
from pouw.service.checks import Client, Context, first_failures
from pouw.store.challenges import Challenge
from tests.decoded import USUAL, decoded

if TYPE_CHECKING:
    from pouw._fastverify import SignedReceipt

DID, KEY = USUAL["client_did"], USUAL["client_node_id"]
OPEN = Challenge(b"c" * 16, b"t" * 16, None, 1_000, 1_300, 5, 10**6, 10, frozenset({0, 2, 4}))
BOUND = dataclasses.replace(OPEN, nonce=b"b" * 16, bound_did=DID)
OTHERS = dataclasses.replace(OPEN, nonce=b"o" * 16, bound_did="did:x:another")
CHALLENGES = {each.nonce: each for each in (OPEN, BOUND, OTHERS)}
NOW, SKEW = 1_200.5, 30

malformed = _fastverify.decode_json([{"receipt": {}}])[0]
receipts = st.just(malformed) | st.builds(
    decoded,
    scheme=st.sampled_from([SIG_SCHEME, SIG_SCHEME, SIG_SCHEME, "ed448", "Ed25519", ""]),
    client_did=st.sampled_from([DID, DID, DID, "did:x:another"]),
    client_node_id=st.sampled_from([KEY, KEY, KEY, b"o" * 32]),
    challenge_nonce=st.sampled_from([*CHALLENGES, OPEN.nonce, b"u" * 16]),
    task_id=st.sampled_from([OPEN.task_id, OPEN.task_id, OPEN.task_id, b"t" * 17]),
    started_at=st.sampled_from([0, 969, 970, 971, 1_000]),
    finished_at=st.sampled_from([1_000, 1_230, 1_231, 2**63 - 1]),
    proof_type=st.sampled_from([ProofType.HASH, ProofType.MERKLE, ProofType.SIGNATURE]),
    bytes_verified=st.sampled_from([0, 9, 10, 11, 2**63 - 1]),
)
clients = st.sampled_from([
    *itertools.repeat(Client(DID, KEY, None), 4),
    Client(DID, None, Detail.UNKNOWN_CLIENT),
    Client(DID, KEY, Detail.BLOCKED_CLIENT),
    Client(DID, KEY, Detail.IDENTITY_TOO_NEW),
    Client("did:x:another", KEY, None),
])  # fmt: skip


def expected(receipt: SignedReceipt, context: Context) -> Detail | None:
    """Return the first failure, as DESIGN's order of checks has it."""
    client = context.client
    if receipt.fault is not None:
        return Detail.MALFORMED_RECEIPT
    if client.fault is not None:
        return client.fault
    if (receipt.client_did, receipt.client_node_id) != (client.did, client.key):
        return Detail.DID_MISMATCH
    challenge = context.challenges.get(receipt.challenge_nonce)
    if challenge is None:
        return Detail.UNKNOWN_CHALLENGE
    bound = (
        receipt.task_id == challenge.task_id
        and challenge.bound_did in (None, client.did)
        and challenge.issued_at - context.skew <= receipt.started_at
        and receipt.finished_at <= context.now + context.skew
    )
    for passed, detail in (
        (context.now <= challenge.expires_at, Detail.EXPIRED_CHALLENGE),
        (bound, Detail.INVALID_CHALLENGE_BINDING),
        (receipt.proof_type in challenge.allowed_proof_types, Detail.PROOF_TYPE_NOT_ALLOWED),
        (receipt.bytes_verified >= challenge.min_bytes_per_receipt, Detail.TOO_FEW_BYTES),
        (receipt.sig_scheme == SIG_SCHEME, Detail.UNSUPPORTED_SCHEME),
    ):
        if not passed:
            return detail
    return None


@given(st.lists(receipts, max_size=12), clients, st.sampled_from([NOW, 1_299.9, 1_300.0, 1_300.1, 970.0]))
@settings(max_examples=300)
def test_each_receipt_gets_the_first_failure_of_its_own(batch: list[SignedReceipt], client: Client, now: float) -> None:
    context = Context(client, CHALLENGES, now, SKEW)
    assert first_failures(batch, context) == [expected(receipt, context) for receipt in batch]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, None),
        ({"challenge_nonce": BOUND.nonce}, None),
        ({"client_did": "did:x:another"}, Detail.DID_MISMATCH),
        ({"client_node_id": b"o" * 32}, Detail.DID_MISMATCH),
        ({"challenge_nonce": b"u" * 16}, Detail.UNKNOWN_CHALLENGE),
        ({"challenge_nonce": OTHERS.nonce}, Detail.INVALID_CHALLENGE_BINDING),
        ({"task_id": b"u" * 16}, Detail.INVALID_CHALLENGE_BINDING),
        ({"started_at": 969}, Detail.INVALID_CHALLENGE_BINDING),
        ({"finished_at": 1_231}, Detail.INVALID_CHALLENGE_BINDING),
        ({"proof_type": ProofType.MERKLE}, Detail.PROOF_TYPE_NOT_ALLOWED),
        ({"bytes_verified": 9}, Detail.TOO_FEW_BYTES),
        ({"scheme": "ed448"}, Detail.UNSUPPORTED_SCHEME),
    ],
)
def test_each_check_has_its_own_label(fields: dict[str, Any], detail: Detail | None) -> None:
    usual: dict[str, Any] = {"started_at": 1_000, "finished_at": 1_100}
    batch = [decoded(**usual), decoded(**usual | fields), decoded(**usual)]
    assert first_failures(batch, Context(Client(DID, KEY, None), CHALLENGES, NOW, SKEW)) == [None, detail, None]


def test_a_challenge_lives_up_to_its_last_second() -> None:
    receipt = decoded(started_at=1_000, finished_at=1_000)
    for now, detail in ((1_300.0, None), (1_300.001, Detail.EXPIRED_CHALLENGE)):
        assert first_failures([receipt], Context(Client(DID, KEY, None), CHALLENGES, now, SKEW)) == [detail]


def test_what_is_no_receipt_is_refused() -> None:
    with pytest.raises(TypeError):
        _fastverify.first_failures(["receipt"], DID, KEY, None, {}, NOW, SKEW, SIG_SCHEME)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        _fastverify.claim_passed([None], [None], {0: bytes(36)}, {})  # type: ignore[list-item]
    with pytest.raises(TypeError):
        _fastverify.pack_claims([None])  # type: ignore[list-item]


def test_only_a_receipt_without_a_failure_is_claimed() -> None:
    batch = [decoded(challenge_nonce=nonce) for nonce in CHALLENGES for _ in range(3)]
    failures = [None if index % 2 else "too_few_bytes" for index in range(len(batch))]
    keys = {index: bytes([index] * 36) for index in range(1, len(batch))}
    claims = _fastverify.claim_passed(batch, failures, keys, CHALLENGES)
    assert list(claims) == [index for index in keys if index % 2]
    for index, claim in claims.items():
        assert (claim.nonce_key, claim.receipt) == (keys[index], batch[index])
        assert claim.challenge_expires_at == CHALLENGES[batch[index].challenge_nonce].expires_at


def test_a_claim_is_of_a_receipt_that_is_there_and_of_a_key_of_its_size() -> None:
    receipt = decoded(challenge_nonce=next(iter(CHALLENGES)))
    for index in (-1, 1):
        with pytest.raises(IndexError):
            _fastverify.claim_passed([receipt], [None], {index: bytes(36)}, CHALLENGES)
    with pytest.raises(IndexError):
        _fastverify.claim_passed([receipt], [], {0: bytes(36)}, CHALLENGES)
    with pytest.raises(KeyError):
        _fastverify.claim_passed([receipt], [None], {0: bytes(36)}, {})
    for key in (bytes(35), bytes(53), b""):
        with pytest.raises(ValueError, match="36 to 52"):
            _fastverify.Claim(key, 0, receipt)
    for arguments in ((), (None, 0, receipt), (bytes(36), 0, None), ("x" * 36, 0, receipt)):
        with pytest.raises(TypeError):
            _fastverify.Claim.__new__(_fastverify.Claim, *arguments)
    with pytest.raises(ValueError, match="without a fault"):
        _fastverify.Claim(bytes(36), 0, _fastverify.SignedReceipt())


def test_a_list_that_shrinks_meanwhile_is_not_read_beyond_its_end() -> None:
    receipts = [decoded(challenge_nonce=b"c" * 16) for _ in range(3)]
    failures: list[None] = [None] * 3

    class Shrinks:
        @property
        def expires_at(self) -> int:
            failures.clear()
            return 5

    keys = {index: bytes(36) for index in range(3)}
    with pytest.raises(IndexError):
        _fastverify.claim_passed(receipts, failures, keys, {b"c" * 16: Shrinks()})


def test_room_is_asked_for_once_and_is_a_room_or_none() -> None:
    first, second = list(CHALLENGES)[:2]
    claims = {
        index: _fastverify.Claim(bytes([index] * 36), 0, decoded(challenge_nonce=nonce, bytes_verified=10))
        for index, nonce in enumerate((first, second, first, second))
    }
    asked: list[bytes] = []

    def room_of(nonce: bytes) -> _fastverify.Room | None:
        asked.append(nonce)
        return _fastverify.Room(1, 100) if nonce == first else None

    refused, rooms = _fastverify.take_room(claims, set(), room_of)
    assert refused == {1: "unknown_challenge", 2: "too_many_receipts", 3: "unknown_challenge"}
    assert asked == [first, second]
    room = rooms[first]
    assert room is not None
    assert (room.receipts, room.bytes, room.receipts_taken, room.bytes_taken) == (0, 90, 1, 10)
    with pytest.raises(TypeError):
        _fastverify.take_room(claims, set(), lambda _nonce: 5)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError):
        _fastverify.take_room({0: None}, set(), room_of)  # type: ignore[dict-item]
    with pytest.raises(ZeroDivisionError):
        _fastverify.take_room(claims, set(), lambda _nonce: 1 // 0)  # type: ignore[arg-type, return-value]
