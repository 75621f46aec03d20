"""Disputes from filing to their end, the log of rejections, and anomaly flags: who may what, and nothing twice."""

from __future__ import annotations

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from pouw.cli import main
from tests.support import API, Identity, Node, Response, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode

OPERATOR = Identity()
BUDGET = 1_000


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """A node with an operator, and a budget that a compensation can spend."""
    started = start_node(new_database(), operator_dids=OPERATOR.did, reward_budget_atoms=BUDGET)
    yield started
    started.stop()


@pytest.fixture
def db(node: Node) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        yield connection


def post(node: Node, who: Identity, path: str, document: Any) -> Response:
    return signed(node.http, who, "POST", API + path, json.dumps(document).encode())


def claim(**changes: Any) -> dict[str, Any]:
    return {"subject": "receipt", "subject_id": secrets.token_hex(16), "claim": "It is missing."} | changes


def file(node: Node, who: Identity, **changes: Any) -> int:
    answer = post(node, who, "/disputes", claim(**changes))
    assert answer.status == 201, answer.body
    return int(answer.json["id"])


def resolve(node: Node, number: int, state: str, who: Identity = OPERATOR, **members: Any) -> Response:
    return post(node, who, f"/disputes/{number}/resolve", {"state": state} | members)


def read(node: Node, who: Identity, number: int) -> Response:
    return signed(node.http, who, "GET", f"{API}/disputes/{number}")


