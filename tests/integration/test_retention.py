"""What leaves the database, and that nothing comes in again by it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from nacl.signing import SigningKey

from pouw import _fastverify
from pouw.keys import NodeKey
from pouw.protocol.reasons import Detail
from pouw.protocol.rewards import Terms
from pouw.service import retention
from pouw.service.audit import audit
from pouw.service.closed import ClosedEpochs
from pouw.service.epochs import Epochs
from pouw.service.keyring import KeyRing
from pouw.service.readers import Readers
from pouw.service.retention import Periods
from pouw.service.submissions import Batch, Submissions
from pouw.settings import Settings
from pouw.store import retention as store
from pouw.store.ledger import Ledger
from pouw.store.pool import open_pool
from pouw.verify import Verifier
from tests.support import API, Identity, node_key, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.protocol.verdicts import Verdict
    from pouw.store.pool import Pool
    from tests.conftest import StartNode
    from tests.support import Node

KEY = NodeKey(SigningKey.generate())
DAY = 86_400
PERIODS = Periods(verdict_secs=DAY, challenge_secs=7 * DAY, receipt_days=90)
RULES = Settings.from_env(
    {"POUW_NODE_SECRET_KEY": node_key(), "POUW_DATABASE_URL": "postgresql://h/d"}
).epoch_terms.rules


@pytest.fixture
def node(start_node: StartNode, database_url: str) -> Iterator[Node]:
    started = start_node(database_url, epoch_secs=DAY, epoch_genesis=int(time.time()) - 110 * DAY)
    yield started
    started.stop()


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    opened = open_pool(database_url, size=4, timeout=60)
    yield opened
    opened.close()


def count(pool: Pool, what: str) -> int:
    with pool.connection() as db:
        row = db.execute(f"SELECT count(*) FROM {what}").fetchone()
    assert row is not None
    return int(row[0])


def purge(pool: Pool) -> int:
    return retention.purge(pool, PERIODS, lambda: None)


def age(pool: Pool, seconds: int) -> None:
    """Make everything so much older."""
    with pool.connection() as db:
        db.execute("UPDATE batches SET submitted_at = submitted_at - make_interval(secs => %s)", (seconds,))
        db.execute("UPDATE challenges SET issued_at = issued_at - %s, expires_at = expires_at - %s", (seconds,) * 2)
        db.execute("UPDATE nonces SET expires_at = expires_at - %s", (seconds,))
        db.execute("UPDATE request_nonces SET expires_at = expires_at - make_interval(secs => %s)", (seconds,))


def test_a_purge_takes_what_is_old_and_a_replay_is_still_refused(node: Node, pool: Pool, client: Identity) -> None:
    token = node.http.challenge()
    body = client.batch(client.items(token, 3))
    nonces = node.http.accepted(body)
    signed(node.http, client, "GET", f"{API}/quota")
    assert purge(pool) == 0, "what is young stays"
    assert node.http.accepted(body) == nonces

    age(pool, 2 * 3600)  # the challenge is long over, the verdict is not old yet
    assert purge(pool) == 3 + 1
    assert (count(pool, "nonces"), count(pool, "challenges"), count(pool, "request_nonces")) == (0, 1, 0)
    assert node.http.accepted(body) == nonces, "the verdict is kept for retries"
    items = json.loads(body)["receipts"]
    again = node.http.submit(client.batch(items)).json
    assert again["accepted"] == []
    assert {each["detail"] for each in again["rejected"]} == {"expired_challenge"}

    age(pool, DAY)
    assert purge(pool) > 0
    gone = node.http.submit(body)
    assert gone.status == 410
    assert gone.json["type"] == "urn:pouw:problem:verdict-gone"
    history = signed(node.http, client, "GET", f"{API}/clients/{client.did}/history").json["items"]
    assert history[-1]["accepted"] == 3, "the batch is still in the history"

    age(pool, 8 * DAY)
    purge(pool)
    assert count(pool, "challenges") == 0
    again = node.http.submit(client.batch(items)).json
    assert again["accepted"] == []
    assert {each["detail"] for each in again["rejected"]} == {"unknown_challenge"}
    assert count(pool, "receipts") == 3

    age(pool, 90 * DAY)
    purge(pool)
    assert count(pool, "batches") == 0


def test_a_node_whose_clock_is_two_hours_behind_credits_nothing_twice(node: Node, pool: Pool, client: Identity) -> None:
    """It takes the challenge for live; the database does not, and the nonces of that challenge are gone already."""
    items = client.items(node.http.challenge(), 1)
    node.http.accepted(client.batch(items))
    age(pool, 2 * 3600 - 60)
    assert purge(pool) > 0
    assert count(pool, "nonces") == 0
    epochs = Epochs(pool, Terms(RULES, None, DAY, 1024), signer=lambda: KEY)
    behind = Submissions(
        Ledger(pool, epochs.calendar), Verifier(1), KeyRing(pool, [KEY]), clock=lambda: time.time() - 2 * 3600,
        spend_did_quota=lambda _did: None, skew=10 * 3600, identity_min_age=0,
    )  # fmt: skip
    verdicts: list[Verdict] = []

    def render(verdict: Verdict, signature: bytes) -> bytes:
        verdicts.append(verdict)
        return signature

    behind.submit(Batch(client.did, None, b"d" * 32, _fastverify.decode_json(items)), render)
    [verdict] = verdicts
    assert verdict.accepted == ()
    assert [rejection.detail for rejection in verdict.rejected] == [Detail.UNKNOWN_CHALLENGE]
    assert count(pool, "receipts") == 1


def test_submits_go_on_while_a_full_purge_runs(node: Node, pool: Pool, client: Identity) -> None:
    with pool.connection() as db:
        db.execute(
            """
            INSERT INTO nonces (nonce, expires_at)
            SELECT sha256(int8send(i)) || 'more', extract(epoch FROM now()) - 9999 FROM generate_series(1, 100000) i
            """
        )
        db.execute(
            """
            INSERT INTO challenges (nonce, task_id, issued_at, expires_at, max_receipts, max_bytes_total,
                                    min_bytes_per_receipt, allowed_proof_types)
            SELECT sha256(int8send(i)), 't', 1, 2, 1, 1, 1, '{}' FROM generate_series(1, 20000) i
            """
        )
        db.execute(
            """
            INSERT INTO batches (client_did, batch_nonce, batch_digest, proven, accepted, rejected, answer,
                                 submitted_at)
            SELECT 'did:a:b', sha256(int8send(i)), 'd', false, 0, 0, 'answer', now() - interval '2 days'
            FROM generate_series(1, 20000) i
            """
        )
    dropped: list[int] = []
    purging = threading.Thread(target=lambda: dropped.append(purge(pool)))
    purging.start()
    token = node.http.challenge()
    sent = 0
    while purging.is_alive() or sent < 20:
        assert len(node.http.accepted(client.batch(client.items(token, 2)))) == 2
        sent += 1
    purging.join()
    assert dropped == [140_000]
    assert count(pool, "nonces") == 2 * sent
    assert count(pool, "batches WHERE answer = 'answer'") == 0


def test_old_days_are_archived_audited_and_then_dropped(
    node: Node, pool: Pool, client: Identity, tmp_path: Path
) -> None:
    token = node.http.challenge()
    node.http.accepted(client.batch([*client.items(token, 4), {"no": "receipt"}]))
    with pool.connection() as db:
        for table in ("receipts", "rejections"):
            db.execute(f"UPDATE {table} SET submitted_at = submitted_at - interval '100 days'")
        db.execute("UPDATE partition_start SET first_day = first_day - 95")
    folder = tmp_path / "archive"
    assert retention.archive_and_drop(pool, PERIODS, None) == 1, "rejections go, receipts stay without an archive"
    assert count(pool, "receipts") == 4
    assert retention.archive_and_drop(pool, PERIODS, folder) == 0, "nothing is dropped before its epochs are closed"
    epochs = Epochs(pool, Terms(RULES, None, DAY, 1024), signer=lambda: KEY)
    assert epochs.close_due() > 100
    assert retention.archive_and_drop(pool, PERIODS, folder) == 1
    assert count(pool, "receipts") == 0
    reports = [audit(file) for file in folder.iterdir()]
    assert sum(report.manifest.receipts for report in reports) == 4
    assert count(pool, "archives") == len(reports)
    assert count(pool, "pg_class WHERE relname = 'receipts_first'") == 0
    assert retention.archive_and_drop(pool, PERIODS, folder) == 0
    with pool.connection() as db:
        [(epoch, nonce)] = db.execute("SELECT epoch, first_nonce FROM epoch_tree").fetchall()
    assert ClosedEpochs(Readers(pool)).prove(epoch, nonce), "a proof needs no receipt any more"
    again = node.http.submit(client.batch(client.items(token, 1)))
    assert len(again.json["accepted"]) == 1, "today's partition is another one"


def test_an_archive_that_is_spoilt_stops_the_drop(node: Node, pool: Pool, client: Identity, tmp_path: Path) -> None:
    token = node.http.challenge()
    node.http.accepted(client.batch(client.items(token, 2)))
    with pool.connection() as db:
        db.execute("UPDATE receipts SET submitted_at = submitted_at - interval '100 days'")
        db.execute("UPDATE partition_start SET first_day = first_day - 95")
    Epochs(pool, Terms(RULES, None, DAY, 1024), signer=lambda: KEY).close_due()
    (tmp_path / "epoch-0.jsonl.xz").write_bytes(secrets.token_bytes(100))
    with pytest.raises(Exception, match="epoch-0"):
        retention.archive_and_drop(pool, PERIODS, tmp_path)
    assert count(pool, "receipts") == 2


def test_a_drop_that_was_interrupted_is_finished(pool: Pool) -> None:
    with pool.connection() as db:
        db.execute("UPDATE partition_start SET first_day = first_day - 95")
        db.execute("ALTER TABLE rejections DETACH PARTITION rejections_first")
    states: list[Any] = [(day.table, day.state) for day in store.old_days(pool, 90)]
    assert states == [("receipts_first", "attached"), ("rejections_first", "detached")]
    assert retention.archive_and_drop(pool, PERIODS, None) == 1
    assert [day.table for day in store.old_days(pool, 90)] == ["receipts_first"]
