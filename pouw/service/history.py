"""Why was I not paid? A client's batches, what became of each receipt, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pouw.protocol.reasons import Detail
from pouw.protocol.types import ProofType
from pouw.store import reads

if TYPE_CHECKING:
    from pouw.service.readers import Readers

# In plain words: what a detail means, and what a client can do about it.
EXPLANATIONS: dict[Detail, tuple[str, str]] = {
    Detail.INVALID_SIGNATURE: (
        "The signature is not valid over the receipt's canonical bytes.",
        "Compare your canonical bytes with the test vectors; sign with the key that the DID names.",
    ),
    Detail.UNSUPPORTED_SCHEME: ("The signature scheme is not ed25519.", "Sign with Ed25519 and say so."),
    Detail.EXPIRED_CHALLENGE: (
        "The challenge's time was over when the batch arrived.",
        "Submit earlier, and take a fresh challenge before the old one ends. The work itself can be done again.",
    ),
    Detail.UNKNOWN_CHALLENGE: (
        "The node knows no such challenge, or has forgotten it after its end.",
        "Use the challenge_nonce of a token that this node issued.",
    ),
    Detail.DUPLICATE_NONCE: (
        "A receipt with this nonce was accepted before.",
        "Nothing, if you sent it twice: it was credited once. Otherwise draw a random nonce for each receipt.",
    ),
    Detail.PROOF_TYPE_NOT_ALLOWED: (
        "The challenge does not allow this proof type.",
        "Ask for the proof types you need with the parameter cap.",
    ),
    Detail.TOO_FEW_BYTES: (
        "The work covers fewer bytes than the challenge's policy counts.",
        "Attest larger content; the policy's min_bytes_per_receipt says how large.",
    ),
    Detail.TOO_MANY_RECEIPTS: ("The challenge's budget of receipts is spent.", "Take a new challenge."),
    Detail.TOO_MANY_BYTES: ("The challenge's budget of bytes is spent.", "Take a new challenge."),
    Detail.MALFORMED_RECEIPT: (
        "The receipt breaks the protocol's rules of form.",
        "The fault names the member; docs/protocol.md has the rules and the vectors.",
    ),
    Detail.INVALID_CHALLENGE_BINDING: (
        "The receipt does not fit its challenge: another task, another client's challenge, or times outside it.",
        "Copy task_id from the token, and correct your clock by the answer's server_time.",
    ),
    Detail.UNKNOWN_CLIENT: (
        "The DID names no usable key at this node.",
        "Use a did:key, or have the DID registered.",
    ),
    Detail.DID_MISMATCH: (
        "The receipt's DID is not the batch's, or its key is not the DID's.",
        "Send each DID's receipts in batches of its own.",
    ),
    Detail.BLOCKED_CLIENT: ("The operator blocked this DID.", "Ask the operator."),
    Detail.IDENTITY_TOO_NEW: (
        "This node wants identities to be registered for some time.",
        "Register, and wait; work done meanwhile does not count.",
    ),
}


class History:
    """Reads of one DID by that DID or an operator; pages hold at most ``limit`` rows and go backwards."""

    def __init__(self, readers: Readers) -> None:
        self._read = readers.read

    def receipts(self, did: str, before: tuple[int, int], limit: int) -> list[reads.Row]:
        """Return accepted receipts before a batch's id and a receipt's in it."""
        rows = self._read(reads.receipts, did, before, limit)
        for row in rows:
            row["proof_type"] = ProofType(row["proof_type"]).json_name
        return rows

    def disputes(self, did: str, before: int, limit: int) -> list[reads.Row]:
        """Return disputes."""
        return self._read(reads.disputes, did, before, limit)

    def rewards(self, did: str, before: int, limit: int) -> list[reads.Row]:
        """Return rewards by epoch."""
        return self._read(reads.rewards, did, before, limit)

    def payouts(self, did: str, before: int, limit: int) -> list[reads.Row]:
        """Return payouts."""
        return self._read(reads.payouts, did, before, limit)

    def batches(self, did: str, before: int, limit: int) -> list[reads.Row]:
        """Return batches with what became of each receipt; every rejection says what it means and what to do."""
        rows = self._read(reads.batches, did, before, limit)
        for row in rows:
            row["rejections"] = [_explained(rejection) for rejection in row["rejections"]]
        return rows

    def rejections(self, *, cursor: int, limit: int, **filters: Any) -> list[reads.Row]:
        """Return rejections by did, reason, detail, since and until, each with what it means and what to do."""
        return [_explained(row) for row in self._read(reads.rejections, cursor, limit, **filters)]

    def anomalies(self, *, cursor: int, limit: int, **filters: Any) -> list[reads.Row]:
        """Return anomaly flags by did, epoch and kind."""
        return self._read(reads.anomalies, cursor, limit, **filters)

    def pending(self, did: str) -> dict[str, Any]:
        """Return what is accepted and not yet paid for, and what happens to it next."""
        return self._read(reads.pending, did) | {
            "next": "They are weighed when their epoch closes, and paid after that."
        }


def _explained(rejection: dict[str, Any]) -> dict[str, Any]:
    meaning, cure = EXPLANATIONS[Detail(rejection["detail"])]
    return rejection | {"meaning": meaning, "cure": cure}
