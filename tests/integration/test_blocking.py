"""Blocked DIDs and addresses: kept out everywhere within two seconds, listed, lifted, written down."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from pouw.cli import main
from tests.support import API, Identity, Node, Response, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode

OPERATOR = Identity()


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """A node behind a proxy on this host."""
    started = start_node(new_database(), trusted_proxies="127.0.0.1", operator_dids=OPERATOR.did)
    yield started
    started.stop()


def cli(node: Node, *arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(main, list(arguments), env={"POUW_DATABASE_URL": node.environ["POUW_DATABASE_URL"]})
    assert (done.exit_code != 0) == fails, done.output
    return done.output


def ask(node: Node, source: str, path: str = f"{API}/challenge", *, close: bool = False) -> Response:
    return node.http.request("GET", path, X_Forwarded_For=source, Connection="close" if close else "keep-alive")


def everywhere(node: Node, source: str, status: int) -> None:
    """Wait until every worker answers so."""
    wait_for(lambda: [ask(node, source, close=True).status for _ in range(10)] == [status] * 10, timeout=12)


def test_a_blocked_network_is_kept_out_until_it_is_lifted(node: Node) -> None:
    network = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.0/24"
    inside, outside = network.replace("0/24", "9"), "192.0.2.1"
    assert ask(node, inside).status == 200
    assert "is blocked" in cli(node, "block", "add", network, "--reason", "it floods", "--for", "1h")
    everywhere(node, inside, 403)
    refused = ask(node, inside)
    assert refused.json["type"] == "urn:pouw:problem:blocked-address"
    assert "floods" not in json.dumps(refused.json), "the reason is the operator's"
    assert ask(node, outside).status == 200
    assert ask(node, inside, "/health/live").status == 200
    assert f"{network} until " in cli(node, "block", "list")
    cli(node, "block", "lift", network)
    everywhere(node, inside, 200)
    assert "is not blocked" in cli(node, "block", "lift", network, fails=True)
    with psycopg.connect(node.environ["POUW_DATABASE_URL"]) as db:
        rows = db.execute("SELECT action, actor FROM audit_log WHERE subject = %s ORDER BY id", (network,)).fetchall()
    assert [action for action, _actor in rows] == ["block.set", "block.lift"]
    assert all(actor.startswith("cli:") for _action, actor in rows)


def test_a_blocked_did_gets_blocked_client(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    cli(node, "block", "add", client.did, "--reason", "sells receipts")
    answer = node.http.submit(client.batch(client.items(token, 2))).json
    assert answer["accepted"] == []
    assert [each["detail"] for each in answer["rejected"]] == ["blocked_client"] * 2
    assert f"{client.did} until it is lifted" in cli(node, "block", "list")
    cli(node, "block", "lift", client.did)
    assert len(node.http.accepted(client.batch(client.items(token, 2)))) == 2


def test_a_block_ends_by_itself(node: Node, client: Identity) -> None:
    source = "10.200.0.1"
    cli(node, "block", "add", source, "--reason", "short", "--for", "8s")
    cli(node, "block", "add", client.did, "--reason", "short", "--for", "8s")
    wait_for(lambda: ask(node, source).status == 403, timeout=6)
    everywhere(node, source, 200)
    token = node.http.challenge()
    wait_for(lambda: len(node.http.submit(client.batch(client.items(token, 1))).json["accepted"]) == 1, timeout=5)
    assert source not in cli(node, "block", "list")


def test_operators_block_by_request_and_nobody_else(node: Node, client: Identity) -> None:
    def post(who: Identity, path: str, document: Any) -> int:
        return signed(node.http, who, "POST", path, json.dumps(document).encode()).status

    wish = {"subject": "2001:db8:77::/48", "reason": "test", "expires_at": int(time.time()) + 60}
    assert post(OPERATOR, f"{API}/blocks", wish) == 204
    everywhere(node, "2001:db8:77:1::1", 403)
    [row] = signed(node.http, OPERATOR, "GET", f"{API}/blocks").json["items"]
    assert {name: row[name] for name in wish} == wish
    assert row["by"] == OPERATOR.did
    assert post(client, f"{API}/blocks", wish) == 403
    assert post(client, f"{API}/blocks/lift", {"subject": wish["subject"]}) == 403
    assert signed(node.http, client, "GET", f"{API}/blocks").status == 403
    assert node.http.get(f"{API}/blocks").status == 401
    assert post(OPERATOR, f"{API}/blocks/lift", {"subject": wish["subject"]}) == 204
    assert post(OPERATOR, f"{API}/blocks/lift", {"subject": wish["subject"]}) == 404
    bad: list[dict[str, Any]] = [{"subject": "0.0.0.0/0"}, {"subject": "x"}, {"reason": " "}, {"expires_at": 5}]
    for changes in bad:
        assert post(OPERATOR, f"{API}/blocks", wish | changes) == 422
    assert signed(node.http, OPERATOR, "GET", f"{API}/blocks").json["items"] == []


@pytest.mark.parametrize("duration", ["0s", "1", "h", "1w", "-1h", "1h30m", "٣h"])
def test_a_duration_that_is_none_is_refused(node: Node, duration: str) -> None:
    cli(node, "block", "add", "192.0.2.9", "--reason", "x", "--for", duration, fails=True)
    assert cli(node, "block", "list") == ""
