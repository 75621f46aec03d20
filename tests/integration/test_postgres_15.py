"""The oldest PostgreSQL that is promised: Debian's 15, beside the embedded 18 of all other tests."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pouw.local.place import server_account, socket_directory
from pouw.local.postgres import EmbeddedPostgres
from pouw.store import migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartNode
    from tests.support import Identity

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def postgres(open_tmp: Path) -> Iterator[EmbeddedPostgres]:
    subprocess.run([ROOT / "tools" / "debian.sh", "postgresql-15"], check=True, timeout=300)
    account = server_account()
    home = open_tmp / "postgres-15"
    home.mkdir(mode=0o711)
    server = EmbeddedPostgres(
        home, socket_directory(home, account), account, programs=Path("/usr/lib/postgresql/15/bin")
    )
    server.start()
    yield server
    server.stop()


@pytest.mark.debian
def test_the_main_job_on_postgresql_15(postgres: EmbeddedPostgres, start_node: StartNode, client: Identity) -> None:
    migrations.run(postgres.url(), "up")
    migrations.run(postgres.url(), "down")
    migrations.run(postgres.url(), "up")
    node = start_node(postgres.url())
    body = client.batch(client.items(node.http.challenge(), 10))
    first = node.http.submit(body)
    assert len(first.json["accepted"]) == 10
    assert node.http.submit(body).body == first.body
    with psycopg.connect(postgres.url()) as connection:
        version, count = connection.execute(
            "SELECT current_setting('server_version_num')::int / 10000, (SELECT count(*) FROM receipts)"
        ).fetchone() or (0, 0)
    assert (version, count) == (15, 10)
    node.stop()
