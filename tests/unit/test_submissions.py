"""Spending a challenge's budget: the pure part of settling a batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pouw.protocol.reasons import Detail
from pouw.service.submissions import spend
from pouw.store.challenges import Challenge
from pouw.store.submissions import Claim, Used, nonce_digests

CHALLENGE = Challenge(b"c" * 16, b"t" * 16, None, 0, 10, 5, 1000, 1, frozenset({0}))
CLAIM = Claim(b"", b"", CHALLENGE.nonce, 10, 0, 100, True, b"", b"")


def claim(nonce: bytes, size: int = 100) -> Claim:
    return CLAIM._replace(nonce_digest=nonce, receipt_nonce=nonce, bytes_verified=size)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 700)), max_size=30),
    st.sets(st.integers(0, 9)),
    st.integers(0, 5),
    st.integers(0, 1000),
)
def test_no_order_of_claims_overspends_or_credits_twice(
    wishes: list[tuple[int, int]], taken: set[int], receipts_used: int, bytes_used: int
) -> None:
    claims = {index: claim(bytes([nonce]), size) for index, (nonce, size) in enumerate(wishes)}
    refused = spend(
        claims,
        {bytes([nonce]) for nonce in taken},
        {CHALLENGE.nonce: Used(receipts_used, bytes_used)},
        {CHALLENGE.nonce: CHALLENGE},
    )
    credited = [each for index, each in claims.items() if index not in refused]
    nonces = [each.nonce_digest for each in credited]
    assert len(set(nonces)) == len(nonces)
    assert not set(nonces) & {bytes([nonce]) for nonce in taken}
    assert receipts_used + len(credited) <= CHALLENGE.max_receipts
    assert bytes_used + sum(each.bytes_verified for each in credited) <= CHALLENGE.max_bytes_total


def test_a_replay_is_a_replay_even_where_the_budget_is_spent() -> None:
    refused = spend({0: claim(b"a")}, {b"a"}, {CHALLENGE.nonce: Used(5, 1000)}, {CHALLENGE.nonce: CHALLENGE})
    assert refused == {0: Detail.DUPLICATE_NONCE}


def test_a_challenge_that_was_purged_meanwhile_is_unknown() -> None:
    assert spend({0: claim(b"a")}, set(), {}, {CHALLENGE.nonce: CHALLENGE}) == {0: Detail.UNKNOWN_CHALLENGE}


@given(st.text(max_size=20), st.binary(max_size=20), st.text(max_size=20), st.binary(max_size=20))
def test_no_two_clients_share_a_nonce_digest(did: str, nonce: bytes, other: str, other_nonce: bytes) -> None:
    if "\0" in did + other:
        return  # no DID holds a zero byte: the schema sees to it
    same = (did, nonce) == (other, other_nonce)
    assert (nonce_digests(did, [nonce]) == nonce_digests(other, [other_nonce])) == same
