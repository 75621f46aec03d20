"""Maintenance: on and off on all nodes within two seconds, with its reason, while everything else goes on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from pouw.cli import main
from pouw.local.servers import LocalServers
from pouw.store import migrations
from tests.ports import free_port
from tests.support import API, Identity, Node, Response, metric, node_key, paused, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartNode

NOTICE_SECS = 2.0


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="module")
def nodes(start_node: StartNode, url: str) -> Iterator[list[Node]]:
    """Two nodes of two workers each on one database."""
    started = [start_node(url, db_timeout_secs=15) for _ in range(2)]
    yield started
    for node in started:
        node.stop()


@pytest.fixture(autouse=True)
def switched_off(url: str) -> Iterator[None]:
    """Leave no maintenance behind, in no worker."""
    before = audited(url)
    yield
    cli(url, "off")
    if audited(url) != before:
        time.sleep(NOTICE_SECS)  # asking would not tell: which worker answers is open


def cli(url: str, *arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(main, ["maintenance", *arguments], env={"POUW_DATABASE_URL": url})
    assert done.exit_code == (2 if fails else 0), done.output
    return done.output


def ask(node: Node) -> Response:
    """Ask on a connection of its own, so that every worker has its share."""
    return node.http.request("GET", f"{API}/challenge", Connection="close")


def challenges(node: Node) -> set[int]:
    return {ask(node).status for _ in range(8)}


def audited(url: str) -> list[tuple[str, Any]]:
    with psycopg.connect(url) as db:
        rows = db.execute("SELECT action, note, actor FROM audit_log WHERE subject = 'network' ORDER BY id").fetchall()
    assert all(str(actor).startswith("cli:") for _action, _note, actor in rows)
    return [(str(action), note) for action, note, _actor in rows]


@pytest.mark.parametrize(
    "until",
    ["0s", "1", "tomorrow", "-1h", "1w", "٣h", "", "2020-01-01T00:00Z", "2099-01-01T00:00", "2099-01-01", "999999999d",
     "9999-12-31T23:59:59-12:00", "0001-01-01T00:00+23:59"],
)  # fmt: skip
def test_an_end_that_is_none_is_refused(url: str, until: str) -> None:
    before = audited(url)
    cli(url, "on", "--reason", "x", "--until", until, fails=True)
    assert cli(url) == "There is no maintenance.\n"
    assert audited(url) == before


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\nb", "\x1b[31m"])
def test_a_reason_that_is_none_is_refused(url: str, reason: str) -> None:
    cli(url, "on", "--reason", reason, fails=True)
    cli(url, "on", fails=True)
    assert cli(url) == "There is no maintenance.\n"


def test_off_when_it_is_off_changes_nothing(url: str) -> None:
    before = audited(url)
    assert cli(url, "off") == "There is no maintenance.\n"
    assert audited(url) == before


def test_on_twice_is_the_second_and_each_change_is_written_down(nodes: list[Node], url: str) -> None:
    before = len(audited(url))
    cli(url, "on", "--reason", "the first", "--until", "1h")
    assert cli(url, "on", "--reason", "the second").endswith("\nthe second\n")
    shown = cli(url)
    assert "until it is switched off, by cli:" in shown
    assert "the second" in shown
    time.sleep(NOTICE_SECS)
    assert ask(nodes[0]).json["detail"] == "the second"
    assert cli(url, "off") == "The maintenance is over.\n"
    assert cli(url, "off") == "There is no maintenance.\n"
    changes = audited(url)[before:]
    assert [action for action, _note in changes] == ["maintenance.on", "maintenance.on", "maintenance.off"]
    assert changes[0][1]["ends_at"] is not None
    assert changes[1][1] == {"reason": "the second", "ends_at": None}


@pytest.mark.parametrize("quiet", [0.0, 1.2, 4.0])
def test_all_workers_of_all_nodes_follow_within_two_seconds(nodes: list[Node], url: str, quiet: float) -> None:
    """Also where nobody asked for a while, so that what a worker knows is old."""
    assert [challenges(node) for node in nodes] == [{200}] * 2
    time.sleep(quiet)
    cli(url, "on", "--reason", "a new disk")
    time.sleep(NOTICE_SECS)
    with ThreadPoolExecutor(16) as threads:  # at the same moment: not only the first one waits for the news
        assert {answer.status for answer in threads.map(ask, nodes * 8)} == {503}
    time.sleep(quiet)
    cli(url, "off")
    time.sleep(NOTICE_SECS)
    with ThreadPoolExecutor(16) as threads:
        assert {answer.status for answer in threads.map(ask, nodes * 8)} == {200}


def test_work_is_refused_with_the_reason_and_all_else_goes_on(nodes: list[Node], url: str, client: Identity) -> None:
    node = nodes[0]
    token = node.http.challenge()
    body = client.batch(client.items(token, 3))
    refused_before = metric(node.metrics_port, "pouw_maintenance_denials_total")
    cli(url, "on", "--reason", "a new disk")
    time.sleep(NOTICE_SECS)
    for answer in (ask(node), node.http.submit(body), node.http.submit(b"{")):
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "30"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["type"] == "urn:pouw:problem:maintenance"
        assert answer.json["detail"] == "a new disk"
    for path in ("/node", "/stats", "/epochs", "/status", "/quota"):
        assert node.http.get(API + path).status == 200, path
    assert signed(node.http, client, "GET", f"{API}/receipts/{client.did}").status == 200
    health = node.http.get("/health")
    assert (health.status, health.json["status"], health.json["ready"]) == (200, "ok", True)
    assert health.json["maintenance"]["reason"] == "a new disk"
    assert health.json["maintenance"]["until"] is None
    assert abs(health.json["maintenance"]["since"] - time.time()) < 60
    assert node.http.get("/health/ready").json == {"status": "ok", "ready": True}
    assert node.http.get("/health/live").json == {"status": "ok"}
    assert metric(node.metrics_port, "pouw_maintenance_denials_total") == refused_before + 3
    cli(url, "off")
    time.sleep(NOTICE_SECS)
    assert node.http.get("/health").json["maintenance"] is None
    assert len(node.http.accepted(body)) == 3, "nothing of it was spent"


@pytest.mark.parametrize(("until", "expected"), [("1h", range(120, 121)), ("60s", range(50, 59))])
def test_retry_after_is_what_is_left_and_never_long(nodes: list[Node], url: str, until: str, expected: range) -> None:
    cli(url, "on", "--reason", "x", "--until", until)
    time.sleep(NOTICE_SECS)
    assert int(ask(nodes[1]).headers["Retry-After"]) in expected


def test_it_ends_by_itself_when_its_time_has_come(nodes: list[Node], url: str) -> None:
    until = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
    cli(url, "on", "--reason", "short", "--until", until)
    time.sleep(NOTICE_SECS)
    assert [challenges(node) for node in nodes] == [{503}] * 2
    assert int(ask(nodes[0]).headers["Retry-After"]) in range(1, 9)
    time.sleep(max(0.0, datetime.fromisoformat(until).timestamp() - time.time()) + 0.1)
    assert [challenges(node) for node in nodes] == [{200}] * 2, "at once: every node knows the end"
    assert nodes[0].http.get("/health").json["maintenance"] is None
    before = audited(url)
    assert cli(url) == cli(url, "off") == "There is no maintenance.\n"
    assert audited(url) == before


def test_a_batch_in_work_is_finished(nodes: list[Node], url: str, client: Identity) -> None:
    """It waits for a lock in the database while the maintenance begins."""
    body = client.batch(client.items(nodes[0].http.challenge(), 3))
    with psycopg.connect(url) as lock, ThreadPoolExecutor(1) as threads:
        lock.execute("LOCK TABLE challenges IN EXCLUSIVE MODE")
        answer = threads.submit(nodes[0].http.submit, body)
        waits = "SELECT FROM pg_locks WHERE NOT granted"
        wait_for(lambda: lock.execute(waits).fetchone() is not None)
        cli(url, "on", "--reason", "x")
        time.sleep(NOTICE_SECS)
        assert not answer.done()
        assert nodes[0].http.submit(body).status == 503
        lock.rollback()
        assert len(answer.result().json["accepted"]) == 3


def test_no_request_costs_a_statement(nodes: list[Node], url: str) -> None:
    """What is refused asks the database for nothing: 200 requests are fewer statements than a tenth of that."""
    cli(url, "on", "--reason", "x")
    time.sleep(NOTICE_SECS)
    reads = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'maintenance'"

    def count() -> int:
        time.sleep(1.5)  # until the sessions have reported
        with psycopg.connect(url) as db:
            row = db.execute(reads).fetchone()
        assert row is not None
        return int(row[0])

    before, start = count(), time.monotonic()
    for _ in range(200):
        assert nodes[0].http.get(f"{API}/challenge").status == 503
    assert count() - before <= 20 + 2 * (time.monotonic() - start)


def test_without_a_database_the_command_is_one_clear_line() -> None:
    said = cli(f"postgresql://nobody@127.0.0.1:{free_port()}/none", "on", "--reason", "x", fails=True)
    assert said.splitlines()[-1] == "pouw: The database is out of reach: PoolTimeout"
    done = CliRunner().invoke(main, ["maintenance"], env={"POUW_DATABASE_URL": ""})
    assert done.exit_code == 2
    assert "POUW_DATABASE_URL" in done.output


@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_while_the_database_is_away_the_last_known_state_holds(open_tmp: Path, how: str) -> None:
    with LocalServers(open_tmp / f"maintenance-{how}") as servers:
        assert servers.postgres is not None
        url = servers.postgres.url()
        migrations.run(url, "up")
        settings = {"POUW_NODE_SECRET_KEY": node_key(), "POUW_DB_TIMEOUT_SECS": "1", "POUW_WORKERS": "1"}
        node = Node(open_tmp / f"maintenance-{how}.log", settings | {"POUW_DATABASE_URL": url}).start()
        cli(url, "on", "--reason", "x")
        wait_for(lambda: ask(node).status == 503, timeout=5)
        if how == "stopped":
            servers.postgres.stop()
            check_it_holds(node)
        else:
            with paused(servers.postgres.pid):
                check_it_holds(node)
        node.stop()


def check_it_holds(node: Node) -> None:
    start = time.monotonic()
    while time.monotonic() - start < 6:
        answer = ask(node)
        assert answer.json["type"] == "urn:pouw:problem:maintenance", answer.body
        assert node.http.get("/health").json["maintenance"]["reason"] == "x"
        time.sleep(0.2)
