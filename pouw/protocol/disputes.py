"""The life of a dispute: its states, and the only ways between them."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """Where a dispute stands."""

    OPEN = "open"
    UNDER_INVESTIGATION = "under_investigation"
    RESOLVED_FOR_CLAIMANT = "resolved_for_claimant"
    RESOLVED_FOR_NODE = "resolved_for_node"
    REJECTED = "rejected"
    CLOSED = "closed"

    @property
    def unsettled(self) -> bool:
        """Whether the dispute waits for somebody."""
        return self in (State.OPEN, State.UNDER_INVESTIGATION)


RESOLUTIONS = frozenset((State.RESOLVED_FOR_CLAIMANT, State.RESOLVED_FOR_NODE, State.REJECTED))

TRANSITIONS: dict[State, frozenset[State]] = {
    State.OPEN: RESOLUTIONS | {State.UNDER_INVESTIGATION, State.CLOSED},
    State.UNDER_INVESTIGATION: RESOLUTIONS | {State.CLOSED},
    State.RESOLVED_FOR_CLAIMANT: frozenset((State.CLOSED,)),
    State.RESOLVED_FOR_NODE: frozenset((State.CLOSED,)),
    State.REJECTED: frozenset((State.CLOSED,)),
    State.CLOSED: frozenset(),
}
"""From where to where; closing what nobody resolved is the claimant's withdrawal."""

SUBJECTS = ("receipt", "rejection", "reward", "challenge")
