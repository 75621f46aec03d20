"""Reads from a streaming standby: while it keeps up, and never a failed one because of it."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import psycopg
import pytest

from pouw.errors import StoreError, StoreUnavailable
from pouw.local.place import server_account, socket_directory
from pouw.local.postgres import EmbeddedPostgres
from pouw.local.servers import LocalServers
from pouw.service.closed import ClosedEpochs
from pouw.service.readers import Readers
from pouw.store import migrations
from pouw.store import standby as store
from pouw.store.pool import open_pool
from tests.ports import free_port
from tests.support import API, Identity, paused, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pouw.store.pool import Pool
    from tests.conftest import StartNode
    from tests.support import Node


def _admit(primary: EmbeddedPostgres, account: str) -> None:
    """Let the standby's account stream."""
    with psycopg.connect(primary.url(), autocommit=True) as db:
        for file, line in (("hba", "local replication all peer map=pouw"), ("ident", f"pouw {account} pouw")):
            row = db.execute("SELECT current_setting(%s)", (f"{file}_file",)).fetchone()
            assert row is not None
            with Path(row[0]).open("a") as rules:
                rules.write(f"{line}\n")
        db.execute("SELECT pg_reload_conf()")


class Standby:
    """An embedded PostgreSQL that streams from another one of this machine."""

    def __init__(self, folder: Path, primary: EmbeddedPostgres) -> None:
        account = server_account()
        folder.mkdir(mode=0o711)
        account.own(folder / "postgres", 0o700)
        _admit(primary, account.name)
        self.server = EmbeddedPostgres(folder, socket_directory(folder, account), account)
        subprocess.run(
            [
                self.server.programs / "pg_basebackup",
                *("-d", primary.url()),
                *("-D", folder / "postgres" / "data"),
                *("--write-recovery-conf", "--checkpoint=fast"),
            ],
            user=account.uid,
            group=account.gid,
            extra_groups=[] if account.uid is not None else None,
            cwd="/",
            check=True,
        )
        self.server.start()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.server.url(), autocommit=True) as db:
            db.execute(statement)


@pytest.fixture(scope="module")
def primary(open_tmp: Path) -> Iterator[EmbeddedPostgres]:
    with LocalServers(open_tmp / "primary", valkey=False) as servers:
        assert servers.postgres is not None
        migrations.run(servers.postgres.url(), "up")
        yield servers.postgres


@pytest.fixture
def standby(open_tmp: Path, primary: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Standby]:
    made = Standby(open_tmp / f"standby-{request.node.name}", primary)
    yield made
    made.server.stop()


def start(start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, lag: int) -> Node:
    node = start_node(
        primary.url(), workers=1, read_database_url=standby.server.url(), read_lag_secs=lag, db_timeout_secs=2
    )
    wait_for(lambda: state(node) == "ok")
    return node


def state(node: Node) -> str:
    answer = node.http.get("/health")
    assert node.http.get("/health/ready").status == 200
    return str(answer.json["components"]["standby"]["status"])


def receipts(node: Node, client: Identity) -> int:
    answer = signed(node.http, client, "GET", f"{API}/receipts/{client.did}")
    assert answer.status == 200, answer.body
    return len(answer.json["items"])


def work(node: Node, client: Identity, count: int) -> None:
    node.http.accepted(client.batch(client.items(node.http.challenge(), count)))


def test_reads_are_answered_by_the_standby(
    start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, client: Identity
) -> None:
    node = start(start_node, primary, standby, lag=3_600)
    work(node, client, 3)
    wait_for(lambda: receipts(node, client) == 3)
    standby.execute("SELECT pg_wal_replay_pause()")
    work(node, client, 2)
    assert receipts(node, client) == 3, "it was not the standby"
    assert state(node) == "ok"
    standby.execute("SELECT pg_wal_replay_resume()")
    wait_for(lambda: receipts(node, client) == 5)


