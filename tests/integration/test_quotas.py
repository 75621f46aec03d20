"""Quotas: who spends whose, what clients are told, and that no more than the limit ever pass."""

from __future__ import annotations

import functools
import json
import secrets
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from click.testing import CliRunner

from pouw.cli import main
from pouw.limits import WINDOW_SECS, Window
from tests.support import API, Http, Identity, Node, Response, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.local.servers import LocalServers
    from tests.conftest import StartNode

OPERATOR = Identity()
LIMIT = 20


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    return new_database()


def run_cli(url: str, *arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(main, list(arguments), env={"POUW_DATABASE_URL": url})
    assert (done.exit_code != 0) == fails, done.output
    return done.output


@pytest.fixture
def operator_cli(url: str) -> Callable[..., str]:
    return functools.partial(run_cli, url)


@pytest.fixture(scope="module")
def node(start_node: StartNode, url: str) -> Iterator[Node]:
    """A node with small quotas, behind a proxy on this host: a test chooses the address that it comes from."""
    for subject in ("127.0.0.1", OPERATOR.did):  # what names no other address, and the operator
        run_cli(url, "quota", "set", subject, "--per-minute", "100000", "--reason", "tests", "--for", "1d")
    started = start_node(
        url, rate_limit_ip=LIMIT, rate_limit_did=5, trusted_proxies="127.0.0.1", operator_dids=OPERATOR.did
    )
    yield started
    started.stop()


def address() -> str:
    """Return an IPv4 address that nobody used before."""
    return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


def ask(http: Http, source: str, path: str = f"{API}/challenge", body: bytes | None = None, **headers: str) -> Response:
    method = "GET" if body is None else "POST"
    content = {} if body is None else {"Content-Type": "application/json"}
    return http.request(method, path, body, X_Forwarded_For=source, **content, **headers)


def test_an_address_gets_its_limit_and_then_429(node: Node) -> None:
    source = address()
    answers = [ask(node.http, source) for _ in range(LIMIT)]
    assert [answer.status for answer in answers] == [200] * LIMIT
    assert answers[0].headers["RateLimit-Policy"] == f'"ip";q={LIMIT};w=60'
    assert [int(answer.headers["RateLimit"].split("r=")[1].split(";")[0]) for answer in answers] == list(
        range(LIMIT - 1, -1, -1)
    )
    denied = ask(node.http, source)
    assert denied.status == 429
    assert denied.headers["Content-Type"] == "application/problem+json"
    assert denied.json["type"] == "urn:pouw:problem:quota-exceeded"
    assert "per IP" in denied.json["title"]
    assert f"{LIMIT} requests a minute" in denied.json["detail"]
    assert 1 <= int(denied.headers["Retry-After"]) <= 2 * WINDOW_SECS
    assert denied.headers["RateLimit"].startswith('"ip";r=0;t=')
    assert ask(node.http, address()).status == 200


def test_never_more_than_the_limit_pass_at_once_over_all_workers(node: Node) -> None:
    source = address()
    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda _: ask(node.http, source).status, range(4 * LIMIT)))
    assert statuses.count(200) == LIMIT
    assert statuses.count(429) == 3 * LIMIT


def test_a_subscriber_of_ipv6_has_one_quota_for_its_64(node: Node) -> None:
    fourth = secrets.randbelow(65536)
    prefix, other = (f"2001:db8:{secrets.randbelow(65536):x}:{each:x}" for each in (fourth, fourth ^ 1))
    statuses = [ask(node.http, f"{prefix}::{number + 1:x}").status for number in range(LIMIT + 1)]
    assert statuses == [200] * LIMIT + [429]
    assert ask(node.http, f"{other}::1").status == 200


def test_the_quota_comes_before_any_work(node: Node) -> None:
    source = address()
    for _ in range(LIMIT):
        assert ask(node.http, source, f"{API}/nothing-here").status == 404
    assert ask(node.http, source, f"{API}/submit", b"{").status == 429
    assert node.http.request("GET", "/health/live", X_Forwarded_For=source).status == 200


