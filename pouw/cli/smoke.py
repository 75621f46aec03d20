"""``pouw smoke``: a running node, tried from outside in some seconds, with work that pays nothing."""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
import urllib3

from pouw.cli.urls import http_url
from pouw.client.keys import generate
from pouw.client.node import Nodes
from pouw.client.receipts import SignedReceipt, encode_batch, sign
from pouw.errors import NodeError
from pouw.protocol.dids import did_from_key
from pouw.protocol.reasons import Detail
from pouw.protocol.types import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.protocol.types import ChallengeToken
    from pouw.protocol.verdicts import Verdict

_DEADLINE_SECS = 8.0
_SILENCE_SECS = 3.0
_RECEIPTS = 3
_BYTES = 4_096
_NONCE_BYTES = 32
_BATCH_NONCE_BYTES = 16
_OK = 200
_MOST_SEEN = 200
_COUNTER = "pouw_receipts_accepted_total"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one check: passed, failed or skipped, and what it saw."""

    check: str
    status: str
    saw: str
    seconds: float


class _Wrong(Exception):
    """A node answered otherwise than it has to."""


class _Skipped(Exception):
    """A check that could not be made, and why."""


class _Smoke:
    """The checks, in their order; each returns what it saw, and raises where that is wrong."""

    def __init__(self, url: str, metrics_url: str | None) -> None:
        self._url = url.rstrip("/")
        self._metrics_url = metrics_url
        self._http = urllib3.PoolManager(timeout=_SILENCE_SECS, retries=False)
        self._nodes = Nodes([url], patience=0, timeout=_SILENCE_SECS)
        self._key = generate()
        self.did = did_from_key(bytes(self._key.verify_key))
        self._health_document: dict[str, Any] | None = None
        self._node_keys: set[bytes] = set()
        self._token: ChallengeToken | None = None
        self._accepted: tuple[list[SignedReceipt], bytes, Verdict] | None = None

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return every check by its name."""
        return {
            "health": self._health,
            "maintenance": self._maintenance,
            "challenge": self._challenge,
            "batch": self._batch,
            "retry": self._retry,
            "replay": self._replay,
            "bad signature": self._bad_signature,
            "metrics": self._metrics,
        }

    def close(self) -> None:
        """Close the connections."""
        self._nodes.close()
        self._http.clear()

    def _health(self) -> str:
        answer = self._http.request("GET", f"{self._url}/health")
        document = json.loads(answer.data)
        parts = ", ".join(f"{name} {part['status']}" for name, part in document["components"].items())
        saw = f"{document['status']}, version {document['version']}: {parts}"
        self._health_document = document
        if answer.status != _OK or document["ready"] is not True:
            raise _Wrong(saw)
        return saw

    def _maintenance(self) -> str:
        if self._health_document is None:
            raise _Skipped("there is no health to read it from")
        announced = self._health_document.get("maintenance")
        if announced is not None:
            until = "it is switched off" if announced["until"] is None else f"unix time {announced['until']}"
            raise _Wrong(f"the node is in maintenance until {until}: {announced['reason']}")
        return "none"

    def _challenge(self) -> str:
        self._node_keys = {bytes.fromhex(key["public_key"]) for key in self._nodes.get("/node")["keys"]}
        token = self._nodes.challenge().token
        self._check_node(token.node_id)
        if not token.policy.allowed_proof_types:
            raise _Wrong("it allows no work")
        self._token = token
        return f"good for {token.expires_at - token.issued_at} s, signed by node {token.node_id.hex()}"

    def _batch(self) -> str:
        receipts = self._attest()
        body = self._seal(receipts)
        verdict = self._submit(body)
        if verdict.accepted != tuple(each.receipt.receipt_nonce for each in receipts):
            raise _Wrong(_tell(verdict))
        self._accepted = receipts, body, verdict
        return f"{_tell(verdict)}, and the verdict's signature holds"

    def _retry(self) -> str:
        _receipts, body, verdict = self._accepted_batch()
        if self._submit(body) != verdict:
            raise _Wrong("the same bytes got another verdict")
        return "the same bytes got the same verdict"

    def _replay(self) -> str:
        return self._expect_refusal(self._accepted_batch()[0], Detail.DUPLICATE_NONCE)

    def _bad_signature(self) -> str:
        spoilt = [
            SignedReceipt(each.receipt, bytes([each.signature[0] ^ 1]) + each.signature[1:]) for each in self._attest()
        ]
        return self._expect_refusal(spoilt, Detail.INVALID_SIGNATURE)

    def _metrics(self) -> str:
        if self._metrics_url is None:
            raise _Skipped("there is no --metrics URL")
        answer = self._http.request("GET", self._metrics_url)
        lines = answer.data.decode().splitlines()
        counted = next((line for line in lines if line.startswith(f"{_COUNTER} ")), None)
        if answer.status != _OK or counted is None:
            raise _Wrong(f"status {answer.status}, without {_COUNTER}")
        return f"{sum(line.startswith('pouw_') for line in lines)} series, {counted}"

    def _expect_refusal(self, receipts: list[SignedReceipt], detail: Detail) -> str:
        verdict = self._submit(self._seal(receipts))
        if verdict.accepted or [each.detail for each in verdict.rejected] != [detail] * len(receipts):
            raise _Wrong(_tell(verdict))
        return _tell(verdict)

    def _accepted_batch(self) -> tuple[list[SignedReceipt], bytes, Verdict]:
        if self._accepted is None:
            raise _Skipped("there is no accepted batch")
        return self._accepted

    def _submit(self, body: bytes) -> Verdict:
        verdict = self._nodes.submit(body)
        self._check_node(verdict.node_id)
        return verdict

    def _check_node(self, node_id: bytes) -> None:
        """Whoever answers, of several nodes behind one name: it signs with a key that is published."""
        if node_id not in self._node_keys:
            raise _Wrong(f"signed with {node_id.hex()}, which is none of the keys at /node")

    def _seal(self, receipts: list[SignedReceipt]) -> bytes:
        return encode_batch(self.did, secrets.token_bytes(_BATCH_NONCE_BYTES), receipts)

    def _attest(self) -> list[SignedReceipt]:
        """Attest that some content was not what it should be, which weighs nothing."""
        token = self._token
        if token is None:
            raise _Skipped("there is no challenge")
        receipts = (
            Receipt(
                task_id=token.task_id,
                client_did=self.did,
                client_node_id=bytes(self._key.verify_key),
                content_id=secrets.token_bytes(_NONCE_BYTES),
                proof_type=min(token.policy.allowed_proof_types),
                bytes_verified=max(_BYTES, token.policy.min_bytes_per_receipt + 1),
                result_ok=False,
                started_at=token.issued_at,
                finished_at=token.issued_at,
                receipt_nonce=secrets.token_bytes(_NONCE_BYTES),
                challenge_nonce=token.challenge_nonce,
            )
            for _ in range(_RECEIPTS)
        )
        return [sign(receipt, self._key) for receipt in receipts]


