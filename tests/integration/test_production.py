"""A node in production mode, as it starts and as it refuses to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.support import API, Identity, node_key

if TYPE_CHECKING:
    from tests.conftest import StartNode

ENV = {"PATH": os.environ["PATH"]}


def test_a_node_in_production_serves_the_same_paths_and_logs_json_only(
    start_node: StartNode, database_url: str, shared_node: object, client: Identity
) -> None:
    """There is no route for development, so there is none to leave out."""
    node = start_node(database_url, env="production", operator_dids=Identity().did)
    assert len(node.http.accepted(client.batch(client.items(node.http.challenge(), 2)))) == 2
    assert node.http.get(f"{API}/nothing").status == 404
    paths = node.http.get("/openapi.json").json["paths"]
    development = start_node(database_url)
    assert paths == development.http.get("/openapi.json").json["paths"]
    assert not [path for path in paths if any(word in path for word in ("debug", "test", "dev", "metrics"))]
    for path in ("/metrics", "/debug", "/console/debug", "/static/x", "/.env", "/api/v1/pouw/"):
        assert node.http.get(path).status == 404
    node.stop()
    development.stop()
    lines = node.log.read_text().splitlines()
    assert len(lines) > 3
    assert all(json.loads(line)["event"] for line in lines)


def test_a_node_refuses_to_start_with_what_is_for_development(database_url: str) -> None:
    """And says all of it at once, in lines of its own, without a traceback."""
    environ = ENV | {
        "POUW_ENV": "production",
        "POUW_NODE_SECRET_KEY": node_key(),
        "POUW_DATABASE_URL": database_url,
        "POUW_LOG_LEVEL": "debug",
        "POUW_HOST": "0.0.0.0",
        "POUW_PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pouw", "serve"], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    said = [line.split(":")[1].strip() for line in done.stderr.splitlines()]
    assert sorted(said) == ["POUW_HOST", "POUW_LOG_LEVEL", "POUW_OPERATOR_DIDS", "POUW_REDIS_URL"]
    assert "Traceback" not in done.stderr
