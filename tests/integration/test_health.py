"""When a part fails: what clients see, and that the node recovers by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pouw.local.servers import LocalServers
from pouw.store import migrations
from tests.support import API, Http, Identity, Node, node_key, paused, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_healthy_node_says_so_part_by_part(http: Http) -> None:
    health = http.get("/health")
    assert health.status == 200
    assert health.json["status"] == "ok"
    assert {name: part["status"] for name, part in health.json["components"].items()} == {
        "database": "ok",
        "keys": "ok",
        "redis": "ok",
    }
    assert http.get("/health/live").json == {"status": "ok"}
    assert http.get("/health/ready").json == {"status": "ok", "ready": True}


@pytest.fixture(scope="module")
def own(open_tmp: Path) -> Iterator[tuple[LocalServers, Node]]:
    """A node with servers that a test may stop."""
    with LocalServers(open_tmp / "own-servers") as servers:
        assert servers.postgres is not None
        assert servers.valkey is not None
        migrations.run(servers.postgres.url(), "up")
        node = Node(
            open_tmp / "own-node.log",
            {
                "POUW_DATABASE_URL": servers.postgres.url(),
                "POUW_REDIS_URL": servers.valkey.url,
                "POUW_NODE_SECRET_KEY": node_key(),
                "POUW_RATE_LIMIT_IP": "1000000",
                "POUW_DB_TIMEOUT_SECS": "1",
            },
        ).start()
        yield servers, node
        node.stop()


def test_without_the_database_the_node_says_503_and_comes_back(
    own: tuple[LocalServers, Node], client: Identity
) -> None:
    servers, node = own
    assert servers.postgres is not None
    body = client.batch(client.items(node.http.challenge(), 3))
    servers.postgres.stop()
    for method, path, content in (("GET", f"{API}/challenge", None), ("POST", f"{API}/submit", body)):
        response = node.http.request(method, path, content, Content_Type="application/json")
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert response.json["type"] == "urn:pouw:problem:unavailable"
    for path in ("/health", "/health/ready"):
        wait_for(lambda path=path: node.http.get(path).status == 503, timeout=3)
        assert node.http.get(path).json["ready"] is False
    assert node.http.get("/health").json["components"]["database"]["status"] == "down"
    assert node.http.get("/health/live").status == 200
    time.sleep(8)  # longer than the pool tries to reconnect on its own
    servers.postgres.start()
    wait_for(lambda: node.http.get("/health/ready").status == 200, timeout=30)
    wait_for(lambda: node.http.submit(body).status == 200, timeout=10)
    assert len(node.http.submit(body).json["accepted"]) == 3


def test_a_database_that_hangs_is_not_waited_for(own: tuple[LocalServers, Node], client: Identity) -> None:
    servers, node = own
    assert servers.postgres is not None
    body = client.batch(client.items(node.http.challenge(), 3))
    with paused(servers.postgres.pid):
        start = time.monotonic()
        assert node.http.submit(body).status == 503
        assert node.http.get("/health/ready").status == 503
        assert time.monotonic() - start < 15
    wait_for(lambda: node.http.submit(body).status == 200, timeout=30)
    assert len(node.http.submit(body).json["accepted"]) == 3


def test_a_registered_did_that_signs_meanwhile_hears_503_and_not_401(own: tuple[LocalServers, Node]) -> None:
    """Its key cannot be looked up, which is nobody's fault."""
    servers, node = own
    assert servers.postgres is not None
    with paused(servers.postgres.pid):
        answer = signed(node.http, Identity(), "GET", f"{API}/quota", did="did:web:registered.example")
        assert answer.status == 503
        assert answer.json["type"] == "urn:pouw:problem:unavailable"
    wait_for(lambda: node.http.get("/health/ready").status == 200)


@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_without_redis_answers_go_on(own: tuple[LocalServers, Node], client: Identity, how: str) -> None:
    servers, node = own
    assert servers.valkey is not None
    if how == "stopped":
        servers.valkey.stop()
        check_degraded(node, client)
        servers.valkey.start()
    else:
        with paused(servers.valkey.pid):
            check_degraded(node, client)
    wait_for(lambda: node.http.get("/health").json["status"] == "ok")


def check_degraded(node: Node, client: Identity) -> None:
    start = time.monotonic()
    assert len(node.http.accepted(client.batch(client.items(node.http.challenge(), 3)))) == 3
    assert time.monotonic() - start < 2
    wait_for(lambda: node.http.get("/health").json["status"] == "degraded", timeout=3)
    health = node.http.get("/health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    assert health.json["components"]["redis"]["status"] == "down"
    assert node.http.get("/health/ready").status == 200
