"""Who sent a batch, and what its receipts have to pass before their signatures are looked at.

The checks themselves are in C, in ``pouw/_fast/checks.pxi``: one function each, cheapest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pouw import _fastverify
from pouw.errors import DidError
from pouw.protocol.dids import check_key, is_did_key, key_from_did
from pouw.protocol.reasons import Detail
from pouw.protocol.types import SIG_SCHEME

if TYPE_CHECKING:
    from pouw._fastverify import SignedReceipt
    from pouw.store.challenges import Challenge
    from pouw.store.submissions import Identity, Known


class Client(NamedTuple):
    """Who sent the batch: the DID's key if it has one, and why it may not submit, if so."""

    did: str
    key: bytes | None
    fault: Detail | None


class Context(NamedTuple):
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


def first_failures(receipts: list[SignedReceipt], context: Context) -> list[Detail | None]:
    """Run the checks on each receipt, in their order, and return its first failure, or None."""
    client = context.client
    names = _fastverify.first_failures(
        receipts, client.did, client.key, client.fault, context.challenges, context.now, context.skew, SIG_SCHEME
    )
    if not any(names):
        return [None] * len(names)
    return [None if name is None else Detail(name) for name in names]
