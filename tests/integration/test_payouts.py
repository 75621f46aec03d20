"""Payouts: nobody is paid twice and nothing is forgotten, whatever the sink and the process do."""

from __future__ import annotations

import csv
import datetime as dt
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey, VerifyKey

from pouw.cli import main
from pouw.keys import NodeKey
from pouw.protocol.dids import did_from_key
from pouw.service import payouts as service
from pouw.service.payouts import Webhook
from pouw.store import payouts as store
from pouw.store.pool import open_pool
from tests.ports import free_port
from tests.support import node_key, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.store.pool import Pool

KEY = NodeKey(SigningKey.generate())


class Bank(http.server.ThreadingHTTPServer):
    """A receiver that pays each key once, and answers as badly as its mood says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Teller)
        self.paid: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.moods: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pay"


class _Teller(http.server.BaseHTTPRequestHandler):
    server: Bank

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = json.loads(body)["key"]
        bank = self.server
        with bank.lock:
            mood = bank.moods.pop(0) if bank.moods else "good"
            bank.asked[key] += 1
            bank.requests.append((dict(self.headers), body))
            if mood not in ("refuse", "busy") and key not in bank.paid:
                bank.paid[key] += 1
        if mood == "never":
            time.sleep(1)  # and then hangs up without a word
            self.close_connection = True
            return
        status = {"refuse": 422, "busy": 503, "late": 500}.get(mood, 200)
        answer = json.dumps({"reference": f"tx-{key}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def bank() -> Iterator[Bank]:
    server = Bank()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    opened = open_pool(database_url, size=8, timeout=30)
    yield opened
    opened.close()


def owe(pool: Pool, count: int, first: int = 1) -> None:
    with pool.connection() as db:
        db.execute(
            """
            INSERT INTO payouts (reward_id, epoch, client_did, atoms)
            SELECT i, 7, 'did:a:' || i, i * 10 FROM generate_series(%s::int, %s::int) i
            """,
            (first, first + count - 1),
        )


def states(pool: Pool) -> Counter[str]:
    with pool.connection() as db:
        return Counter(dict(db.execute("SELECT state, count(*) FROM payouts GROUP BY state").fetchall()))


def due_now(pool: Pool) -> None:
    """Let the pauses and leases of all open payouts be over."""
    with pool.connection() as db:
        db.execute("UPDATE payouts SET due_at = now() WHERE state IN ('pending', 'processing')")


def test_payouts_are_sent_signed_under_their_own_key(pool: Pool, bank: Bank) -> None:
    owe(pool, 3)
    assert service.send_due(pool, Webhook(bank.url, lambda: KEY)) == 3
    assert states(pool) == {"paid": 3}
    assert bank.paid == {"reward-1": 1, "reward-2": 1, "reward-3": 1}
    headers, body = bank.requests[0]
    assert headers["Idempotency-Key"] == '"reward-1"'
    assert json.loads(body) == {
        "key": "reward-1", "client_did": "did:a:1", "atoms": "10", "epoch": 7, "dispute": None
    }  # fmt: skip
    assert did_from_key(KEY.public_key) in headers["Signature-Input"]
    check_signature(headers, body, bank.url)
    with pool.connection() as db:
        assert db.execute("SELECT reference FROM payouts ORDER BY id LIMIT 1").fetchone() == ("tx-reward-1",)


def check_signature(headers: dict[str, str], body: bytes, url: str) -> None:
    """Verify as the receiver does, with the library."""
    import requests
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

    class Resolver(HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
            assert key_id == did_from_key(KEY.public_key)
            return Ed25519PublicKey.from_public_bytes(KEY.public_key)

        def resolve_private_key(self, key_id: str) -> Any:
            raise NotImplementedError

    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Resolver())
    message = requests.Request("POST", url, headers=headers, data=body).prepare()
    assert verifier.verify(message, max_age=dt.timedelta(minutes=5), expect_tag="pouw", body=body)
    assert VerifyKey(KEY.public_key)


def test_a_sink_that_answers_late_or_never_is_asked_again_under_the_same_key(pool: Pool, bank: Bank) -> None:
    owe(pool, 4)
    bank.moods = ["late", "never", "busy", "good"]
    sink = Webhook(bank.url, lambda: KEY)
    assert service.send_due(pool, sink) == 1
    assert states(pool) == {"processing": 3, "paid": 1}
    assert service.send_due(pool, sink) == 0, "each waits for its time"
    due_now(pool)
    assert service.send_due(pool, sink) == 3
    assert states(pool) == {"paid": 4}
    assert set(bank.paid.values()) == {1}
    assert max(bank.asked.values()) == 2


def test_a_refusal_is_a_dead_letter_until_an_operator_retries_it(pool: Pool, bank: Bank, database_url: str) -> None:
    owe(pool, 2)
    bank.moods = ["refuse"]
    sink = Webhook(bank.url, lambda: KEY)
    assert service.send_due(pool, sink) == 1
    assert states(pool) == {"failed": 1, "paid": 1}
    listed = cli(database_url, "list", "--state", "failed")
    assert "refuses with HTTP 422" in listed
    number = listed.split()[0]
    cli(database_url, "retry", number)
    assert "no failed payout" in cli(database_url, "retry", number, fails=True)
    assert service.send_due(pool, sink) == 1
    assert states(pool) == {"paid": 2}
    assert set(bank.paid.values()) == {1}


def test_a_sink_that_is_away_for_good_is_given_up_and_listed(pool: Pool) -> None:
    owe(pool, 1)
    sink = Webhook(f"http://127.0.0.1:{free_port()}/", lambda: KEY)
    pauses = []
    for _ in range(12):
        due_now(pool)
        assert service.send_due(pool, sink) == 0
        with pool.connection() as db:
            row = db.execute("SELECT extract(epoch FROM due_at - now())::float8 FROM payouts").fetchone()
            pauses.append(row[0] if row else 0)
    assert states(pool) == {"failed": 1}
    assert pauses[:5] == pytest.approx([2, 4, 8, 16, 32], abs=1.5)
    with pool.connection() as db:
        assert "given up after 12 attempts" in str(db.execute("SELECT last_error FROM payouts").fetchone())


def test_many_senders_at_once_send_each_payout_once(pool: Pool, bank: Bank) -> None:
    owe(pool, 60)
    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda _: service.send_due(pool, Webhook(bank.url, lambda: KEY)), range(4)))
    assert sum(sent) == 60
    assert set(bank.asked.values()) == {1}


def test_a_crash_between_the_sinks_yes_and_our_commit_pays_once(pool: Pool, bank: Bank) -> None:
    owe(pool, 5)
    [first, *_rest] = claimed = store.claim(pool, 100, 120)
    assert Webhook(bank.url, lambda: KEY).pay(first) == "tx-reward-1"
    assert len(claimed) == 5  # and here the process dies: nothing of it is written down
    assert store.claim(pool, 100, 120) == [], "the others leave them alone for the lease"
    due_now(pool)
    assert service.send_due(pool, Webhook(bank.url, lambda: KEY)) == 5
    assert states(pool) == {"paid": 5}
    assert set(bank.paid.values()) == {1}
    assert bank.asked["reward-1"] == 2


def test_the_background_process_is_killed_again_and_again_and_all_is_paid_once(
    pool: Pool, bank: Bank, database_url: str
) -> None:
    owe(pool, 300)
    bank.moods = ["good", "late", "good", "never"] * 10
    environ = {
        "PATH": os.environ["PATH"],
        "POUW_DATABASE_URL": database_url,
        "POUW_NODE_SECRET_KEY": node_key(),
        "POUW_PAYOUT_SINK": "webhook",
        "POUW_PAYOUT_WEBHOOK_URL": bank.url,
        "POUW_WORKER_METRICS_PORT": str(free_port()),
    }
    for _ in range(3):
        asked = sum(bank.asked.values())
        worker = subprocess.Popen(
            [sys.executable, "-m", "pouw", "worker"], env=environ, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_for(lambda asked=asked: sum(bank.asked.values()) > asked + 15 or states(pool)["paid"] == 300)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        due_now(pool)
    while service.send_due(pool, Webhook(bank.url, lambda: KEY)) or states(pool)["paid"] < 300:
        due_now(pool)
    assert states(pool) == {"paid": 300}
    assert len(bank.paid) == 300
    assert set(bank.paid.values()) == {1}


def cli(url: str, *arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(main, ["payout", *arguments], env={"POUW_DATABASE_URL": url})
    assert (done.exit_code != 0) == fails, done.output
    return done.output


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_human_pays_from_a_file(pool: Pool, database_url: str, tmp_path: Path, suffix: str) -> None:
    owe(pool, 4)
    file = tmp_path / f"payouts.{suffix}"
    said = cli(database_url, "export", "--out", str(file))
    assert "4 payouts, 100 atoms" in said
    number = said.split("export ")[1].split(",")[0]
    rows: list[dict[str, Any]] = (
        list(csv.DictReader(file.read_text().splitlines()))
        if suffix == "csv"
        else [json.loads(line) for line in file.read_text().splitlines()]
    )
    assert [(row["key"], row["client_did"], str(row["atoms"])) for row in rows] == [
        (f"reward-{count}", f"did:a:{count}", str(count * 10)) for count in range(1, 5)
    ]
    assert states(pool) == {"processing": 4}
    assert "no pending payout" in cli(database_url, "export", "--out", str(tmp_path / "more"), fails=True)
    due_now(pool)
    assert store.claim(pool, 100, 120) == [], "no sink takes what a human is about to pay"
    again = tmp_path / f"again.{suffix}"
    cli(database_url, "export", "--again", number, "--out", str(again))
    assert again.read_text() == file.read_text()
    lost = str(rows[1]["id"])
    assert "3 paid, 1 failed" in cli(database_url, "confirm", number, "--failed", lost, "--reference", "tx 9")
    assert states(pool) == {"paid": 3, "failed": 1}
    assert "nothing to confirm" in cli(database_url, "confirm", number, fails=True)
    cli(database_url, "retry", lost)
    assert "1 payouts, 20 atoms" in cli(database_url, "export", "--out", str(tmp_path / "third"))


def test_an_export_that_cannot_be_written_is_not_lost(pool: Pool, database_url: str, tmp_path: Path) -> None:
    owe(pool, 2)
    said = cli(database_url, "export", "--out", str(tmp_path / "no" / "file"), fails=True)
    number = said.split("--again ")[1].split()[0]
    assert "2 payouts" in cli(database_url, "export", "--again", number, "--out", str(tmp_path / "file"))
    assert "never overwritten" in cli(database_url, "export", "--out", str(tmp_path / "file"), fails=True)
    assert "no export 999" in cli(database_url, "export", "--again", "999", "--out", str(tmp_path / "x"), fails=True)


def test_two_humans_at_once_do_not_export_the_same_payout(pool: Pool, tmp_path: Path) -> None:
    owe(pool, 50)

    def run(count: int) -> list[int]:
        return [each.id for each in service.export(pool, tmp_path / str(count), "cli:x", limit=20)[1]]

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, range(2))
    assert not set(first) & set(second)
    assert len(first + second) == 40


def test_no_state_is_reached_that_the_design_does_not_know(pool: Pool) -> None:
    owe(pool, 1)
    with pool.connection() as db, pytest.raises(psycopg.errors.CheckViolation):
        db.execute("UPDATE payouts SET state = 'lost'")
    store.paid(pool, 1, None)
    assert states(pool) == {"pending": 1}, "a payout that nobody claimed cannot be paid"
    store.give_up(pool, 1, "x")
    assert states(pool) == {"pending": 1}
