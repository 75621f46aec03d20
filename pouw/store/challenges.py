"""Challenges: written when they are issued, read when receipts come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.gather import Gather
from pouw.store.arrays import Bytea, Int8, Text
from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.protocol.types import ChallengeToken
    from pouw.store.pool import Pool

_AT_ONCE = 64
_LANES = 2


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


class Register:
    """Stores issued challenges durably, those that come at the same time in one transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._issued = Gather(self._insert, most=_AT_ONCE, lanes=_LANES)

    def add(self, token: ChallengeToken, bound_did: str | None) -> None:
        """Store an issued challenge; raise :class:`pouw.errors.StoreError` where that fails."""
        self._issued.ask((token, bound_did))

    def _insert(self, issued: list[tuple[ChallengeToken, str | None]]) -> list[None]:
        tokens = [token for token, _bound_did in issued]
        policies = [token.policy for token in tokens]
        columns = (
            Bytea([token.challenge_nonce for token in tokens]),
            Bytea([token.task_id for token in tokens]),
            Text([bound_did for _token, bound_did in issued]),
            Int8([token.issued_at for token in tokens]),
            Int8([token.expires_at for token in tokens]),
            Int8([policy.max_receipts for policy in policies]),
            Int8([policy.max_bytes_total for policy in policies]),
            Int8([policy.min_bytes_per_receipt for policy in policies]),
            Text([f"{{{','.join(map(str, policy.allowed_proof_types))}}}" for policy in policies]),
        )
        with session(self._pool) as connection:
            connection.execute(
                """
                INSERT INTO challenges (nonce, task_id, bound_did, issued_at, expires_at, max_receipts,
                                        max_bytes_total, min_bytes_per_receipt, allowed_proof_types)
                SELECT nonce, task_id, bound_did, issued_at, expires_at, receipts, size, least, kinds::smallint[]
                FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b)
                    AS issued (nonce, task_id, bound_did, issued_at, expires_at, receipts, size, least, kinds)
                """,
                columns,
            )
        return [None] * len(issued)
