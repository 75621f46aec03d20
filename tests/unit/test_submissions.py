"""Spending a challenge's budget: the pure part of settling a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw._fastverify import Claim
from pouw.protocol.reasons import Detail
from pouw.service.submissions import spend
from pouw.store.challenges import Challenge
from pouw.store.submissions import Known, Used, nonce_keys
from tests.decoded import decoded

CHALLENGE = Challenge(b"c" * 16, b"t" * 16, None, 0, 10, 5, 1000, 1, frozenset({0}))
SECOND = replace(CHALLENGE, nonce=b"d" * 16)
CHALLENGES = {each.nonce: each for each in (CHALLENGE, SECOND)}


def claim(nonce: bytes, size: int = 100, challenge: Challenge = CHALLENGE) -> Claim:
    receipt = decoded(receipt_nonce=nonce * 16, bytes_verified=size, challenge_nonce=challenge.nonce)
    return Claim(key(nonce), challenge.expires_at, receipt)


def key(nonce: bytes) -> bytes:
    return nonce.ljust(36, b"\0")


def plainly_refused(claims: dict[int, Claim], known: Known) -> dict[int, Detail]:
    """Say the same in plain Python: each claim is held against those that were credited before it."""
    credited: list[Claim] = []
    refused = {}
    for index, each in claims.items():
        nonce, size = each.receipt.challenge_nonce, each.receipt.bytes_verified
        sizes = [other.receipt.bytes_verified for other in credited if other.receipt.challenge_nonce == nonce]
        used, challenge = known.used.get(nonce), CHALLENGES[nonce]
        if each.nonce_key in known.taken | {other.nonce_key for other in credited}:
            refused[index] = Detail.DUPLICATE_NONCE
        elif used is None:
            refused[index] = Detail.UNKNOWN_CHALLENGE
        elif used.receipts + len(sizes) >= challenge.max_receipts:
            refused[index] = Detail.TOO_MANY_RECEIPTS
        elif used.bytes + sum(sizes) + size > challenge.max_bytes_total:
            refused[index] = Detail.TOO_MANY_BYTES
        else:
            credited.append(each)
    return refused


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 700), st.sampled_from([CHALLENGE, SECOND])), max_size=30),
    st.sets(st.integers(0, 9)),
    st.integers(0, 5),
    st.integers(0, 1000),
)
def test_no_order_of_claims_overspends_or_credits_twice(
    wishes: list[tuple[int, int, Challenge]], taken: set[int], receipts_used: int, bytes_used: int
) -> None:
    claims = {index: claim(bytes([nonce]), size, challenge) for index, (nonce, size, challenge) in enumerate(wishes)}
    before = {CHALLENGE.nonce: Used(receipts_used, bytes_used), SECOND.nonce: Used(0, 0)}
    known = Known(taken={key(bytes([nonce])) for nonce in taken}, used=before)
    spending = spend(claims, known, CHALLENGES)
    credited = [each for index, each in claims.items() if index not in spending.refused]
    nonces = [each.nonce_key for each in credited]
    assert len(set(nonces)) == len(nonces)
    assert not set(nonces) & known.taken
    for nonce, challenge in CHALLENGES.items():
        sizes = [each.receipt.bytes_verified for each in credited if each.receipt.challenge_nonce == nonce]
        assert spending.spent.get(nonce, Used(0, 0)) == Used(len(sizes), sum(sizes))
        assert before[nonce].receipts + len(sizes) <= challenge.max_receipts
        assert before[nonce].bytes + sum(sizes) <= challenge.max_bytes_total
    assert all(spent.receipts for spent in spending.spent.values())
    assert spending.refused == plainly_refused(claims, known)
    assert known == Known(taken={key(bytes([nonce])) for nonce in taken}, used=before)


@pytest.mark.parametrize(
    ("used", "sizes", "refused"),
    [
        (Used(0, 0), [100] * 6, {5: Detail.TOO_MANY_RECEIPTS}),
        (Used(4, 0), [100, 100], {1: Detail.TOO_MANY_RECEIPTS}),
        (Used(0, 0), [1000, 1], {1: Detail.TOO_MANY_BYTES}),
        (Used(0, 0), [600, 500, 400], {1: Detail.TOO_MANY_BYTES}),
        (Used(0, 999), [1], {}),
        (Used(0, 1000), [1], {0: Detail.TOO_MANY_BYTES}),
    ],
)
def test_a_budget_is_spent_to_the_last_and_no_further(used: Used, sizes: list[int], refused: dict[int, Detail]) -> None:
    claims = {index: claim(b"%d" % index, size) for index, size in enumerate(sizes)}
    assert spend(claims, Known(used={CHALLENGE.nonce: used}), CHALLENGES).refused == refused


def test_a_replay_is_a_replay_even_where_the_budget_is_spent() -> None:
    known = Known(taken={key(b"a")}, used={CHALLENGE.nonce: Used(5, 1000)})
    assert spend({0: claim(b"a")}, known, CHALLENGES).refused == {0: Detail.DUPLICATE_NONCE}


def test_a_challenge_that_was_purged_meanwhile_is_unknown() -> None:
    assert spend({0: claim(b"a")}, Known(), CHALLENGES).refused == {0: Detail.UNKNOWN_CHALLENGE}


@given(st.text(max_size=20), st.binary(max_size=20), st.text(max_size=20), st.binary(max_size=20))
def test_no_two_clients_share_a_nonce_key(did: str, nonce: bytes, other: str, other_nonce: bytes) -> None:
    if "\0" in did + other:
        return  # no DID holds a zero byte: the schema sees to it
    same = (did, nonce) == (other, other_nonce)
    assert (nonce_keys(did, [nonce]) == nonce_keys(other, [other_nonce])) == same
