"""Nonces that were lost come back from the receipts, and with them the protection against replays."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support import Identity, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode
    from tests.support import Node


@pytest.fixture
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    own = start_node(new_database(), workers=1)
    yield own
    own.stop()


def rebuild(node: Node) -> str:
    command = [sys.executable, "-m", "pouw", "nonces", "rebuild", "--reason", "the table was emptied"]
    return subprocess.run(command, env=node.environ, capture_output=True, text=True, check=True, timeout=60).stdout


def everything(node: Node) -> set[tuple[bytes, int]]:
    with psycopg.connect(node.environ["POUW_DATABASE_URL"]) as connection:
        return set(connection.execute("SELECT nonce, expires_at FROM nonces").fetchall())


def test_lost_nonces_come_back_as_they_were(node: Node) -> None:
    clients = [Identity() for _ in range(3)]
    batches = [client.items(node.http.challenge(), 5) for client in clients]
    for client, items in zip(clients, batches, strict=True):
        node.http.accepted(client.batch(items))
    before = everything(node)
    assert len(before) == 15
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("DELETE FROM nonces WHERE ctid IN (SELECT ctid FROM nonces LIMIT 9)")
    assert rebuild(node) == "9 nonces were missing or ended too early, and are back.\n"
    assert everything(node) == before
    assert rebuild(node) == "0 nonces were missing or ended too early, and are back.\n"
    for client, items in zip(clients, batches, strict=True):
        answer = node.http.submit(client.batch(items)).json
        assert {each["detail"] for each in answer["rejected"]} == {"duplicate_nonce"}
    with psycopg.connect(node.environ["POUW_DATABASE_URL"]) as connection:
        noted = connection.execute("SELECT note FROM audit_log WHERE action = 'nonces.rebuild' ORDER BY id").fetchall()
    assert [note["rebuilt"] for (note,) in noted] == [9, 0]


def test_what_can_not_be_used_any_more_is_not_needed(node: Node, client: Identity) -> None:
    """A challenge that is purged takes no receipts, so its nonces stay away."""
    items = client.items(node.http.challenge(), 2)
    node.http.accepted(client.batch(items))
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("TRUNCATE nonces")
        connection.execute("DELETE FROM challenges")
    assert rebuild(node) == "0 nonces were missing or ended too early, and are back.\n"
    answer = json.loads(node.http.submit(client.batch(items)).body)
    assert {each["detail"] for each in answer["rejected"]} == {"unknown_challenge"}


def test_a_nonce_that_was_used_again_stays_as_long_as_its_last_challenge(node: Node, client: Identity) -> None:
    """The receipt of an older challenge has it too, and is from when its nonce had been purged."""
    items = client.items(node.http.challenge(), 2)
    node.http.accepted(client.batch(items))
    before = everything(node)
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        for challenge in (b"\x00" * 16, b"\xff" * 16):
            connection.execute(
                "INSERT INTO challenges SELECT (c).* FROM (SELECT jsonb_populate_record(c, jsonb_build_object("
                "'nonce', %s::bytea, 'expires_at', c.expires_at - 7200)) AS c FROM challenges AS c LIMIT 1) AS one",
                (challenge,),
            )
            connection.execute(
                "INSERT INTO receipts OVERRIDING SYSTEM VALUE SELECT (r).* FROM (SELECT jsonb_populate_record(r,"
                " jsonb_build_object('challenge_nonce', %s::bytea)) AS r FROM receipts AS r"
                " WHERE octet_length(challenge_nonce) > 16) AS one",
                (challenge,),
            )
        # The real one moves behind them.
        connection.execute("UPDATE receipts SET batch_id = batch_id WHERE octet_length(challenge_nonce) > 16")
        connection.execute("TRUNCATE nonces")
    rebuild(node)
    assert everything(node) == before
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE nonces SET expires_at = expires_at - 7200")
    assert rebuild(node).startswith("2 nonces ")
    assert everything(node) == before


def test_a_rebuild_waits_for_whoever_changes_them(node: Node, client: Identity) -> None:
    """What another transaction deletes is put back after its commit, and not missed."""
    items = client.items(node.http.challenge(), 3)
    node.http.accepted(client.batch(items))
    with psycopg.connect(node.environ["POUW_DATABASE_URL"]) as connection:
        connection.execute("DELETE FROM nonces")
        other = subprocess.Popen(
            [sys.executable, "-m", "pouw", "nonces", "rebuild", "--reason", "beside"],
            env=node.environ, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(lambda: _waits(node))
        connection.commit()
        assert other.communicate(timeout=60)[0] == "3 nonces were missing or ended too early, and are back.\n"
    assert len(everything(node)) == 3


def _waits(node: Node) -> bool:
    with psycopg.connect(node.environ["POUW_DATABASE_URL"]) as connection:
        return connection.execute("SELECT FROM pg_locks WHERE NOT granted LIMIT 1").fetchone() is not None
