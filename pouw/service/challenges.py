"""Issuing challenges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw import metrics
from pouw.protocol.tokens import sign_token
from pouw.protocol.types import ChallengeToken, Policy, ProofType

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.keyring import KeyRing
    from pouw.store.challenges import Register

_NONCE_SIZE = 32
_TASK_ID_SIZE = 16


@dataclass(frozen=True, slots=True)
class ChallengeLimits:
    """The most that this node grants. ``ttl`` is in seconds, sizes are bytes."""

    ttl: int
    max_receipts: int
    max_bytes_total: int
    min_bytes_per_receipt: int


class Challenges:
    """Issues signed challenges and stores each before it is handed out."""

    def __init__(
        self,
        register: Register,
        ring: KeyRing,
        limits: ChallengeLimits,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._register = register
        self._ring = ring
        self._limits = limits
        self._clock = clock
        self._random = random

    def issue(
        self,
        proof_types: tuple[ProofType, ...] = (),
        max_receipts: int | None = None,
        max_bytes: int | None = None,
        bound_did: str | None = None,
    ) -> ChallengeToken:
        """Issue a challenge for the wished proof types and amounts, clipped to what the node grants.

        No proof type means all of them. A challenge bound to a DID takes that DID's receipts only.
        """
        limits = self._limits
        signer = self._ring.current()
        now = int(self._clock())
        policy = Policy(
            max_receipts=min(max_receipts or limits.max_receipts, limits.max_receipts),
            max_bytes_total=min(max_bytes or limits.max_bytes_total, limits.max_bytes_total),
            min_bytes_per_receipt=limits.min_bytes_per_receipt,
            allowed_proof_types=tuple(sorted(set(proof_types or ProofType))),
        )
        token = ChallengeToken(
            node_id=signer.public_key,
            task_id=self._random(_TASK_ID_SIZE),
            challenge_nonce=self._random(_NONCE_SIZE),
            issued_at=now,
            expires_at=now + limits.ttl,
            policy=policy,
        )
        self._register.add(token, bound_did)
        metrics.CHALLENGES_ISSUED.inc()
        return sign_token(token, signer.sign)
