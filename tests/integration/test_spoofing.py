"""Headers by which a stranger would like to be somebody else."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import API, Identity, Node, Response, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.local.servers import LocalServers
    from tests.conftest import StartNode

LIMIT = 5


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str], servers: LocalServers) -> Iterator[Node]:
    """A node that trusts no proxy, with quotas that no other node's clients spend."""
    assert servers.valkey is not None
    started = start_node(new_database(), rate_limit_ip=LIMIT, redis_url=f"{servers.valkey.url}?db=1")
    yield started
    started.stop()


SPOOFS = [
    {"X_Forwarded_For": "192.0.2.{}"},
    {"X_Real_IP": "192.0.2.{}"},
    {"Forwarded": "for=192.0.2.{}"},
    {"X_Forwarded_For": "127.0.0.1, 192.0.2.{}"},
    {"X_Client_IP": "192.0.2.{}"},
    {"CF_Connecting_IP": "192.0.2.{}"},
    {"True_Client_IP": "192.0.2.{}"},
    {"Remote_Addr": "192.0.2.{}"},
    {"X_Forwarded_For": "192.0.2.{}", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "a.example"},
]


def test_no_header_gives_a_stranger_another_quota(node: Node) -> None:
    """All of them together get one address's quota."""
    answers: list[Response] = []
    for headers in SPOOFS * 3:
        chosen: dict[str, Any] = {name: value.format(secrets.randbelow(254) + 1) for name, value in headers.items()}
        answers.append(node.http.request("GET", f"{API}/challenge", **chosen))
    assert [answer.status for answer in answers].count(200) == LIMIT
    assert all("Strict-Transport-Security" not in answer.headers for answer in answers)


@pytest.mark.parametrize("name", ["Script-Name", "SCRIPT_NAME", "X-Script-Name", "X-Forwarded-Prefix", "Path-Info"])
def test_no_header_moves_the_application(shared_node: Node, name: str) -> None:
    for value in ("/api", "/health", "/docs"):
        answer = shared_node.http.pool.request(
            "GET", f"{shared_node.http.base}/health/live", headers={name: value}, retries=False
        )
        assert answer.status in (200, 400), answer.data  # Gunicorn refuses names with an underscore
        if answer.status == 200:
            assert answer.json() == {"status": "ok"}


def test_a_request_signed_for_another_host_is_not_taken(
    start_node: StartNode, new_database: Callable[[], str], client: Identity
) -> None:
    node = start_node(new_database(), public_hosts="node.example,node.example:8443")
    refused = signed(node.http, client, "GET", f"{API}/quota")
    assert refused.status == 401
    assert "another host" not in refused.json["title"]
    assert "not this node's" in refused.json["detail"]
    node.stop()
    other = start_node(new_database(), public_hosts="127.0.0.1")
    assert signed(other.http, client, "GET", f"{API}/quota").status == 401  # the port belongs to the name
    other.stop()