def test_the_whole_life_of_a_dispute(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    nonces = node.http.accepted(client.batch(client.items(node.http.challenge(), 1)))
    answer = post(node, client, "/disputes", claim(subject_id=nonces[0], evidence="line 1\nline 2"))
    assert answer.status == 201
    assert answer.json["known"] is True
    number = answer.json["id"]
    assert (answer.json["state"], answer.json["client_did"]) == ("open", client.did)
    assert post(node, OPERATOR, f"/disputes/{number}/notes", {"content": "a friend of the cook"}).status == 204
    assert post(node, OPERATOR, f"/disputes/{number}/evidence", {"content": "our log"}).status == 204
    assert resolve(node, number, "under_investigation").status == 200
    settled = resolve(node, number, "resolved_for_claimant", explanation="You are right.", compensation_atoms="300")
    assert settled.status == 200, settled.body
    assert settled.json["compensation_atoms"] == "300"
    seen = read(node, client, number).json
    assert [(entry["kind"], entry["content"]) for entry in seen["entries"]] == [
        ("state", "open"), ("evidence", "line 1\nline 2"), ("evidence", "our log"), ("state", "under_investigation"),
        ("state", "resolved_for_claimant"),
    ]  # fmt: skip
    assert [entry["author"] for entry in seen["entries"]] == [client.did, client.did, *["operator"] * 3]
    assert "cook" not in json.dumps(seen)
    assert "cook" in read(node, OPERATOR, number).body.decode()
    assert resolve(node, number, "closed").status == 200
    payouts = db.execute("SELECT client_did, atoms, state FROM payouts WHERE dispute_id = %s", (number,)).fetchall()
    assert payouts == [(client.did, 300, "pending")]
    [listed] = signed(node.http, client, "GET", f"{API}/disputes/{client.did}").json["items"]
    assert (listed["state"], listed["compensation_atoms"]) == ("closed", "300")
    [paid] = signed(node.http, client, "GET", f"{API}/rewards/{client.did}/transactions").json["items"]
    assert (paid["dispute_id"], paid["atoms"]) == (number, "300")
    actions = db.execute(
        "SELECT action, actor FROM audit_log WHERE subject = %s ORDER BY id", (f"dispute {number}",)
    ).fetchall()
    assert [action for action, _actor in actions] == [
        "dispute.file", "dispute.evidence", "dispute.note", "dispute.evidence", "dispute.move", "dispute.resolve",
        "dispute.move",
    ]  # fmt: skip
    assert {actor for _action, actor in actions} == {client.did, OPERATOR.did}


def test_what_was_known_at_filing_stays_known(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    [nonce] = node.http.accepted(client.batch(client.items(node.http.challenge(), 1)))
    number = file(node, client, subject_id=nonce)
    assert db.execute("DELETE FROM receipts WHERE client_did = %s", (client.did,)).rowcount == 1
    assert read(node, client, number).json["known"] is True


def test_an_operator_settles_no_dispute_of_their_own(node: Node, db: psycopg.Connection[Any]) -> None:
    number = file(node, OPERATOR)
    for state in ("under_investigation", "resolved_for_claimant", "rejected"):
        answer = resolve(node, number, state, explanation="I am right.")
        assert answer.status == 409, answer.body
    assert signed(node.http, OPERATOR, "POST", f"{API}/disputes/{number}/withdraw").json["state"] == "closed"
    assert db.execute("SELECT count(*) FROM payouts WHERE dispute_id = %s", (number,)).fetchone() == (0,)


@pytest.mark.parametrize(
    ("subject", "subject_id"), [("rejection", "17"), ("reward", "0"), ("challenge", "ab" * 32), ("receipt", "cd" * 16)]
)
def test_each_subject_can_be_disputed_even_if_the_node_does_not_know_it(
    node: Node, client: Identity, subject: str, subject_id: str
) -> None:
    number = file(node, client, subject=subject, subject_id=subject_id)
    assert read(node, client, number).json["known"] is False


BAD: list[dict[str, Any]] = [
    {"subject": "weather"}, {"subject_id": "xyz"}, {"subject_id": "AB" * 16}, {"subject_id": ""},
    {"subject": "reward", "subject_id": "-1"}, {"subject": "reward", "subject_id": "9" * 19},
    {"subject": "rejection", "subject_id": "1.5"}, {"claim": ""}, {"claim": "x" * 2001}, {"claim": "a\x1b[31m"},
    {"claim": "\u202e"}, {"claim": 5}, {"evidence": ""}, {"evidence": "x" * 4097}, {"evidence": "\u0000"}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", range(len(BAD)))
def test_bad_input_is_refused_and_changes_nothing(
    node: Node, client: Identity, db: psycopg.Connection[Any], change: int
) -> None:
    answer = post(node, client, "/disputes", claim(**BAD[change]))
    assert answer.status == 422, answer.body
    assert db.execute("SELECT count(*) FROM disputes WHERE client_did = %s", (client.did,)).fetchone() == (0,)


def test_strangers_get_nothing(node: Node, client: Identity) -> None:
    number = file(node, client)
    stranger = Identity()
    unsigned = node.http.request(
        "POST", f"{API}/disputes", json.dumps(claim()).encode(), Content_Type="application/json"
    )
    assert unsigned.status == 401
    assert node.http.get(f"{API}/disputes/{number}").status == 401
    assert read(node, stranger, number).status == 404
    assert read(node, stranger, 10**18).status == 404
    assert post(node, stranger, f"/disputes/{number}/evidence", {"content": "x"}).status == 404
    assert signed(node.http, stranger, "POST", f"{API}/disputes/{number}/withdraw").status == 404
    assert signed(node.http, OPERATOR, "POST", f"{API}/disputes/{number}/withdraw").status == 403
    for who in (stranger, client):
        assert resolve(node, number, "rejected", who, explanation="x").status == 403
        assert post(node, who, f"/disputes/{number}/notes", {"content": "x"}).status == 403
        assert signed(node.http, who, "GET", f"{API}/disputes").status == 403
    assert read(node, client, number).json["state"] == "open"


def test_illegal_ways_are_conflicts(node: Node, client: Identity) -> None:
    number = file(node, client)
    assert resolve(node, number, "resolved_for_node", explanation="We were right.").status == 200
    for state in ("under_investigation", "resolved_for_claimant", "rejected", "resolved_for_node"):
        answer = resolve(node, number, state, explanation="again")
        assert answer.status == 409
        assert answer.json["type"] == "urn:pouw:problem:dispute-conflict"
    assert post(node, client, f"/disputes/{number}/evidence", {"content": "late"}).status == 409
    assert signed(node.http, client, "POST", f"{API}/disputes/{number}/withdraw").status == 409
    assert resolve(node, number, "closed").status == 200
    assert resolve(node, number, "closed").status == 409


@pytest.mark.parametrize(
    "members",
    [
        {"state": "open"}, {"state": "won"}, {"state": "rejected"},
        {"state": "resolved_for_claimant", "explanation": ""},
        {"state": "rejected", "explanation": "x", "compensation_atoms": "1"},
        {"state": "resolved_for_claimant", "explanation": "x", "compensation_atoms": "0"},
        {"state": "resolved_for_claimant", "explanation": "x", "compensation_atoms": "-1"},
        {"state": "resolved_for_claimant", "explanation": "x", "compensation_atoms": "1.5"},
        {"state": "resolved_for_claimant", "explanation": "x", "compensation_atoms": 5},
        {"state": "resolved_for_claimant", "explanation": "x", "compensation_atoms": "9" * 40},
    ],
)  # fmt: skip
def test_bad_resolutions_change_nothing(node: Node, client: Identity, members: dict[str, Any]) -> None:
    number = file(node, client)
    assert post(node, OPERATOR, f"/disputes/{number}/resolve", members).status == 422
    assert read(node, client, number).json["state"] == "open"


def test_two_operators_at_once_settle_it_once(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    number = file(node, client)

    def settle(_: int) -> int:
        return resolve(node, number, "resolved_for_claimant", explanation="Yes.", compensation_atoms="1").status

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(settle, range(6))) == [200] + [409] * 5
    assert db.execute("SELECT count(*) FROM payouts WHERE dispute_id = %s", (number,)).fetchone() == (1,)


def test_compensations_stay_within_the_lifetime_budget(
    node: Node, client: Identity, db: psycopg.Connection[Any]
) -> None:
    [(spent,)] = db.execute("SELECT coalesce(sum(atoms), 0)::int FROM payouts WHERE dispute_id IS NOT NULL").fetchall()
    number = file(node, client)
    too_much = str(BUDGET - spent + 1)
    refused = resolve(node, number, "resolved_for_claimant", explanation="Yes.", compensation_atoms=too_much)
    assert refused.status == 409
    assert f"{BUDGET - spent} atoms left" in refused.json["detail"]
    assert read(node, client, number).json["state"] == "open"
    assert resolve(node, number, "resolved_for_node", explanation="No.").status == 200


def test_one_dispute_waits_for_each_thing_and_twenty_for_a_did(node: Node, client: Identity) -> None:
    same = claim()
    assert post(node, client, "/disputes", same).status == 201
    assert post(node, client, "/disputes", same).status == 409
    assert post(node, Identity(), "/disputes", same).status == 201, "another DID's is another dispute"
    for _ in range(19):
        number = file(node, client)
    assert post(node, client, "/disputes", claim()).status == 409
    assert signed(node.http, client, "POST", f"{API}/disputes/{number}/withdraw").json["state"] == "closed"
    assert post(node, client, "/disputes", claim()).status == 201


def cli(node: Node, *arguments: str, fails: bool = False) -> str:
    environ = {"POUW_DATABASE_URL": node.environ["POUW_DATABASE_URL"], "POUW_REWARD_BUDGET_ATOMS": str(BUDGET)}
    done = CliRunner().invoke(main, list(arguments), env=environ)
    assert (done.exit_code != 0) == fails, done.output
    return done.output


def test_operators_work_by_command(node: Node, client: Identity) -> None:
    number = str(file(node, client, claim="Where is my money?\nPlease.", evidence="a screenshot"))
    assert f"{number} open {client.did}" in cli(node, "dispute", "list", "--state", "open")
    cli(node, "dispute", "note", number, "asked the cook")
    cli(node, "dispute", "resolve", number, "under_investigation")
    assert "needs an explanation" in cli(node, "dispute", "resolve", number, "rejected", fails=True)
    cli(node, "dispute", "resolve", number, "rejected", "--explanation", "It is in your account.")
    shown = cli(node, "dispute", "show", number)
    for text in ("rejected by", "the node had no such thing", "a screenshot", "asked the cook", "in your account"):
        assert text in shown
    assert "no way from rejected" in cli(
        node, "dispute", "resolve", number, "rejected", "--explanation", "x", fails=True
    )
    assert "no dispute 999" in cli(node, "dispute", "show", "999", fails=True)


def test_operators_page_through_disputes(node: Node, client: Identity) -> None:
    numbers = [file(node, client) for _ in range(3)]
    page = signed(node.http, OPERATOR, "GET", f"{API}/disputes?limit=2&state=open").json
    assert [row["id"] for row in page["items"]] == numbers[:0:-1]
    assert page["next"] == str(numbers[1])
    assert signed(node.http, OPERATOR, "GET", f"{API}/disputes?state=lost").status == 400


def test_rejections_are_a_log_by_did_reason_and_time(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    bad = [{"no": "receipt"}, client.item(token, bytes_verified=1), client.item(token)]
    node.http.submit(client.batch([*bad, bad[-1]]))
    own = signed(node.http, client, "GET", f"{API}/rejections/{client.did}").json["items"]
    assert [(row["index"], row["detail"]) for row in own] == [
        (3, "duplicate_nonce"), (1, "too_few_bytes"), (0, "malformed_receipt")
    ]  # fmt: skip
    assert all(row["meaning"] and row["cure"] for row in own)
    now = int(time.time())

    def found(query: str) -> list[str]:
        path = f"{API}/rejections?did={client.did}&{query}"
        return [row["detail"] for row in signed(node.http, OPERATOR, "GET", path).json["items"]]

    assert found("reason=REPLAY") == ["duplicate_nonce"]
    assert found("detail=too_few_bytes") == ["too_few_bytes"]
    assert len(found(f"since={now - 60}&until={now + 60}")) == 3
    assert found(f"since={now + 60}") == found(f"until={now - 60}") == []
    assert found(f"until={2**63 - 1}&limit=1") == ["duplicate_nonce"]
    assert signed(node.http, client, "GET", f"{API}/rejections").status == 403
    assert signed(node.http, Identity(), "GET", f"{API}/rejections/{client.did}").status == 403
    assert signed(node.http, OPERATOR, "GET", f"{API}/rejections?since=yesterday").status == 400
    listed = cli(node, "rejection", "list", "--did", client.did, "--reason", "POLICY", "--since", "1h")
    assert "POLICY too_few_bytes" in listed
    assert len(listed.splitlines()) == 1


def test_anomaly_flags_are_for_operators(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    db.execute(
        """
        INSERT INTO anomaly_flags (epoch, client_did, kind)
        VALUES (3, %(did)s, 'cap_streak'), (4, %(did)s, 'sudden_growth')
        """,
        {"did": client.did},
    )
    rows = signed(node.http, OPERATOR, "GET", f"{API}/anomalies?did={client.did}").json["items"]
    assert [(row["epoch"], row["kind"]) for row in rows] == [(4, "sudden_growth"), (3, "cap_streak")]
    [row] = signed(node.http, OPERATOR, "GET", f"{API}/anomalies?epoch=3&kind=cap_streak").json["items"]
    assert row["client_did"] == client.did
    assert signed(node.http, client, "GET", f"{API}/anomalies").status == 403
    assert signed(node.http, OPERATOR, "GET", f"{API}/anomalies?kind=odd").status == 400
    assert f"epoch 3 {client.did} cap_streak" in cli(node, "anomaly", "list", "--did", client.did)
