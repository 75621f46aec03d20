"""A DID is a shard key: whatever a node does for one DID, it needs no row of another one.

Two nodes share a database in which each sees the rows of one DID only, by row-level security. What a client gets
there is what it would get anywhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tests.support import API, Identity, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import StartNode
    from tests.support import Node

OWNED = {
    "anomaly_flags": "client_did",
    "batches": "client_did",
    "blocked_dids": "did",
    "disputes": "client_did",
    "identities": "did",
    "payouts": "client_did",
    "receipts": "client_did",
    "rejections": "client_did",
    "rewards": "client_did",
}
# What names its DID by a digest or by another row: a column for the test says whose it is.
MARKED = ("nonces", "request_nonces", "dispute_entries")


def fence(url: str) -> None:
    """Let the role ``one_did`` see and write the rows of the DID in ``pouw.did`` only."""
    with psycopg.connect(url, autocommit=True) as db:
        if db.execute("SELECT 1 FROM pg_roles WHERE rolname = 'one_did'").fetchone() is None:
            db.execute("CREATE ROLE one_did")
        db.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO one_did")
        db.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO one_did")
        db.execute("SET pouw.did = ''")
        for table in MARKED:
            column = "ALTER TABLE {} ADD COLUMN owner text NOT NULL DEFAULT current_setting('pouw.did')"
            db.execute(sql.SQL(column).format(sql.Identifier(table)))
        for table, column in (OWNED | dict.fromkeys(MARKED, "owner")).items():
            db.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(sql.Identifier(table)))
            rule = "CREATE POLICY one_did ON {} TO one_did USING ({} = current_setting('pouw.did'))"
            db.execute(sql.SQL(rule).format(sql.Identifier(table), sql.Identifier(column)))


def fenced(url: str, did: str) -> str:
    options = f"-c role=one_did -c pouw.did={did}"
    return f"{url}{'&' if '?' in url else '?'}options={quote(options, safe='')}"


def pay(url: str, did: str) -> None:
    """Give a DID a reward and its payout, which are the work of a background process that sees all."""
    with psycopg.connect(url) as db:
        db.execute(
            """
            WITH reward AS (
                INSERT INTO rewards (epoch, client_did, receipts, weight, raw_atoms, final_atoms, allocated_atoms,
                                     capped, at_minimum)
                VALUES (0, %s, 1, 1, 10, 10, 10, false, 0) RETURNING id, client_did
            )
            INSERT INTO payouts (reward_id, client_did, epoch, atoms, state)
            SELECT id, client_did, 0, 10, 'pending' FROM reward
            """,
            (did,),
        )


def rows_seen(url: str) -> dict[str, int]:
    with psycopg.connect(url) as db:
        found = {}
        for table in (*OWNED, *MARKED):
            row = db.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            assert row is not None
            found[table] = int(row[0])
        return found


@pytest.fixture
def open_node(start_node: StartNode, database_url: str) -> Callable[[Identity], Node]:
    """Start a node that sees the rows of one DID."""
    fence(database_url)

    def start(client: Identity) -> Node:
        return start_node(fenced(database_url, client.did), workers=1, epoch_secs=86_400, epoch_genesis=0)

    return start


def live(node: Node, client: Identity) -> None:
    """Do all that a client can do."""
    token = node.http.challenge()
    items = client.items(token, 5)
    body = client.batch(items, batch_nonce="ab" * 16)
    answer = node.http.submit(body)
    assert len(answer.json["accepted"]) == 5, answer.body
    assert node.http.submit(body).body == answer.body
    again = node.http.submit(client.batch([*items[:3], client.item(token, bytes_verified=1)]))
    details = [each["detail"] for each in again.json["rejected"]]
    assert details == ["duplicate_nonce"] * 3 + ["too_few_bytes"]

    def read(path: str) -> list[dict[str, object]]:
        page = signed(node.http, client, "GET", f"{API}/{path}")
        assert page.status == 200, page.body
        items: list[dict[str, object]] = page.json["items"]
        return items

    assert len(read(f"receipts/{client.did}")) == 5
    assert [len(batch["rejections"]) for batch in read(f"clients/{client.did}/history")] == [4, 0]  # type: ignore[arg-type]
    claim = {"subject": "receipt", "subject_id": items[0]["receipt"]["receipt_nonce"], "claim": "It paid too little."}
    filed = signed(node.http, client, "POST", f"{API}/disputes", json.dumps(claim).encode())
    assert filed.status == 201, filed.body
    assert len(read(f"disputes/{client.did}")) == 1
    assert len(read(f"rewards/{client.did}")) == 1
    assert len(read(f"rewards/{client.did}/transactions")) == 1
    assert signed(node.http, client, "GET", f"{API}/quota").status == 200
    assert node.http.get(f"{API}/stats").status == 200


def test_a_node_that_sees_one_did_alone_does_all_for_it(
    open_node: Callable[[Identity], Node], database_url: str
) -> None:
    first, second = Identity(), Identity()
    one, other = open_node(first), open_node(second)
    for client in (first, second):
        pay(database_url, client.did)
    live(one, first)
    live(other, second)
    both = rows_seen(database_url)
    for client in (first, second):
        seen = rows_seen(fenced(database_url, client.did))
        assert seen == {table: count // 2 for table, count in both.items()}, "the fence has a hole"
    assert both["receipts"] == 10
    assert both["nonces"] == 10
