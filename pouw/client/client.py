"""The client: receipts in, verdicts out, and nothing lost in between."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Self

from pouw.client.outbox import Outbox
from pouw.client.receipts import sign
from pouw.errors import NodeError, NodeRefused
from pouw.protocol.dids import did_from_key
from pouw.protocol.types import ProofType, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nacl.signing import SigningKey

    from pouw.client.node import Challenge, Nodes
    from pouw.protocol.types import Aux, ChallengeToken
    from pouw.protocol.verdicts import Verdict

BATCH_RECEIPTS = 10
BATCH_SECS = 10.0
_LOOK_SECS = 0.5
_NONCE_BYTES = 32
_MARGIN_SECS = 60
"""A challenge with less time left than this, or than half its life, is not started on."""


class Client:
    """Attests work under one identity and sees to it that every receipt is answered once.

    Signed receipts go into the file ``outbox`` before anything else. They are sealed into batches of
    ``batch_receipts``, or what there is after ``batch_secs`` seconds, and a sealed batch is sent, the same bytes
    each time, until a node's signed verdict is there; ``on_verdict`` gets it, and after a crash perhaps again. What
    an earlier process left in the file is sent first. One process at a time may use an outbox.

    As a context manager it sends from a thread of its own: work never waits for a node that is away, verdicts
    arrive on that thread, and the end of the block waits until everything is answered. Without one,
    :meth:`finish_work` sends what is due before it returns, and raises what went wrong.
    """

    def __init__(
        self,
        nodes: Nodes,
        key: SigningKey,
        outbox: Path | str,
        *,
        on_verdict: Callable[[Verdict], None] = lambda _verdict: None,
        batch_receipts: int = BATCH_RECEIPTS,
        batch_secs: float = BATCH_SECS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.did = did_from_key(bytes(key.verify_key))
        self._nodes = nodes
        self._key = key
        self._outbox = Outbox(outbox, self.did)
        self._on_verdict = on_verdict
        self._batch_receipts = batch_receipts
        self._batch_secs = batch_secs
        self._clock = clock
        self._challenges: dict[ProofType, _Running] = {}
        self._oldest_at: float | None = None
        self._lock = threading.Lock()  # of the challenges and the time of the oldest receipt
        self._sending = threading.RLock()  # one batch after the other, whoever sends
        self._flushing = False
        self._sender: threading.Thread | None = None
        self._ending = threading.Event()
        self.refusals: list[str] = []
        """Why nodes refused batches for good; such a batch is set aside in the outbox."""

    def __enter__(self) -> Self:
        self._sender = threading.Thread(target=self._send_from_thread, name="pouw-client", daemon=True)
        self._sender.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self._ending.set()
        if self._sender is not None:
            self._sender.join()
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def _send_from_thread(self) -> None:
        while not self._ending.wait(_LOOK_SECS):
            with contextlib.suppress(NodeError):  # it stays in the outbox, and the next look sends it again
                self.send_due()

    def start_work(self, proof_type: ProofType, size: int) -> Work:
        """Begin a piece of work on ``size`` bytes, under a challenge with time and budget enough for it.

        Raises :class:`pouw.errors.NodeError` where no node hands out a challenge.
        """
        if not self._has_challenge(proof_type, size):
            self._oldest_at = -self._batch_secs  # what was done under the old one has to arrive before its end
            if self._sender is None:
                self.flush()
        with self._lock:
            running = self._challenges.get(proof_type)
            if running is None or not running.fits(size, self._clock()):
                running = _Running(self._nodes.challenge(proof_type.json_name))
                self._challenges[proof_type] = running
            running.spend(size)
            return Work(running.challenge, proof_type, self._clock() + running.challenge.clock_offset)

    def _has_challenge(self, proof_type: ProofType, size: int) -> bool:
        with self._lock:
            running = self._challenges.get(proof_type)
            return running is not None and running.fits(size, self._clock())

    def finish_work(
        self,
        work: Work,
        *,
        content_id: bytes,
        size: int,
        result_ok: bool = True,
        provider_id: bytes = b"",
        aux: Aux | None = None,
    ) -> Receipt:
        """Sign and keep the receipt of a finished piece of work; send what is due."""
        token = work.challenge.token
        finished_at = self._clock() + work.challenge.clock_offset
        receipt = Receipt(
            task_id=token.task_id,
            client_did=self.did,
            client_node_id=bytes(self._key.verify_key),
            provider_id=provider_id,
            content_id=content_id,
            proof_type=work.proof_type,
            bytes_verified=size,
            result_ok=result_ok,
            started_at=max(int(work.started_at), token.issued_at),
            finished_at=max(int(finished_at), token.issued_at),
            receipt_nonce=secrets.token_bytes(_NONCE_BYTES),
            challenge_nonce=token.challenge_nonce,
            aux=aux,
        )
        self._outbox.add(sign(receipt, self._key))
        if self._oldest_at is None:
            self._oldest_at = self._clock()
        if self._sender is None:
            self.send_due()
        return receipt

    def send_due(self) -> None:
        """Send what is due: full batches, and the rest once it has waited long enough."""
        oldest_at = self._oldest_at
        waited = oldest_at is not None and self._clock() - oldest_at >= self._batch_secs
        if waited or self._outbox.waiting() >= self._batch_receipts:
            self.flush()

    def flush(self) -> None:
        """Send everything, and return when all of it is answered.

        Raises :class:`pouw.errors.NodeError` where no node answers within the nodes' patience; then the rest stays
        in the outbox and the next call goes on with the same bytes.
        """
        with self._sending:
            if self._flushing:
                return  # called by on_verdict: the flush that called it goes on after it
            self._flushing = True
            self._oldest_at = None
            refusals = len(self.refusals)
            try:
                self._send_sealed()
                while self._outbox.seal(self._batch_receipts) is not None:
                    self._send_sealed()
            except BaseException:
                self._oldest_at = -self._batch_secs  # due at once, as soon as a node is back
                raise
            finally:
                self._flushing = False
            if len(self.refusals) > refusals and self._sender is None:
                raise NodeRefused(self.refusals[refusals])

    def _send_sealed(self) -> None:
        for sealed in self._outbox.unanswered():
            try:
                verdict = self._nodes.submit(sealed.body)
            except NodeRefused as error:
                self._outbox.refused(sealed, str(error))
                self.refusals.append(str(error))
                continue
            self._on_verdict(verdict)
            self._outbox.answered(sealed)

    def close(self) -> None:
        """Close the outbox; what it holds stays there."""
        self._outbox.close()


class Work:
    """One piece of work that has begun; ``started_at`` is in the node's unix seconds."""

    __slots__ = ("challenge", "proof_type", "started_at")

    def __init__(self, challenge: Challenge, proof_type: ProofType, started_at: float) -> None:
        self.challenge = challenge
        self.proof_type = proof_type
        self.started_at = started_at


class _Running:
    """A challenge in use, and what is left of its budget."""

    def __init__(self, challenge: Challenge) -> None:
        self.challenge = challenge
        self._receipts = challenge.token.policy.max_receipts
        self._bytes = challenge.token.policy.max_bytes_total

    def fits(self, size: int, now: float) -> bool:
        token: ChallengeToken = self.challenge.token
        margin = min(_MARGIN_SECS, (token.expires_at - token.issued_at) / 2)
        in_time = now + self.challenge.clock_offset + margin < token.expires_at
        return in_time and self._receipts > 0 and size <= self._bytes

    def spend(self, size: int) -> None:
        self._receipts -= 1
        self._bytes -= size
