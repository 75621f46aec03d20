"""The metrics of a node: complete, right over several workers and after one was killed, bounded, and guarded."""

from __future__ import annotations

import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from pouw import _fastverify, metrics
from pouw.protocol.reasons import Detail, Reason
from tests.alerting import background
from tests.support import API, Http, metric, scrape, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartNode
    from tests.support import Identity, Node

NAMES = {
    "pouw_receipts_received_total",
    "pouw_receipts_accepted_total",
    "pouw_receipts_rejected_total",
    "pouw_signature_verification_duration_seconds_bucket",
    "pouw_submit_stage_duration_seconds_bucket",
    "pouw_batch_size_bucket",
    "pouw_challenges_issued_total",
    "pouw_challenges_used_total",
    "pouw_challenges_expired_total",
    "pouw_challenge_age_at_submit_seconds_bucket",
    "pouw_rate_limit_denials_total",
    "pouw_rate_limit_backend_errors_total",
    "pouw_disputes_logged_total",
    "pouw_disputes_open",
    "pouw_rewards_atoms_total",
    "pouw_epoch_close_lag_seconds",
    "pouw_db_pool_connections",
    "pouw_db_pool_waiting",
    "pouw_db_errors_total",
    "pouw_inflight",
    "pouw_build_info",
    "pouw_http_request_duration_seconds_bucket",
    "pouw_must_be_zero_total",
}


def work(node: Node) -> None:
    """Let the background process do every job once."""
    subprocess.run([sys.executable, "-m", "pouw", "worker", "--once"], env=node.environ, check=True, timeout=60)


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """A node whose counters nobody else moves."""
    own = start_node(new_database())
    yield own
    own.stop()


@pytest.fixture
def db(node: Node) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        yield connection


