"""Disputes: a DID says that the node was wrong, an operator looks into it, and the whole of it is written down."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pouw import metrics
from pouw.errors import DisputeError
from pouw.protocol.disputes import RESOLUTIONS, SUBJECTS, State
from pouw.protocol.rewards import atoms
from pouw.store import disputes as store

if TYPE_CHECKING:
    from pouw.store.disputes import Dispute, Entry
    from pouw.store.pool import Pool

_TEXT_CHARACTERS = range(1, 2_001)
_EVIDENCE_BYTES = range(1, 4_097)
_FORMS = {
    "receipt": re.compile(r"(?:[0-9a-f]{2}){16,32}\Z"),
    "challenge": re.compile(r"(?:[0-9a-f]{2}){16,32}\Z"),
    "rejection": re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII),
    "reward": re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII),
}


class Disputes:
    """Files, reads and settles disputes; ``budget`` is the lifetime budget in atoms, compensations included."""

    def __init__(self, pool: Pool, *, budget: int) -> None:
        self._pool = pool
        self._budget = budget

    def file(self, did: str, subject: str, subject_id: str, claim: str, evidence: str | None) -> Dispute:
        """File a dispute about a receipt or a challenge (its nonce in hex), a rejection (its id) or a reward (epoch).

        Raises :class:`DisputeError` for what is none of these, and :class:`pouw.errors.DisputeConflict`.
        """
        if subject not in SUBJECTS:
            raise DisputeError(f"subject is one of {', '.join(SUBJECTS)}.")
        if not _FORMS[subject].match(subject_id):
            raise DisputeError(f"subject_id is not the name of a {subject}.")
        _check_text("claim", claim)
        if evidence is not None:
            _check_evidence(evidence)
        dispute = store.file(self._pool, did, subject, subject_id, claim, evidence)
        metrics.DISPUTES_LOGGED.inc()
        return dispute

    def find(self, dispute_id: int) -> Dispute | None:
        """Return a dispute, or None."""
        return store.find(self._pool, dispute_id)

    def entries(self, dispute: Dispute, *, for_operator: bool) -> list[Entry]:
        """Return what was put to a dispute; only operators see operators' notes, and which operator it was."""
        entries = store.entries(self._pool, dispute.id)
        if for_operator:
            return entries
        return [
            entry if entry.author == dispute.client_did else replace(entry, author="operator")
            for entry in entries
            if entry.kind != "note"
        ]

    def page(self, state: str | None, before: int, limit: int) -> list[Dispute]:
        """Return disputes, the newest first."""
        return store.page(self._pool, state, before, limit)

    def add_evidence(self, dispute_id: int, author: str, content: str) -> None:
        """Put evidence to a dispute that waits."""
        _check_evidence(content)
        store.add(self._pool, dispute_id, "evidence", author, content)

    def add_note(self, dispute_id: int, author: str, content: str) -> None:
        """Put a note to a dispute that only operators see."""
        _check_evidence(content)
        store.add(self._pool, dispute_id, "note", author, content)

    def withdraw(self, dispute_id: int, did: str) -> Dispute:
        """Close a dispute that its claimant does not want any more."""
        return store.move(self._pool, dispute_id, State.CLOSED, did, None, None, self._budget)

    def resolve(
        self, dispute_id: int, state: str, actor: str, explanation: str | None, compensation: str | None
    ) -> Dispute:
        """Move a dispute on; a resolution needs an explanation, and one for the claimant may carry a compensation.

        Raises :class:`DisputeError` for what cannot be, :class:`pouw.errors.DisputeConflict` for what can no longer be.
        """
        if state not in set(State) - {State.OPEN}:
            raise DisputeError(f"state is one of {', '.join(sorted(set(State) - {State.OPEN}))}.")
        wanted = State(state)
        if wanted in RESOLUTIONS and explanation is None:
            raise DisputeError("A resolution needs an explanation.")
        if explanation is not None:
            _check_text("explanation", explanation)
        amount = None if compensation is None else _amount(compensation)
        if amount is not None and wanted is not State.RESOLVED_FOR_CLAIMANT:
            raise DisputeError("Only a dispute that is resolved for its claimant is compensated.")
        return store.move(self._pool, dispute_id, wanted, actor, explanation, amount, self._budget)


def _amount(text: str) -> int:
    try:
        amount = atoms(text)
    except ValueError:
        amount = 0
    if amount < 1:
        raise DisputeError("compensation_atoms is a decimal number of at least 1.")
    return amount


def _check_text(name: str, text: str) -> None:
    if len(text) not in _TEXT_CHARACTERS or not _printable(text):
        raise DisputeError(f"{name} has 1 to 2,000 printable characters.")


def _check_evidence(text: str) -> None:
    if len(text.encode()) not in _EVIDENCE_BYTES or not _printable(text):
        raise DisputeError("content has 1 to 4,096 bytes of printable text.")


def _printable(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text) and bool(text.strip())
