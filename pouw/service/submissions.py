"""Taking in a batch: judge every receipt alone, prove the DID, settle with the database, sign the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pouw import metrics
from pouw._fastverify import Room, claim_passed, take_room
from pouw.protocol.reasons import Detail
from pouw.protocol.verdicts import Rejection, Verdict, signed_bytes
from pouw.service import batch_log
from pouw.service.checks import Context, first_failures, resolve_client
from pouw.stages import Stage
from pouw.store.submissions import BatchKey, Outcome, Question, Used, nonce_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pouw._fastverify import Claim, SignedReceipt
    from pouw.service.checks import Client
    from pouw.service.keyring import KeyRing
    from pouw.store.challenges import Challenge
    from pouw.store.ledger import Ledger
    from pouw.store.submissions import Known
    from pouw.verify import Verifier


class Batch(NamedTuple):
    """A decoded batch. ``digest`` is the SHA-256 of the body's bytes."""

    client_did: str
    batch_nonce: bytes | None
    digest: bytes
    receipts: list[SignedReceipt]


class Answer(NamedTuple):
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
        claim_keys = _claim_keys(batch)
        challenge_nonces = {batch.receipts[index].challenge_nonce for index in claim_keys}
        question = Question(key, list(challenge_nonces), list(claim_keys.values()))
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
        for nonce in challenge_nonces & known.challenges.keys():
            metrics.CHALLENGE_AGE.observe(context.now - known.challenges[nonce].issued_at)
        failures = first_failures(batch.receipts, context)
        with Stage("verify"):
            self._verify(batch.receipts, failures, client)
        claims = claim_passed(batch.receipts, failures, claim_keys, known.challenges)
        spending = self._spend(question, claims, known)
        proven = len(spending.refused) < len(claims)
        if proven:
            self._spend_did_quota(batch.client_did)
        return self._settle(question, batch, failures, claims, known, spending, proven, render)

    def _verify(self, receipts: list[SignedReceipt], failures: list[Detail | None], client: Client) -> None:
        """Mark the wrong signatures in ``failures`` among the receipts that passed every check so far."""
        asked = [index for index, failure in enumerate(failures) if failure is None]
        if client.key is None or not asked:
            return
        with metrics.SIGNATURE_VERIFICATION.time():
            results = self._verifier.verify([receipts[index] for index in asked], client.key)
        if not all(results):
            for index, valid in zip(asked, results, strict=True):
                if not valid:
                    failures[index] = Detail.INVALID_SIGNATURE

    def _spend(self, question: Question, claims: dict[int, Claim], known: Known) -> Spending:
        """Spend the challenges' budgets on the claims, knowing of every nonce that matters whether it is taken.

        Only a receipt that may still be credited proves who sent it: anyone can repeat an old one, which was credited,
        or came when its challenge's budget was spent. And what was credited is a replay before it is too many. So the
        first nonce will do only where it is of the first claim, and nothing is refused.
        """
        spending = spend(claims, known, known.challenges)
        if not claims or known.only_nonce is None:
            return spending
        if not spending.refused and next(iter(claims.values())).nonce_key == known.only_nonce:
            return spending
        with Stage("look_up"):
            self._ledger.look_up_nonces(question, known)
        return spend(claims, known, known.challenges)

    def _settle(
        self,
        question: Question,
        batch: Batch,
        failures: list[Detail | None],
        claims: dict[int, Claim],
        known: Known,
        first: Spending,
        proven: bool,
        render: Callable[[Verdict, bytes], bytes],
    ) -> Answer:
        signer = self._ring.current()

        def decide(now_known: Known) -> Outcome:
            spending = first if now_known is known else spend(claims, now_known, known.challenges)
            rejected = _rejections(batch.receipts, failures, spending.refused)
            refused = spending.refused
            credited = [claim for index, claim in claims.items() if index not in refused]
            verdict = Verdict(
                batch_digest=question.key.digest,
                node_id=signer.public_key,
                accepted=tuple([claim.receipt.receipt_nonce for claim in credited]),  # type: ignore[misc]  # each has one
                rejected=tuple(rejected),
                server_time=int(self._clock()),
            )
            return Outcome(credited, rejected, spending.spent, render(verdict, signer.sign(signed_bytes(verdict))))

        with Stage("commit"):
            answer, outcome = self._ledger.settle(question, known, proven=proven, decide=decide)
        batch_log.note(batch, outcome)
        if outcome is None:
            return Answer(answer, replayed=True)
        metrics.RECEIPTS_ACCEPTED.inc(len(outcome.credited))
        for rejection in outcome.rejected:
            metrics.RECEIPTS_REJECTED.labels(rejection.detail.reason.value, rejection.detail.value).inc()
        return Answer(answer, replayed=False)


class Spending(NamedTuple):
    """What claims come to: those refused, by index, and what the others spend, by challenge."""

    refused: dict[int, Detail]
    spent: dict[bytes, Used]


def spend(claims: dict[int, Claim], known: Known, challenges: dict[bytes, Challenge]) -> Spending:
    """Spend the challenges' budgets on claims in the batch's order.

    A refused claim spends nothing and takes no nonce. A challenge that was purged since it was looked up is unknown.
    """

    def room_of(nonce: bytes) -> Room | None:
        used, challenge = known.used.get(nonce), challenges[nonce]
        if used is None:
            return None
        return Room(challenge.max_receipts - used.receipts, challenge.max_bytes_total - used.bytes)

    refused, rooms = take_room(claims, known.taken, room_of)
    spent = {
        nonce: Used(room.receipts_taken, room.bytes_taken)
        for nonce, room in rooms.items()
        if room is not None and room.receipts_taken
    }
    return Spending({index: Detail(name) for index, name in refused.items()}, spent)


def _claim_keys(batch: Batch) -> dict[int, bytes]:
    """Return the keys under which well-formed receipts claim their nonces, by index."""
    nonces = {
        index: receipt.receipt_nonce
        for index, receipt in enumerate(batch.receipts)
        if receipt.fault is None and receipt.receipt_nonce is not None
    }
    return dict(zip(nonces, nonce_keys(batch.client_did, nonces.values()), strict=True))


def _rejections(
    receipts: Sequence[SignedReceipt],
    failures: Sequence[Detail | None],
    refused: dict[int, Detail],
) -> list[Rejection]:
    rejections: list[Rejection] = []
    if not refused and not any(failures):
        return rejections
    for index, (receipt, failure) in enumerate(zip(receipts, failures, strict=True)):
        detail = failure or refused.get(index)
        if detail is not None:
            rejections.append(Rejection(index, receipt.receipt_nonce, detail, receipt.fault))
    return rejections
