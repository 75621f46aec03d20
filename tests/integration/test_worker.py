"""The background process: every job by one of many, whatever dies; and what operators see of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pouw import metrics
from pouw.errors import StoreError
from pouw.local.servers import LocalServers
from pouw.service import jobs as service
from pouw.service.jobs import Job
from pouw.store import anomalies, jobs, migrations
from pouw.store.pool import open_pool
from tests.ports import free_port
from tests.support import API, Identity, node_key, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.store.pool import Pool
    from tests.conftest import StartNode


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    opened = open_pool(database_url, size=8, timeout=30)
    yield opened
    opened.close()


def start(url: str, **settings: object) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "POUW_DATABASE_URL": url,
        "POUW_NODE_SECRET_KEY": node_key(),
        "POUW_WORKER_METRICS_PORT": str(port),
    } | {f"POUW_{name.upper()}": str(value) for name, value in settings.items()}
    worker = subprocess.Popen(
        [sys.executable, "-m", "pouw", "worker"], env=environ, stderr=subprocess.DEVNULL, start_new_session=True
    )
    return worker, port


def closed(url: str) -> int:
    with psycopg.connect(url) as db:
        row = db.execute("SELECT count(*) FROM epochs").fetchone()
    assert row is not None
    return int(row[0])


def test_epochs_are_closed_once_by_many_workers_that_are_killed(
    start_node: StartNode, database_url: str, client: Identity
) -> None:
    """Two workers, one of them killed and started again, over epochs of two seconds while receipts come in."""
    calendar = {"epoch_secs": 2, "epoch_genesis": int(time.time()) - 20}
    node = start_node(database_url, **calendar)
    first, _port = start(database_url, **calendar)
    second, port = start(database_url, **calendar)
    accepted = 0
    token = node.http.challenge()
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        accepted += len(node.http.accepted(client.batch(client.items(token, 5))))
        if first.poll() is None and accepted > 50:
            first.send_signal(signal.SIGKILL)
            first.wait()
    first, _port = start(database_url, **calendar)
    wait_for(lambda: counted(database_url) == accepted, timeout=60)
    with psycopg.connect(database_url) as db:
        wrong = db.execute(
            """
            SELECT count(*) FROM epochs e WHERE receipts <> (
                SELECT count(*) FROM receipts r WHERE r.submitted_at >= e.starts_at AND r.submitted_at < e.ends_at)
            OR computed_atoms - unallocated_atoms <> (
                SELECT coalesce(sum(atoms), 0) FROM payouts p WHERE p.epoch = e.epoch)
            """
        ).fetchone()
        assert wrong == (0,)
        numbers = [row[0] for row in db.execute("SELECT epoch FROM epochs ORDER BY epoch").fetchall()]
    assert numbers == list(range(len(numbers))), "no epoch is left out"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    for name in ("pouw_job_runs_total", "pouw_job_last_success_timestamp_seconds", "pouw_job_rows_total"):
        assert f"{name}{{" in text
    assert "pouw_receipts" not in text, "the nodes count those"
    stats = node.http.get(f"{API}/stats").json
    assert stats["closed"]["epochs"] > 3
    for worker in (first, second):
        worker.terminate()
        assert worker.wait(20) == 0, "told to end, it ends well"
    node.stop()


def counted(url: str) -> int:
    with psycopg.connect(url) as db:
        row = db.execute("SELECT coalesce(sum(receipts), 0) FROM epochs").fetchone()
    assert row is not None
    return int(row[0])


def test_a_job_is_done_by_one_process_at_a_time(pool: Pool) -> None:
    ran: list[str] = []

    def note(name: str) -> int:
        ran.append(name)
        return 3

    def outer() -> int:
        service.run(pool, Job("same", 1, lambda: note("inner")))
        service.run(pool, Job("other", 1, lambda: note("other")))
        return note("outer")

    service.run(pool, Job("same", 1, outer))
    assert ran == ["other", "outer"]
    assert jobs.state(pool, "same") == {"rows": 3}
    service.run(pool, Job("same", 1, lambda: note("later")))
    assert ran[-1] == "later", "the lock is given back"


def outcome(job: str, name: str) -> float:
    return float(metrics.jobs().runs.labels(job, name)._value.get())


@pytest.mark.parametrize("error", [StoreError("away"), ZeroDivisionError()])
def test_a_job_that_fails_is_counted_and_runs_again(pool: Pool, error: Exception) -> None:
    name = f"fails-{type(error).__name__}"

    def fail() -> int:
        raise error

    service.run(pool, Job(name, 1, fail))
    assert outcome(name, "failed") == 1
    assert jobs.state(pool, name) == {}
    service.run(pool, Job(name, 1, lambda: 7))
    assert outcome(name, "done") == 1
    assert jobs.state(pool, name) == {"rows": 7}


def reward(pool: Pool, epoch: int, did: str, **changes: Any) -> None:
    values = {"receipts": 10, "weight": 10, "capped": False, "at_minimum": 0} | changes
    with pool.connection() as db:
        db.execute(
            """
            INSERT INTO rewards (epoch, client_did, receipts, weight, raw_atoms, final_atoms, capped, at_minimum)
            VALUES (%(epoch)s, %(did)s, %(receipts)s, %(weight)s, 1, 1, %(capped)s, %(at_minimum)s)
            """,
            {"epoch": epoch, "did": did} | values,
        )


def flags(pool: Pool) -> set[tuple[int, str, str]]:
    with pool.connection() as db:
        return set(db.execute("SELECT epoch, client_did, kind FROM anomaly_flags").fetchall())


def test_the_three_anomalies_are_flagged_once(pool: Pool) -> None:
    for epoch in range(13):
        reward(pool, epoch, "did:capped:1", capped=True)
        reward(pool, epoch, "did:interrupted:1", capped=epoch != 5)
        reward(pool, epoch, "did:grows:1", weight=31 if epoch == 12 else 10)
        reward(pool, epoch, "did:steady:1", weight=30 if epoch == 12 else 10)
    reward(pool, 12, "did:new:1", weight=10**6)
    reward(pool, 12, "did:minimum:1", at_minimum=10)
    for epoch in range(13):
        anomalies.flag(pool, epoch)
        assert anomalies.flag(pool, epoch) == 0
    assert flags(pool) == {
        (11, "did:capped:1", "cap_streak"),
        (12, "did:capped:1", "cap_streak"),
        (12, "did:grows:1", "sudden_growth"),
        (12, "did:minimum:1", "minimum_bytes"),
    }


def test_a_worker_that_disagrees_about_the_calendar_says_so_and_ends(database_url: str) -> None:
    worker, _port = start(database_url, epoch_secs=3600)
    wait_for(lambda: closed(database_url) >= 0 and jobs_seen(database_url))
    worker.terminate()
    worker.wait(20)
    environ = {
        "PATH": os.environ["PATH"],
        "POUW_DATABASE_URL": database_url,
        "POUW_NODE_SECRET_KEY": node_key(),
        "POUW_EPOCH_SECS": "60",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pouw", "worker", "--once"], env=environ, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "counts epochs of 3600 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_outlives_its_database(open_tmp: Path) -> None:
    """Away for longer than any pause between two attempts: it goes on by itself, and closes what was due."""
    with LocalServers(open_tmp / "worker-servers", valkey=False) as servers:
        assert servers.postgres is not None
        url = servers.postgres.url()
        migrations.run(url, "up")
        worker, _port = start(url, epoch_secs=2, epoch_genesis=int(time.time()) - 20)
        wait_for(lambda: closed(url) >= 1, timeout=30)
        servers.postgres.stop()
        time.sleep(8)
        assert worker.poll() is None
        servers.postgres.start()
        before = closed(url)
        wait_for(lambda: closed(url) > before, timeout=30)
        worker.terminate()
        assert worker.wait(20) == 0


def jobs_seen(url: str) -> bool:
    with psycopg.connect(url) as db:
        return db.execute("SELECT count(*) FROM job_state").fetchone() != (0,)
