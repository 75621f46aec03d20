"""The ledger's groups: two round trips a batch, and no batch suffers for its neighbours."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import gevent
import psycopg
import pytest
from psycopg import Connection

from pouw._fastverify import Claim, pack_array, pack_claims
from pouw.errors import StoreError, StoreUnavailable
from pouw.protocol.reasons import Detail
from pouw.protocol.types import ProofType
from pouw.protocol.verdicts import Rejection
from pouw.store import arrays
from pouw.store.epochs import Calendar
from pouw.store.ledger import Ledger
from pouw.store.pool import Pool, open_pool
from pouw.store.submissions import BatchKey, Known, Outcome, Question, Used, nonce_keys
from tests.decoded import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXPIRES = int(time.time()) + 86_400


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    opened = open_pool(database_url, size=4, timeout=10)
    yield opened
    opened.close()


@pytest.fixture
def single(database_url: str) -> Iterator[Pool]:
    """A pool of one connection, which has made every plan, and tells what it read."""
    opened = open_pool(database_url, size=1, timeout=10)
    yield opened
    opened.close()


def this_hour() -> Calendar:
    return Calendar(int(time.time()) // 3600 * 3600, 3600)


@pytest.fixture
def ledger(pool: Pool) -> Ledger:
    return Ledger(pool, this_hour)


def challenge(pool: Pool, receipts: int = 1_000) -> bytes:
    nonce = secrets.token_bytes(32)
    with pool.connection() as db:
        db.execute(
            "INSERT INTO challenges (nonce, task_id, issued_at, expires_at, max_receipts, max_bytes_total,"
            " min_bytes_per_receipt, allowed_proof_types) VALUES (%b, 't', 1, %s, %s, 1000000, 1, '{0}')",
            (nonce, EXPIRES, receipts),
        )
    return nonce


class Batch:
    """A batch of a DID with as many claims on a challenge as wanted, all of which are credited."""

    def __init__(self, nonce: bytes, count: int, did: str | None = None, nonces: list[bytes] | None = None) -> None:
        did = did or f"did:x:{secrets.token_hex(4)}"
        nonces = nonces or [secrets.token_bytes(16) for _ in range(count)]
        self.nonce_keys = nonce_keys(did, nonces)
        self.claims = [
            Claim(nonce_key, EXPIRES, decoded(receipt_nonce=each, challenge_nonce=nonce))
            for nonce_key, each in zip(self.nonce_keys, nonces, strict=True)
        ]
        key = BatchKey(did, secrets.token_bytes(16), secrets.token_bytes(32))
        self.question = Question(key, [nonce], self.nonce_keys)
        self.decided = self.excess = 0

    def decide(self, known: Known) -> Outcome:
        self.decided += 1
        left = [claim for claim in self.claims if claim.nonce_key not in known.taken]
        gone = [
            Rejection(index, claim.receipt.receipt_nonce, Detail.DUPLICATE_NONCE)
            for index, claim in enumerate(self.claims)
            if claim.nonce_key in known.taken
        ]
        [nonce] = self.question.challenge_nonces
        spent = {nonce: Used(len(left), self.excess + sum(claim.receipt.bytes_verified for claim in left))}
        return Outcome(left, gone, spent if left else {}, b"%d accepted" % len(left))

    def run(self, ledger: Ledger) -> bytes:
        known = ledger.look_up(self.question)
        return ledger.settle(self.question, known, proven=True, decide=self.decide)[0]


def together(ledger: Ledger, *batches: Batch) -> list[Any]:
    tasks = [gevent.spawn(batch.run, ledger) for batch in batches]
    gevent.joinall(tasks, timeout=20)
    return [task.exception or task.value for task in tasks]


def count(pool: Pool, table: str) -> int:
    with pool.connection() as db:
        [number] = db.execute(f"SELECT count(*) FROM {table}").fetchone() or [0]
    return int(number)


def test_a_batch_takes_two_round_trips_whatever_its_size(
    pool: Pool, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonce = challenge(pool)
    asked: list[object] = []
    execute: Callable[..., Any] = Connection.execute

    def counted(connection: Any, query: Any, *rest: Any, **options: Any) -> Any:
        asked.append(query)
        return execute(connection, query, *rest, **options)

    monkeypatch.setattr(Connection, "execute", counted)
    assert Batch(nonce, 100).run(ledger) == b"100 accepted"
    assert len(asked) == 2


def test_batches_that_come_together_are_written_together(pool: Pool, ledger: Ledger) -> None:
    nonces = [challenge(pool) for _ in range(3)]
    batches = [Batch(nonces[number % 3], 5) for number in range(20)]
    assert together(ledger, *batches) == [b"5 accepted"] * 20
    assert (count(pool, "receipts"), count(pool, "nonces"), count(pool, "batches")) == (100, 100, 20)
    with pool.connection() as db:
        [transactions] = db.execute("SELECT count(DISTINCT xmin::text) FROM batches").fetchone() or [0]
        used = db.execute("SELECT sum(receipts_used), sum(bytes_used) FROM challenges").fetchone()
        mixed = db.execute(
            "SELECT count(*) FROM receipts r JOIN batches b ON b.id = r.batch_id WHERE b.client_did <> r.client_did"
        ).fetchone()
    assert transactions < 20
    assert used == (100, 1_000)
    assert mixed == (0,)


def test_a_bad_neighbour_spoils_nothing(pool: Pool, ledger: Ledger) -> None:
    """One batch of the group repeats what another has just been credited, and one cannot be written at all."""
    nonce = challenge(pool)
    taken = [secrets.token_bytes(16) for _ in range(3)]
    good = [Batch(nonce, 4) for _ in range(6)]
    same = [Batch(nonce, 3, did="did:x:same", nonces=taken) for _ in range(2)]
    bad = Batch(nonce, 1)
    bad.excess = 2**63  # no number of PostgreSQL's
    answers = together(ledger, *good[:3], same[0], same[1], bad, *good[3:])
    assert answers[:3] + answers[6:] == [b"4 accepted"] * 6
    assert sorted(answers[3:5]) == [b"0 accepted", b"3 accepted"]
    assert isinstance(answers[5], Exception)
    assert count(pool, "receipts") == 27
    assert count(pool, "rejections") == 3


def test_of_a_batchs_nonces_the_first_is_looked_up(pool: Pool, ledger: Ledger) -> None:
    nonce = challenge(pool)
    spent = Batch(nonce, 3, did="did:x:same")
    assert spent.run(ledger) == b"3 accepted"
    known = ledger.look_up(spent.question)
    assert known.taken == {known.only_nonce} == {spent.nonce_keys[0]}
    ledger.look_up_nonces(spent.question, known)
    assert (known.only_nonce, known.taken) == (None, set(spent.nonce_keys))


def test_after_a_replay_behind_a_new_receipt_all_nonces_are_looked_up_for_a_minute(pool: Pool) -> None:
    """The index tells of it first, and then whoever judges it. For its neighbours in the group nothing changes."""
    now, nonce = [1_000.0], challenge(pool)
    ledger = Ledger(pool, this_hour, clock=lambda: now[0])

    def replay() -> list[Batch]:
        taken = [secrets.token_bytes(16) for _ in range(3)]
        assert Batch(nonce, 3, did="did:x:same", nonces=taken).run(ledger) == b"3 accepted"
        mixed = Batch(nonce, 4, did="did:x:same", nonces=[secrets.token_bytes(16), *taken])
        batches = [Batch(nonce, 2), mixed, Batch(nonce, 2)]
        assert together(ledger, *batches) == [b"2 accepted", b"1 accepted", b"2 accepted"]
        return batches

    assert [batch.decided for batch in replay()] == [1, 2, 1]
    for later in (1_001.0, 1_059.0):
        now[0] = later
        assert [batch.decided for batch in replay()] == [1, 1, 1]
    now[0] = 1_060.0
    assert [batch.decided for batch in replay()] == [1, 2, 1]


@pytest.mark.parametrize("count", [0, 2])
def test_what_collides_within_a_group_spoils_it_for_nobody_else(pool: Pool, ledger: Ledger, count: int) -> None:
    """The same batch comes twice at once, with receipts or, so that anybody can send it, without."""
    nonce = challenge(pool)
    same, others = Batch(nonce, count), [Batch(nonce, 2) for _ in range(3)]
    answers = together(ledger, others[0], same, same, *others[1:])
    assert answers == [b"2 accepted", *[b"%d accepted" % count] * 2, b"2 accepted", b"2 accepted"]
    assert [each.decided for each in others] == [1, 1, 1]


def test_the_same_receipts_at_once_in_two_batches_spoil_nothing_for_others(pool: Pool, ledger: Ledger) -> None:
    nonce, taken = challenge(pool), [secrets.token_bytes(16) for _ in range(3)]
    same = [Batch(nonce, 3, did="did:x:same", nonces=taken) for _ in range(2)]
    others = [Batch(nonce, 2) for _ in range(3)]
    assert together(ledger, *same, *others) == [b"3 accepted", b"0 accepted", *[b"2 accepted"] * 3]
    assert [each.decided for each in others] == [1, 1, 1]


@pytest.mark.parametrize("count", [0, 2])
def test_what_was_answered_while_it_was_judged_is_in_nobody_elses_way(pool: Pool, ledger: Ledger, count: int) -> None:
    """A copy of a batch whose commit is under way, with receipts or, so that anybody can send it, without."""
    nonce = challenge(pool)
    same, others = Batch(nonce, count), [Batch(nonce, 2) for _ in range(6)]
    batches = [*others[:2], same, *others[2:]]
    judged = [(batch, ledger.look_up(batch.question)) for batch in batches]
    assert same.run(ledger) == b"%d accepted" % count
    tasks = [
        gevent.spawn(ledger.settle, batch.question, known, proven=True, decide=batch.decide) for batch, known in judged
    ]
    gevent.joinall(tasks, timeout=20, raise_error=True)
    assert [task.get()[0] for task in tasks] == [b"%d accepted" % len(batch.claims) for batch in batches]
    assert [each.decided for each in others] == [1] * 6


def test_what_is_settled_in_one_half_is_told_where_the_other_finds_no_database(database_url: str) -> None:
    """Somebody holds a challenge for longer than a statement may take."""
    with open_pool(database_url, size=4, timeout=1) as pool:
        ledger, nonce, held = Ledger(pool, this_hour), challenge(pool), challenge(pool)
        same, batches = Batch(nonce, 0), [Batch(nonce, 2), Batch(nonce, 2), Batch(nonce, 2), Batch(held, 2)]
        batches.insert(2, same)
        judged = [(batch, ledger.look_up(batch.question)) for batch in batches]
        assert same.run(ledger) == b"0 accepted"
        with psycopg.connect(database_url) as holder:
            holder.execute("SELECT FROM challenges WHERE nonce = %b FOR UPDATE", (held,))
            tasks = [
                gevent.spawn(ledger.settle, batch.question, known, proven=True, decide=batch.decide)
                for batch, known in judged
            ]
            gevent.joinall(tasks, timeout=20)
        assert [task.get()[0] for task in tasks[:3]] == [b"2 accepted", b"2 accepted", b"0 accepted"]
        assert all(isinstance(task.exception, StoreUnavailable) for task in tasks[3:])
        assert count(pool, "receipts") == 4


def test_who_overspends_a_challenge_together_is_in_nobody_elses_way(pool: Pool, ledger: Ledger) -> None:
    nonce, other = challenge(pool, receipts=6), challenge(pool)
    greedy, others = [Batch(nonce, 4) for _ in range(2)], [Batch(other, 2) for _ in range(6)]
    answers = together(ledger, *others[:2], *greedy, *others[2:])
    assert answers[:2] + answers[4:] == [b"2 accepted"] * 6
    assert sorted(isinstance(answer, StoreError) for answer in answers[2:4]) == [False, True]
    assert b"4 accepted" in answers[2:4]
    assert [each.decided for each in others] == [1] * 6


def test_a_budget_holds_for_a_group_as_for_one(pool: Pool, ledger: Ledger) -> None:
    """Each of these fits alone; together they do not, and nothing is overspent."""
    nonce = challenge(pool, receipts=10)
    answers = together(ledger, *[Batch(nonce, 4) for _ in range(5)])
    assert sum(answer == b"4 accepted" for answer in answers) == 2
    assert all(isinstance(answer, StoreError) for answer in answers if answer != b"4 accepted")
    with pool.connection() as db:
        assert db.execute("SELECT receipts_used FROM challenges").fetchone() == (8,)


def test_the_same_batch_at_once_is_settled_once(pool: Pool, ledger: Ledger) -> None:
    batch = Batch(challenge(pool), 3)
    answers = together(ledger, *[batch] * 12)
    assert answers == [b"3 accepted"] * 12
    assert (count(pool, "receipts"), count(pool, "batches")) == (3, 1)


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        (arrays.Bytea, [b"", b"\x00\xff", None, b"x" * 70_000]), (arrays.Text, ["", "é", None, "x'\\\""]),
        (arrays.Int2, [0, -32_768, 32_767, None]), (arrays.Int4, [-(2**31), 2**31 - 1]),
        (arrays.Int8, [-(2**63), 2**63 - 1, None]), (arrays.Bool, [True, False, None]), (arrays.Bytea, []),
    ],
)  # fmt: skip
def test_an_array_arrives_as_it_was_sent(pool: Pool, kind: type[arrays.Array], items: list[Any]) -> None:
    with pool.connection() as db:
        for array in (kind(items), kind.of_packed(pack_array(kind.element_oid, items))):
            cursor = db.execute("SELECT %b", (array,), binary=True)
            assert cursor.fetchone() == (items,)
            assert cursor.description is not None
            assert cursor.description[0].type_code == kind.oid


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_claims_are_packed_column_by_column(count: int) -> None:
    claims = [
        Claim(
            secrets.token_bytes(36 + i % 17) if i % 3 else bytes([i // 9] * (36 + i % 9)),
            2**62 - i,
            decoded(
                receipt_nonce=secrets.token_bytes(16 + i % 17),
                proof_type=ProofType(i % 3),
                bytes_verified=2**62 + i,
                result_ok=i % 2 == 0,
            ),
        )
        for i in range(count)
    ]
    in_order = sorted(claims, key=lambda claim: claim.nonce_key)
    kinds = (arrays.Bytea, arrays.Bytea, arrays.Int2, arrays.Int8, arrays.Bool, arrays.Bytea, arrays.Bytea)
    names = ("receipt_nonce", "challenge_nonce", "proof_type", "bytes_verified", "result_ok", "body", "signature")
    expected = [
        arrays.Bytea([each.nonce_key for each in in_order]),
        arrays.Int8([each.challenge_expires_at for each in in_order]),
        *(kind([getattr(each.receipt, name) for each in claims]) for kind, name in zip(kinds, names, strict=True)),
    ]
    assert list(pack_claims(claims)) == [array.packed for array in expected]


@pytest.mark.parametrize(
    ("oid", "items", "error"),
    [
        (21, [32_768], ValueError), (23, [-(2**31) - 1], ValueError), (20, [2**63], OverflowError),
        (25, ["\ud800"], ValueError), (17, [5], TypeError), (20, ["x"], TypeError), (700, [1.0], ValueError),
        (17, [bytearray(b"x")], TypeError),
    ],
)  # fmt: skip
def test_what_is_no_such_array_is_refused(oid: int, items: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pack_array(oid, items)


def test_nothing_is_read_from_end_to_end_by_a_plan_of_an_empty_table(pool: Pool) -> None:
    """Plans are made while tables are empty and kept: they have to be good ones when there are many rows."""
    with pool.connection() as db:
        for _ in range(10):
            db.execute("SELECT * FROM look_up_claims('{did:x:1}', '{aa}', '{bb}', '{cc}', '{dd}')")
        db.execute("INSERT INTO nonces SELECT sha256(int8send(i)) || 'more', 9 FROM generate_series(1, 20000) i")
        before = scans(db)
        for _ in range(10):
            db.execute("SELECT * FROM look_up_claims('{did:x:1}', '{aa}', '{bb}', '{cc}', '{dd}')")
        assert scans(db) == before


@pytest.mark.parametrize("rows", [0, 200, 2_000, 20_000])
def test_no_batch_is_settled_by_reading_the_others_from_end_to_end(single: Pool, rows: int) -> None:
    """Whatever size the table had when the plan was made, and however large it is by then."""
    pool, ledger = single, Ledger(single, this_hour)
    nonce = challenge(pool)
    add_batches(pool, 0, rows)
    for _ in range(8):
        together(ledger, *[Batch(nonce, 1) for _ in range(32)])
    add_batches(pool, rows, 20_000)
    with pool.connection() as db:
        before = scans(db)
    for _ in range(8):
        together(ledger, *[Batch(nonce, 1) for _ in range(32)])
    with pool.connection() as db:
        assert scans(db) == before


def add_batches(pool: Pool, first: int, count: int) -> None:
    with pool.connection() as db:
        db.execute(
            "INSERT INTO batches (client_did, batch_nonce, batch_digest, proven, accepted, rejected, submitted_at)"
            " SELECT 'did:x:' || i %% 50, int8send(i), sha256(int8send(i)), true, 1, 0, now()"
            " FROM generate_series(%s::bigint, %s) i",
            (first, first + count - 1),
        )


def scans(db: psycopg.Connection[Any]) -> Any:
    db.execute("SELECT pg_stat_force_next_flush()")
    return db.execute("SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('nonces', 'batches')").fetchone()
