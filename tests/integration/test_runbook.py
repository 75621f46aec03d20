"""The runbook's commands, run as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pouw.keys import append_new
from tests.ports import free_port
from tests.support import API, Identity, metric, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode
    from tests.support import Node

ROOT = Path(__file__).parents[2]
ALERTS = re.findall(r"^### (Pouw\w+)$", (ROOT / "docs" / "RUNBOOK.md").read_text(), re.MULTILINE)


def script(title: str) -> str:
    """Return the commands of one section."""
    section = re.split(r"^##+ ", (ROOT / "docs" / "RUNBOOK.md").read_text(), flags=re.MULTILINE)
    [found] = [part for part in section if part.startswith(f"{title}\n")]
    return "set -euo pipefail\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```$", found, re.MULTILINE | re.DOTALL))


def run(program: str, **environ: str) -> str:
    done = subprocess.run(
        ["bash", "-c", program],
        env=os.environ | environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_key_is_rotated_as_written(start_node: StartNode, database_url: str, tmp_path: Path) -> None:
    ring = tmp_path / "node.key"
    old = append_new(ring).hex()
    node = start_node(database_url, node_secret_key="", node_secret_key_file=str(ring))
    poll = f"(while sleep 0.5; do curl -fsS {node.http.base}{API}/challenge > /dev/null; done) & trap 'kill %1' EXIT\n"
    run(
        poll + script("Rotating the node key"),
        POUW_DATABASE_URL=database_url,
        POUW_NODE_SECRET_KEY_FILE=str(ring),
    )

    def keys() -> dict[str, str]:
        return {key["state"]: key["public_key"] for key in node.http.get(f"{API}/node").json["keys"]}

    wait_for(lambda: keys().get("retired") == old)
    new = keys()["active"]
    assert node.http.challenge().node_id.hex() == new
    run(script("When a key was stolen").replace("PUBLIC_KEY", new), POUW_DATABASE_URL=database_url)
    wait_for(lambda: node.http.get(f"{API}/challenge").status == 503)
    node.stop()


def test_the_rule_is_asked_as_written() -> None:
    vectors = json.loads((ROOT / "pouw" / "protocol" / "ed25519_rule.json").read_text())["vectors"]
    valid, wrong = (next(each for each in vectors if each["valid"] is answer) for answer in (True, False))
    for vector in (valid, wrong):
        program = script("Engines that differ")
        for name in ("message", "signature", "public_key"):
            program = program.replace(f'"{name.upper()}"', f'"{vector[name]}"')
        assert run(program) == f"{vector['valid']}\n"


def test_blocks_and_quotas_are_set_as_written(database_url: str) -> None:
    blocked = run(script("Keeping somebody out"), POUW_DATABASE_URL=database_url)
    assert "203.0.113.0/24 until " in blocked
    quotas = run(script("Giving somebody another quota"), POUW_DATABASE_URL=database_url)
    assert "198.51.100.0/24 1000 a minute until" in quotas


def test_a_maintenance_is_begun_and_ended_as_written(database_url: str) -> None:
    said = run(script("Maintenance"), POUW_DATABASE_URL=database_url)
    assert said.count("a new disk for the database") == 2
    assert said.endswith("The maintenance is over.\n")


def test_nonces_are_put_back_as_written(database_url: str) -> None:
    assert "0 nonces were missing" in run(script("Nonces that were lost"), POUW_DATABASE_URL=database_url)


def test_a_backup_is_noted_as_written(database_url: str) -> None:
    run(script("Backups"), POUW_DATABASE_URL=database_url)


def test_a_node_is_tried_as_written(shared_node: Node) -> None:
    metrics = f"http://127.0.0.1:{shared_node.metrics_port}/metrics"
    assert run(script("Is the node well?"), NODE=shared_node.http.base, METRICS=metrics).count(" passed ") == 8


def test_the_checklist_is_walked_as_written(shared_node: Node, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    program = script("Before the public comes").replace("var/bench", str(tmp_path)).replace("/etc/pouw", str(tmp_path))
    urls = {"NODE": shared_node.http.base, "PROMETHEUS": nowhere, "ALERTMANAGER": nowhere}
    said = run(f"{program.rstrip()} || test $? = 1", **shared_node.environ, **urls)
    assert re.search(r"^  passed +Batches are taken, once each: batch passed", said, re.MULTILINE)


@pytest.mark.debian
@pytest.mark.parametrize("alert", ALERTS)
def test_what_an_alert_says_to_look_at_can_be_looked_at(watched_by_hand: Node, alert: str) -> None:
    """Every command of an alert's section runs as it is written, and says something."""
    program = script(alert)
    if program.count("\n") > 1:
        node = watched_by_hand
        said = run(
            program, **node.environ, NODE=node.http.base, METRICS=f"http://127.0.0.1:{node.metrics_port}/metrics"
        )
        assert said or "list" in program or "worker" in program


@pytest.fixture(scope="module")
def watched_by_hand(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """A node with a refused receipt, closed epochs, and figures of its background process."""
    subprocess.run([ROOT / "tools" / "debian.sh", "postgresql-client"], check=True, timeout=300)
    node, client = start_node(new_database()), Identity()
    token = node.http.challenge()
    node.http.accepted(client.batch([*client.items(token, 2), client.item(token, bytes_verified=1)]))
    run("pouw worker --once", **node.environ)
    wait_for(lambda: metric(node.metrics_port, "pouw_figures_timestamp_seconds") > 0, timeout=15)
    yield node
    node.stop()
