"""The client library against nodes that are down, killed, restarted, or talk garbage: nothing lost, nothing twice."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import psycopg
import pytest
from nacl.signing import SigningKey

from pouw.client.client import Client
from pouw.client.node import Nodes
from pouw.client.outbox import Outbox
from pouw.errors import NodeError, NodeRefused, OutboxError
from pouw.protocol.types import ProofType
from tests.ports import free_port
from tests.support import Http, Identity, Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.protocol.verdicts import Verdict
    from tests.conftest import StartNode


def work(client: Client, count: int) -> list[bytes]:
    """Attest made-up work; return the nonces."""
    nonces = []
    for _ in range(count):
        begun = client.start_work(ProofType.HASH, 4096)
        receipt = client.finish_work(begun, content_id=os.urandom(32), size=4096)
        nonces.append(receipt.receipt_nonce)
    return nonces


def stored(url: str, did: str) -> collections.Counter[bytes]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT receipt_nonce FROM receipts WHERE client_did = %s", (did,)).fetchall()
    return collections.Counter(row[0] for row in rows)


class Sloppy(BaseHTTPRequestHandler):
    """Passes requests on to a node, and then loses, spoils or delays every other answer."""

    target = ""
    moods: ClassVar = ["pass", "503", "429", "garbage", "cut after", "cut before", "forged", "empty"]

    def do(self) -> None:
        mood = random.choice(self.moods)
        if mood == "cut before":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        http = Http(self.target)
        answer = http.request(self.command, self.path, body or None, Content_Type="application/json")
        http.close()
        if mood == "cut after":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, text = answer.status, answer.body
        if mood in ("503", "429"):
            status, text = int(mood), b"{}"
        elif mood in ("garbage", "empty"):
            text = b"<html>" if mood == "garbage" else b""
        elif mood == "forged" and self.command == "POST":
            value = json.loads(text)
            value["accepted"] = value["accepted"][1:]
            text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do  # noqa: N815 - the base class's names

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def sloppy(shared_node: Node) -> Iterator[str]:
    """The URL of a bad connection to the shared node."""
    handler = type("Handler", (Sloppy,), {"target": shared_node.http.base})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def nap(seconds: float) -> None:
    time.sleep(min(seconds, 0.01))


def test_over_a_bad_connection_every_receipt_is_answered_once(sloppy: str, shared_url: str, tmp_path: Path) -> None:
    verdicts: list[Verdict] = []
    nodes = Nodes([sloppy], sleep=nap)
    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox", on_verdict=verdicts.append)
    nonces = work(client, 95)
    client.flush()
    accepted = [nonce for verdict in verdicts for nonce in verdict.accepted]
    assert sorted(accepted) == sorted(nonces)
    assert [verdict.rejected for verdict in verdicts] == [()] * len(verdicts)
    assert len(verdicts) == 10
    assert stored(shared_url, client.did) == collections.Counter(nonces)
    client.close()
    nodes.close()


def test_another_node_is_asked_after_repeated_failure(shared_node: Node, tmp_path: Path) -> None:
    naps: list[float] = []
    nodes = Nodes([f"http://127.0.0.1:{free_port()}", shared_node.http.base], sleep=naps.append)
    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox")
    work(client, 10)
    assert len(naps) == 2, "two failures, then the other node, and it stays with that one"
    client.close()
    nodes.close()


def test_a_node_that_is_restarted_costs_nothing(start_node: StartNode, shared_url: str, tmp_path: Path) -> None:
    node = start_node(shared_url, workers=1)
    nodes = Nodes([node.http.base], sleep=lambda seconds: time.sleep(min(seconds, 0.1)))
    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox")
    nonces = work(client, 25)
    assert node.process is not None
    for child in node.workers():
        child.kill()
    node.process.kill()
    node.process.wait()
    restart = threading.Timer(2, node.start)
    restart.start()
    nonces += work(client, 25)
    client.flush()
    restart.join()
    assert stored(shared_url, client.did) == collections.Counter(nonces)
    client.close()
    nodes.close()
    node.stop()


def test_what_no_node_took_is_sent_by_the_next_process(shared_node: Node, shared_url: str, tmp_path: Path) -> None:
    key = SigningKey.generate()
    nodes = Nodes([shared_node.http.base], patience=0)
    first = Client(nodes, key, tmp_path / "outbox", batch_receipts=1000, batch_secs=1000)
    nonces = work(first, 7)
    first.close()
    assert stored(shared_url, first.did) == collections.Counter()
    dead = Nodes([f"http://127.0.0.1:{free_port()}"], patience=0)
    second = Client(dead, key, tmp_path / "outbox")
    with pytest.raises(NodeError, match="cannot be reached"):
        second.flush()
    second.close()
    third = Client(nodes, key, tmp_path / "outbox")
    third.flush()
    assert stored(shared_url, third.did) == collections.Counter(nonces)
    third.close()


KILLED = """
import sys, os
from pathlib import Path
from nacl.signing import SigningKey
from pouw.client.client import Client
from pouw.client.node import Nodes
from pouw.protocol.types import ProofType
client = Client(Nodes([sys.argv[1]]), SigningKey(bytes.fromhex(sys.argv[2])), Path(sys.argv[3]), batch_receipts=3)
while True:
    begun = client.start_work(ProofType.HASH, 4096)
    receipt = client.finish_work(begun, content_id=os.urandom(32), size=4096)
    print(receipt.receipt_nonce.hex(), flush=True)
