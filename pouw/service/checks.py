"""Every check that a receipt has to pass before its signature, one function each, cheapest first.

A check returns the :class:`Detail` that the receipt fails with, or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.errors import DidError
from pouw.protocol.dids import check_key, is_did_key, key_from_did
from pouw.protocol.reasons import Detail
from pouw.protocol.types import SIG_SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw._fastverify import SignedReceipt
    from pouw.store.challenges import Challenge
    from pouw.store.submissions import Identity, Known


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent the batch: the DID's key if it has one, and why it may not submit, if so."""

    did: str
    key: bytes | None
    fault: Detail | None


@dataclass(frozen=True, slots=True)
class Context:
    """What the checks compare a receipt with. ``now`` and ``skew`` are in seconds."""

    client: Client
    challenges: dict[bytes, Challenge]
    now: float
    skew: int


def resolve_client(did: str, known: Known, min_age: int) -> Client:
    """Find the DID's key, in itself or among the identities, and whether it may submit."""
    key = _resolve_key(did, known.identity)
    if key is None:
        return Client(did, None, Detail.UNKNOWN_CLIENT)
    if known.blocked:
        return Client(did, key, Detail.BLOCKED_CLIENT)
    if min_age and (known.identity is None or known.identity.age < min_age):
        return Client(did, key, Detail.IDENTITY_TOO_NEW)
    return Client(did, key, None)


def _resolve_key(did: str, identity: Identity | None) -> bytes | None:
    try:
        if is_did_key(did):
            return key_from_did(did)
        if identity is not None:
            check_key(identity.public_key)
            return identity.public_key
    except DidError:
        return None
    return None


def first_failure(receipt: SignedReceipt, context: Context) -> Detail | None:
    """Run the checks in their order and return the first failure."""
    for check in _CHECKS:
        detail = check(receipt, context)
        if detail is not None:
            return detail
    return None


def _well_formed(receipt: SignedReceipt, _context: Context) -> Detail | None:
    return None if receipt.fault is None else Detail.MALFORMED_RECEIPT


def _client_may_submit(_receipt: SignedReceipt, context: Context) -> Detail | None:
    return context.client.fault


def _did_matches(receipt: SignedReceipt, context: Context) -> Detail | None:
    client = context.client
    same = receipt.client_did == client.did and receipt.client_node_id == client.key
    return None if same else Detail.DID_MISMATCH


def _challenge_known(receipt: SignedReceipt, context: Context) -> Detail | None:
    return None if receipt.challenge_nonce in context.challenges else Detail.UNKNOWN_CHALLENGE


def _challenge_live(receipt: SignedReceipt, context: Context) -> Detail | None:
    expired = context.now > context.challenges[receipt.challenge_nonce].expires_at
    return Detail.EXPIRED_CHALLENGE if expired else None


def _bound_to_challenge(receipt: SignedReceipt, context: Context) -> Detail | None:
    challenge = context.challenges[receipt.challenge_nonce]
    bound = (
        receipt.task_id == challenge.task_id
        and challenge.bound_did in (None, context.client.did)
        and receipt.started_at >= challenge.issued_at - context.skew
        and receipt.finished_at <= context.now + context.skew
    )
    return None if bound else Detail.INVALID_CHALLENGE_BINDING


def _proof_type_allowed(receipt: SignedReceipt, context: Context) -> Detail | None:
    allowed = context.challenges[receipt.challenge_nonce].allowed_proof_types
    return None if receipt.proof_type in allowed else Detail.PROOF_TYPE_NOT_ALLOWED


def _enough_bytes(receipt: SignedReceipt, context: Context) -> Detail | None:
    least = context.challenges[receipt.challenge_nonce].min_bytes_per_receipt
    return None if receipt.bytes_verified >= least else Detail.TOO_FEW_BYTES


def _scheme_supported(receipt: SignedReceipt, _context: Context) -> Detail | None:
    return None if receipt.sig_scheme == SIG_SCHEME else Detail.UNSUPPORTED_SCHEME


_CHECKS: tuple[Callable[[SignedReceipt, Context], Detail | None], ...] = (
    _well_formed,
    _client_may_submit,
    _did_matches,
    _challenge_known,
    _challenge_live,
    _bound_to_challenge,
    _proof_type_allowed,
    _enough_bytes,
    _scheme_supported,
)
