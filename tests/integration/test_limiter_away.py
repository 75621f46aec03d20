"""Redis gone, hung, slow or emptied: answers go on, fast, under quotas of each worker; and it heals by itself."""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import redis

from pouw.local.servers import LocalServers
from pouw.store import migrations
from tests.support import API, Identity, Node, node_key, paused, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 10
WORKERS = 2


@pytest.fixture(scope="module")
def own(open_tmp: Path) -> Iterator[tuple[LocalServers, Node]]:
    """A node with a Redis that a test may stop."""
    with LocalServers(open_tmp / "limiter-servers") as servers:
        assert servers.postgres is not None
        assert servers.valkey is not None
        migrations.run(servers.postgres.url(), "up")
        node = Node(
            open_tmp / "limiter-node.log",
            {
                "POUW_DATABASE_URL": servers.postgres.url(),
                "POUW_REDIS_URL": servers.valkey.url,
                "POUW_NODE_SECRET_KEY": node_key(),
                "POUW_RATE_LIMIT_IP": str(LIMIT),
                "POUW_TRUSTED_PROXIES": "127.0.0.1",
                "POUW_WORKERS": str(WORKERS),
                "POUW_REDIS_TIMEOUT_MS": "500",
            },
        ).start()
        yield servers, node
        node.stop()


def statuses(node: Node, source: str, count: int) -> list[int]:
    """Ask so many times, each on a connection of its own, so that every worker has its share."""
    return [
        node.http.request("GET", f"{API}/challenge", X_Forwarded_For=source, Connection="close").status
        for _ in range(count)
    ]


def backend_errors(node: Node) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{node.metrics_port}/metrics") as answer:
        text: str = answer.read().decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith("pouw_rate_limit_backend_er")))


def away_lines(node: Node) -> int:
    return node.log.read_text().count("limiter_away")


@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_without_redis_quotas_count_per_worker_and_heal(
    own: tuple[LocalServers, Node], client: Identity, how: str
) -> None:
    servers, node = own
    assert servers.valkey is not None
    source = "192.0.2.1" if how == "stopped" else "192.0.2.2"
    errors = backend_errors(node)
    if how == "stopped":
        servers.valkey.stop()
        check_away(node, client, source)
        servers.valkey.start()
    else:
        with paused(servers.valkey.pid):
            check_away(node, client, source)
    assert backend_errors(node) > errors
    assert away_lines(node) == 1, "one line a minute, over all workers and both tests"
    wait_for(lambda: shared(node), timeout=10)
    token_free = f"198.51.100.{1 if how == 'stopped' else 2}"
    assert statuses(node, token_free, LIMIT + 5).count(200) == LIMIT  # counted together again
    wait_for(lambda: node.http.get("/health").json["status"] == "ok")


def test_a_changed_redis_password_is_an_absence_like_any_other(
    own: tuple[LocalServers, Node], client: Identity
) -> None:
    servers, node = own
    assert servers.valkey is not None
    wait_for(lambda: shared(node), timeout=10)
    server: Any = redis.Redis.from_url(servers.valkey.url.replace("redis+unix", "unix"))
    server.config_set("requirepass", "another")
    try:
        server.client_kill_filter(_type="normal", skipme=True)
        check_away(node, client, "192.0.2.4")
    finally:
        server.config_set("requirepass", "")
    wait_for(lambda: shared(node), timeout=10)
    wait_for(lambda: node.http.get("/health").json["status"] == "ok")


def stranger() -> str:
    return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


def shared(node: Node) -> bool:
    """Whether many answers in a row, from all workers, come from such as count in Redis."""
    return not any(
        node.http.request("GET", f"{API}/quota", X_Forwarded_For=stranger(), Connection="close").json["local"]
        for _ in range(16)
    )


def check_away(node: Node, client: Identity, source: str) -> None:
    start = time.monotonic()
    token = node.http.challenge()
    assert len(node.http.accepted(client.batch(client.items(token, 3)))) == 3
    passed = statuses(node, source, 3 * LIMIT * WORKERS).count(200)
    assert LIMIT <= passed <= LIMIT * WORKERS
    assert node.http.request("GET", f"{API}/quota", X_Forwarded_For="192.0.2.200").json["local"] is True
    assert time.monotonic() - start < 10, "nobody waits for Redis"
    wait_for(lambda: node.http.get("/health").json["status"] == "degraded", timeout=3)
    assert node.http.get("/health").json["components"]["redis"]["status"] == "down"
    assert node.http.get("/health/ready").status == 200


def test_an_emptied_redis_forgets_quotas_and_no_receipt(own: tuple[LocalServers, Node], client: Identity) -> None:
    servers, node = own
    assert servers.valkey is not None
    wait_for(lambda: shared(node), timeout=10)
    source = "192.0.2.3"
    token = node.http.challenge()
    body = client.batch(client.items(token, 3))
    nonces = node.http.accepted(body)
    assert statuses(node, source, LIMIT + 1)[-1] == 429
    server: Any = redis.Redis.from_url(servers.valkey.url.replace("redis+unix", "unix"))
    server.flushall()
    server.script_flush()
    assert statuses(node, source, LIMIT + 1) == [200] * LIMIT + [429]
    assert node.http.accepted(body) == nonces  # the same answer
    items = json.loads(body)["receipts"]
    replayed = node.http.submit(client.batch(items)).json
    assert [each["reason"] for each in replayed["rejected"]] == ["REPLAY"] * 3
