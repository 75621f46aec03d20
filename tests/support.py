"""What tests share: identities that sign, nodes that run, and a plain HTTP client."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import psutil
import urllib3
from nacl.signing import SigningKey
from prometheus_client.parser import text_string_to_metric_families

from pouw.client.receipts import SignedReceipt, sign
from pouw.client.signing import sign_request
from pouw.local import process
from pouw.protocol.dids import did_from_key
from pouw.protocol.tokens import decode_wire
from pouw.protocol.types import Aux, ChallengeToken, ProofType, Receipt
from tests.ports import free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

API = "/api/v1/pouw"


@dataclass
class Identity:
    """A client with a key of its own."""

    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def public_key(self) -> bytes:
        return bytes(self.key.verify_key)

    @property
    def did(self) -> str:
        return did_from_key(self.public_key)

    def receipt(self, token: ChallengeToken, **changes: Any) -> Receipt:
        """Return a receipt that the node would accept, with ``changes``."""
        now = int(time.time())
        values: dict[str, Any] = {
            "task_id": token.task_id,
            "client_did": self.did,
            "client_node_id": self.public_key,
            "content_id": secrets.token_bytes(32),
            "proof_type": ProofType.HASH,
            "bytes_verified": 4096,
            "result_ok": True,
            "started_at": now,
            "finished_at": now,
            "receipt_nonce": secrets.token_bytes(32),
            "challenge_nonce": token.challenge_nonce,
        }
        return Receipt(**(values | changes))

    def signed(self, token: ChallengeToken, **changes: Any) -> SignedReceipt:
        """Return a signed receipt with ``changes`` made before it was signed."""
        return sign(self.receipt(token, **changes), self.key)

    def item(self, token: ChallengeToken, **changes: Any) -> dict[str, Any]:
        """Return a signed receipt as it stands in a JSON batch."""
        return self.signed(token, **changes).to_json()

    def items(self, token: ChallengeToken, count: int, **changes: Any) -> list[dict[str, Any]]:
        """Return several signed receipts."""
        return [self.item(token, **changes) for _ in range(count)]

    def batch(self, items: Sequence[Any], **changes: Any) -> bytes:
        """Return the body of a batch with a batch nonce."""
        return batch_body(self.did, items, **({"batch_nonce": secrets.token_hex(16)} | changes))


def wait_until_expired(token: ChallengeToken) -> None:
    """Wait until a challenge has expired by the node's clock, which is this machine's."""
    time.sleep(max(0.0, token.expires_at + 1.1 - time.time()))


def batch_body(did: str, items: Sequence[Any], **members: Any) -> bytes:
    """Return the body of a batch."""
    return json.dumps({"version": 1, "client_did": did, "receipts": list(items)} | members).encode()


def web4_aux(**members: Any) -> Aux:
    """Return the evidence of a web4 receipt."""
    return Aux(context=json.dumps({"manifest_cid": "bafy1"} | members))


@dataclass(frozen=True)
class Response:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Http:
    """A plain client of one node: no retries, no redirects."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(60), maxsize=64)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        response = self.pool.request(
            method,
            self.base + path,
            body=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        return Response(response.status, response.headers, response.data)

    def get(self, path: str) -> Response:
        return self.request("GET", path)

    def challenge(self, query: str = "") -> ChallengeToken:
        """Ask for a challenge and expect one."""
        response = self.get(f"{API}/challenge{query}")
        assert response.status == 200, response.body
        return decode_wire(response.json["token"])

    def submit(self, body: bytes) -> Response:
        return self.request("POST", f"{API}/submit", body, Content_Type="application/json")

    def accepted(self, body: bytes) -> list[str]:
        """Submit and return the accepted nonces."""
        response = self.submit(body)
        assert response.status == 200, response.body
        return cast("list[str]", response.json["accepted"])

    def close(self) -> None:
        for key in self.pool.pools.keys():  # noqa: SIM118 - no mapping
            self.pool.pools[key].close()
        self.pool.clear()


def signed(
    http: Http, who: Identity, method: str, path: str, body: bytes | None = None, *, did: str = "", **changes: Any
) -> Response:
    """Send a request that is signed by an identity, with other signature parameters where ``changes`` says so."""
    values: dict[str, Any] = {"created": int(time.time()), "nonce": secrets.token_hex(16)} | changes
    headers = sign_request(who.key, did or who.did, method, http.base + path, body, **values)
    return http.request(method, path, body, **headers, **({"Content-Type": "application/json"} if body else {}))


class Node:
    """A real node: Gunicorn with gevent workers on free ports."""

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.log = log
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "POUW_PORT": str(self.port),
            "POUW_METRICS_PORT": str(self.metrics_port),
            **environ,
        }
        self.http = Http(f"http://127.0.0.1:{self.port}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> Node:
        self.process = process.start([sys.executable, "-m", "pouw", "serve"], env=self.environ, log=self.log)
        if wait:
            wait_for(self._ready)
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended: {self.log.read_text()}"
        try:
            return self.http.get("/health/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    @property
    def master(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def workers(self) -> list[psutil.Process]:
        return self.master.children()

    def stop(self) -> None:
        self.http.close()  # the node waits for idle connections
        if self.process is not None:
            children = self.master.children(recursive=True) if self.process.poll() is None else []
            process.stop(self.process, signal.SIGTERM, 40)
            psutil.wait_procs(children, timeout=10)


def scrape(port: int, token: str = "") -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Read a metrics listener: the value of each series, by its name and its sorted labels."""
    http = Http(f"http://127.0.0.1:{port}")
    answer = http.request("GET", "/metrics", None, **({"Authorization": f"Bearer {token}"} if token else {}))
    http.close()
    assert answer.status == 200, answer.body
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def metric(port: int, series: str, /, **labels: str) -> float:
    """Return one series of a metrics listener, 0 where it is not there."""
    return scrape(port).get(series, {}).get(tuple(sorted(labels.items())), 0.0)


def wait_for(condition: Any, timeout: float = 30, pause: float = 0.05) -> None:
    """Wait until ``condition()`` is true; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {timeout} s"
        time.sleep(pause)


def node_key() -> str:
    """Return a fresh node key as the environment takes it."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process and its children with SIGSTOP; let them go on at the end. One that is just ending may be gone."""
    stopped = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for each in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.suspend()
    try:
        yield
    finally:
        for each in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()
