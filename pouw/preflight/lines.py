"""A line of the checklist: what it asks, how it is looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.preflight.deployment import Deployment


class Outcome(StrEnum):
    """What became of a line."""

    PASSED = "passed"
    FAILED = "failed"
    HUMAN = "for a human"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what that means; ``cure`` replaces the line's usual one."""

    outcome: Outcome
    evidence: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A line as it stands on the page. ``try_by_hand`` is a command; ``look`` is None where only a human can tell."""

    id: str
    title: str
    try_by_hand: str
    cure: str
    look: Callable[[Deployment], Finding] | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one heading."""

    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What became of a line; ``looked_at`` is a moment (RFC 3339), empty where no program looked."""

    id: str
    section: str
    title: str
    outcome: Outcome
    evidence: str
    what_to_do: str
    looked_at: str


def passed(evidence: str) -> Finding:
    """Say that what was seen is as it has to be."""
    return Finding(Outcome.PASSED, evidence)


def failed(evidence: str, cure: str = "") -> Finding:
    """Say that what was seen is not as it has to be, or that it could not be seen."""
    return Finding(Outcome.FAILED, evidence, cure)


def human(evidence: str, cure: str = "") -> Finding:
    """Leave it to a human, with what a program can say about it."""
    return Finding(Outcome.HUMAN, evidence, cure)


def judge(holds: bool, evidence: str) -> Finding:
    """Say whether what was seen is as it has to be."""
    return passed(evidence) if holds else failed(evidence)
