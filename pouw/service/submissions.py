"""Taking in a batch: judge every receipt alone, prove the DID, settle with the database, sign the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw import metrics
from pouw.protocol.reasons import Detail
from pouw.protocol.verdicts import Rejection, Verdict, signed_bytes
from pouw.service import batch_log
from pouw.service.checks import Context, first_failure, resolve_client
from pouw.stages import Stage
from pouw.store.submissions import BatchKey, Claim, Outcome, Question, Used, nonce_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pouw._fastverify import SignedReceipt
    from pouw.service.checks import Client
    from pouw.service.keyring import KeyRing
    from pouw.store.challenges import Challenge
    from pouw.store.ledger import Ledger
    from pouw.store.submissions import Known
    from pouw.verify import Verifier


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded batch. ``digest`` is the SHA-256 of the body's bytes."""

    client_did: str
    batch_nonce: bytes | None
    digest: bytes
    receipts: list[SignedReceipt]


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes to send back, and whether they are those of an earlier answer."""

    body: bytes
    replayed: bool


class Submissions:
    """Turns batches into signed verdicts; a receipt is accepted only after its commit."""

    def __init__(
        self,
        ledger: Ledger,
        verifier: Verifier,
        ring: KeyRing,
        *,
        clock: Callable[[], float],
        spend_did_quota: Callable[[str], None],
        skew: int,
        identity_min_age: int,
    ) -> None:
        self._ledger = ledger
        self._verifier = verifier
        self._ring = ring
        self._clock = clock
        self._spend_did_quota = spend_did_quota
        self._skew = skew
        self._identity_min_age = identity_min_age

    def submit(self, batch: Batch, render: Callable[[Verdict, bytes], bytes]) -> Answer:
        """Judge and store a batch. ``render`` turns a verdict and its signature into the answer's bytes.

        Raises :class:`pouw.errors.QuotaExceeded`, :class:`pouw.errors.BatchConflict` or
        :class:`pouw.errors.StoreUnavailable`; then nothing of the batch was stored, except that after the
        last one a commit may have happened, which asking again with the same batch nonce tells.
        """
        key = BatchKey(batch.client_did, batch.batch_nonce, batch.digest)
        digests = _digests(batch)
        nonces = {batch.receipts[index].challenge_nonce for index in digests}
        question = Question(key, list(nonces), list(digests.values()))
        with Stage("look_up"):
            known = self._ledger.look_up(question)
        first = known.first_answer(key)
        if first is not None:
            batch_log.note(batch, None)
            return Answer(first, replayed=True)
        metrics.BATCH_SIZE.observe(len(batch.receipts))
        metrics.RECEIPTS_RECEIVED.inc(len(batch.receipts))
        client = resolve_client(batch.client_did, known, self._identity_min_age)
        context = Context(client, known.challenges, self._clock(), self._skew)
        for nonce in nonces & known.challenges.keys():
            metrics.CHALLENGE_AGE.observe(context.now - known.challenges[nonce].issued_at)
        failures = [first_failure(receipt, context) for receipt in batch.receipts]
        with Stage("verify"):
            self._verify(batch.receipts, failures, client)
        claims = _claims(batch.receipts, failures, digests, known.challenges)
        # Only a receipt that may still be credited proves who sent it: anyone can repeat an old one, which was credited
        # or came when its challenge's budget was spent.
        proven = len(spend(claims, known.taken, known.used, known.challenges)) < len(claims)
        if proven:
            self._spend_did_quota(batch.client_did)
        return self._settle(question, batch, failures, claims, known, proven, render)

    def _verify(self, receipts: list[SignedReceipt], failures: list[Detail | None], client: Client) -> None:
        """Mark the wrong signatures in ``failures`` among the receipts that passed every check so far."""
        asked = [index for index, failure in enumerate(failures) if failure is None]
        if client.key is None or not asked:
            return
        with metrics.SIGNATURE_VERIFICATION.time():
            results = self._verifier.verify([receipts[index] for index in asked], client.key)
        for index, valid in zip(asked, results, strict=True):
            if not valid:
                failures[index] = Detail.INVALID_SIGNATURE

    def _settle(
        self,
        question: Question,
        batch: Batch,
        failures: list[Detail | None],
        claims: dict[int, Claim],
        known: Known,
        proven: bool,
        render: Callable[[Verdict, bytes], bytes],
    ) -> Answer:
        signer = self._ring.current()

        def decide(now_known: Known) -> Outcome:
            refused = spend(claims, now_known.taken, now_known.used, known.challenges)
            rejected = _rejections(batch.receipts, failures, refused)
            credited = [claim for index, claim in claims.items() if index not in refused]
            verdict = Verdict(
                batch_digest=question.key.digest,
                node_id=signer.public_key,
                accepted=tuple(claim.receipt_nonce for claim in credited),
                rejected=tuple(rejected),
                server_time=int(self._clock()),
            )
            return Outcome(credited, rejected, render(verdict, signer.sign(signed_bytes(verdict))))

        with Stage("commit"):
            answer, outcome = self._ledger.settle(question, known, proven=proven, decide=decide)
        batch_log.note(batch, outcome)
        if outcome is None:
            return Answer(answer, replayed=True)
        metrics.RECEIPTS_ACCEPTED.inc(len(outcome.credited))
        for rejection in outcome.rejected:
            metrics.RECEIPTS_REJECTED.labels(rejection.detail.reason.value, rejection.detail.value).inc()
        return Answer(answer, replayed=False)


def spend(
    claims: dict[int, Claim],
    taken: set[bytes],
    used: dict[bytes, Used],
    challenges: dict[bytes, Challenge],
) -> dict[int, Detail]:
    """Spend the challenges' budgets on claims in the batch's order; return those refused, by index.

    A refused claim spends nothing and takes no nonce.
    """
    refused: dict[int, Detail] = {}
    seen = set(taken)
    left = {
        nonce: [
            challenges[nonce].max_receipts - spent.receipts,
            challenges[nonce].max_bytes_total - spent.bytes,
        ]
        for nonce, spent in used.items()
    }
    for index, claim in claims.items():
        budget = left.get(claim.challenge_nonce)
        if claim.nonce_digest in seen:
            refused[index] = Detail.DUPLICATE_NONCE
        elif budget is None:  # purged since it was looked up
            refused[index] = Detail.UNKNOWN_CHALLENGE
        elif budget[0] < 1:
            refused[index] = Detail.TOO_MANY_RECEIPTS
        elif budget[1] < claim.bytes_verified:
            refused[index] = Detail.TOO_MANY_BYTES
        else:
            budget[0] -= 1
            budget[1] -= claim.bytes_verified
            seen.add(claim.nonce_digest)
    return refused


def _digests(batch: Batch) -> dict[int, bytes]:
    """Return the digests under which well-formed receipts claim their nonces, by index."""
    nonces = {
        index: receipt.receipt_nonce
        for index, receipt in enumerate(batch.receipts)
        if receipt.fault is None and receipt.receipt_nonce is not None
    }
    return dict(zip(nonces, nonce_digests(batch.client_did, nonces.values()), strict=True))


def _claims(
    receipts: Sequence[SignedReceipt],
    failures: Sequence[Detail | None],
    digests: dict[int, bytes],
    challenges: dict[bytes, Challenge],
) -> dict[int, Claim]:
    claims = {}
    for index, digest in digests.items():
        if failures[index] is None:
            receipt = receipts[index]
            nonce = receipt.challenge_nonce
            claims[index] = Claim(
                digest,
                receipt.receipt_nonce,  # type: ignore[arg-type]  # what has a digest has a nonce
                nonce,
                challenges[nonce].expires_at,
                receipt.proof_type,
                receipt.bytes_verified,
                receipt.result_ok,
                receipt.body,
                receipt.signature,
            )
    return claims


def _rejections(
    receipts: Sequence[SignedReceipt],
    failures: Sequence[Detail | None],
    refused: dict[int, Detail],
) -> list[Rejection]:
    rejections = []
    for index, (receipt, failure) in enumerate(zip(receipts, failures, strict=True)):
        detail = failure or refused.get(index)
        if detail is not None:
            rejections.append(Rejection(index, receipt.receipt_nonce, detail, receipt.fault))
    return rejections
