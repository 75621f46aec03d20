"""Challenges: written when they are issued, read when receipts come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.protocol.types import ChallengeToken
    from pouw.store.pool import Pool


@dataclass(frozen=True, slots=True)
class Challenge:
    """The unchanging part of a stored challenge. Times are unix seconds."""

    nonce: bytes
    task_id: bytes
    bound_did: str | None
    issued_at: int
    expires_at: int
    max_receipts: int
    max_bytes_total: int
    min_bytes_per_receipt: int
    allowed_proof_types: frozenset[int]


def insert(pool: Pool, token: ChallengeToken, bound_did: str | None) -> None:
    """Store an issued challenge durably."""
    policy = token.policy
    with session(pool) as connection:
        connection.execute(
            """
            INSERT INTO challenges (nonce, task_id, bound_did, issued_at, expires_at, max_receipts,
                                    max_bytes_total, min_bytes_per_receipt, allowed_proof_types)
            VALUES (%b, %b, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                token.challenge_nonce,
                token.task_id,
                bound_did,
                token.issued_at,
                token.expires_at,
                policy.max_receipts,
                policy.max_bytes_total,
                policy.min_bytes_per_receipt,
                [int(kind) for kind in policy.allowed_proof_types],
            ),
        )
