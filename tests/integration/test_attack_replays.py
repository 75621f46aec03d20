"""Promise 2: a receipt that was credited once, sent again in every way that time and failure allow."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support import API, Http, Identity, batch_body, wait_for
from tests.unit.wire import MESSAGES, batch_to_protobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode
    from tests.support import Node


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    """A database to purge."""
    return new_database()


@pytest.fixture(scope="module")
def brief(start_node: StartNode, url: str) -> Iterator[Node]:
    """A node whose challenges live for six seconds."""
    node = start_node(url, challenge_ttl_secs=6)
    yield node
    gc.collect()
    node.stop()


def purge(url: str) -> None:
    """Delete what has run out as a purge would: challenges first, so that no nonce goes before its challenge."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("challenges", "nonces"):
            connection.execute(f"DELETE FROM {table} WHERE expires_at < extract(epoch FROM now())")


def credited(connection: psycopg.Connection[Any], did: str) -> int:
    row = connection.execute("SELECT count(*) FROM receipts WHERE client_did = %s", (did,)).fetchone()
    assert row is not None
    return int(row[0])


def test_every_worker_knows_what_any_worker_credited(
    shared_node: Node, client: Identity, db: psycopg.Connection[Any]
) -> None:
    """Forty replays at once over as many connections, as JSON and as protobuf, each in a batch of its own."""
    token = shared_node.http.challenge()
    receipts = [client.signed(token) for _ in range(3)]
    assert len(shared_node.http.accepted(client.batch([each.to_json() for each in receipts]))) == 3

    def replay(number: int) -> int:
        fresh = Http(shared_node.http.base)
        try:
            if number % 2:
                return len(fresh.accepted(client.batch([each.to_json() for each in receipts])))
            body = batch_to_protobuf(client.did, number.to_bytes(16, "big"), receipts)
            answer = fresh.request("POST", f"{API}/submit", body, Content_Type="application/x-protobuf")
            assert answer.status == 200
            told = MESSAGES["SubmitAnswer"].FromString(answer.body)
            assert {each.detail for each in told.rejected} == {"duplicate_nonce"}
            return len(told.accepted)
        finally:
            fresh.close()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(replay, range(40))) == {0}
    assert credited(db, client.did) == 3


def test_a_restarted_node_and_a_purge_forget_no_receipt(brief: Node, url: str, client: Identity) -> None:
    """A replay after a restart, after the challenge's end, after its purge, and after the purge of its nonce."""
    http, token = brief.http, brief.http.challenge()
    items = client.items(token, 2)
    body = client.batch(items)
    first = http.submit(body)
    assert len(first.json["accepted"]) == 2
    assert brief.process is not None
    brief.stop()
    brief.start()

    def told() -> set[str]:
        answer = http.submit(batch_body(client.did, items)).json
        assert answer["accepted"] == []
        return {each["detail"] for each in answer["rejected"]}

    assert told() <= {"duplicate_nonce", "expired_challenge"}
    wait_for(lambda: time.time() > token.expires_at + 0.1)
    assert told() == {"expired_challenge"}
    purge(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1 FROM nonces").fetchall() == []
        assert told() == {"unknown_challenge"}
        assert credited(connection, client.did) == 2
    assert http.submit(body).body == first.body


def test_nonces_that_are_gone_before_their_challenge_credit_nothing(brief: Node, url: str, client: Identity) -> None:
    """Half a purge in the wrong order: the challenge's end alone keeps the receipt out."""
    token = brief.http.challenge()
    items = client.items(token, 2)
    assert len(brief.http.accepted(client.batch(items))) == 2
    wait_for(lambda: time.time() > token.expires_at + 0.1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM nonces")
        assert brief.http.accepted(client.batch(items)) == []
        assert credited(connection, client.did) == 2


def test_a_replay_is_told_from_what_its_challenge_has_no_room_for(start_node: StartNode, url: str) -> None:
    """Behind a new receipt that takes the last of the budget, before any collision made the node look at all nonces."""
    node, client = start_node(url, workers=1), Identity()
    token = node.http.challenge("?max_receipts=3")
    spent = client.items(token, 2)
    assert len(node.http.accepted(client.batch(spent))) == 2
    new = client.items(token, 2)
    answer = node.http.submit(client.batch([new[0], spent[0], new[1], spent[1]])).json
    node.stop()
    assert answer["accepted"] == [new[0]["receipt"]["receipt_nonce"]]
    assert [each["detail"] for each in answer["rejected"]] == [
        "duplicate_nonce", "too_many_receipts", "duplicate_nonce"
    ]  # fmt: skip


@pytest.mark.parametrize("replayed", [True, False], ids=["replay", "new"])
def test_a_purge_in_the_middle_of_a_batch(
    shared_node: Node, shared_url: str, client: Identity, db: psycopg.Connection[Any], *, replayed: bool
) -> None:
    """The challenge and the nonces go after the batch was judged and before it is settled."""
    http = shared_node.http
    token = http.challenge()
    item = client.item(token)
    if replayed:
        assert len(http.accepted(client.batch([item]))) == 1
    with psycopg.connect(shared_url) as purger, ThreadPoolExecutor(1) as threads:
        challenge = (token.challenge_nonce,)
        purger.execute("SELECT 1 FROM challenges WHERE nonce = %s FOR UPDATE", challenge)
        answer = threads.submit(http.submit, batch_body(client.did, [item]))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        if replayed:
            answer.result()  # what is not credited spends no challenge, and waits for nobody
        else:
            wait_for(lambda: db.execute(waiting, (purger.info.backend_pid,)).fetchone() is not None)
        purger.execute("DELETE FROM challenges WHERE nonce = %s", challenge)
        purger.execute("DELETE FROM nonces WHERE expires_at = %s", (token.expires_at,))
        purger.commit()
        told = answer.result().json
    assert told["accepted"] == []
    assert [each["detail"] for each in told["rejected"]] == ["duplicate_nonce" if replayed else "unknown_challenge"]
    assert credited(db, client.did) == int(replayed)