def test_a_standby_that_lags_is_left_out_until_it_keeps_up(
    start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, client: Identity
) -> None:
    node = start(start_node, primary, standby, lag=1)
    standby.execute("SELECT pg_wal_replay_pause()")
    work(node, client, 2)
    wait_for(lambda: receipts(node, client) == 2, timeout=10)
    assert state(node) == "down"
    assert "behind" in node.http.get("/health").json["components"]["standby"]["fault"]
    standby.execute("SELECT pg_wal_replay_resume()")
    wait_for(lambda: state(node) == "ok")
    assert receipts(node, client) == 2


def test_a_standby_that_ends_fails_no_read(
    start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, client: Identity
) -> None:
    node = start(start_node, primary, standby, lag=5)
    work(node, client, 4)
    wait_for(lambda: receipts(node, client) == 4)
    standby.server.stop()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert receipts(node, client) == 4
    assert state(node) == "down"
    standby.server.start()
    wait_for(lambda: state(node) == "ok")


def test_a_standby_that_hangs_fails_no_read(
    start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, client: Identity
) -> None:
    node = start(start_node, primary, standby, lag=5)
    work(node, client, 4)
    wait_for(lambda: receipts(node, client) == 4)
    with paused(standby.server.pid):
        until = time.monotonic() + 6
        while time.monotonic() < until:
            assert receipts(node, client) == 4
        assert state(node) == "down"
    wait_for(lambda: state(node) == "ok")


def test_a_promoted_standby_is_no_standby(
    start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, client: Identity
) -> None:
    node = start(start_node, primary, standby, lag=5)
    standby.execute("SELECT pg_promote()")
    wait_for(lambda: state(node) == "down")
    work(node, client, 2)
    assert receipts(node, client) == 2


def test_a_standby_without_the_tables_fails_no_read(
    start_node: StartNode, primary: EmbeddedPostgres, standby: Standby, client: Identity
) -> None:
    """As one that has not replayed a migration yet, or a URL with the wrong database."""
    url = standby.server.url("postgres")
    node = start_node(primary.url(), workers=1, read_database_url=url, read_lag_secs=5, db_timeout_secs=2)
    wait_for(lambda: state(node) == "ok")
    work(node, client, 2)
    for _ in range(5):
        assert receipts(node, client) == 2
        assert node.http.get(f"{API}/epochs").status == 200


@contextmanager
def reading(primary: str, standby: Standby) -> Iterator[tuple[Readers, Pool]]:
    """Readers that have looked, and the pool of their primary."""
    with (
        open_pool(primary, size=1, timeout=1) as pool,
        open_pool(standby.server.url(), size=1, timeout=5) as there,
    ):
        readers = Readers(pool, there)
        readers.start()
        gevent.sleep(1.5)
        yield readers, pool
        readers.stop()


def test_a_standby_of_another_cluster_is_none(primary: EmbeddedPostgres, standby: Standby, open_tmp: Path) -> None:
    """Its position says nothing: here it is far ahead of a primary that has just been made."""
    with reading(primary.url(), standby) as (readers, _pool):
        assert readers.lag() < 2
    with LocalServers(open_tmp / "other", valkey=False) as servers:
        assert servers.postgres is not None
        with reading(servers.postgres.url("postgres"), standby) as (readers, stranger):
            assert readers.lag() == float("inf")
            with open_pool(standby.server.url(), size=1, timeout=5) as there:
                reached = store.replayed(there)
            assert reached is not None
            assert reached.at > store.committed(stranger).at


def test_without_the_primary_what_is_known_of_the_standby_grows_old(
    primary: EmbeddedPostgres, standby: Standby
) -> None:
    with reading(primary.url(), standby) as (readers, pool):
        readers.check()
        pool.close()
        gevent.sleep(2)
        assert 2 < readers.lag() < float("inf")
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    with reading(nobody, standby) as (readers, _pool), pytest.raises(StoreUnavailable, match="reads go to the primary"):
        readers.check()


def test_no_proof_is_made_of_what_a_server_does_not_have(primary: EmbeddedPostgres) -> None:
    """Or a standby that has yet to hear of an epoch would deny its receipts."""
    with open_pool(primary.url(), size=1, timeout=5) as pool, pytest.raises(StoreError):
        ClosedEpochs(Readers(pool)).prove(1, bytes(16))
