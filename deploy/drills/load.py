"""Clients that go on whatever happens, and know what they were promised."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psycopg
from nacl.signing import SigningKey

from pouw.client.node import Nodes
from pouw.client.receipts import encode_batch, sign
from pouw.errors import NodeError
from pouw.protocol.dids import did_from_key
from pouw.protocol.reasons import Detail
from pouw.protocol.types import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pouw.client.receipts import SignedReceipt
    from pouw.protocol.types import ChallengeToken
    from pouw.protocol.verdicts import Verdict

_PATIENCE_SECS = 300
_SILENCE_SECS = 5
_RETRY_SECS = 0.1
_PAUSE_SECS = 0.02


@dataclass(slots=True)
class Found:
    """What the database has of what the clients were promised."""

    acknowledged: int
    lost: int
    doubled: int
    faults: list[str] = field(default_factory=list)


class Worker:
    """One client with a key of its own."""

    def __init__(self, urls: Sequence[str], receipts: int) -> None:
        self.key = SigningKey.generate()
        self.did = did_from_key(bytes(self.key.verify_key))
        self.nodes = Nodes(urls, patience=_PATIENCE_SECS, timeout=_SILENCE_SECS, sleep=_retry_soon)
        self.answers: list[tuple[float, tuple[bytes, ...]]] = []
        self.slowest_secs = 0.0
        self.faults: list[str] = []
        self.last: tuple[list[SignedReceipt], bytes, Verdict] | None = None
        self._receipts = receipts

    def once(self) -> None:
        """Do some work under a challenge of its own, and hand it in until a node answers."""
        start = time.monotonic()
        items = self.attest(self.nodes.challenge().token)
        body = encode_batch(self.did, secrets.token_bytes(16), items)
        verdict = self.nodes.submit(body)
        now = time.monotonic()
        self.slowest_secs = max(self.slowest_secs, now - start)
        self.answers.append((now, verdict.accepted))
        self.last = items, body, verdict
        self.faults += [f"{self.did} was refused: {each.detail.value}" for each in verdict.rejected]

    def attest(self, token: ChallengeToken) -> list[SignedReceipt]:
        """Sign receipts under a challenge."""
        kind = min(token.policy.allowed_proof_types)
        receipts = (
            Receipt(
                task_id=token.task_id,
                client_did=self.did,
                client_node_id=bytes(self.key.verify_key),
                content_id=secrets.token_bytes(32),
                proof_type=kind,
                bytes_verified=max(4096, token.policy.min_bytes_per_receipt),
                result_ok=True,
                started_at=token.issued_at,
                finished_at=token.issued_at,
                receipt_nonce=secrets.token_bytes(32),
                challenge_nonce=token.challenge_nonce,
            )
            for _ in range(self._receipts)
        )
        return [sign(receipt, self.key) for receipt in receipts]

    def replay(self) -> list[str]:
        """Hand in the last acknowledged batch twice more; return what is not as it should be."""
        if self.last is None:
            return [f"{self.did} never got an answer"]
        items, body, verdict = self.last
        again = self.nodes.submit(body)
        faults = [] if again == verdict else [f"{self.did}'s same batch got another verdict the second time"]
        replayed = self.nodes.submit(encode_batch(self.did, secrets.token_bytes(16), items))
        if replayed.accepted or {each.detail for each in replayed.rejected} != {Detail.DUPLICATE_NONCE}:
            faults.append(f"{self.did}'s receipts in a new batch were not all refused as duplicates")
        return faults


class Load:
    """Several clients at work, from the beginning to the end of a ``with`` block.

    ``urls`` are the nodes that each client knows; a request is retried with the same bytes until one answers.
    """

    def __init__(self, urls: Sequence[str], *, clients: int = 4, receipts: int = 20) -> None:
        self.workers = [Worker(urls, receipts) for _ in range(clients)]
        self._threads = [threading.Thread(target=self._work, args=[worker]) for worker in self.workers]
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait(lambda: all(worker.answers for worker in self.workers), 60)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _work(self, worker: Worker) -> None:
        while not self._ending.wait(_PAUSE_SECS):
            try:
                worker.once()
            except NodeError as error:
                worker.faults.append(f"{worker.did} gave up: {error}")

    def wait(self, condition: Callable[[], bool], timeout: float) -> None:
        """Wait until something holds; raise :class:`TimeoutError` where it does not within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the drill waited {timeout:g} s in vain: {self.faults()}")
            time.sleep(0.02)

    def wait_answers(self, timeout: float) -> None:
        """Wait until every client got two answers from now on: one may have been on its way already."""
        before = [len(worker.answers) for worker in self.workers]
        self.wait(
            lambda: all(len(worker.answers) > had + 1 for worker, had in zip(self.workers, before, strict=True)),
            timeout,
        )

    def away_secs(self, since: float) -> float:
        """Return the longest time from ``since`` (monotonic) on without any acknowledgement, in seconds."""
        times = [since, *sorted(at for worker in self.workers for at, _ in list(worker.answers) if at > since)]
        return max((after - before for before, after in itertools.pairwise(times)), default=float("inf"))

    def slowest_secs(self) -> float:
        """Return the longest time from asking for a challenge to a verdict, retries included."""
        return max(worker.slowest_secs for worker in self.workers)

    def acknowledged(self, until: float = float("inf")) -> dict[str, set[bytes]]:
        """Return the nonces of each DID whose receipts were acknowledged by then (monotonic)."""
        return {
            worker.did: {nonce for at, nonces in list(worker.answers) if at <= until for nonce in nonces}
            for worker in self.workers
        }

    def faults(self) -> list[str]:
        """Return what went wrong for the clients."""
        return [fault for worker in self.workers for fault in worker.faults]

    def check(self, database_url: str, until: float = float("inf")) -> Found:
        """Compare what was acknowledged with the database, and try to be credited twice; for a load that ended."""
        promised = self.acknowledged(until)
        rows: Counter[tuple[str, bytes]] = Counter()
        with psycopg.connect(database_url, autocommit=True) as connection:
            query = "SELECT client_did, receipt_nonce FROM receipts WHERE client_did = ANY(%s)"
            for did, nonce in connection.execute(query, (list(promised),)):
                rows[did, bytes(nonce)] += 1
        lost = sum(rows[did, nonce] == 0 for did, nonces in promised.items() for nonce in nonces)
        faults = self.faults()
        if until == float("inf"):  # else the last batch was acknowledged by a database that is gone
            for worker in self.workers:
                faults += worker.replay()
        return Found(
            acknowledged=sum(map(len, promised.values())),
            lost=lost,
            doubled=sum(count - 1 for count in rows.values()),
            faults=faults[:10],
        )


def _retry_soon(secs: float) -> None:
    """Wait shorter than a polite client does: an outage is to be measured, and not the client's patience."""
    time.sleep(min(secs, _RETRY_SECS))
