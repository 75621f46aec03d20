"""The arithmetic of rewards and of Merkle trees: conservation, monotonicity, and the RFC's own hashes."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.errors import ManifestError, RewardError
from pouw.protocol.manifests import FIRST_PREVIOUS, Manifest, canonical, decode
from pouw.protocol.merkle import EMPTY_ROOT, Roots, includes, leaf_hash, node_hash, path, root_of
from pouw.protocol.rewards import Rules, allocate, atoms, rules_from_json
from pouw.protocol.types import ProofType
from pouw.settings import Settings
from tests.support import node_key

SETTINGS = Settings.from_env({"POUW_NODE_SECRET_KEY": node_key(), "POUW_DATABASE_URL": "postgresql://h/d"})
RULES = SETTINGS.epoch_terms.rules

weights = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 10**9), max_size=20)
budgets = st.one_of(st.integers(0, 10**24), st.just(0))


def test_the_designs_figures() -> None:
    assert RULES.weights == (1, 2, 3, 2, 3)
    assert RULES.unit == 10**12
    assert RULES.budget == 21_000_000 * 10**18 // 10
    assert RULES.pool == RULES.budget // (4 * 8760)
    assert RULES.cap == RULES.pool // 100
    assert [RULES.weight(kind, result_ok=False) for kind in ProofType] == [0] * 5


@given(weights, budgets)
def test_nothing_is_made_and_nothing_lost(work: dict[str, int], left: int) -> None:
    finals = {did: RULES.final(weight) for did, weight in work.items()}
    allocated = allocate(finals, left)
    assert set(allocated) == set(finals)
    assert sum(allocated.values()) <= left
    assert all(0 <= allocated[did] <= finals[did] <= RULES.cap for did in finals)
    if sum(finals.values()) <= left:
        assert allocated == finals
    else:
        assert left - sum(allocated.values()) < len(finals), "less than one atom a DID is left over"


@given(weights, budgets)
def test_more_work_never_means_less(work: dict[str, int], left: int) -> None:
    finals = {did: RULES.final(weight) for did, weight in work.items()}
    allocated = allocate(finals, left)
    ordered = sorted(finals, key=finals.__getitem__)
    amounts = [allocated[did] for did in ordered]
    assert amounts == sorted(amounts)


@given(weights, budgets, st.randoms())
def test_the_order_does_not_matter(work: dict[str, int], left: int, random: Any) -> None:
    finals = {did: RULES.final(weight) for did, weight in work.items()}
    shuffled = list(finals.items())
    random.shuffle(shuffled)
    assert allocate(dict(shuffled), left) == allocate(finals, left)


def slow_root(entries: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return hashlib.sha256(b"\1" + slow_root(entries[:split]) + slow_root(entries[split:])).digest()


@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 63, 64, 65, 100, 127, 128, 129])
def test_roots_and_paths_are_the_rfcs(size: int) -> None:
    entries = [bytes([number]) * 3 for number in range(size)]
    hashes = [leaf_hash(entry) for entry in entries]
    root = Roots(hashes).root()
    assert root == slow_root(entries) == root_of(hashes)
    for index in range(size):
        siblings = path(hashes, index)
        assert includes(hashes[index], index, size, siblings, root)
        assert not includes(hashes[index], index ^ 1, size, siblings, root)
        assert not includes(leaf_hash(b"other"), index, size, siblings, root)
        assert not includes(hashes[index], index, size, [*siblings, root], root)
        if siblings:
            assert not includes(hashes[index], index, size, siblings[:-1], root)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 40])
def test_pieces_of_a_power_of_two_make_the_same_tree(size: int) -> None:
    """As the database keeps them, in pieces of 8 here."""
    hashes = [leaf_hash(bytes([number])) for number in range(size)]
    pieces = [hashes[at : at + 8] for at in range(0, size, 8)]
    roots = [Roots(piece).root() for piece in pieces]
    assert Roots(roots).root() == Roots(hashes).root()
    for index in range(size):
        siblings = path(pieces[index // 8], index % 8) + path(roots, index // 8)
        assert includes(hashes[index], index, size, siblings, Roots(hashes).root())


def test_the_empty_tree() -> None:
    assert Roots().root() == EMPTY_ROOT
    assert not includes(EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)
    assert node_hash(b"a", b"b") != node_hash(b"b", b"a")


MANIFEST = Manifest(
    epoch=3, starts_at=100, ends_at=200, receipts=1, clients=1, rules=RULES, budget_left=10**20, computed=5,
    allocated=4, receipts_root=bytes(32), rewards_root=bytes(32), previous=FIRST_PREVIOUS,
)  # fmt: skip


def test_a_manifest_survives_its_canonical_form() -> None:
    assert decode(MANIFEST.encode()) == MANIFEST
    assert rules_from_json(RULES.as_json()) == RULES


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"epoch": -1}, {"epoch": True}, {"epoch": "3"}, {"more": 1}, {"allocated_atoms": "5"},
        {"unallocated_atoms": "2"}, {"computed_atoms": 5}, {"computed_atoms": "05"}, {"computed_atoms": "1" * 40},
        {"receipts_root": "zz"}, {"receipts_root": "AB" * 32}, {"rules": {}}, {"previous": None},
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(change: dict[str, Any]) -> None:
    import json

    value = json.loads(MANIFEST.encode()) | change
    with pytest.raises(ManifestError):
        decode(canonical(value))


def test_a_manifest_in_another_form_is_refused() -> None:
    with pytest.raises(ManifestError):
        decode(MANIFEST.encode() + b" ")
    with pytest.raises(ManifestError):
        decode(b"nonsense")


@pytest.mark.parametrize("text", ["", "-1", "1.0", "01", "٣", 5, None, "1" + "0" * 39])
def test_an_amount_is_a_plain_decimal(text: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(str(text)) or None):
        atoms(text)
    with pytest.raises(RewardError):
        rules_from_json(RULES.as_json() | {"cap_atoms": text})


def test_rules_are_settings() -> None:
    changed = Settings.from_env(
        {
            "POUW_NODE_SECRET_KEY": node_key(), "POUW_DATABASE_URL": "postgresql://h/d",
            "POUW_REWARD_WEIGHTS": "hash=5,web4contentserved=0", "POUW_REWARD_UNIT_ATOMS": "7",
            "POUW_REWARD_BUDGET_ATOMS": "1000000", "POUW_REWARD_EPOCHS": "10", "POUW_REWARD_CAP_DIVISOR": "4",
        }
    )  # fmt: skip
    assert changed.epoch_terms.rules == Rules((5, 2, 3, 2, 0), 7, 1_000_000, 100_000, 25_000)
