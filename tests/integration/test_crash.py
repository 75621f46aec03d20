"""Promise 1 and 3: ``kill -9`` of any process at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import collections
import contextlib
import json
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
import urllib3

from pouw.local import process
from pouw.protocol.tokens import decode_wire
from tests.ports import free_port
from tests.support import API, Http, Identity, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

CLIENTS = 4
ROUNDS = 3


class Up:
    """A whole node started by ``pouw up``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o711)
        self.data = directory / "data"
        self.log = directory / "up.log"
        self.port = free_port()
        self.http = Http(f"http://127.0.0.1:{self.port}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "pouw", "up", "--port", self.port, "--metrics-port", free_port()]
        command += ["--worker-metrics-port", free_port(), "--workers", "2", "--data-dir", self.data]
        environ = {"PATH": "/usr/bin:/bin", "POUW_RATE_LIMIT_IP": "1000000", "POUW_RATE_LIMIT_DID": "1000000"}
        self.process = process.start([str(word) for word in command], env=environ, log=self.log)
        wait_for(self.ready, timeout=60)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/health/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def child(self, name: str) -> psutil.Process:
        """Return the living child whose command holds ``name``; wait for it where it is about to be started."""
        found: list[psutil.Process] = []

        def look() -> bool:
            assert self.process is not None
            for each in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error):  # one that was killed is a zombie until it is waited for
                    if name in " ".join(each.cmdline()) and (name != "gunicorn" or each.children()):
                        found.append(each)
            return bool(found)

        wait_for(look, timeout=60)
        return found[0]

    def database(self) -> psycopg.Connection[Any]:
        return psycopg.connect(f"postgresql://pouw@/pouw?host={self.data}/servers/run", autocommit=True)


@pytest.fixture
def up(open_tmp: Path) -> Iterator[Up]:
    node = Up(open_tmp / "crash")
    node.start()
    yield node
    assert node.process is not None
    family = psutil.Process(node.process.pid).children(recursive=True)
    node.http.close()
    process.stop(node.process, signal.SIGTERM, 60)
    _gone, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


class Client(threading.Thread):
    """Submits batch after batch; repeats each, the same bytes, until it is answered."""

    def __init__(self, base: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.http = Http(base)
        self.identity = Identity()
        self.stop = stop
        self.accepted: list[str] = []
        self.retries = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                token = self.insist("GET", f"{API}/challenge", None)["token"]

                body = self.identity.batch(self.identity.items(decode_wire(token), random.randint(1, 40)))
                answer = self.insist("POST", f"{API}/submit", body)
                assert answer["rejected"] == [], answer
                self.accepted += answer["accepted"]
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.error = error
        finally:
            self.http.close()

    def insist(self, method: str, path: str, body: bytes | None) -> Any:
        deadline = time.monotonic() + 90
        while True:
            assert time.monotonic() < deadline, "no answer for 90 s"
            try:
                response = self.http.request(method, path, body, Content_Type="application/json")
            except urllib3.exceptions.HTTPError:
                pass
            else:
                if response.status == 200:
                    return json.loads(response.body)
                assert response.status == 503, response.body
            self.retries += 1
            time.sleep(0.05)


@pytest.mark.timeout(240)
def test_kill_9_of_every_process_loses_and_doubles_nothing(up: Up) -> None:
    stop = threading.Event()
    clients = [Client(up.http.base, stop) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _round in range(ROUNDS):
            for victim in ("worker", "gunicorn", "postgres"):
                time.sleep(random.uniform(0.3, 1.0))
                process_ = up.child("gunicorn") if victim == "worker" else up.child(victim)
                if victim == "worker":
                    process_ = random.choice(process_.children())
                process_.kill()
                wait_for(up.ready, timeout=60)
        time.sleep(0.5)
    finally:
        stop.set()
        for client in clients:
            client.join(60)
    assert [client.error for client in clients] == [None] * CLIENTS
    assert sum(client.retries for client in clients) > 0, "no request ever met a killed process"
    with up.database() as db:
        for client in clients:
            rows = db.execute("SELECT receipt_nonce FROM receipts WHERE client_did = %s", (client.identity.did,))
            stored = collections.Counter(row[0].hex() for row in rows)
            assert stored == collections.Counter(client.accepted)
            assert set(stored.values()) == {1}
        nonces, used, receipts = db.execute(
            "SELECT (SELECT count(*) FROM nonces), (SELECT sum(receipts_used) FROM challenges),"
            " (SELECT count(*) FROM receipts)"
        ).fetchone() or (None, None, None)
        assert nonces == used == receipts