def _tell(verdict: Verdict) -> str:
    reasons = sorted({f"{each.detail.reason.value} {each.detail.value}" for each in verdict.rejected})
    why = f" ({', '.join(reasons)})" if reasons else ""
    return f"{len(verdict.accepted)} accepted, {len(verdict.rejected)} rejected{why}"


def _run(name: str, check: Callable[[], str]) -> Result:
    start = time.monotonic()
    try:
        status, saw = "passed", check()
    except _Skipped as reason:
        status, saw = "skipped", str(reason)
    except (NodeError, _Wrong, urllib3.exceptions.HTTPError) as error:
        status, saw = "failed", str(error)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:  # what the answer is made of
        status, saw = "failed", f"this is no answer of a node: {error!r}"
    clean = "".join(letter if letter.isprintable() else "?" for letter in saw)
    return Result(name, status, clean[:_MOST_SEEN], round(time.monotonic() - start, 3))


def _run_all(smoke: _Smoke) -> list[Result]:
    """Run the checks on a thread that is left behind at the deadline: a server may trickle for ever."""
    results: list[Result] = []
    checks = smoke.checks()

    def work() -> None:
        for name, check in checks.items():
            results.append(_run(name, check))
        smoke.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_DEADLINE_SECS)
    done = results.copy()
    return done + [Result(name, "failed", "no answer in time", 0.0) for name in list(checks)[len(done) :]]


@click.command("smoke")
@click.argument("url", callback=http_url)
@click.option(
    "--metrics", "metrics_url", callback=http_url, help="The node's metrics, such as http://127.0.0.1:9090/metrics."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(url: str, metrics_url: str | None, as_json: bool) -> None:
    """Try the node at URL from outside: health, challenge, a batch, its retry, a replay, bad signatures, metrics.

    Takes less than ten seconds. The receipts are of a key made for this run, and attest content that was wrong
    (result_ok=false), which weighs nothing. Exit code 0 where every check passed, 1 where one did not.
    """
    smoke = _Smoke(url, metrics_url)
    results = _run_all(smoke)
    passed = all(result.status != "failed" for result in results)
    if as_json:
        document = {"url": url, "client_did": smoke.did, "passed": passed, "checks": [asdict(each) for each in results]}
        click.echo(json.dumps(document))
    else:
        for each in results:
            click.echo(f"{each.check:<14}{each.status:<9}{each.saw}")
    sys.exit(0 if passed else 1)
