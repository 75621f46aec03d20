"""Sessions of the console, attacked: forged, stolen, replayed and late ones open nothing and change nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import subprocess
import sys
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis

from pouw.client.keys import save
from pouw.client.signing import sign_request
from tests.integration.test_signed_requests import OPERATOR
from tests.support import API, Identity, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartNode
    from tests.support import Node, Response

SESSION, BOARD = f"{API}/console/session", f"{API}/console/board"
BLOCK = json.dumps({"subject": "203.0.113.7", "reason": "a test"}).encode()


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    own = start_node(new_database(), workers=2, operator_dids=OPERATOR.did, trusted_proxies="127.0.0.1")
    yield own
    own.stop()


@pytest.fixture
def db(node: Node) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        yield connection


def sign_in(node: Node) -> SimpleCookie:
    answer = signed(node.http, OPERATOR, "POST", SESSION)
    assert answer.status == 204, answer.body
    return SimpleCookie(answer.headers["Set-Cookie"])


class Window:
    """A browser's window as the node sees it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cookie = sign_in(node)["pouw-console"]
        self.secret = self.cookie.value
        self.token = self.ask("GET", SESSION).json["token"]

    def ask(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Response:
        sent = {"Cookie": f"pouw-console={self.secret}"} | headers
        if body is not None:
            sent["Content-Type"] = "application/json"
        return self.node.http.request(method, path, body, **sent)

    def act(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Response:
        return self.ask(method, path, body, X_Pouw_Console=self.token, **headers)


@pytest.fixture
def window(node: Node) -> Window:
    return Window(node)


def blocks(node: Node) -> list[Any]:
    return list(signed(node.http, OPERATOR, "GET", f"{API}/blocks").json["items"])


def test_a_session_stands_for_its_operator_and_what_it_does_is_audited(
    window: Window, node: Node, db: psycopg.Connection[tuple[Any, ...]]
) -> None:
    assert window.act("GET", BOARD).json["health"]["status"] == "ok"
    assert window.act("POST", f"{API}/blocks", BLOCK).status == 204
    assert [each["by"] for each in blocks(node)] == [OPERATOR.did]
    assert window.act("POST", f"{API}/blocks/lift", json.dumps({"subject": "203.0.113.7"}).encode()).status == 204
    assert window.act("DELETE", SESSION).status == 204
    done = [row[0] for row in db.execute("SELECT action FROM audit_log WHERE actor = %s ORDER BY id", (OPERATOR.did,))]
    assert done[-4:] == ["console.sign_in", "block.set", "block.lift", "console.sign_out"]
    assert window.ask("GET", SESSION).status == 204
    assert window.act("GET", BOARD).status == 401


def test_the_cookie_is_for_this_host_and_no_script(window: Window, node: Node) -> None:
    cookie = window.cookie
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Strict", "/", "")
    secure = node.http.base.replace("http://", "https://")
    headers = _signed_headers(secure + SESSION)
    answer = node.http.request("POST", SESSION, None, X_Forwarded_Proto="https", **headers)
    assert answer.status == 204, answer.body
    [(name, over_tls)] = SimpleCookie(answer.headers["Set-Cookie"]).items()
    assert (name, over_tls["secure"], over_tls["path"]) == ("__Host-pouw-console", True, "/")


def _signed_headers(url: str) -> dict[str, str]:
    return sign_request(
        OPERATOR.key, OPERATOR.did, "POST", url, None, created=int(time.time()), nonce=secrets.token_hex(16)
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_Pouw_Console": ""},
        {"X_Pouw_Console": "0" * 64},
        {"X_Pouw_Console": "é"},
        {"X_Pouw_Console": "TOKEN", "Sec_Fetch_Site": "cross-site"},
        {"X_Pouw_Console": "TOKEN", "Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_sites_request_does_nothing(window: Window, node: Node, headers: dict[str, str]) -> None:
    """A page elsewhere makes the browser send the cookie at the most, never the token."""
    given = {name: text.replace("TOKEN", window.token) for name, text in headers.items()}
    given = {name: text.encode().decode("latin-1") for name, text in given.items()}
    assert window.ask("POST", f"{API}/blocks", BLOCK, **given).status == 401
    assert window.ask("GET", BOARD, None, **given).status == 401
    assert window.ask("DELETE", SESSION, None, **given).status == 401
    assert blocks(node) == []
    assert window.act("GET", BOARD, Sec_Fetch_Site="same-origin").status == 200


def test_nobody_signs_in_who_is_no_operator_or_did_not_sign(window: Window, node: Node) -> None:
    assert signed(node.http, Identity(), "POST", SESSION).status == 403
    assert node.http.request("POST", SESSION, None).status == 401
    assert window.act("POST", SESSION).status == 401, "a session makes no other one"
    for secret in ("", "x" * 43, window.secret[:-1], window.secret + "A"):
        forged = node.http.request("GET", SESSION, None, Cookie=f"pouw-console={secret}")
        assert forged.status == 204


def test_a_link_works_once_and_for_this_node_only(node: Node, tmp_path: Path) -> None:
    def link(url: str) -> str:
        command = [sys.executable, "-m", "pouw", "console", "--url", url, "--key", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.strip() or done.stderr

    file = tmp_path / "operator.key"
    save(file, OPERATOR.key)
    for url, status in ((node.http.base, 204), ("http://127.0.0.2:1", 401)):
        headers = json.loads(base64.urlsafe_b64decode(link(url).partition("#")[2]))
        assert node.http.request("POST", SESSION, None, **headers).status == status
        assert node.http.request("POST", SESSION, None, **headers).status == 401
    for wrong in ("ftp://x", "http://", "https://host/path", "nonsense"):
        assert "--url" in link(wrong)


def test_a_session_ends(window: Window, db: psycopg.Connection[tuple[Any, ...]]) -> None:
    digest = hashlib.sha256(window.secret.encode()).digest()
    [row] = db.execute("SELECT digest FROM console_sessions WHERE digest = %s", (digest,)).fetchall()
    assert row, "the database knows the digest only"
    for column, secs in (("seen_at", 30 * 60), ("began_at", 8 * 3600)):
        assert window.act("GET", BOARD).status == 200
        db.execute(f"UPDATE console_sessions SET {column} = now() - make_interval(secs => {secs + 1})".encode())
        assert window.act("GET", BOARD).status == 401
        db.execute("UPDATE console_sessions SET seen_at = now(), began_at = now()")
    assert window.act("GET", BOARD).status == 200
    db.execute("UPDATE console_sessions SET began_at = now() - interval '9 hours'")
    command = [sys.executable, "-m", "pouw", "worker", "--once"]
    subprocess.run(command, env=window.node.environ, check=True, timeout=60)
    assert db.execute("SELECT count(*) FROM console_sessions").fetchone() == (0,)


def test_who_is_no_operator_any_more_is_out(
    window: Window, start_node: StartNode, db: psycopg.Connection[tuple[Any, ...]]
) -> None:
    assert db
    other = start_node(window.node.environ["POUW_DATABASE_URL"], workers=1, operator_dids=Identity().did)
    headers = {"Cookie": f"pouw-console={window.secret}", "X_Pouw_Console": window.token}
    assert other.http.request("GET", BOARD, None, **headers).status == 401
    assert window.act("GET", BOARD).status == 200
    other.stop()


def test_the_board_names_whom_quotas_refuse(window: Window, node: Node) -> None:
    address = f"198.51.100.{secrets.randbelow(256)}"
    wish = {"subject": address, "per_minute": 30, "reason": "a test", "expires_at": int(time.time()) + 600}
    assert window.act("POST", f"{API}/quota-overrides", json.dumps(wish).encode()).status == 204
    time.sleep(2)  # both workers know it
    for _ in range(40):
        node.http.request("GET", f"{API}/challenge", None, X_Forwarded_For=address)
    board = window.act("GET", BOARD).json
    assert {"scope": "IP", "name": address, "times": 10} in board["over_quota"]
    denials = [each for each in board["series"] if each["name"] == "pouw_rate_limit_denials_total"]
    assert {each["labels"]["scope"] for each in denials} == {"IP", "DID"}


def test_what_is_kept_for_operators_decides_no_quota(window: Window, node: Node) -> None:
    """Where Redis cannot keep whom it refused, quotas go on as they were, in Redis."""
    address = f"198.18.0.{secrets.randbelow(256)}"
    wish = {"subject": address, "per_minute": 5, "reason": "a test", "expires_at": int(time.time()) + 600}
    assert window.act("POST", f"{API}/quota-overrides", json.dumps(wish).encode()).status == 204
    time.sleep(2)  # both workers know it
    server = redis.Redis.from_url(node.environ["POUW_REDIS_URL"].replace("redis+unix://", "unix://"))
    name = f"pouw:refused:{int(time.time()) // 3600}"
    server.delete(name)
    server.set(name, "no sorted set")
    try:
        asked = [node.http.request("GET", f"{API}/challenge", None, X_Forwarded_For=address).status for _ in range(9)]
        assert asked == [200] * 5 + [429] * 4
        assert not node.http.request("GET", f"{API}/quota", None, X_Forwarded_For="198.19.0.1").json["local"]
    finally:
        server.delete(name)
        server.close()


def test_without_a_database_the_page_stays_and_says_so(start_node: StartNode, new_database: Callable[[], str]) -> None:
    own = start_node(new_database(), workers=1, operator_dids=OPERATOR.did, db_timeout_secs=1)
    window = Window(own)
    with psycopg.connect(own.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        [name] = connection.execute("SELECT current_database()").fetchone() or ("",)
    with psycopg.connect(re.sub(r"/test_\w+", "/postgres", own.environ["POUW_DATABASE_URL"]), autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        wait_for(lambda: window.act("GET", BOARD).status == 503)
        for path in ("/", "/console", "/receipts", "/assets/console.js"):
            assert own.http.get(path).status == 200, path
        wait_for(lambda: b"down" in own.http.get("/").body)
        other.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())
    wait_for(lambda: window.act("GET", BOARD).status == 200, timeout=30)
    own.stop()


def test_without_redis_the_console_goes_on(start_node: StartNode, new_database: Callable[[], str]) -> None:
    own = start_node(
        new_database(), workers=1, operator_dids=OPERATOR.did, redis_url="redis://127.0.0.1:1", redis_timeout_ms=100
    )
    board = Window(own).act("GET", BOARD).json
    assert board["health"]["status"] == "degraded"
    assert board["health"]["components"]["redis"]["status"] == "down"
    assert board["over_quota"] == []
    own.stop()


def test_pages_bring_their_own_scripts_only(node: Node) -> None:
    for path in ("/", "/console", "/receipts"):
        answer = node.http.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        text = answer.body.decode()
        assert not re.search(r"<script(?![^>]* src=\"/assets/)|<style| style=| on\w+=", text)
        for name in re.findall(r"(?:src|href)=\"(/assets/[^\"]+)\"", text):
            asset = node.http.get(name)
            assert asset.status == 200
            again = node.http.request("GET", name, None, If_None_Match=asset.headers["ETag"])
            assert again.status == 304
    assert node.http.get("/assets/../console.js").status == 404
    assert node.http.get("/assets/nothing.js").status == 404
