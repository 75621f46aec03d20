"""Promises 2 and 3 while many clients do the same thing at the same moment, on two nodes over one database."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.integration.test_attack_canonical import hand_item, stop
from tests.support import Http, Identity, Response, batch_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from tests.conftest import StartNode

T = TypeVar("T")


@pytest.fixture(scope="module")
def twin(start_node: StartNode, shared_url: str) -> Iterator[Http]:
    """A second node on the shared node's database."""
    node = start_node(shared_url, workers=1)
    yield node.http
    stop(node)


def persist(http: Http, body: bytes) -> Response:
    """Submit until the node is not overloaded."""
    deadline = time.monotonic() + 20
    while True:
        response = http.submit(body)
        if response.status != 503:
            return response
        assert int(response.headers["Retry-After"]) > 0
        assert time.monotonic() < deadline
        time.sleep(0.1)


def race(nodes: Sequence[Http], bodies: Sequence[bytes], *, patient: bool = True) -> list[Response]:
    """Submit all bodies at once, to the nodes in turn."""
    gate = threading.Barrier(len(bodies))

    def run(number: int) -> Response:
        gate.wait()
        node = nodes[number % len(nodes)]
        return persist(node, bodies[number]) if patient else node.submit(bodies[number])

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(run, range(len(bodies))))


def nonce_of(item: dict[str, Any]) -> str:
    return str(item["receipt"]["receipt_nonce"])


def stored(db: psycopg.Connection[Any], did: str) -> Counter[str]:
    rows = db.execute("SELECT receipt_nonce FROM receipts WHERE client_did = %s", (did,)).fetchall()
    return Counter(row[0].hex() for row in rows)


def shuffled(items: Sequence[T]) -> list[T]:
    return random.sample(items, len(items))


def test_fifty_copies_of_a_batch_get_one_verdict(
    http: Http, twin: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token = http.challenge()
    items = [hand_item(client, token) for _ in range(30)]
    body = client.batch([*items, {}, hand_item(client, token, bytes_verified=1), items[0]])
    answers = race((http, http, twin), [body] * 50)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].json["accepted"] == [nonce_of(item) for item in items]
    assert stored(db, client.did) == Counter(map(nonce_of, items))
    used = db.execute("SELECT receipts_used FROM challenges WHERE nonce = %s", (token.challenge_nonce,)).fetchone()
    assert used == (30,)


