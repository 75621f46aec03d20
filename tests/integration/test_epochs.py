"""Closing epochs: exactly once, to the atom, however often, however many at once, and whatever dies on the way."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pouw.errors import EpochError, StoreUnavailable
from pouw.keys import NodeKey
from pouw.protocol import manifests
from pouw.protocol.merkle import includes
from pouw.protocol.rewards import Rules, Terms, allocate
from pouw.service.closed import ClosedEpochs
from pouw.service.epochs import Epochs
from pouw.service.pieces import pieces, pieces_by_several
from pouw.service.readers import Readers
from pouw.store import epochs as store
from pouw.store import trees
from pouw.store.ledger import Ledger
from pouw.store.pool import Pool, address, open_pool
from pouw.store.submissions import BatchKey, Known, Outcome, Question
from tests.support import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = NodeKey(SigningKey.generate())
GENESIS, SECS = 1_700_000_000, 3_600
RULES = Rules(weights=(1, 2, 3, 2, 3), unit=10, budget=10_000, pool=1_000, cap=300)
MINIMUM = 1_024


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    opened = open_pool(database_url, size=8, timeout=30)
    opened.wait(30)  # its threads use `random` while they connect, and Hypothesis takes that for a test's doing
    yield opened
    opened.close()


def make(pool: Pool, rules: Rules = RULES, *, signer: Callable[[], NodeKey] = lambda: KEY, **changes: Any) -> Epochs:
    terms = replace(Terms(rules, GENESIS, SECS, MINIMUM), **changes)
    return Epochs(pool, terms, signer=signer)


def work(pool: Pool, epoch: int, receipts: list[tuple[str, int, bool]], *, at: float = 0.5) -> list[bytes]:
    """Put receipts (DID, proof type, result) into an epoch and return their nonces; at 0.5 they lie in its middle."""
    nonces = [secrets.token_bytes(32) for _ in receipts]
    moment = GENESIS + (epoch + at) * SECS
    with pool.connection() as db:
        db.cursor().executemany(
            """
            INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                                  result_ok, body, signature, submitted_at)
            VALUES (1, %s, %b, '', %s, 4096, %s, %b, %b, to_timestamp(%s))
            """,
            [
                (did, nonce, kind, result, b"body" + nonce, b"s" * 64, moment)
                for (did, kind, result), nonce in zip(receipts, nonces, strict=True)
            ],
        )
    return nonces


def rewards(pool: Pool, epoch: int) -> dict[str, tuple[int, ...]]:
    with pool.connection() as db:
        rows = db.execute(
            """
            SELECT client_did, receipts, weight, raw_atoms, final_atoms, allocated_atoms FROM rewards WHERE epoch = %s
            """,
            (epoch,),
        ).fetchall()
    return {row[0]: tuple(map(int, row[1:])) for row in rows}


def money(pool: Pool) -> dict[int, tuple[int, int, int]]:
    """Return for each epoch what was computed, what lies in payouts, and what is unallocated."""
    with pool.connection() as db:
        rows = db.execute(
            """
            SELECT epoch, computed_atoms, (SELECT coalesce(sum(atoms), 0) FROM payouts p WHERE p.epoch = e.epoch),
                   unallocated_atoms FROM epochs e ORDER BY epoch
            """
        ).fetchall()
    return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}


def test_an_epoch_comes_to_what_the_rules_say(pool: Pool) -> None:
    work(pool, 0, [("did:a:1", 0, True)] * 3 + [("did:a:1", 2, False)] + [("did:b:1", 4, True)] * 20)
    assert make(pool).close(0)
    assert rewards(pool, 0) == {"did:a:1": (4, 3, 30, 30, 30), "did:b:1": (20, 60, 600, 300, 300)}
    assert money(pool) == {0: (330, 330, 0)}


@given(
    st.lists(st.tuples(st.sampled_from(["did:a:1", "did:b:1", "did:c:é", "did:a:2"]), st.integers(0, 4), st.booleans()),
             max_size=40),
    st.integers(0, 2_000),
)  # fmt: skip
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_database_computes_what_a_stranger_would(
    pool: Pool, receipts: list[tuple[str, int, bool]], budget: int
) -> None:
    """Any work under any budget, in any order: to the atom what the arithmetic of the protocol says."""
    with pool.connection() as db:
        db.execute("TRUNCATE receipts, rewards, payouts, epochs, epoch_tree")
    rules = Rules(RULES.weights, RULES.unit, budget, RULES.pool, RULES.cap)
    work(pool, 0, receipts)
    assert make(pool, rules).close(0)
    totals: dict[str, int] = {}
    for did, kind, result in receipts:
        totals[did] = totals.get(did, 0) + rules.weight(kind, result_ok=result)
    finals = {did: rules.final(weight) for did, weight in totals.items()}
    allocated = allocate(finals, budget)
    assert {did: row[1:] for did, row in rewards(pool, 0).items()} == {
        did: (weight, rules.raw(weight), finals[did], allocated[did]) for did, weight in totals.items()
    }
    computed, paid, unallocated = money(pool)[0]
    assert computed == sum(finals.values())
    assert paid + unallocated == computed


def test_the_lifetime_budget_ends_and_what_it_does_not_cover_is_written_down(pool: Pool) -> None:
    epochs = make(pool, Rules(RULES.weights, 10, 100, 1_000, 300))
    for epoch in range(4):
        work(pool, epoch, [("did:a:1", 0, True)] * 3 + [("did:b:1", 0, True)])
        assert epochs.close(epoch)
    assert money(pool) == {0: (40, 40, 0), 1: (40, 40, 0), 2: (40, 20, 20), 3: (40, 0, 40)}
    assert [row[-1] for row in rewards(pool, 2).values()] == [15, 5]


def test_closing_twice_changes_nothing(pool: Pool) -> None:
    work(pool, 0, [("did:a:1", 0, True)] * 5)
    epochs = make(pool)
    assert epochs.close(0)
    before = (store.find(pool, 0), rewards(pool, 0), money(pool))
    assert not epochs.close(0)
    assert (store.find(pool, 0), rewards(pool, 0), money(pool)) == before


def test_many_at_once_close_it_once(pool: Pool) -> None:
    work(pool, 0, [("did:a:1", 0, True)] * 50)
    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(lambda _: make(pool).close(0), range(6))) == [False] * 5 + [True]
    assert money(pool) == {0: (300, 300, 0)}


def test_a_crash_on_the_way_leaves_nothing_and_the_next_one_closes_it(pool: Pool) -> None:
    """The signer fails last of all, when everything else is written."""
    work(pool, 0, [("did:a:1", 0, True)] * 5)

    def crash() -> NodeKey:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(pool, signer=crash).close(0)
    with pool.connection() as db:
        for table in ("rewards", "payouts", "epochs", "epoch_tree"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert make(pool).close(0)
    assert money(pool) == {0: (50, 50, 0)}


def test_the_edges_of_an_epoch_belong_to_one_epoch_only(pool: Pool) -> None:
    work(pool, 0, [("did:first:1", 0, True)], at=0.0)
    work(pool, 0, [("did:last:1", 0, True)], at=0.999_999_9)
    work(pool, 1, [("did:next:1", 0, True)], at=0.0)
    epochs = make(pool)
    assert epochs.close(0)
    assert epochs.close(1)
    assert set(rewards(pool, 0)) == {"did:first:1", "did:last:1"}
    assert set(rewards(pool, 1)) == {"did:next:1"}


def test_an_epoch_waits_for_whoever_may_still_add_to_it(pool: Pool, database_url: str) -> None:
    """A transaction that began in the epoch is running: the closing waits, and counts what it adds."""
    now = int(time.time())
    epochs = make(pool, genesis=now - 60)
    calendar = epochs.calendar()
    present = calendar.number(now)
    with psycopg.connect(database_url) as late:
        late.execute(
            "SELECT pg_advisory_xact_lock_shared(%s, %s)", (store.LOCK_CLASS, present)
        )  # as settle_claims does
        closer = threading.Thread(target=epochs.close, args=(present,))
        closer.start()
        time.sleep(0.7)
        assert closer.is_alive()
        late.execute(
            """
            INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                                  result_ok, body, signature, submitted_at)
            VALUES (1, 'did:late:1', 'n', '', 0, 4096, true, '', '', now())
            """
        )
        late.commit()
        closer.join(20)
    assert set(rewards(pool, present)) == {"did:late:1"}


def test_a_batch_that_comes_too_late_for_its_epoch_is_not_written(pool: Pool) -> None:
    epochs = make(pool, genesis=int(time.time()) - 60)
    calendar = epochs.calendar()
    epochs.close(calendar.number(time.time()))
    question = Question(BatchKey("did:a:1", b"n" * 16, b"d" * 32), [], [])
    with pytest.raises(StoreUnavailable, match="contended"):
        Ledger(pool, epochs.calendar).settle(
            question, Known(), proven=False, decide=lambda _known: Outcome([], [], {}, b"answer")
        )
    with pool.connection() as db:
        assert db.execute("SELECT count(*) FROM batches").fetchone() == (0,)


def test_only_epochs_that_are_over_are_due(pool: Pool) -> None:
    epochs = make(pool, genesis=int(time.time()) - SECS * 2 - 30)
    assert epochs.close_due() == 2
    assert epochs.close_due() == 0
    epoch, overdue = epochs.due()
    assert epoch == 2
    assert -SECS < overdue < 0


def test_the_chain_of_epochs_has_no_gap(pool: Pool) -> None:
    with pytest.raises(EpochError, match="before epoch 0"):
        make(pool).close(1)
    assert money(pool) == {}
    assert make(pool).close(0)
    assert make(pool).close(1)


def test_manifests_are_signed_and_chained(pool: Pool) -> None:
    epochs = make(pool)
    for epoch in range(3):
        work(pool, epoch, [("did:a:1", 0, True)] * epoch)
        epochs.close(epoch)
    rows = [store.find(pool, epoch) for epoch in range(3)]
    previous = manifests.FIRST_PREVIOUS
    for epoch, row in enumerate(rows):
        assert row is not None
        text = row.manifest.encode()
        manifests.verify(text, KEY.public_key, row.signature)
        manifest = manifests.decode(text)
        assert (manifest.epoch, manifest.receipts, manifest.previous) == (epoch, epoch, previous)
        assert manifest.ends_at - manifest.starts_at == SECS
        previous = manifests.digest(text)


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 1025, 2500])
def test_every_receipt_has_a_proof(pool: Pool, count: int) -> None:
    nonces = work(pool, 0, [("did:a:1", 0, True)] * count)
    epochs = make(pool)
    epochs.close(0)
    row = store.find(pool, 0)
    assert row is not None
    root = manifests.decode(row.manifest.encode()).receipts_root
    seen = set()
    for nonce in nonces[:3] + nonces[-3:] + nonces[:: max(1, count // 40)]:
        [proof] = ClosedEpochs(Readers(pool)).prove(0, nonce)
        assert includes(proof.leaf, proof.index, count, proof.siblings, root)
        seen.add(proof.index)
    assert len(seen) > min(count, 6) - 1
    assert ClosedEpochs(Readers(pool)).prove(0, secrets.token_bytes(32)) == []


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_several_processes_plant_the_same_tree(pool: Pool, processes: int) -> None:
    work(pool, 0, [("did:a:1", 0, True)] * 2_500 + [("did:b:1", 1, True)] * 7)
    bounds = (GENESIS, GENESIS + SECS)
    with pool.connection() as db, db.transaction():
        alone = list(pieces(trees.receipts(db, bounds)))
    assert list(pieces_by_several(address(pool), bounds, processes)) == alone
    assert [len(piece.leaves) // 32 for piece in alone] == [1024, 1024, 459]


def test_receipts_with_the_same_nonce_have_a_proof_each(pool: Pool) -> None:
    """Two DIDs, or one that makes nonces with the same beginning on purpose, over the edge of a piece."""
    same = b"n" * 16
    with pool.connection() as db:
        db.cursor().executemany(
            """
            INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                                  result_ok, body, signature, submitted_at)
            VALUES (1, %s, %b, '', 0, 4096, true, %b, '', to_timestamp(%s))
            """,
            [(f"did:a:{number}", same, b"%d" % number, GENESIS + 1) for number in range(1_500)],
        )
    epochs = make(pool)
    epochs.close(0)
    row = store.find(pool, 0)
    assert row is not None
    root = manifests.decode(row.manifest.encode()).receipts_root
    proofs = ClosedEpochs(Readers(pool)).prove(0, same)
    assert [proof.index for proof in proofs] == list(range(1_500))
    for proof in (proofs[0], proofs[1_023], proofs[1_024], proofs[-1]):
        assert includes(proof.leaf, proof.index, 1_500, proof.siblings, root)


def test_nodes_that_disagree_about_the_calendar_are_stopped(pool: Pool) -> None:
    make(pool).calendar()
    assert make(pool, genesis=None).calendar().genesis == GENESIS
    disagreements: list[dict[str, Any]] = [{"epoch_secs": 60}, {"genesis": GENESIS + 1}]
    for changes in disagreements:
        with pytest.raises(EpochError, match=f"from {GENESIS}"):
            make(pool, **changes).calendar()


def test_a_new_network_begins_with_the_present_hour(pool: Pool) -> None:
    genesis = make(pool, genesis=None).calendar().genesis
    assert genesis % 3600 == 0
    assert 0 <= time.time() - genesis < 3700


def test_a_node_makes_the_days_partition_itself_where_nobody_did(
    pool: Pool, database_url: str, start_node: Any, client: Any
) -> None:
    node = start_node(database_url)
    with pool.connection() as db:
        db.execute("UPDATE partition_start SET first_day = '2000-01-01'")
        for parent in ("receipts", "rejections"):
            db.execute(f"ALTER TABLE {parent} DETACH PARTITION {parent}_first")
    assert len(node.http.accepted(client.batch(client.items(node.http.challenge(), 3)))) == 3
    wait_for(lambda: node.http.get("/health").status == 200)
    node.stop()


def test_the_calendar_is_arithmetic() -> None:
    calendar = store.Calendar(100, 10)
    assert [calendar.number(moment) for moment in (99, 100, 109.9, 110)] == [-1, 0, 0, 1]
    assert calendar.starts_at(3) == 130
