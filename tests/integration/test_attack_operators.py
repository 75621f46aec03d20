"""Strangers at the doors of operators, at the metrics, and at what only a DID itself may read."""

from __future__ import annotations

import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import urllib3

from tests.integration.test_signed_requests import OPERATOR, node
from tests.support import API, Http, Identity, Node, signed

if TYPE_CHECKING:
    import psycopg

__all__ = ["node"]

TABLES = ["identities", "blocked_dids", "blocked_networks", "quota_overrides", "audit_log", "disputes", "node_keys"]
TABLES += ["payouts", "rewards", "epochs"]


def routes(http: Http) -> list[tuple[str, str]]:
    """Return the method and path of every operation that the description calls one for operators."""
    paths = http.get("/openapi.json").json["paths"]
    return [
        (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "(operators" in str((operation.get("summary"), operation.get("description")))
    ]


def wishes(subject: str) -> list[bytes]:
    """Return bodies of which each route of operators takes one."""
    key, until = Identity().public_key.hex(), int(time.time()) + 3600
    return [
        f'{{"did": "{subject}", "public_key": "{key}"}}'.encode(),
        f'{{"public_key": "{key}"}}'.encode(),
        f'{{"subject": "{subject}", "reason": "attack"}}'.encode(),
        f'{{"subject": "{subject}"}}'.encode(),
        b'{"content": "attack"}',
        b'{"state": "resolved_for_claimant", "explanation": "attack", "compensation_atoms": "1"}',
        f'{{"subject": "{subject}", "per_minute": 0, "reason": "attack", "expires_at": {until}}}'.encode(),
    ]


def contents(db: psycopg.Connection[Any]) -> dict[str, list[Any]]:
    return {table: db.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall() for table in TABLES}


def test_every_route_of_operators_is_found(node: Node) -> None:
    """The tests below look at no empty list."""
    found = routes(node.http)
    assert len(found) >= 9
    for word in ("identities", "blocks", "quota-overrides", "resolve", "notes", "rejections", "anomalies"):
        assert any(word in path for _method, path in found), word


def test_strangers_at_the_doors_of_operators(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    """Unsigned it is 401, and 403 with a stranger's signature, whatever the body wishes; and nothing changes."""
    registered = f"did:zhtp:{secrets.token_hex(8)}"
    db.execute("INSERT INTO identities (did, public_key) VALUES (%s, %s)", (registered, client.public_key))
    filed = {"subject": "reward", "subject_id": "1", "claim": "It is missing."}
    dispute = str(signed(node.http, client, "POST", f"{API}/disputes", json.dumps(filed).encode()).json["id"])
    before = contents(db)
    for method, template in routes(node.http):
        path = re.sub(r"\{[^}]*\}", registered, template.replace("{number}", dispute))
        for body in wishes(registered) if method == "POST" else [None]:
            content = {"Content_Type": "application/json"} if body else {}
            unsigned = node.http.request(method, path, body, **content)
            stranger = signed(node.http, Identity(), method, path, body)
            holder = signed(node.http, client, method, path, body, did=registered)
            told = (unsigned.status, stranger.status, holder.status)
            if unsigned.status == 422:  # a body of another route is refused for what it is, by whomever
                assert told == (422, 422, 422), (method, path)
                continue
            open_door = (method, template) == ("POST", f"{API}/identities")  # its holder may register a new DID
            assert told == (401, 403, 403) or (open_door and told == (401, 403, 409)), (method, path, told)
            assert unsigned.json["type"] == "urn:pouw:problem:signature-required"
            assert stranger.json["type"] == "urn:pouw:problem:forbidden"
    assert contents(db) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "127.0.0.1"},
        {"Authorization": f"Bearer {OPERATOR.did}"},
        {"X_HTTP_Method_Override": "POST"},
        {"X_Original_URL": "/health"},
        {"Cookie": f"did={OPERATOR.did}"},
        {"Signature_Input": f'pouw=("@method" "@target-uri");keyid="{OPERATOR.did}";tag="pouw"'},
        {"Signature": "pouw=:AAAA:"},
    ],
)
def test_no_other_header_makes_an_operator(node: Node, headers: dict[str, str]) -> None:
    """What other servers take for a proof is none here."""
    for path in ("/blocks", "/identities", "/quota-overrides"):
        assert node.http.request("GET", API + path, None, **headers).status == 401