def test_a_did_spends_its_quota_only_with_what_its_key_signed(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    others = Identity()
    forged = client.item(token) | {"signature": others.item(token)["signature"]}
    for _ in range(10):  # by others, in its name: nothing is spent
        assert ask(node.http, address(), f"{API}/submit", client.batch([forged])).status == 200
    answers = [ask(node.http, address(), f"{API}/submit", client.batch(client.items(token, 1))) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert answers[0].headers["RateLimit-Policy"] == f'"ip";q={LIMIT};w=60, "did";q=5;w=60'
    assert answers[0].headers["RateLimit"].split(", ")[1].startswith('"did";r=4;t=')
    assert "per DID" in answers[5].json["title"]


def test_what_was_denied_was_not_stored(node: Node, client: Identity, url: str) -> None:
    token = node.http.challenge()
    bodies = [client.batch(client.items(token, 1)) for _ in range(6)]
    statuses = [ask(node.http, address(), f"{API}/submit", body).status for body in bodies]
    assert statuses == [200] * 5 + [429]
    with psycopg.connect(url) as db:
        for table in ("batches", "receipts"):
            [(count,)] = db.execute(f"SELECT count(*) FROM {table} WHERE client_did = %s", (client.did,)).fetchall()
            assert count == 5


def test_a_signed_request_spends_the_dids_quota(node: Node, client: Identity) -> None:
    path = f"{API}/receipts/{client.did}"
    assert [signed(node.http, client, "GET", path).status for _ in range(6)] == [200] * 5 + [429]


def test_a_client_can_ask_what_is_left(node: Node, client: Identity) -> None:
    source = address()
    ask(node.http, source)
    answer = ask(node.http, source, f"{API}/quota")
    assert answer.status == 200
    [limit] = answer.json["limits"]
    assert limit == {
        "scope": "IP",
        "limit": LIMIT,
        "remaining": LIMIT - 2,
        "reset_secs": limit["reset_secs"],
        "window_secs": 60,
    }
    assert answer.json["local"] is False
    both = signed(node.http, client, "GET", f"{API}/quota").json["limits"]
    assert [(each["scope"], each["limit"]) for each in both] == [("IP", 100_000), ("DID", 5)]
    assert both[1]["remaining"] == 4


def test_operators_give_out_other_quotas_by_command(
    node: Node, client: Identity, operator_cli: Callable[..., str], url: str
) -> None:
    network = f"172.16.{secrets.randbelow(256)}.0/24"
    inside = network.replace("0/24", "77")
    operator_cli("quota", "set", network, "--per-minute", "2", "--reason", "noisy", "--for", "1h")
    operator_cli("quota", "set", client.did, "--per-minute", "7", "--reason", "a partner", "--for", "1d")
    wait_for(lambda: "q=2;" in ask(node.http, inside).headers["RateLimit-Policy"], timeout=5)  # fmt: skip
    wait_for(lambda: ask(node.http, inside).status == 429, timeout=5)
    wait_for(lambda: signed(node.http, client, "GET", f"{API}/quota").json["limits"][1]["limit"] == 7, timeout=5)
    listed = operator_cli("quota", "list")
    assert f"{network} 2 a minute" in listed
    assert f"{client.did} 7 a minute" in listed
    operator_cli("quota", "lift", network)
    wait_for(lambda: f"q={LIMIT};" in ask(node.http, inside).headers["RateLimit-Policy"], timeout=5)
    assert "usual quota" in operator_cli("quota", "lift", network, fails=True)
    with psycopg.connect(url) as db:
        rows = db.execute("SELECT action, note->>'reason' FROM audit_log WHERE subject = %s ORDER BY id", (network,))
        assert rows.fetchall() == [("quota.set", "noisy"), ("quota.lift", None)]


def test_an_override_ends_by_itself(node: Node, operator_cli: Callable[..., str]) -> None:
    source = address()
    operator_cli("quota", "set", source, "--per-minute", "3", "--reason", "short", "--for", "10s")
    wait_for(lambda: "q=3;" in ask(node.http, source).headers["RateLimit-Policy"], timeout=8)
    wait_for(lambda: f"q={LIMIT};" in ask(node.http, source).headers["RateLimit-Policy"], timeout=20)


def post(node: Node, path: str, document: Any) -> Response:
    return signed(node.http, OPERATOR, "POST", path, json.dumps(document).encode())


def test_operators_give_out_other_quotas_by_request(node: Node) -> None:
    wish = {"subject": "198.51.100.0/24", "per_minute": 9, "reason": "test", "expires_at": int(time.time()) + 60}
    assert post(node, f"{API}/quota-overrides", wish).status == 204
    listed = signed(node.http, OPERATOR, "GET", f"{API}/quota-overrides").json["items"]
    [row] = [row for row in listed if row["subject"] == wish["subject"]]
    assert row["by"] == OPERATOR.did
    assert {name: row[name] for name in wish} == wish
    assert post(node, f"{API}/quota-overrides/lift", {"subject": wish["subject"]}).status == 204
    assert post(node, f"{API}/quota-overrides/lift", {"subject": wish["subject"]}).status == 404
    bad: list[dict[str, Any]] = [
        {"subject": "everybody"}, {"subject": "0.0.0.0/0"}, {"per_minute": -1}, {"per_minute": 10**10}, {"reason": ""},
        {"reason": "a\nb"}, {"expires_at": 1}, {"expires_at": None}, {"expires_at": 2**62},
    ]  # fmt: skip
    for changes in bad:
        answer = post(node, f"{API}/quota-overrides", wish | changes)
        assert answer.status == 422, (changes, answer.body)
    for who in (Identity(), None):
        body = json.dumps(wish).encode()
        answer = (
            ask(node.http, address(), f"{API}/quota-overrides", body)
            if who is None
            else signed(node.http, who, "POST", f"{API}/quota-overrides", body)
        )
        assert answer.status == (401 if who is None else 403)


def test_the_script_counts_as_the_arithmetic_says(servers: LocalServers) -> None:
    """A hundred random spends on a fast window: Redis and the arithmetic agree on every one."""
    from importlib.resources import files

    assert servers.valkey is not None
    server: Any = redis.Redis.from_url(servers.valkey.url.replace("redis+unix", "unix"))
    script = server.register_script(files("pouw.limits").joinpath("spend.lua").read_text())

    def spend(name: str, limit: int, window_ms: int, cost: int) -> list[int]:
        return list(struct.unpack(">BIII", script([name], [window_ms, cost, limit])))

    key = f"test:{secrets.token_hex(4)}"
    allowed_before = 0
    for _ in range(100):
        allowed, previous, current, left = spend(key, LIMIT, 60_000, 1)
        used = Window(previous, current, left / 1000).used
        assert used <= LIMIT
        assert allowed == (1 if allowed_before < LIMIT else 0)
        allowed_before += allowed
        looked = spend(key, LIMIT, 60_000, 0)
        assert looked[1:3] == [previous, current]
    assert 60_000 < server.pttl(key) <= 120_000
    fast = f"test:{secrets.token_hex(4)}"
    assert spend(fast, 5, 2_000, 5)[0] == 1
    assert spend(fast, 5, 2_000, 1)[0] == 0
    wait_for(lambda: spend(fast, 5, 2_000, 0)[1:3] == [5, 0], timeout=5, pause=0.02)
    wait_for(lambda: spend(fast, 5, 2_000, 0)[1:3] == [0, 0], timeout=5, pause=0.02)
    assert spend(fast, 5, 2_000, 5)[0] == 1
    # Several windows at once, one of them twice: as if each came alone.
    one, two = f"test:{secrets.token_hex(4)}", f"test:{secrets.token_hex(4)}"
    states = script([one, two, one, one], [60_000, 1, 2, 0, 2, 2])
    assert [state[0] for state in struct.iter_unpack(">BIII", states)] == [1, 0, 1, 0]
