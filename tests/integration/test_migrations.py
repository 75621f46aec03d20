"""Migrations: up, down, at once from several nodes, and the names that the checklist wants."""

from __future__ import annotations

import concurrent.futures
import secrets
from typing import TYPE_CHECKING

import psycopg
import pytest

from pouw.errors import MigrationError, StoreUnavailable
from pouw.store import migrations

if TYPE_CHECKING:
    from pouw.local.servers import LocalServers


@pytest.fixture
def empty_url(servers: LocalServers) -> str:
    """A database without a schema."""
    assert servers.postgres is not None
    name = f"empty_{secrets.token_hex(6)}"
    with psycopg.connect(servers.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return servers.postgres.url(name)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = {str(row[0]) for row in rows}
    return {name for name in names if not name.startswith(("receipts_", "rejections_"))}  # their partitions


DESIGNED = {
    "anomaly_flags",
    "archives",
    "blocked_networks",
    "dispute_entries",
    "epoch_tree",
    "job_state",
    "maintenance",
    "console_sessions",
    "network",
    "partition_start",
    "quota_overrides",
    "identities",
    "blocked_dids",
    "challenges",
    "batches",
    "receipts",
    "nonces",
    "rejections",
    "disputes",
    "epochs",
    "rewards",
    "payouts",
    "audit_log",
    "node_keys",
    "request_nonces",
}


def test_up_makes_the_designs_tables_and_down_drops_them(empty_url: str) -> None:
    assert "Pending: " in migrations.run(empty_url, "status")
    migrations.run(empty_url, "up")
    assert tables(empty_url) == DESIGNED | {"schema_migrations"}
    assert "Pending: 0" in migrations.run(empty_url, "status")
    while len(tables(empty_url)) > 1:
        migrations.run(empty_url, "down")
    migrations.run(empty_url, "up")
    assert tables(empty_url) == DESIGNED | {"schema_migrations"}


def test_several_nodes_may_migrate_at_once(empty_url: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        for future in [pool.submit(migrations.run, empty_url, "up") for _ in range(5)]:
            future.result()
    assert tables(empty_url) == DESIGNED | {"schema_migrations"}


@pytest.mark.parametrize(
    ("table", "column", "unique"),
    [
        ("challenges", "task_id", False),
        ("challenges", "expires_at", False),
        ("receipts", "client_did", False),
        ("receipts", "submitted_at", False),
        ("rewards", "epoch", False),
        ("nonces", "nonce", True),
    ],
)
def test_the_checklists_indexes_exist(database_url: str, table: str, column: str, unique: bool) -> None:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT i.indisunique FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
            " AND a.attnum = i.indkey[0] WHERE i.indrelid = %s::regclass AND a.attname = %s",
            (table, column),
        ).fetchall()
    assert any(row[0] or not unique for row in rows)


def test_a_database_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        migrations.run("postgresql://nobody@127.0.0.1:1/nothing", "up")


def test_a_statement_that_fails_leaves_nothing(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE rejections (x int)")
    with pytest.raises(MigrationError, match="rejections"):
        migrations.run(empty_url, "up")
    assert tables(empty_url) == {"rejections", "schema_migrations"}
