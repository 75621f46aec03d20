"""The arithmetic of rewards, in whole atoms: from work to money, the same for the node and for a stranger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pouw.errors import RewardError
from pouw.protocol.types import ProofType

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 10**39


@dataclass(frozen=True, slots=True)
class Rules:
    """What work is worth. Amounts are atoms.

    ``weights`` is by proof type, in its order; ``unit`` is what one unit of weight is worth; ``cap`` is the most that a
    DID gets in an epoch; ``pool`` is an epoch's share of ``budget``, from which the cap is derived.
    """

    weights: tuple[int, ...]
    unit: int
    budget: int
    pool: int
    cap: int

    def weight(self, proof_type: int, *, result_ok: bool) -> int:
        """Return what one receipt weighs: nothing where the content was not what it should be."""
        return self.weights[proof_type] if result_ok else 0

    def raw(self, weight: int) -> int:
        """Return what so much weight is worth, uncapped."""
        return weight * self.unit

    def final(self, weight: int) -> int:
        """Return what a DID with so much weight gets if the budget covers it."""
        return min(self.raw(weight), self.cap)

    def as_json(self) -> dict[str, Any]:
        """Return the rules as they stand in a manifest."""
        return {
            "weights": {kind.json_name: self.weights[kind] for kind in ProofType},
            "unit_atoms": str(self.unit),
            "budget_atoms": str(self.budget),
            "pool_atoms": str(self.pool),
            "cap_atoms": str(self.cap),
        }


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms epochs are rewarded: the rules, and when epochs begin, in unix seconds.

    Without a ``genesis`` the first node on a database decides it; ``minimum_bytes`` is a receipt that is just enough.
    """

    rules: Rules
    genesis: int | None
    epoch_secs: int
    minimum_bytes: int


def rules_from_json(value: Any) -> Rules:
    """Read the rules out of a manifest; raise :class:`RewardError` where they are none."""
    try:
        return Rules(
            tuple(_whole(value["weights"][kind.json_name]) for kind in ProofType),
            *(atoms(value[f"{name}_atoms"]) for name in ("unit", "budget", "pool", "cap")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RewardError(f"These are no reward rules: {error!r}") from error


def allocate(finals: Mapping[str, int], left: int) -> dict[str, int]:
    """Share out ``left`` atoms among DIDs that are due ``finals``: all of it where it suffices, else in proportion.

    What the division leaves over, less than one atom for each DID, stays unallocated. More work never means less.
    """
    total = sum(finals.values())
    if total <= left:
        return dict(finals)
    return {did: final * left // total for did, final in finals.items()}


def atoms(text: Any) -> int:
    """Read an amount, which JSON has as a string of decimal digits; raise ValueError for anything else."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or text != str(int(text)):
        raise ValueError(text)
    if int(text) >= _MOST:
        raise ValueError(text)
    return int(text)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
