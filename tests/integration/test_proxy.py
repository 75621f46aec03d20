"""Behind a real HAProxy with the configuration that is delivered: TLS 1.3, the client's own address, HSTS."""

from __future__ import annotations

import http.client
import secrets
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from pouw.client.signing import sign_request
from tests.proxying import haproxy
from tests.support import API, Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode

LIMIT = 30

pytestmark = pytest.mark.debian


@pytest.fixture(scope="module")
def proxy(
    start_node: StartNode, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """HAProxy before two nodes on one database; the port that it listens on."""
    url = new_database()
    nodes = [start_node(url, rate_limit_ip=LIMIT, trusted_proxies="127.0.0.1", workers=1) for _ in range(2)]
    with haproxy(tmp_path_factory.mktemp("proxy"), nodes) as port:
        yield port
    for node in nodes:
        node.stop()


def get(port: int, path: str, source: str = "127.0.0.1", **headers: str) -> tuple[int, http.client.HTTPMessage]:
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.2", port, context=context, timeout=10, source_address=(source, 0))
    connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers


def test_each_client_behind_the_proxy_has_its_own_quota_whatever_it_claims(proxy: int) -> None:
    """127.1.0.1 and 127.1.0.2 are two clients; a third one pretends to be many."""
    first = [get(proxy, f"{API}/challenge", "127.1.0.1")[0] for _ in range(LIMIT + 1)]
    assert first == [200] * LIMIT + [429]
    assert get(proxy, f"{API}/challenge", "127.1.0.2")[0] == 200
    claims = [
        get(
            proxy, f"{API}/challenge", "127.1.0.3",
            X_Forwarded_For=f"192.0.2.{number}", X_Real_IP=f"192.0.2.{number}", Forwarded=f"for=192.0.2.{number}",
        )[0]
        for number in range(LIMIT + 5)
    ]  # fmt: skip
    assert claims.count(200) == LIMIT


def test_the_node_knows_that_the_client_speaks_tls(proxy: int) -> None:
    status, headers = get(proxy, "/health/live")
    assert status == 200
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    client = Identity()
    url = f"https://127.0.0.2:{proxy}{API}/quota"
    signature = sign_request(
        client.key, client.did, "GET", url, None, created=int(time.time()), nonce=secrets.token_hex(16)
    )
    assert get(proxy, f"{API}/quota", "127.1.0.9", **signature)[0] == 200


def test_the_proxy_refuses_tls_1_2(proxy: int) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.2:{proxy}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr
