"""The messages of protocol v1 as frozen values, and the sizes that bound them.

Byte strings are ``bytes``; times are unix seconds; amounts of data are bytes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

VERSION = 1
SIG_SCHEME = "ed25519"

KEY_BYTES = 32
SIGNATURE_BYTES = 64
NONCE_BYTES = range(16, 33)  # nonces and task ids
CONTENT_ID_BYTES = range(1, 65)
PROVIDER_ID_BYTES = range(65)
DIGEST_BYTES = range(65)  # merkle_root and proof_digest
CONTEXT_BYTES = range(4097)
DID_BYTES = range(1, 257)
MAX_INTEGER = 2**63 - 1


class ProofType(enum.IntEnum):
    """What kind of useful work a receipt attests."""

    HASH = 0
    MERKLE = 1
    SIGNATURE = 2
    WEB4_MANIFEST_ROUTE = 3
    WEB4_CONTENT_SERVED = 4

    @property
    def json_name(self) -> str:
        """The name that the JSON encoding writes."""
        return _JSON_NAMES[self]


_JSON_NAMES = {
    ProofType.HASH: "hash",
    ProofType.MERKLE: "merkle",
    ProofType.SIGNATURE: "signature",
    ProofType.WEB4_MANIFEST_ROUTE: "web4manifestroute",
    ProofType.WEB4_CONTENT_SERVED: "web4contentserved",
}

PROOF_TYPE_NAMES = {name: proof_type for proof_type, name in _JSON_NAMES.items()} | {
    "sig": ProofType.SIGNATURE,
    "web4_manifest_route": ProofType.WEB4_MANIFEST_ROUTE,
    "web4_content_served": ProofType.WEB4_CONTENT_SERVED,
}
"""Every accepted JSON name of a proof type, aliases included."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one challenge allows, over all batches submitted under it."""

    max_receipts: int
    max_bytes_total: int
    min_bytes_per_receipt: int
    allowed_proof_types: tuple[ProofType, ...]


@dataclass(frozen=True, slots=True)
class ChallengeToken:
    """A node's signed promise to take receipts under ``policy`` until ``expires_at``."""

    node_id: bytes
    task_id: bytes
    challenge_nonce: bytes
    issued_at: int
    expires_at: int
    policy: Policy
    node_signature: bytes = b""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Aux:
    """Optional evidence beside a receipt."""

    merkle_root: bytes = b""
    proof_digest: bytes = b""
    context: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One piece of useful work, as the client that did it attests it."""

    task_id: bytes
    client_did: str
    client_node_id: bytes
    content_id: bytes
    proof_type: ProofType
    bytes_verified: int
    result_ok: bool
    started_at: int
    finished_at: int
    receipt_nonce: bytes
    challenge_nonce: bytes
    provider_id: bytes = b""
    aux: Aux | None = None
    version: int = VERSION