"""


def test_kill_9_of_the_client_loses_and_doubles_nothing(shared_node: Node, shared_url: str, tmp_path: Path) -> None:
    key = SigningKey.generate()
    said: list[str] = []
    for _round in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, shared_node.http.base, bytes(key).hex(), str(tmp_path / "outbox")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout as output:
            first = output.readline()
            time.sleep(random.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            said += [line for line in (first + output.read()).splitlines() if len(line) == 64]
        process.wait(10)
    nodes = Nodes([shared_node.http.base])
    client = Client(nodes, key, tmp_path / "outbox")
    client.flush()
    found = stored(shared_url, client.did)
    assert len(said) >= 5
    assert {bytes.fromhex(nonce) for nonce in said} <= set(found)
    assert set(found.values()) == {1}
    client.close()
    nodes.close()


def test_a_batch_is_sent_when_its_time_has_come(shared_node: Node, tmp_path: Path) -> None:
    now = [time.time()]
    verdicts: list[Verdict] = []
    nodes = Nodes([shared_node.http.base])
    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox", on_verdict=verdicts.append, clock=lambda: now[0])
    work(client, 3)
    assert verdicts == []
    now[0] += 9.9
    client.send_due()
    assert verdicts == []
    now[0] += 0.2
    client.send_due()
    assert [len(verdict.accepted) for verdict in verdicts] == [3]
    work(client, 10)
    assert [len(verdict.accepted) for verdict in verdicts] == [3, 10]
    client.close()
    nodes.close()


def test_a_client_with_a_thread_never_waits_for_a_node(start_node: StartNode, shared_url: str, tmp_path: Path) -> None:
    """Receipts go on while the node is away; what is left over is sent when its time has come, and at the end."""
    node = start_node(shared_url, workers=1)
    verdicts: list[Verdict] = []
    nodes = Nodes([node.http.base], sleep=lambda seconds: time.sleep(min(seconds, 0.1)))
    key = SigningKey.generate()
    with Client(nodes, key, tmp_path / "outbox", on_verdict=verdicts.append, batch_secs=1) as client:
        nonces = work(client, 3)
        wait_for(lambda: len(verdicts) == 1, timeout=10)
        node.stop()
        start = time.monotonic()
        nonces += work(client, 30)
        assert time.monotonic() - start < 2
        node.start()
        wait_for(lambda: sum(len(verdict.accepted) for verdict in verdicts) == 33, timeout=20)
        nonces += work(client, 1)
    assert client.refusals == []
    assert stored(shared_url, client.did) == collections.Counter(nonces)
    nodes.close()
    node.stop()


def test_a_fresh_challenge_is_taken_before_the_old_one_ends(
    start_node: StartNode, shared_url: str, tmp_path: Path
) -> None:
    node = start_node(shared_url, challenge_ttl_secs=4, workers=1)
    verdicts: list[Verdict] = []
    nodes = Nodes([node.http.base])
    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox", on_verdict=verdicts.append, batch_receipts=1000)
    challenges = set()
    for _ in range(6):
        begun = client.start_work(ProofType.HASH, 4096)
        challenges.add(begun.challenge.token.challenge_nonce)
        client.finish_work(begun, content_id=b"c", size=4096)
        time.sleep(1)
    client.flush()
    assert len(challenges) >= 3
    assert sum(len(verdict.accepted) for verdict in verdicts) == 6
    client.close()
    nodes.close()
    node.stop()


def test_retry_after_is_obeyed_and_back_off_grows() -> None:
    naps: list[float] = []
    nodes = Nodes([f"http://127.0.0.1:{free_port()}"], patience=10**9, sleep=naps.append)

    def stop_after(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 10:
            raise KeyboardInterrupt

    nodes._sleep = stop_after
    with pytest.raises(KeyboardInterrupt):
        nodes.challenge()
    assert 0.5 <= naps[0] <= 1
    assert all(nap <= 60 for nap in naps)
    assert naps[8] >= 30


def test_a_quota_is_waited_for(start_node: StartNode, shared_url: str, tmp_path: Path) -> None:
    node = start_node(shared_url, rate_limit_did=1, workers=1)
    naps: list[float] = []

    def stop(seconds: float) -> None:
        naps.append(seconds)
        raise KeyboardInterrupt

    nodes = Nodes([node.http.base], sleep=stop)
    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox", batch_receipts=1)
    work(client, 1)
    with pytest.raises(KeyboardInterrupt):
        work(client, 1)
    assert 1 <= naps[0] <= 60
    client.close()
    nodes.close()
    node.stop()


def test_a_batch_that_is_refused_for_good_is_set_aside(shared_node: Node, tmp_path: Path) -> None:
    identity = Identity()
    nodes = Nodes([shared_node.http.base])
    client = Client(nodes, identity.key, tmp_path / "outbox", batch_receipts=101)
    work(client, 100)
    with pytest.raises(NodeRefused, match="at most 100 receipts"):
        work(client, 1)
    work(client, 5)
    client.flush()
    client.close()
    outbox = Outbox(tmp_path / "outbox", identity.did)
    assert outbox.unanswered() == []
    assert outbox.waiting() == 0
    outbox.close()
    nodes.close()


def test_an_outbox_is_for_one_process_and_one_did(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox", "did:zhtp:a")
    with pytest.raises(OutboxError, match="in use"):
        Outbox(tmp_path / "outbox", "did:zhtp:a")
    first.close()
    with pytest.raises(OutboxError, match="belongs to did:zhtp:a"):
        Outbox(tmp_path / "outbox", "did:zhtp:b")
    Outbox(tmp_path / "outbox", "did:zhtp:a").close()


def test_a_verdict_callback_may_use_the_client(shared_node: Node, shared_url: str, tmp_path: Path) -> None:
    nonces: list[bytes] = []
    nodes = Nodes([shared_node.http.base])

    def again(_verdict: Verdict) -> None:
        if len(nonces) < 8:
            nonces.extend(work(client, 1))

    client = Client(nodes, SigningKey.generate(), tmp_path / "outbox", on_verdict=again, batch_receipts=2)
    nonces.extend(work(client, 2))
    client.flush()
    assert stored(shared_url, client.did) == collections.Counter(nonces)
    client.close()
    nodes.close()


def test_a_node_with_another_key_is_not_believed(shared_node: Node) -> None:
    nodes = Nodes([shared_node.http.base], node_ids=frozenset({b"x" * 32}), patience=0)
    with pytest.raises(NodeError, match="not one that is trusted"):
        nodes.challenge()
    nodes.close()


def test_a_verdict_is_proven_offline(shared_node: Node, client: Identity, tmp_path: Path) -> None:
    body = client.batch([*client.items(shared_node.http.challenge(), 2), {}])
    answer = shared_node.http.submit(body)
    (tmp_path / "answer").write_bytes(answer.body)
    (tmp_path / "body").write_bytes(body)
    edited = answer.json | {"server_time": answer.json["server_time"] + 1}
    (tmp_path / "edited").write_text(json.dumps(edited))
    (tmp_path / "nonsense").write_text("[1]")

    def run(name: str, *options: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pouw", "verify-verdict", str(tmp_path / name), *options],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    node_id = answer.json["verdict"]["node_id"]
    code, text = run("answer", "--batch", str(tmp_path / "body"), "--node", node_id)
    assert code == 0
    assert "2 accepted, 1 rejected" in text
    assert run("edited") == (2, "pouw: The verdict's signature does not hold.\n")
    assert run("answer", "--batch", str(tmp_path / "edited"))[1] == "pouw: The verdict is about another batch.\n"
    assert run("answer", "--node", "00" * 32)[1] == "pouw: The verdict names another node.\n"
    assert run("nonsense")[0] == 2
