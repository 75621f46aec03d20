"""The life of a dispute: only legal ways, and none out of its end."""

from __future__ import annotations

import itertools

import pytest

from pouw.protocol.disputes import RESOLUTIONS, TRANSITIONS, State

LEGAL = {
    ("open", "under_investigation"), ("open", "resolved_for_claimant"), ("open", "resolved_for_node"),
    ("open", "rejected"), ("open", "closed"),
    ("under_investigation", "resolved_for_claimant"), ("under_investigation", "resolved_for_node"),
    ("under_investigation", "rejected"), ("under_investigation", "closed"),
    ("resolved_for_claimant", "closed"), ("resolved_for_node", "closed"), ("rejected", "closed"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_pair_of_states(before: State, after: State) -> None:
    assert (after in TRANSITIONS[before]) == ((before.value, after.value) in LEGAL)


def test_what_waits_and_what_is_settled() -> None:
    assert [state for state in State if state.unsettled] == [State.OPEN, State.UNDER_INVESTIGATION]
    assert not any(state.unsettled for state in RESOLUTIONS)