def test_other_spellings_of_a_path_open_no_door(node: Node, client: Identity) -> None:
    """Doubled slashes, dots, encodings, capitals and parameters never get a list or somebody else's receipts."""
    spellings = [f"/{API}/blocks", f"{API}//blocks", f"{API}/./blocks", f"{API}/x/../blocks", f"{API}/%62locks"]
    spellings += [f"{API}/blocks/", f"{API}/Blocks", f"{API}/blocks;x=1", f"{API}/blocks%00", f"{API}/blocks%2f"]
    spellings += [
        f"{API}/receipts/{OPERATOR.did}/",
        f"{API}/receipts/{OPERATOR.did}%20",
        f"{API}/receipts/%2e%2e/blocks",
    ]
    manager = urllib3.HTTPConnectionPool("127.0.0.1", node.port, retries=False)
    for path in spellings:
        assert manager.urlopen("GET", path, redirect=False).status in (308, 401, 404), path
        assert signed(node.http, client, "GET", path).status in (308, 401, 403, 404), path
    manager.close()


def test_the_files_of_the_page_are_all_that_it_serves(shared_node: Node) -> None:
    """Paths that climb out of the folder of the browsable description."""
    manager = urllib3.HTTPConnectionPool("127.0.0.1", shared_node.port, retries=False)
    for climb in ("../", "..%2f", "%2e%2e/", "..%5c", "....//", "%252e%252e%252f", "/"):
        for file in ("etc/passwd", "__init__.py", "flask_swagger_ui.py"):
            answer = manager.urlopen("GET", f"/docs/{climb * 6}{file}", redirect=False)
            assert answer.status in (308, 404), (climb, answer.status)
            assert b"root:" not in answer.data
    manager.close()


def test_metrics_are_on_their_own_loopback_port_only(shared_node: Node) -> None:
    """The API's port has no metrics under any name, and no other address listens for them."""
    for path in ("/metrics", "/metrics/", "//metrics", f"{API}/metrics", "/docs/metrics", "/METRICS"):
        assert shared_node.http.get(path).status == 404, path
    listening = [
        connection.laddr
        for process in (shared_node.master, *shared_node.workers())
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} == {shared_node.port, shared_node.metrics_port}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_metrics_name_nobody(shared_node: Node, node: Node, client: Identity) -> None:
    """After batches, refusals and signed requests, no DID, address, nonce or key stands in the metrics."""
    for each in (shared_node, node):
        token, nonce = each.http.challenge(), secrets.token_hex(16)
        items = [client.item(token), client.item(token, bytes_verified=1), {"receipt": client.did}]
        assert each.http.submit(client.batch(items, batch_nonce=nonce)).status == 200
        signed(each.http, client, "GET", f"{API}/receipts/{client.did}")
        each.http.request("GET", f"{API}/{client.did}", None, X_Forwarded_For="192.0.2.77", User_Agent=client.did)
        metrics = Http(f"http://127.0.0.1:{each.metrics_port}")
        text = metrics.get("/metrics").body.decode()
        metrics.close()
        assert "pouw_receipts_accepted_total" in text
        names = [client.did, client.did[8:], client.public_key.hex(), token.challenge_nonce.hex(), token.node_id.hex()]
        names += [token.task_id.hex(), items[0]["receipt"]["receipt_nonce"], nonce, "192.0.2.77"]
        for name in names:
            assert name not in text
        assert not re.search(r"did:|\d+\.\d+\.\d+\.\d+|[0-9a-f]{32}", text)


def test_a_query_parameter_that_stands_twice(node: Node, client: Identity) -> None:
    """Of two values a filter before the node and the node itself could each take another: neither counts."""
    for who, path, query in (
        (client, f"/receipts/{client.did}", "limit=1&limit=200"),
        (client, f"/clients/{client.did}/history", "cursor=1&cursor=1"),
        (OPERATOR, "/identities", "limit=1&limit=2"),
    ):
        answer = signed(node.http, who, "GET", f"{API}{path}?{query}")
        assert (answer.status, answer.json["type"]) == (400, "urn:pouw:problem:bad-parameter")
        assert answer.json["errors"][0]["path"] == f"/{query[: query.index('=')]}"
