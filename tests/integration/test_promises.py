"""Broken promises are found: each is broken by hand in the database, and counted under its name on every node."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pouw.metrics import PROMISES
from pouw.service import promises
from pouw.service.epochs import Epochs
from pouw.settings import Settings
from pouw.store.jobs import state
from pouw.store.pool import open_pool
from tests.support import Identity, metric, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.local.servers import LocalServers
    from pouw.store.pool import Pool
    from tests.conftest import StartNode

BUDGET = 10**30

BREAKS = {
    "accepted_receipt_found": "DELETE FROM receipts WHERE id = (SELECT min(id) FROM receipts)",
    "credited_once": "DELETE FROM nonces WHERE ctid = (SELECT min(ctid) FROM nonces)",
    "batch_complete": "DELETE FROM rejections",
    "epoch_sums": "UPDATE rewards SET receipts = receipts + 1",
    "payout_sums": "UPDATE payouts SET atoms = atoms + 1",
    "epoch_chain": """UPDATE epochs SET manifest = replace(manifest, '"previous":"0', '"previous":"1')""",
    "budget_kept": "UPDATE epochs SET computed_atoms = 10 ^ 31, allocated_atoms = 10 ^ 31 WHERE epoch = 0",
}
ALSO = {"budget_kept": {"epoch_sums"}}


@pytest.fixture(scope="module")
def worked(start_node: StartNode, new_database: Callable[[], str]) -> str:
    """A database with some batches and a closed epoch."""
    url, client = new_database(), Identity()
    node = start_node(url, workers=1, epoch_genesis=int(time.time()) - 100)
    token = node.http.challenge()
    for _ in range(3):
        node.http.accepted(client.batch([*client.items(token, 3), client.item(token, bytes_verified=1)]))
    node.stop()
    settings = Settings.from_env(node.environ)
    pool = open_pool(url, size=4, timeout=30)
    assert Epochs(pool, settings.epoch_terms, signer=lambda: settings.node_keys[0]).close(0)
    pool.close()
    return url


@pytest.fixture
def pool(servers: LocalServers, worked: str) -> Iterator[Pool]:
    """A copy of it that a test may break."""
    assert servers.postgres is not None
    name = f"broken_{secrets.token_hex(6)}"
    with psycopg.connect(servers.postgres.url("postgres"), autocommit=True) as db:
        template = psycopg.conninfo.conninfo_to_dict(worked)["dbname"]
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    opened = open_pool(servers.postgres.url(name), size=4, timeout=30)
    yield opened
    opened.close()


def run(pool: Pool, statement: str) -> None:
    with pool.connection() as db:
        assert db.execute(statement).rowcount > 0


def broken(pool: Pool) -> set[str]:
    counts: dict[str, int] = state(pool, promises.JOB)["broken"]
    assert set(counts) == set(PROMISES)
    return {name for name, count in counts.items() if count}


def test_every_promise_has_a_way_to_be_broken() -> None:
    assert set(BREAKS) == set(PROMISES)


def test_where_all_is_well_nothing_is_found(pool: Pool) -> None:
    assert promises.look(pool, BUDGET) == 3
    assert broken(pool) == set()


@pytest.mark.parametrize("promise", BREAKS)
def test_a_broken_promise_is_found(pool: Pool, promise: str, caplog: pytest.LogCaptureFixture) -> None:
    run(pool, BREAKS[promise])
    promises.look(pool, BUDGET)
    assert broken(pool) == {promise} | ALSO.get(promise, set())
    assert {record.message for record in caplog.records} == {"promise_broken"}


@pytest.mark.parametrize(
    ("challenge", "earlier", "found"),
    [
        ("challenge_nonce", "0", {"credited_once"}),
        ("challenge_nonce", "1 hour", {"credited_once"}),
        ("sha256(challenge_nonce)", "29 minutes", {"credited_once"}),
        ("sha256(challenge_nonce)", "1 hour", set()),
    ],
)
def test_a_nonce_that_was_credited_twice_in_an_epoch_is_found(
    pool: Pool, challenge: str, earlier: str, found: set[str]
) -> None:
    """A DID may use a nonce again under another challenge, once it was purged."""
    run(pool, "UPDATE epochs SET starts_at = starts_at - interval '2 hours' WHERE epoch = 0")
    run(
        pool,
        f"""INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                                        result_ok, body, signature, submitted_at)
                  SELECT 0, client_did, receipt_nonce, {challenge}, proof_type, bytes_verified, result_ok, body,
                         signature, submitted_at - interval '{earlier}' FROM receipts ORDER BY id LIMIT 1""",
    )
    promises.look(pool, BUDGET)
    assert broken(pool) == found


def test_an_answer_that_names_another_receipt_is_found(pool: Pool) -> None:
    """The numbers agree, and yet a client was told of a receipt that is not there."""
    run(pool, "UPDATE receipts SET receipt_nonce = receipt_nonce || '\\x00' WHERE id = (SELECT min(id) FROM receipts)")
    promises.look(pool, BUDGET)
    assert broken(pool) >= {"accepted_receipt_found"}


def test_counts_add_up_over_runs_and_epochs_are_looked_at_once(pool: Pool) -> None:
    run(pool, BREAKS["epoch_sums"])
    run(pool, BREAKS["batch_complete"])
    for _ in range(2):
        promises.look(pool, BUDGET)
    counts: dict[str, Any] = state(pool, promises.JOB)["broken"]
    assert (counts["epoch_sums"], counts["batch_complete"]) == (1, 6)


def test_only_a_bounded_sample_is_looked_at(pool: Pool) -> None:
    run(pool, "INSERT INTO batches (client_did, batch_digest, proven, accepted, rejected, submitted_at) "
              "SELECT 'did:x:y', '', false, 0, 0, now() FROM generate_series(1, 1000)")  # fmt: skip
    assert promises.look(pool, BUDGET) == 200
    run(pool, "UPDATE batches SET submitted_at = now() - interval '2 hours'")
    assert promises.look(pool, BUDGET) == 0


def test_nodes_show_what_was_found(pool: Pool, start_node: StartNode) -> None:
    run(pool, BREAKS["batch_complete"])
    promises.look(pool, BUDGET)
    node = start_node(str(pool.conninfo), workers=2, epoch_genesis="")
    wait_for(lambda: metric(node.metrics_port, "pouw_must_be_zero_total", promise="batch_complete") == 3, timeout=15)
    assert metric(node.metrics_port, "pouw_must_be_zero_total", promise="credited_once") == 0
    node.stop()
