"""Epoch manifests: what an epoch came to, signed by a node and chained to the epoch before.

A manifest is JSON in the canonical form of RFC 8785: members sorted, no white space; it holds only objects, strings
and integers below 2^53, for which that form is plain. Amounts are strings of whole atoms.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pouw.errors import ManifestError, RewardError
from pouw.protocol.rewards import Rules, atoms, rules_from_json

VERSION = 1
FIRST_PREVIOUS = "0" * 64
_CONTEXT = b"pouw epoch v1\0"
"""Keeps a signature over a manifest from being one over a token or a verdict, which the same key signs."""


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of objects, strings and small integers (RFC 8785)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed_bytes(manifest: bytes) -> bytes:
    """Return what the node signs: a context label and the manifest's canonical JSON."""
    return _CONTEXT + manifest


def digest(manifest: bytes) -> str:
    """Return what the next manifest calls this one: the SHA-256 of its canonical JSON, in hex."""
    return hashlib.sha256(manifest).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an epoch came to. Times are unix seconds; ``ends_at`` is the first second of the next epoch."""

    epoch: int
    starts_at: int
    ends_at: int
    receipts: int
    clients: int
    rules: Rules
    budget_left: int  # before this epoch
    computed: int
    allocated: int
    receipts_root: bytes
    rewards_root: bytes
    previous: str

    @property
    def unallocated(self) -> int:
        """What was computed and the budget no longer covered."""
        return self.computed - self.allocated

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return canonical(
            {
                "version": VERSION,
                "epoch": self.epoch,
                "starts_at": self.starts_at,
                "ends_at": self.ends_at,
                "receipts": self.receipts,
                "clients": self.clients,
                "rules": self.rules.as_json(),
                "budget_left_atoms": str(self.budget_left),
                "computed_atoms": str(self.computed),
                "allocated_atoms": str(self.allocated),
                "unallocated_atoms": str(self.unallocated),
                "receipts_root": self.receipts_root.hex(),
                "rewards_root": self.rewards_root.hex(),
                "previous": self.previous,
            }
        )


def decode(text: bytes) -> Manifest:
    """Read a manifest; raise :class:`ManifestError` where it is none, or is not in its canonical form."""
    try:
        value = json.loads(text)
        manifest = Manifest(
            epoch=_number(value["epoch"]),
            starts_at=_number(value["starts_at"]),
            ends_at=_number(value["ends_at"]),
            receipts=_number(value["receipts"]),
            clients=_number(value["clients"]),
            rules=rules_from_json(value["rules"]),
            budget_left=atoms(value["budget_left_atoms"]),
            computed=atoms(value["computed_atoms"]),
            allocated=atoms(value["allocated_atoms"]),
            receipts_root=bytes.fromhex(value["receipts_root"]),
            rewards_root=bytes.fromhex(value["rewards_root"]),
            previous=bytes.fromhex(value["previous"]).hex(),
        )
    except (RewardError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ManifestError(f"This is not a manifest: {error!r}") from error
    if manifest.encode() != text:
        raise ManifestError("The manifest is not in its canonical form, or its amounts do not add up.")
    return manifest


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def verify(manifest: bytes, node_id: bytes, signature: bytes) -> None:
    """Raise :class:`ManifestError` unless the node signed the manifest."""
    try:
        VerifyKey(node_id).verify(signed_bytes(manifest), signature)
    except (BadSignatureError, ValueError) as error:
        raise ManifestError("The manifest's signature is not its node's.") from error


@dataclass(frozen=True, slots=True)
class RewardLine:
    """One DID's reward in an epoch: a leaf of the rewards' tree, and a line of an export."""

    client_did: str
    receipts: int
    weight: int
    raw: int
    final: int
    allocated: int

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return canonical(
            {
                "client_did": self.client_did,
                "receipts": self.receipts,
                "weight": self.weight,
                "raw_atoms": str(self.raw),
                "final_atoms": str(self.final),
                "allocated_atoms": str(self.allocated),
            }
        )
