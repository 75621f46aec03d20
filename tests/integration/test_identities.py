"""Identities: registered, rotated, retired, listed, by those who may, and written down."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_signed_requests import OPERATOR, node
from tests.support import API, Identity, Node, Response, batch_body, signed

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import StartNode

__all__ = ["node"]


def new_did() -> str:
    return f"did:zhtp:{secrets.token_hex(8)}"


def post(node: Node, who: Identity, path: str, value: Any, did: str = "") -> Response:
    return signed(node.http, who, "POST", f"{API}{path}", json.dumps(value).encode(), did=did)


def test_a_holder_registers_by_signing_with_the_key(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    did = new_did()
    wish = {"did": did, "public_key": client.public_key.hex()}
    assert post(node, Identity(), "/identities", wish, did=did).status == 401
    answer = post(node, client, "/identities", wish, did=did)
    assert answer.status == 201, answer.body
    assert (answer.json["did"], answer.json["retired_at"]) == (did, None)
    assert post(node, client, "/identities", wish, did=did).status == 409
    items = [client.item(node.http.challenge(), client_did=did)]
    assert len(node.http.accepted(batch_body(did, items))) == 1
    row = db.execute("SELECT actor, action FROM audit_log WHERE subject = %s", (did,)).fetchone()
    assert row == (did, "identity.add")


def test_nobody_takes_over_a_did_that_is_registered(node: Node, client: Identity) -> None:
    did, thief = new_did(), Identity()
    post(node, client, "/identities", {"did": did, "public_key": client.public_key.hex()}, did=did)
    assert post(node, thief, "/identities", {"did": did, "public_key": thief.public_key.hex()}, did=did).status == 401
    assert signed(node.http, thief, "GET", f"{API}/receipts/{did}", did=did).status == 401
    assert signed(node.http, client, "GET", f"{API}/receipts/{did}", did=did).status == 200


def test_nobody_becomes_an_operator_by_registering(node: Node) -> None:
    thief = Identity()
    wish = {"did": OPERATOR.did, "public_key": thief.public_key.hex()}
    assert post(node, thief, "/identities", wish, did=OPERATOR.did).status == 401


def test_an_operators_did_that_nobody_registered_yet_is_not_for_the_taking(
    start_node: StartNode, shared_url: str, client: Identity
) -> None:
    did = new_did()
    node = start_node(shared_url, operator_dids=did, registration="open")
    assert post(node, client, "/identities", {"did": did, "public_key": client.public_key.hex()}, did=did).status == 403
    node.stop()


def test_an_operator_rotates_and_retires(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    did, successor = new_did(), Identity()
    wish = {"did": did, "public_key": client.public_key.hex()}
    assert post(node, OPERATOR, "/identities", wish).status == 201
    new_key = {"public_key": successor.public_key.hex()}
    assert post(node, client, f"/identities/{did}/rotate", new_key, did=did).status == 403
    assert post(node, OPERATOR, f"/identities/{did}/rotate", new_key).status == 200
    assert signed(node.http, client, "GET", f"{API}/receipts/{did}", did=did).status == 401
    assert signed(node.http, successor, "GET", f"{API}/receipts/{did}", did=did).status == 200
    again = post(node, OPERATOR, f"/identities/{did}/rotate", {"public_key": client.public_key.hex()})
    assert again.status == 409, "an old key never comes back"
    assert signed(node.http, OPERATOR, "POST", f"{API}/identities/{did}/retire").status == 204
    assert signed(node.http, OPERATOR, "POST", f"{API}/identities/{did}/retire").status == 404
    assert post(node, OPERATOR, f"/identities/{did}/rotate", new_key).status == 404
    log = db.execute("SELECT actor, action FROM audit_log WHERE subject = %s ORDER BY id", (did,)).fetchall()
    assert log == [(OPERATOR.did, f"identity.{action}") for action in ("add", "rotate", "retire")]


def test_operators_list_everything_page_by_page(node: Node, client: Identity) -> None:
    dids = sorted(new_did() for _ in range(5))
    for did in dids:
        post(node, OPERATOR, "/identities", {"did": did, "public_key": client.public_key.hex()})
    assert signed(node.http, client, "GET", f"{API}/identities").status == 403
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        from urllib.parse import quote

        page = signed(node.http, OPERATOR, "GET", f"{API}/identities?limit=2&cursor={quote(cursor)}").json
        seen += [row["did"] for row in page["items"]]
        cursor = page["next"]
    assert [did for did in seen if did in dids] == dids
    assert len(seen) == len(set(seen)) or len(seen) > len(dids)


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"did": "no did", "public_key": "00" * 32},
        {"did": "did:zhtp:x"},
        {"did": "did:zhtp:x", "public_key": "00" * 31},
        {"did": "did:zhtp:x", "public_key": "01" + "00" * 31},
        {"did": "did:zhtp:x", "public_key": 7},
        {"did": OPERATOR.did, "public_key": Identity().public_key.hex()},
        {"did": "did:zhtp:x", "public_key": "00" * 32, "more": 1},
        [],
        None,
    ],
)
def test_bad_wishes_are_problems_and_change_nothing(node: Node, db: psycopg.Connection[Any], wish: Any) -> None:
    before = db.execute("SELECT count(*) FROM identities").fetchone()
    answer = post(node, OPERATOR, "/identities", wish)
    assert answer.status == 422, answer.body
    assert answer.json["errors"]
    assert db.execute("SELECT count(*) FROM identities").fetchone() == before


def test_closed_registration_is_for_operators(start_node: StartNode, shared_url: str, client: Identity) -> None:
    closed = start_node(shared_url, operator_dids=OPERATOR.did)
    did = new_did()
    wish = {"did": did, "public_key": client.public_key.hex()}
    assert post(closed, client, "/identities", wish, did=did).status == 401
    assert post(closed, client, "/identities", wish).status == 403
    assert (
        closed.http.request(
            "POST", f"{API}/identities", json.dumps(wish).encode(), Content_Type="application/json"
        ).status
        == 401
    )
    assert post(closed, OPERATOR, "/identities", wish).status == 201
    closed.stop()


def test_the_command_does_the_same(shared_url: str, client: Identity, db: psycopg.Connection[Any]) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pouw", "identity", *arguments],
            env=os.environ | {"POUW_DATABASE_URL": shared_url},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    did, key, new_key = new_did(), client.public_key.hex(), Identity().public_key.hex()
    assert run("add", did, key).returncode == 0
    again = run("add", did, key)
    assert (again.returncode, again.stderr) == (2, f"pouw: {did} is registered already; its key can be rotated.\n")
    assert run("rotate", did, new_key).stdout.startswith(f"{did} {new_key}")
    assert run("retire", did).stdout == f"{did} is retired.\n"
    assert run("retire", did).returncode == 2
    assert run("add", new_did(), "zz").returncode == 2
    listed = run("list").stdout
    assert f"{did} {key}" in listed
    assert f"{did} {new_key}" in listed
    actors = db.execute("SELECT DISTINCT actor FROM audit_log WHERE subject = %s", (did,)).fetchall()
    assert [str(row[0]).partition(":")[0] for row in actors] == ["cli"]
