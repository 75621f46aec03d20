"""Promise 3: the same batch sent again gets its first verdict, word for word."""

from __future__ import annotations

import concurrent.futures
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

from tests.support import API, Http, Identity, Node, batch_body, wait_until_expired

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import StartNode


def test_a_retry_gets_the_first_answer_word_for_word(http: Http, client: Identity) -> None:
    token = http.challenge()
    body = client.batch([*client.items(token, 5), client.item(token, bytes_verified=1), {}])
    first = http.submit(body)
    time.sleep(1.1)  # so that a new verdict would have another time
    again = http.submit(body)
    assert again.body == first.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_batch_that_proves_nobody_is_remembered_too(http: Http, client: Identity) -> None:
    forged = client.item(http.challenge()) | {"signature": "00" * 64}
    body = client.batch([forged])
    first = http.submit(body)
    time.sleep(1.1)
    assert http.submit(body).body == first.body


def test_another_node_remembers_as_well(http: Http, client: Identity, start_node: StartNode, shared_url: str) -> None:
    body = client.batch(client.items(http.challenge(), 3))
    first = http.submit(body)
    node = start_node(shared_url)
    assert node.http.submit(body).body == first.body
    node.stop()


def test_a_retry_is_answered_when_the_challenge_has_expired(
    start_node: StartNode, shared_url: str, client: Identity
) -> None:
    node = start_node(shared_url, challenge_ttl_secs=4)
    token = node.http.challenge()
    body = client.batch(client.items(token, 2))
    first = node.http.submit(body)
    assert len(first.json["accepted"]) == 2
    wait_until_expired(token)
    assert node.http.submit(body).body == first.body
    node.stop()


def test_the_same_batch_nonce_with_other_content_is_a_conflict(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    token, nonce = http.challenge(), secrets.token_hex(16)
    http.accepted(client.batch(client.items(token, 2), batch_nonce=nonce))
    response = http.submit(client.batch(client.items(token, 2), batch_nonce=nonce))
    assert response.status == 409
    assert response.json["type"] == "urn:pouw:problem:batch-conflict"
    assert response.json["errors"][0]["path"] == "/batch_nonce"
    assert db.execute("SELECT count(*) FROM receipts WHERE client_did = %s", (client.did,)).fetchone() == (2,)


def test_batch_nonces_of_two_clients_do_not_meet(http: Http, client: Identity) -> None:
    token, nonce, other = http.challenge(), secrets.token_hex(16), Identity()
    assert len(http.accepted(client.batch([client.item(token)], batch_nonce=nonce))) == 1
    assert len(http.accepted(other.batch([other.item(token)], batch_nonce=nonce))) == 1


def test_a_stranger_cannot_take_a_batch_nonce(http: Http, client: Identity) -> None:
    """Nor read the answer: the same nonce with garbage neither conflicts nor claims."""
    token, nonce = http.challenge(), secrets.token_hex(16)
    forged = client.item(token) | {"signature": "11" * 64}
    assert http.submit(client.batch([forged], batch_nonce=nonce)).json["accepted"] == []
    assert len(http.accepted(client.batch([client.item(token)], batch_nonce=nonce))) == 1


def test_without_a_batch_nonce_the_receipts_are_replays(http: Http, client: Identity) -> None:
    body = batch_body(client.did, client.items(http.challenge(), 2))
    assert len(http.accepted(body)) == 2
    assert [item["detail"] for item in http.submit(body).json["rejected"]] == ["duplicate_nonce"] * 2


def test_fifty_clients_that_race_the_same_batch_get_one_answer(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    body = client.batch(client.items(http.challenge(), 20))
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _number: http.submit(body), range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert db.execute("SELECT count(*) FROM receipts WHERE client_did = %s", (client.did,)).fetchone() == (20,)


def test_fifty_clients_that_race_the_same_receipts_get_each_accepted_once(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    """In fifty different batches and orders, under two challenges: every lock order is tried."""
    items = client.items(http.challenge(), 20) + client.items(http.challenge(), 20)
    shuffle = secrets.SystemRandom().shuffle

    def submit(_number: int) -> list[str]:
        mixed = items.copy()
        shuffle(mixed)
        return http.accepted(client.batch(mixed))

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        accepted = [nonce for answer in pool.map(submit, range(50)) for nonce in answer]
    assert sorted(accepted) == sorted(item["receipt"]["receipt_nonce"] for item in items)
    assert db.execute("SELECT count(*) FROM receipts WHERE client_did = %s", (client.did,)).fetchone() == (40,)


def test_a_budget_holds_when_many_clients_race_for_it(http: Http, db: psycopg.Connection[Any]) -> None:
    token = http.challenge("?max_receipts=25&max_bytes=81920")
    clients = [Identity() for _ in range(12)]
    bodies = [each.batch(each.items(token, 5)) for each in clients]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(http.submit, bodies))
    accepted = sum(len(answer.json["accepted"]) for answer in answers)
    details = {item["detail"] for answer in answers for item in answer.json["rejected"]}
    assert accepted == 20  # 81,920 bytes are 20 receipts of 4,096
    assert details == {"too_many_bytes"}
    row = db.execute("SELECT receipts_used, bytes_used FROM challenges WHERE nonce = %s", (token.challenge_nonce,))
    assert row.fetchone() == (20, 81920)


def test_a_connection_cut_at_any_point_loses_nothing(shared_node: Node, client: Identity) -> None:
    """Cut in the headers, in the body, right after it, and while the answer is on its way."""
    token = shared_node.http.challenge()
    for cut in (0.1, 0.5, 0.99, 1.0, 1.1):
        body = client.batch(client.items(token, 10))
        head = (
            f"POST {API}/submit HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        message = head + body
        with socket.create_connection(("127.0.0.1", shared_node.port)) as connection:
            connection.sendall(message[: int(len(message) * min(cut, 1))])
            if cut > 1:
                connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        answer = shared_node.http.submit(body)
        assert len(answer.json["accepted"]) == 10, answer.body
        assert answer.json["rejected"] == []
