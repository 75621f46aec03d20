"""Why a receipt was rejected: one label for the answer, the metric, the log and the table."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """The family of a rejection."""

    BAD_SIG = "BAD_SIG"
    EXPIRED = "EXPIRED"
    REPLAY = "REPLAY"
    POLICY = "POLICY"
    BAD_PROOF = "BAD_PROOF"
    CLIENT_INVALID = "CLIENT_INVALID"


class Detail(enum.StrEnum):
    """The exact check that a receipt failed. Each belongs to one :class:`Reason`."""

    INVALID_SIGNATURE = "invalid_signature"
    UNSUPPORTED_SCHEME = "unsupported_scheme"
    EXPIRED_CHALLENGE = "expired_challenge"
    UNKNOWN_CHALLENGE = "unknown_challenge"
    DUPLICATE_NONCE = "duplicate_nonce"
    PROOF_TYPE_NOT_ALLOWED = "proof_type_not_allowed"
    TOO_FEW_BYTES = "too_few_bytes"
    TOO_MANY_RECEIPTS = "too_many_receipts"
    TOO_MANY_BYTES = "too_many_bytes"
    MALFORMED_RECEIPT = "malformed_receipt"
    INVALID_CHALLENGE_BINDING = "invalid_challenge_binding"
    UNKNOWN_CLIENT = "unknown_client"
    DID_MISMATCH = "did_mismatch"
    BLOCKED_CLIENT = "blocked_client"
    IDENTITY_TOO_NEW = "identity_too_new"

    @property
    def reason(self) -> Reason:
        """The family that this detail belongs to."""
        return _REASONS[self]


_REASONS = {
    Detail.INVALID_SIGNATURE: Reason.BAD_SIG,
    Detail.UNSUPPORTED_SCHEME: Reason.BAD_SIG,
    Detail.EXPIRED_CHALLENGE: Reason.EXPIRED,
    Detail.UNKNOWN_CHALLENGE: Reason.EXPIRED,
    Detail.DUPLICATE_NONCE: Reason.REPLAY,
    Detail.PROOF_TYPE_NOT_ALLOWED: Reason.POLICY,
    Detail.TOO_FEW_BYTES: Reason.POLICY,
    Detail.TOO_MANY_RECEIPTS: Reason.POLICY,
    Detail.TOO_MANY_BYTES: Reason.POLICY,
    Detail.MALFORMED_RECEIPT: Reason.BAD_PROOF,
    Detail.INVALID_CHALLENGE_BINDING: Reason.BAD_PROOF,
    Detail.UNKNOWN_CLIENT: Reason.CLIENT_INVALID,
    Detail.DID_MISMATCH: Reason.CLIENT_INVALID,
    Detail.BLOCKED_CLIENT: Reason.CLIENT_INVALID,
    Detail.IDENTITY_TOO_NEW: Reason.CLIENT_INVALID,
}
