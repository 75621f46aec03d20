"""The key ring: create, stage, activate, retire, and a rotation that no client notices."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pouw.cli import main
from pouw.client.verdicts import verify_answer
from pouw.keys import append_new
from pouw.protocol.tokens import decode_wire
from tests.support import API, Identity, Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartNode


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A ring of one key."""
    append_new(tmp_path / "node.key")
    return tmp_path / "node.key"


@pytest.fixture
def node(start_node: StartNode, database_url: str, ring: Path) -> Iterator[Node]:
    """A node with that ring."""
    started = start_node(database_url, node_secret_key="", node_secret_key_file=str(ring))
    yield started
    started.stop()


@pytest.fixture
def cli(database_url: str) -> Callable[..., str]:
    def run(*arguments: str, fails: bool = False) -> str:
        done = CliRunner().invoke(main, ["key", *arguments], env={"POUW_DATABASE_URL": database_url})
        assert (done.exit_code != 0) == fails, done.output
        return done.output.strip()

    return run


def states(node: Node) -> dict[str, str]:
    return {key["public_key"]: key["state"] for key in node.http.get(f"{API}/node").json["keys"]}


def test_a_rotation_under_load_fails_no_request(node: Node, ring: Path, cli: Callable[..., str]) -> None:
    [old] = states(node)
    assert states(node) == {old: "active"}
    signers: list[str] = []
    answers: list[tuple[bytes, bytes]] = []
    faults: list[object] = []
    done = threading.Event()

    def work() -> None:
        client = Identity()
        while not done.is_set():
            try:
                token = decode_wire(node.http.get(f"{API}/challenge").json["token"])  # verifies it
                body = client.batch(client.items(token, 2))
                answer = node.http.submit(body)
                assert len(answer.json["accepted"]) == 2
                signers.append(token.node_id.hex())
                answers.append((answer.body, body))
            except Exception as error:  # noqa: BLE001 - whatever a client would see
                faults.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    new = cli("create", "--ring", str(ring))
    wait_for(lambda: states(node).get(new) == "staged", timeout=10)
    time.sleep(1)
    assert set(signers) == {old}, "a staged key signs nothing"
    assert "last active" in cli("retire", old, fails=True)
    cli("activate", new)
    wait_for(lambda: set(signers[-20:]) == {new}, timeout=20)
    cli("retire", old)
    wait_for(lambda: states(node) == {old: "retired", new: "active"}, timeout=10)
    time.sleep(1)
    done.set()
    for worker in workers:
        worker.join()
    assert faults == []
    assert set(signers) == {old, new}
    assert set(signers[-20:]) == {new}
    keys = {key["public_key"]: key for key in node.http.get(f"{API}/node").json["keys"]}
    for body, batch in answers:
        verdict = verify_answer(json.loads(body), body=batch)
        key = keys[verdict.node_id.hex()]
        assert key["valid_until"] is None or verdict.server_time <= key["valid_until"]
        assert verdict.server_time >= key["valid_from"] - 1


def test_a_node_without_an_active_key_says_so_and_recovers(node: Node, ring: Path, cli: Callable[..., str]) -> None:
    [old] = states(node)
    cli("retire", "--compromised", old)
    wait_for(lambda: node.http.get("/health/ready").status == 503, timeout=10)
    assert node.http.get("/health").json["components"]["keys"]["status"] == "down"
    refused = node.http.get(f"{API}/challenge")
    assert refused.status == 503
    assert refused.json["type"] == "urn:pouw:problem:unavailable"
    new = cli("create", "--ring", str(ring))
    wait_for(lambda: node.http.get("/health").status == 503 and f"{new} staged" in cli("list"), timeout=10)
    cli("activate", new)
    wait_for(lambda: node.http.get("/health/ready").status == 200, timeout=10)
    assert node.http.challenge().node_id.hex() == new


def test_a_spoilt_ring_file_changes_nothing(node: Node, ring: Path) -> None:
    before = states(node)
    good = ring.read_text()
    ring.write_text("half a k")
    wait_for(lambda: states(node) and "key_ring_not_read" in node.log.read_text(), timeout=10)
    assert [node.http.get(f"{API}/challenge").status for _ in range(4)] == [200] * 4
    ring.write_text(good)
    ring.chmod(0o644)
    wait_for(lambda: states(node) and "is open to others" in node.log.read_text(), timeout=10)
    assert states(node) == before
    assert good.strip() not in node.log.read_text()


def test_keys_are_staged_before_any_node_holds_them(node: Node, cli: Callable[..., str]) -> None:
    coming = bytes(Identity().public_key).hex()
    assert cli("stage", coming) == "staged"
    assert "known already" in cli("stage", coming, fails=True)
    wait_for(lambda: states(node).get(coming) == "staged", timeout=10)
    assert "no staged key" in cli("activate", "ab" * 32, fails=True)
    assert "64 hex digits" in cli("activate", "nonsense", fails=True)
    cli("activate", coming)  # a key of another node: this one goes on with its own
    time.sleep(2)
    assert node.http.challenge().node_id.hex() != coming
    cli("retire", coming)
    assert "not in use" in cli("retire", coming, fails=True)
    assert f"{coming} retired" in cli("list")


def test_every_change_is_written_down(node: Node, ring: Path, cli: Callable[..., str], database_url: str) -> None:
    import psycopg

    [old] = states(node)
    new = cli("create", "--ring", str(ring))
    wait_for(lambda: states(node).get(new) == "staged", timeout=10)
    cli("activate", new)
    cli("retire", old)
    with psycopg.connect(database_url) as db:
        rows: list[Any] = db.execute("SELECT action, subject FROM audit_log ORDER BY id").fetchall()
    assert rows == [("key.active", old), ("key.staged", new), ("key.activate", new), ("key.retire", old)]