def test_fifty_copies_without_a_batch_nonce_credit_once(
    http: Http, twin: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token = http.challenge()
    items = [hand_item(client, token) for _ in range(30)]
    body = batch_body(client.did, items)
    answers = race((http, http, twin), [body] * 50)
    credited = Counter(nonce for answer in answers for nonce in answer.json["accepted"])
    assert credited == Counter(map(nonce_of, items)) == stored(db, client.did)
    refused = Counter(item["detail"] for answer in answers for item in answer.json["rejected"])
    assert refused == {"duplicate_nonce": 49 * 30}
    used = db.execute("SELECT receipts_used FROM challenges WHERE nonce = %s", (token.challenge_nonce,)).fetchone()
    assert used == (30,)


def test_one_batch_nonce_with_thirty_contents(
    http: Http, twin: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token, nonce = http.challenge(), secrets.token_hex(16)
    bodies = [client.batch([hand_item(client, token), hand_item(client, token)], batch_nonce=nonce) for _ in range(30)]
    answers = race((http, twin), bodies)
    assert all(answer.status < 500 for answer in answers)
    good = [number for number, answer in enumerate(answers) if answer.status == 200]
    assert good
    credited = Counter(nonce for number in good for nonce in answers[number].json["accepted"])
    assert credited == stored(db, client.did)
    for number in good:
        assert answers[number].json["rejected"] == []
        assert twin.submit(bodies[number]).body == answers[number].body


def test_overlapping_subsets_in_every_order(
    http: Http, twin: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    tokens = [http.challenge() for _ in range(6)]
    items = [hand_item(client, random.choice(tokens)) for _ in range(80)]
    bodies = [client.batch(random.sample(items, 50)) for _ in range(40)]
    bodies += [client.batch(items), client.batch(items[::-1])]
    answers = race((http, twin), bodies)
    assert {answer.status for answer in answers} == {200}
    credited = Counter(nonce for answer in answers for nonce in answer.json["accepted"])
    assert credited == Counter(map(nonce_of, items)) == stored(db, client.did)
    for body, answer in zip(bodies, answers, strict=True):
        assert http.submit(body).body == answer.body


def test_two_orders_of_the_same_receipts_never_deadlock(http: Http, twin: Http, client: Identity) -> None:
    """Two clients only, so that no answer can blame overload."""
    for _ in range(15):
        tokens = [http.challenge() for _ in range(10)]
        items = [hand_item(client, token) for token in tokens for _ in range(5)]
        bodies = [client.batch(items), client.batch(items[::-1]), client.batch(shuffled(items))]
        answers = race((http, twin, http), bodies, patient=False)
        assert [answer.status for answer in answers] == [200] * 3
        credited = Counter(nonce for answer in answers for nonce in answer.json["accepted"])
        assert credited == Counter(map(nonce_of, items))


def test_many_dids_over_the_same_challenges_in_every_order(http: Http, twin: Http) -> None:
    tokens = [http.challenge() for _ in range(12)]
    batches = []
    for _ in range(20):
        client = Identity()
        batches.append(client.batch(shuffled([hand_item(client, token) for token in tokens for _ in range(3)])))
    answers = race((http, twin), batches)
    assert [len(answer.json["accepted"]) for answer in answers] == [36] * 20


def test_a_shared_receipt_budget_is_spent_to_the_last_and_no_further(
    http: Http, twin: Http, db: psycopg.Connection[Any]
) -> None:
    token = http.challenge("?max_receipts=47")
    clients = [Identity() for _ in range(20)]
    bodies = [client.batch([hand_item(client, token) for _ in range(5)]) for client in clients]
    answers = race((http, twin), bodies)
    assert sum(len(answer.json["accepted"]) for answer in answers) == 47
    assert {item["detail"] for answer in answers for item in answer.json["rejected"]} == {"too_many_receipts"}
    rows = db.execute("SELECT count(*) FROM receipts WHERE client_did = ANY(%s)", ([each.did for each in clients],))
    assert rows.fetchone() == (47,)


def test_a_shared_byte_budget_is_never_exceeded(http: Http, twin: Http, db: psycopg.Connection[Any]) -> None:
    token = http.challenge("?max_bytes=100000")
    clients = [Identity() for _ in range(20)]
    bodies = [client.batch([hand_item(client, token, bytes_verified=3333) for _ in range(4)]) for client in clients]
    answers = race((http, twin), bodies)
    assert sum(len(answer.json["accepted"]) for answer in answers) == 30
    used = db.execute("SELECT bytes_used FROM challenges WHERE nonce = %s", (token.challenge_nonce,)).fetchone()
    assert used == (30 * 3333,)


def test_a_budget_refunds_what_was_a_replay(http: Http, twin: Http, client: Identity) -> None:
    """Replays that race for the last places of a budget must not keep out a receipt that has a right to one."""
    for _ in range(5):
        token = http.challenge("?max_receipts=6")
        old = [hand_item(client, token) for _ in range(5)]
        assert len(http.accepted(client.batch(old))) == 5
        bodies = [client.batch([*shuffled(old), hand_item(client, token)]) for _ in range(8)]
        answers = race((http, twin), bodies)
        assert sum(len(answer.json["accepted"]) for answer in answers) == 1
        details = Counter(item["detail"] for answer in answers for item in answer.json["rejected"])
        assert details == {"duplicate_nonce": 40, "too_many_receipts": 7}


def test_one_hot_receipt_among_many_batches(
    http: Http, twin: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token = http.challenge()
    hot = hand_item(client, token)
    own = [[hand_item(client, token) for _ in range(5)] for _ in range(30)]
    bodies = [client.batch(shuffled([*some, hot])) for some in own]
    answers = race((http, twin), bodies)
    credited = Counter(nonce for answer in answers for nonce in answer.json["accepted"])
    assert credited == Counter(nonce_of(item) for item in [hot, *(each for some in own for each in some)])
    assert credited == stored(db, client.did)


def test_one_nonce_signed_over_thirty_contents_counts_once(
    http: Http, twin: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token, nonce = http.challenge(), secrets.token_hex(32)
    bodies = [client.batch([hand_item(client, token, receipt_nonce=nonce)]) for _ in range(30)]
    answers = race((http, twin), bodies)
    assert sum(len(answer.json["accepted"]) for answer in answers) == 1
    assert stored(db, client.did) == Counter([nonce])


def test_garbage_under_the_victims_batch_nonce_in_the_same_moment(http: Http, twin: Http) -> None:
    for _ in range(4):
        victim, thief, token, nonce = Identity(), Identity(), http.challenge(), secrets.token_hex(16)
        items = [hand_item(victim, token) for _ in range(5)]
        forged = [item | {"signature": thief.key.sign(b"x").signature.hex()} for item in items]
        good = victim.batch(items, batch_nonce=nonce)
        impostor = [hand_item(thief, token, client_did=victim.did)]
        kinds: list[list[Any]] = [[{}], forged, impostor]
        garbage = [batch_body(victim.did, some, batch_nonce=nonce) for some in kinds]
        bodies = [*garbage, good, *garbage, good, *garbage]
        answers = race((http, twin), bodies)
        assert answers[3].json["accepted"] == [nonce_of(item) for item in items]
        assert answers[3].body == answers[7].body == http.submit(good).body