def test_every_metric_is_there_after_some_work(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    node.http.accepted(client.batch([*client.items(token, 5), client.item(token, bytes_verified=1)]))
    work(node)
    wait_for(lambda: "pouw_rewards_atoms_total" in scrape(node.metrics_port), timeout=15)
    found = scrape(node.metrics_port)
    assert NAMES - set(found) == set()
    assert found["pouw_receipts_accepted_total"][()] == 5
    assert found["pouw_receipts_received_total"][()] == 6
    assert metric(node.metrics_port, "pouw_receipts_rejected_total", reason="POLICY", detail="too_few_bytes") == 1
    assert found["pouw_challenge_age_at_submit_seconds_count"][()] == 1
    assert found["pouw_workers"][()] == 2
    assert found["pouw_ready"][()] == 1
    assert {dict(labels)["part"]: value for labels, value in found["pouw_part_up"].items()} == {
        "database": 1,
        "keys": 1,
        "redis": 1,
    }
    assert abs(found["pouw_clock_offset_seconds"][()]) < 1
    assert set(found["pouw_must_be_zero_total"].values()) == {0}
    assert len(found["pouw_must_be_zero_total"]) == len(metrics.PROMISES)


def test_what_the_worker_shows_is_its_own(node: Node) -> None:
    token = "worker-token-0123456789"
    node.environ = node.environ | {"POUW_METRICS_TOKEN": token}
    with background(node) as port:
        wait_for(lambda: len(scrape(port, token).get("pouw_job_runs_total", {})) > 5)
        assert Http(f"http://127.0.0.1:{port}").get("/metrics").status == 401
        found = scrape(port, token)
    assert "process_resident_memory_bytes" in found
    assert not [name for name in found if name.startswith("pouw_") and not name.startswith("pouw_job_")]
    wait_for(lambda: metric(node.metrics_port, "pouw_job_finished_timestamp_seconds", name="figures") > 0, timeout=15)


def test_counters_outlive_a_killed_worker_and_live_gauges_do_not(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    for _ in range(20):  # each on a connection of its own, so that both workers have their share
        body = client.batch(client.items(token, 2))
        node.http.request("POST", f"{API}/submit", body, Content_Type="application/json", Connection="close")
    accepted = metric(node.metrics_port, "pouw_receipts_accepted_total")
    assert accepted >= 40
    # The requests that the workers have in hand: a body that does not come.
    head = (
        b"POST /api/v1/pouw/submit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    waiting = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(16)]
    for each in waiting:
        each.sendall(head + b"Content-Length: 99\r\n\r\n")
    wait_for(lambda: metric(node.metrics_port, "pouw_inflight") == 16)
    before = {worker.pid for worker in node.workers()}
    for worker in node.workers():
        worker.send_signal(signal.SIGKILL)
    wait_for(lambda: len({worker.pid for worker in node.workers()} - before) == 2)
    wait_for(lambda: metric(node.metrics_port, "pouw_workers") == 2)
    assert metric(node.metrics_port, "pouw_inflight") == 0
    assert metric(node.metrics_port, "pouw_receipts_accepted_total") == accepted
    wait_for(lambda: node.http.get("/health/ready").status == 200)
    node.http.accepted(client.batch(client.items(node.http.challenge(), 3)))
    assert metric(node.metrics_port, "pouw_receipts_accepted_total") == accepted + 3
    for each in waiting:
        each.close()


def test_a_file_that_is_not_filled_yet_hides_no_metric(
    start_node: StartNode, database_url: str, tmp_path: Path
) -> None:
    """A worker makes its files and fills them in two steps; it may be killed in between."""
    node = start_node(database_url, PROMETHEUS_MULTIPROC_DIR=tmp_path)
    for name in ("counter_1.db", "gauge_livesum_1.db", "histogram_1.db"):
        (tmp_path / name).touch()
    node.http.challenge()
    assert metric(node.metrics_port, "pouw_challenges_issued_total") == 1


KNOWN = {
    "method": metrics.METHODS | {"other"},
    "status": {str(status) for status in range(200, 600)},
    "stage": {"decode", "look_up", "verify", "commit"},
    "scope": {"IP", "DID"},
    "what": {"memory", "submits"},
    "kind": {"unavailable", "refused"},
    "part": {"database", "keys", "redis", "standby"},
    "place": {"temporary"},
    "event": {"batch_settled", "request_refused"},
    "promise": set(metrics.PROMISES),
    "engine": set(_fastverify.ENGINES),
    "path": set(_fastverify.PATHS),
    "reason": {reason.value for reason in Reason},
    "detail": {detail.value for detail in Detail},
    "state": {"most", "open", "idle", "free", "size", "computed", "allocated", "unallocated", "compensated", "paid"}
    | {"pending", "processing", "failed"},
    "name": {"partitions", "epochs", "anomalies", "tally", "figures", "challenges", "promises", "purge", "archive"},
}
FIXED = {"le", "version", "python", "pynacl", "gunicorn", "psycopg"}
"""What the program says of itself, whatever is asked."""


def ask_for_strange_things(node: Node, client: Identity) -> None:
    """Send methods and paths of a stranger's choice, with DIDs and nonces in them."""
    token = node.http.challenge()
    paths = (f"/{client.did}", f"{API}/rewards/{client.did}", f"{API}/epochs/{2**40}", "/a/b/../c?x=y", "//", "/%00")
    for path in paths:
        for method in ("GET", "BREW", "PROPFIND", "X" * 19, "OPTIONS"):
            node.http.request(method, path, X_Forwarded_For="203.0.113.9", X_Request_Id="r" * 40)
    for number in range(20):
        node.http.get(f"{API}/receipts/did:web:{number}.example?cursor={number}")
        node.http.request("GET", f"{API}/challenge?cap={secrets.token_hex(8)}")
    signed(node.http, client, "GET", f"{API}/receipts/{client.did}")
    node.http.submit(client.batch([client.item(token, task_id=secrets.token_bytes(16)), {"receipt": client.did}]))


def test_labels_are_bounded_whatever_is_asked_for(node: Node, client: Identity) -> None:
    ask_for_strange_things(node, client)
    seen: dict[str, set[str]] = {}
    for series in scrape(node.metrics_port).values():
        for labels in series:
            for name, value in labels:
                seen.setdefault(name, set()).add(value)
    patterns = {rule.replace("{", "<").replace("}", ">") for rule in node.http.get("/openapi.json").json["paths"]}
    routes = {re.sub(r"<\w+:", "<", route) for route in seen.pop("route")}
    assert "unknown" in routes
    pages = {"/", "/console", "/receipts", "/assets/<name>", "/docs/", "/docs/<p>", "/docs/dist/<p>", "/openapi.json"}
    assert routes - patterns <= pages | {"unknown"}
    assert "other" in seen["method"]
    for name in seen.keys() - FIXED:
        assert seen[name] <= KNOWN[name], name


def test_a_token_guards_the_metrics(start_node: StartNode, new_database: Callable[[], str]) -> None:
    token = secrets.token_urlsafe(24)
    guarded = start_node(new_database(), metrics_token=token, workers=1)
    http = Http(f"http://127.0.0.1:{guarded.metrics_port}")
    for header in (
        None,
        "",
        "Bearer",
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Basic {token}",
        token,
        "Bearer \xe9",
    ):
        answer = http.request("GET", "/metrics", None, **({} if header is None else {"Authorization": header}))
        assert answer.status == 401, header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"pouw_" not in answer.body
    for scheme in ("Bearer", "bearer"):
        assert b"pouw_ready" in http.request("GET", "/metrics", Authorization=f"{scheme} {token}").body
    assert http.request("GET", "/debug", Authorization=f"Bearer {token}").status == 404
    assert http.request("POST", "/metrics", b"", Authorization=f"Bearer {token}").status == 405
    http.close()
    assert token not in guarded.log.read_text()
    guarded.stop()


def test_challenges_are_counted_once_when_they_are_over(
    start_node: StartNode, new_database: Callable[[], str], client: Identity
) -> None:
    own = start_node(new_database(), workers=1)
    own.http.accepted(client.batch(client.items(own.http.challenge(), 2)))
    for _ in range(3):
        own.http.challenge()
    work(own)
    assert metric(own.metrics_port, "pouw_challenges_used_total") == 0
    with psycopg.connect(own.environ["POUW_DATABASE_URL"], autocommit=True) as db:
        db.execute("UPDATE challenges SET expires_at = expires_at - 500")
        db.execute("UPDATE job_state SET note = jsonb_set(note, '{until}', to_jsonb((note->>'until')::bigint - 500)) "
                   "WHERE job = 'challenges'")  # fmt: skip
    for _ in range(2):
        work(own)
    wait_for(lambda: metric(own.metrics_port, "pouw_challenges_expired_total") == 3, timeout=15)
    assert metric(own.metrics_port, "pouw_challenges_used_total") == 1
    own.stop()


def test_a_challenge_that_ends_before_the_first_look_is_over_is_counted(
    start_node: StartNode, new_database: Callable[[], str], client: Identity
) -> None:
    """The counting begins a minute ago even in an empty table, not where the first challenge happens to end."""
    own = start_node(new_database(), workers=1)
    work(own)
    for ends_in in (300, 200):
        own.http.accepted(client.batch(client.items(own.http.challenge(), 1)))
        with psycopg.connect(own.environ["POUW_DATABASE_URL"], autocommit=True) as db:
            db.execute("UPDATE challenges SET expires_at = extract(epoch FROM now())::bigint + %s "
                       "WHERE expires_at = (SELECT max(expires_at) FROM challenges)", (ends_in,))  # fmt: skip
        work(own)
    with psycopg.connect(own.environ["POUW_DATABASE_URL"], autocommit=True) as db:
        db.execute("UPDATE challenges SET expires_at = expires_at - 500")
        db.execute("UPDATE job_state SET note = jsonb_set(note, '{until}', to_jsonb((note->>'until')::bigint - 500)) "
                   "WHERE job = 'challenges'")  # fmt: skip
    work(own)
    wait_for(lambda: metric(own.metrics_port, "pouw_challenges_used_total") == 2, timeout=15)
    own.stop()


def test_a_lag_grows_although_nobody_works(start_node: StartNode, new_database: Callable[[], str]) -> None:
    """The nodes themselves see that epochs stay open when there is no background process at all."""
    own = start_node(new_database(), workers=1, epoch_secs=2, epoch_genesis=int(time.time()) - 1_000)
    wait_for(lambda: metric(own.metrics_port, "pouw_epoch_close_lag_seconds") > 900, timeout=15)
    assert metric(own.metrics_port, "pouw_figures_timestamp_seconds") == 0
    work(own)
    wait_for(lambda: metric(own.metrics_port, "pouw_epoch_close_lag_seconds") < 60, timeout=15)
    own.stop()


def test_a_backup_is_as_old_as_it_was_noted(node: Node, db: psycopg.Connection[tuple[object, ...]]) -> None:
    assert metric(node.metrics_port, "pouw_backup_finished_timestamp_seconds") == 0
    command = [sys.executable, "-m", "pouw", "backup", "note", "--reason", "pg_basebackup to the other room"]
    subprocess.run(command, env=node.environ, check=True, timeout=60)
    wait_for(lambda: metric(node.metrics_port, "pouw_backup_finished_timestamp_seconds") > time.time() - 60, timeout=15)
    assert db.execute("SELECT count(*) FROM audit_log WHERE action = 'backup.note'").fetchone() == (1,)
